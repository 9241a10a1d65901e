# SPDX-License-Identifier: Apache-2.0
"""The operator as a process against the test API server, and what plays kubelet and balancer there.

The test API server has no controllers: nobody fills Deployments, so tests write their status; and no
garbage collector, so what is deleted with its owner stays.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support.api_server import ROOT, ApiServer
from tests.support.ports import free_port

from dpe_operator.api.kinds import KINDS as OUR_KINDS
from dpe_operator.kube.kinds import KINDS, collection_path, object_path
from dpe_operator.kube.rbac import OPERATOR_RULES
from dpe_operator.planning.objects import Obj, Ref

# clusters first: they make the others again
OURS = tuple(sorted((kind.kind for kind in OUR_KINDS), key=lambda name: name != "DpeCluster"))
IMAGE = "localhost/dpe/dpe-balancer:test"
_RBAC = "/apis/rbac.authorization.k8s.io/v1"
PAR_SYNC_IMAGE = "localhost/dpe/dpe-par-sync:test"
ELECTOR_IMAGE = "localhost/dpe/dpe-elector:test"


class Site:
    """One namespace of the test API server, with short ways to look at and change it."""

    def __init__(self, server: ApiServer, namespace: str) -> None:
        self.server = server
        self.namespace = namespace

    def ref(self, kind: str, name: str) -> Ref:
        """Name an object in this namespace."""
        return Ref(kind, self.namespace, name)

    def find(self, kind: str, name: str) -> Obj | None:
        """Return an object, or None."""
        status, body = self.server.request("GET", object_path(self.ref(kind, name)))
        return body if status == 200 else None

    def get(self, kind: str, name: str) -> Obj:
        """Return an object that must be there."""
        found = self.find(kind, name)
        assert found is not None, f"{kind} {name} is not there"
        return found

    def all(self, kind: str) -> list[Obj]:
        """Return all objects of a kind."""
        status, body = self.server.request("GET", collection_path(kind, self.namespace))
        assert status == 200, body
        return list(body["items"])

    def create(self, obj: Obj) -> Obj:
        """Create an object."""
        kind = obj["kind"]
        obj = {**obj, "metadata": {**obj["metadata"], "namespace": self.namespace}}
        status, body = self.server.request("POST", collection_path(kind, self.namespace), obj)
        assert status == 201, body
        return body

    def patch(self, kind: str, name: str, patch: Obj, *, subresource: str = "") -> Obj:
        """Change an object as a person with an editor does."""
        path = object_path(self.ref(kind, name), subresource=subresource)
        status, body = self.server.request(
            "PATCH",
            f"{path}?fieldManager=somebody",
            patch,
            content_type="application/merge-patch+json",
        )
        assert status == 200, body
        return body

    def delete(self, kind: str, name: str) -> None:
        """Delete an object."""
        status, body = self.server.request("DELETE", object_path(self.ref(kind, name)))
        assert status in (200, 202), body

    def leave(self) -> None:
        """Delete all resources of ours here: the operator of the tests that follow has other work.

        What was made of them stays (there is no garbage collector), and is nobody's.
        """
        for kind in OURS:
            path = collection_path(kind, self.namespace)
            status, body = self.server.request("DELETE", path)
            assert status == 200, body

    def annotate(self, kind: str, name: str, **notes: str | None) -> None:
        """Set (None: remove) annotations `dpe.dev/...`, underscores for dashes."""
        full = {f"dpe.dev/{key.replace('_', '-')}": value for key, value in notes.items()}
        self.patch(kind, name, {"metadata": {"annotations": full}})

    def condition(self, kind: str, name: str, condition: str) -> Obj:
        """Return a condition, empty if it is not stated."""
        for entry in (self.find(kind, name) or {}).get("status", {}).get("conditions", []):
            if entry["type"] == condition:
                return dict(entry)
        return {}

    def events(self, reason: str = "") -> list[Obj]:
        """Return events, of one reason where named."""
        return [event for event in self.all("Event") if reason in ("", event["reason"])]

    # --- what controllers, kubelets and balancers do

    def run(self, deployment: str, *, ready: bool = True) -> None:
        """Let a Deployment be rolled out, with one ready pod for each replica."""
        live = self.get("Deployment", deployment)
        wanted = live["spec"]["replicas"]
        count = wanted if ready else 0
        status = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": count,
            "availableReplicas": count,
        }
        for number in range(wanted):
            self._pod(live, f"{deployment}-{number}", ready=ready)
        self.patch("Deployment", deployment, {"status": status}, subresource="status")

    def _pod(self, deployment: Obj, name: str, *, ready: bool) -> None:
        if self.find("Pod", name) is None:
            template = deployment["spec"]["template"]
            labels = template["metadata"]["labels"]
            env = template["spec"]["containers"][0].get("env", [])
            spec = {"containers": [{"name": "dpe", "image": "x", "env": env}]}
            if account := template["spec"].get("serviceAccountName"):
                spec["serviceAccountName"] = account
            meta = {"name": name, "labels": labels}
            self.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        condition = {
            "type": "Ready",
            "status": "True" if ready else "False",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        status = {"phase": "Running", "conditions": [condition]}
        self.patch("Pod", name, {"status": status}, subresource="status")

    def run_all(self) -> None:
        """Let every Deployment be rolled out."""
        for deployment in self.all("Deployment"):
            self.run(deployment["metadata"]["name"])

    def record(self, pair: str, *, active: str = "a", count: int = 0, **states: str) -> None:
        """Write the fail-over record as the routed balancer does; members are UP unless told."""
        name = f"{pair}-balancer"
        members = [member["name"] for member in self.get("DpeServer", pair)["spec"]["members"]]
        known = {member: states.get(member, "UP") for member in members}
        self._renew(name)
        target = {"kind": "Pod", "name": f"{name}-0"}
        self.patch(
            "EndpointSlice",
            name,
            {
                "metadata": {
                    "annotations": {
                        "dpe.dev/active-member": active,
                        "dpe.dev/switch-count": str(count),
                        "dpe.dev/member-states": json.dumps(known),
                    }
                },
                "endpoints": [{"addresses": ["10.0.0.9"], "targetRef": target}],
            },
        )

    def _renew(self, name: str) -> None:
        # far ahead, so that a slow test does not see a silent holder
        renewed = datetime.now(UTC).replace(year=2099).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": "holder", "renewTime": renewed}
        self.patch("Lease", name, {"spec": spec})


def limited_account(
    server: ApiServer, namespace: str, folder: Path, *, everywhere: bool = False
) -> Path:
    """Make an account with the operator's rights and nothing else; return its kubeconfig."""
    token = server.service_account_token(namespace, "operator")
    grant(server, namespace, namespace, everywhere=everywhere)
    config: dict[str, Any] = json.loads(server.kubeconfig.read_text())
    config["users"][0]["user"] = {"token": token}
    path = folder / f"operator-{namespace}.json"
    path.write_text(json.dumps(config))
    return path


def grant(server: ApiServer, home: str, namespace: str, *, everywhere: bool = False) -> None:
    """Give the account of namespace `home` the operator's rights in `namespace`, as the chart does."""
    kind = "ClusterRole" if everywhere else "Role"
    scope = "" if everywhere else f"/namespaces/{namespace}"
    name = f"operator-{home}"
    subject = {"kind": "ServiceAccount", "name": "operator", "namespace": home}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    made: list[tuple[str, dict[str, Any]]] = [
        (f"{kind.lower()}s", {"rules": OPERATOR_RULES}),
        (f"{kind.lower()}bindings", {"roleRef": reference, "subjects": [subject]}),
    ]
    for plural, body in made:
        status, answer = server.request(
            "POST", f"{_RBAC}{scope}/{plural}", {"metadata": {"name": name}, **body}
        )
        assert status == 201, answer


class OperatorProcess:
    """One `dpe-operator run`; its log is in `log`, its HTTP side on `port`."""

    def __init__(self, log: Path, port: int, process: subprocess.Popen[bytes]) -> None:
        self.log = log
        self.port = port
        self.process = process

    def fetch(self, path: str) -> tuple[int, str]:
        """GET /livez, /readyz or /metrics; status 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def metric(self, name: str) -> float:
        """Return the sum of all samples of a metric."""
        lines = self.fetch("/metrics")[1].splitlines()
        return sum(
            float(line.rpartition(" ")[2])
            for line in lines
            if line.startswith((f"{name} ", f"{name}{{"))
        )

    def resident_mib(self) -> float:
        """Return the resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) / 1024
        raise AssertionError("the process is gone")

    def stop(self) -> float:
        """Send SIGTERM; return the seconds until it has ended."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=20)
        return time.monotonic() - began


@contextmanager
def operator(
    server: ApiServer,
    folder: Path,
    *,
    namespaces: str = "",
    kubeconfig: Path | None = None,
    main: Sequence[str] = ("-m", "dpe_operator.cli.main", "run"),
    **settings: str,
) -> Iterator[OperatorProcess]:
    """Run the operator; `settings` are upper-case names without the prefix DPE_OPERATOR_.

    `main`: what Python is told to run, for a test that runs it in another way.
    """
    port = free_port()
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("DPE_")},
        "KUBECONFIG": str(kubeconfig or server.kubeconfig),
        "PYTHONPATH": str(ROOT / "operator"),
        "PYTHONWARNINGS": "error::RuntimeWarning",
        "DPE_OPERATOR_BALANCER_IMAGE": IMAGE,
        "DPE_OPERATOR_PAR_SYNC_IMAGE": PAR_SYNC_IMAGE,
        "DPE_OPERATOR_ELECTOR_IMAGE": ELECTOR_IMAGE,
        "DPE_OPERATOR_METRICS_PORT": str(port),
        "DPE_OPERATOR_WATCH_NAMESPACES": namespaces,
        **{f"DPE_OPERATOR_{key}": value for key, value in settings.items()},
    }
    log = folder / f"operator-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *main],
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        yield OperatorProcess(log, port, process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def eventually(look: Callable[[], Any], *, seconds: float = 20, log: Path | None = None) -> Any:
    """Return the first true result of `look`; fail after `seconds` with the end of a log."""
    deadline = time.monotonic() + seconds
    while True:
        found: Any = look()
        if found:
            return found
        if time.monotonic() > deadline:
            tail = "\n".join(log.read_text().splitlines()[-25:]) if log else ""
            raise AssertionError(f"not within {seconds:.0f} s: {look}\n{tail}")
        time.sleep(0.05)


def known_kinds() -> list[str]:
    """Return all kinds the operator touches."""
    return list(KINDS)
