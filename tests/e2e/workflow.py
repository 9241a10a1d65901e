# SPDX-License-Identifier: Apache-2.0
"""Components of the simulated workflow system: made beside a site, looked at, and broken."""

from __future__ import annotations

import calendar
import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.e2e.kubectl import Kubectl, Object, eventually
from tests.e2e.load import Toolbox
from tests.e2e.site import Site
from tests.e2e.site_manifests import database_env

COMPONENTS = {
    "WorkflowWorker": "worker",
    "WorkflowScheduler": "scheduler",
    "WorkflowTableWatcher": "table-watcher",
    "WorkflowFolderWatcher": "folder-watcher",
}
MEMORY_PATH = "/var/lib/dpe/memory"
_names = itertools.count(1)


def fresh(name: str) -> str:
    """A name that nothing bears yet: a repeated test must not meet the workflows of its first run."""
    return f"{name}{next(_names)}"


def component(kind: str, name: str, site: Site, *, mode: str, **fields: Any) -> Object:
    """A component that works for a site. `env` and `volumes` come beside what all of them need."""
    env = [
        {"name": "DPE_CA_FILE", "value": "/etc/dpe-ca/ca.crt"},
        {"name": "DPE_RECORDS", "value": "-"},
        # one for all members: the title rule is about workflows of one type, and that is the name
        {"name": "DPE_COMPONENT", "value": f"{name}-{COMPONENTS[kind]}"},
        *database_env(),
        *fields.pop("env", ()),
    ]
    ca = {"name": "ca", "mountPath": "/etc/dpe-ca", "configMapName": f"{site.name}-ca"}
    return {
        "apiVersion": "dpe.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": {
            "clusterRef": {"name": site.name},
            "mode": mode,
            "image": site.images["dpe-simulator"],
            "command": ["dpe-simulator", COMPONENTS[kind]],
            "terminationGracePeriodSeconds": 10,
            "env": env,
            "volumes": [ca, *fields.pop("volumes", ())],
            **fields,
        },
    }


def watcher(name: str, site: Site, *, mode: str, seconds: int = 1, **fields: Any) -> Object:
    """A table watcher of the table `name`; its workflows are called NAME-... and take `seconds`."""
    table = [
        {"name": "DPE_TABLE", "value": name},
        {"name": "DPE_TABLE_ID", "value": name},
        {"name": "DPE_WORKFLOW_ACTIVITY", "value": f"{seconds}s"},
    ]
    return component(
        "WorkflowTableWatcher", name, site, mode=mode,
        env=[*table, *fields.pop("env", ())],
        memory={"mountPath": MEMORY_PATH, "size": "1Gi", "storageClassName": "dpe-shared"},
        titleTemplate="%tableid%-%entryid%-%event%",
        **fields,
    )  # fmt: skip


@dataclass(frozen=True)
class Component:
    """One component in the cluster."""

    kube: Kubectl
    kind: str
    name: str

    @property
    def full_name(self) -> str:
        """Name of its Lease and PDB, and the beginning of its pods' names."""
        return f"{self.name}-{COMPONENTS[self.kind]}"

    def get(self) -> Object:
        """The resource."""
        return self.kube.get(self.kind, self.name)

    def wait_ready(self, *, timeout: float = 120) -> Object:
        """Wait for Ready."""
        return self.kube.wait_ready(self.kind, self.name, timeout=timeout)

    def pods(self) -> list[Object]:
        """Its pods that are not on their way out."""
        labels = {
            "dpe.dev/owner-kind": self.kind,
            "app.kubernetes.io/instance": self.name,
        }
        return [
            p for p in self.kube.list("pod", labels) if "deletionTimestamp" not in p["metadata"]
        ]

    def ready_pods(self) -> list[str]:
        """Names of those that are Ready."""
        return [pod["metadata"]["name"] for pod in self.pods() if is_ready(pod)]

    # Standby

    def lease(self) -> Object:
        """The Lease of the candidates."""
        return self.kube.get("lease", self.full_name)

    def epoch(self) -> int:
        """Number of the present holding."""
        return int(self.lease()["spec"].get("leaseTransitions") or 0)

    def holder(self) -> str:
        """Name of the pod that acts; empty: nobody."""
        holder = str(self.lease()["spec"].get("holderIdentity") or "")
        names = {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in self.pods()}
        return next((name for uid, name in names.items() if holder.startswith(uid)), "")

    def wait_holder(self, *, besides: str = "", timeout: float = 60) -> str:
        """Wait until a pod other than `besides` acts; return its name."""

        def found() -> str:
            holder = self.holder()
            return holder if holder != besides else ""

        return str(
            eventually(found, timeout=timeout, every=0.1, what=f"a holder of {self.full_name}",
                       describe=self.describe)
        )  # fmt: skip

    def describe(self) -> str:
        """What a person would look at first."""
        selector = f"app.kubernetes.io/instance={self.name}"
        seen = self.kube.run("get", "dpe-all,pods", "-o", "wide", check=False)
        logs = self.kube.run("logs", "-l", selector, "--tail=15", "--prefix", check=False)
        conditions = json.dumps(self.get().get("status", {}), indent=1)
        return f"\n{seen}\n{logs}\n{json.dumps(self.lease_or_nothing(), indent=1)}\n{conditions}"

    def lease_or_nothing(self) -> Object:
        """The Lease without the part that nobody reads."""
        found = self.kube.find("lease", self.full_name) or {}
        found.get("metadata", {}).pop("managedFields", None)
        return found


def is_ready(pod: Object) -> bool:
    """Whether the pod has condition Ready."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def restarts(pod: Object) -> int:
    """How often kubelet has started containers of the pod anew."""
    return sum(one["restartCount"] for one in pod["status"].get("containerStatuses", []))


def log_on_node(pod: Object) -> Iterator[tuple[float, str]]:
    """The lines of all containers `dpe` that the pod has had, with their times, read from its node.

    They are there also while the node is cut off.
    """
    meta = pod["metadata"]
    folder = f"/var/log/pods/{meta['namespace']}_{meta['name']}_{meta['uid']}/dpe"
    done = subprocess.run(
        ["docker", "exec", pod["spec"]["nodeName"], "sh", "-c", f"cat {folder}/*.log"],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        stamp, _, rest = line.partition(" ")
        yield seconds_of(stamp), rest.partition(" ")[2].partition(" ")[2]


def records_on_node(pod: Object) -> list[Object]:
    """What the component in a pod wrote for the ledger."""
    lines = (text for _, text in log_on_node(pod))
    return [json.loads(text) for text in lines if text.startswith("{")]


def seconds_of(stamp: str) -> float:
    """Seconds since 1970 of a time as containerd writes it, with nanoseconds."""
    whole, _, fraction = stamp.rstrip("Z").partition(".")
    digits = fraction[:9].split("+")[0]
    return calendar.timegm(time.strptime(whole, "%Y-%m-%dT%H:%M:%S")) + float(f"0.{digits or 0}")


class Workflows:
    """What became of a site's workflows: its databases, by the simulator's own commands in a pod."""

    dsn = "postgresql://dpe:e2e-only@dpe-postgres:5432/dpecore"

    def __init__(self, site: Site) -> None:
        self._toolbox = Toolbox(site.kube, site.images["dpe-simulator"])

    def entries(self, table: str, **amounts: int) -> Object:
        """Add, update or delete entries of a content table; the keywords are the options."""
        options = [f"--{name}={value}" for name, value in amounts.items()]
        dsn = f"--content-dsn={self.dsn}"
        return self._run("entries", dsn, f"--table={table}", "--json=-", *options)[1]

    def check(self, component: str, *, since: float) -> Object:
        """The checker's verdict on one component, which must have no fault of the topology."""
        status, verdict = self._run(
            "check", f"--dsn={self.dsn}", f"--content-dsn={self.dsn}", f"--component={component}",
            f"--since={since}", "--json=-",
        )  # fmt: skip
        assert status == 0, json.dumps(verdict, indent=1)
        assert verdict["components"], f"nothing of {component} was seen, so nothing was judged"
        return verdict

    def titles(self, beginning: str) -> list[str]:
        """Titles of all workflows, in the order in which they were made."""
        query = "SELECT title FROM dpe_workflows WHERE starts_with(title, %s) ORDER BY id"
        return [str(row[0]) for row in self.rows(query, beginning)]

    def rows(self, query: str, *values: str) -> list[list[Any]]:
        """What the core database answers to a query."""
        program = (
            "import json, sys; sys.path.insert(0, '/opt/dpe/site'); import psycopg;"
            "rows = psycopg.connect(sys.argv[1]).execute(sys.argv[2], sys.argv[3:]).fetchall();"
            "print(json.dumps(rows))"
        )
        found: list[list[Any]] = json.loads(self._toolbox.python(program, self.dsn, query, *values))
        return found

    def wait_titles(self, beginning: str, count: int, *, timeout: float = 90) -> list[str]:
        """Wait until so many workflows are there."""
        return eventually(
            lambda: found if len(found := self.titles(beginning)) >= count else None,
            timeout=timeout,
            what=f"{count} workflows {beginning}*",
            describe=lambda: str(self.titles(beginning)),
        )

    def _run(self, *arguments: str) -> tuple[int, Object]:
        program = (
            "import json, subprocess, sys;"
            "done = subprocess.run(['dpe-simulator', *sys.argv[1:]], capture_output=True, text=True);"
            "print(json.dumps([done.returncode, done.stdout, done.stderr]))"
        )
        status, out, trouble = json.loads(self._toolbox.python(program, *arguments))
        assert out.strip(), trouble
        return status, json.loads(out)
