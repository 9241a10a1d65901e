# SPDX-License-Identifier: Apache-2.0
"""Clients in pods: a load that tells what it saw, and a toolbox to ask single questions."""

from __future__ import annotations

import itertools
import json
import subprocess
import tempfile
import time
from types import TracebackType

from tests.e2e.kubectl import Kubectl, Object, eventually
from tests.e2e.site_manifests import restricted_pod

_numbers = itertools.count(1)
# A quiet machine of two cores with four nodes: 2 to 10 ms.
STARVED_MILLISECONDS = 100


class Load:
    """A retrying client under load in a pod of its own; a context manager around the fault.

    Entering waits until its first requests were answered, so the fault hits a running load.
    """

    connections = 10

    def __init__(
        self,
        kube: Kubectl,
        *,
        image: str,
        site: str,
        seconds: float,
        port: int = 443,
        avoid_node: str = "",
        pinned: bool = False,
    ) -> None:
        self._kube = kube
        self._pod = f"load-{next(_numbers)}"
        self._summary: Object | None = None
        self._progress = ""
        self._seconds = seconds
        command = [
            "dpe-simulator",
            "client",
            f"--url=https://{site}-balancer.{kube.namespace}.svc:{port}/DpeWebApplication",
            "--ca=/etc/dpe-ca/ca.crt",
            f"--connections={self.connections}",
            "--slow=1",
            "--rate=60",
            "--fresh=8",
            f"--seconds={seconds:g}s",
            "--progress",
            "--json=-",
        ]
        aliases = {"hostAliases": [name_of_address(kube, f"{site}-balancer")]} if pinned else {}
        self._manifest = restricted_pod(
            self._pod, image, command, ca=f"{site}-ca", **placed(avoid_node), **aliases
        )

    def __enter__(self) -> Load:
        self._kube.run("delete", "pod", self._pod, "--ignore-not-found", "--grace-period=1")
        self._kube.apply(self._manifest)
        try:
            what = "the load's first answers"
            eventually(self._answered, timeout=90, what=what, describe=self._log)
        except BaseException:  # then nobody calls __exit__
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._kube.run(
            "delete",
            "pod",
            self._pod,
            "--ignore-not-found",
            "--wait=false",
            "--grace-period=0",
            "--force",
        )

    def stop(self, *, after: float = 0) -> None:
        """End the load, after some seconds more; its summary stays available.

        For what takes as long as it takes: the load is there from its beginning to its end, and
        not for long after. Fails if the load was over before.
        """
        time.sleep(after)
        self._kube.run("exec", self._pod, "--", "sh", "-c", "kill -TERM 1")

    def summary(self) -> Object:
        """What the load saw, once it is over."""
        if self._summary is None:
            self._summary = eventually(
                self._read,
                timeout=self._seconds + 60,
                what="the load's summary",
                describe=self._log,
            )
        return self._summary

    def lost(self) -> int:
        """Failed attempts, those left out that ended by the client's own time limits: for these a
        slow machine is enough."""
        kinds = self.summary()["errorKinds"]
        return sum(count for kind, count in kinds.items() if not kind.endswith("-timeout"))

    def gap_seconds(self) -> float:
        """Longest time between two successes, over kept or over fresh connections, the larger.

        Tests bound it widely, below what it would be without the mechanism; the bench measures it.
        """
        classes = self.summary()["classes"]
        gaps = [float(classes[kind]["longestGapMilliseconds"]) for kind in ("keepAlive", "fresh")]
        return max(gaps) / 1000

    def story(self) -> str:
        """The summary for a failing test's message."""
        seen = {key: value for key, value in self.summary().items() if key != "membersOverTime"}
        return f"{starved(self.summary())}{json.dumps(seen, indent=1)[:4000]}"

    def progress(self) -> str:
        """What the client saw second by second, for a failing test's message."""
        return self._progress

    def _log(self) -> str:
        return self._kube.run("logs", self._pod, "--tail=40", check=False) + self._kube.run(
            "get", "pods", "-o", "wide", check=False
        )

    def _answered(self) -> bool:
        text = self._kube.run("logs", self._pod, check=False)
        return any("=" in line.split("retried")[0] for line in text.splitlines() if " s  " in line)

    def _read(self) -> Object | None:
        pod = self._kube.get("pod", self._pod)
        if pod["status"]["phase"] not in ("Succeeded", "Failed"):
            return None
        text = self._kube.run("logs", self._pod)
        start = text.find("\n{") + 1 if not text.startswith("{") else 0
        self._progress = text[:start]
        found: Object = json.JSONDecoder().raw_decode(text[start:])[0]
        return found


def starved(summary: Object) -> str:
    """What a failing test says where its machine, not the site, was too slow; else nothing.

    A fault makes some answers late, never most of them: where the median of the kept connections
    is a quarter of what clients wait for a connection, the processors were taken by others.
    """
    median = float(summary["classes"]["keepAlive"]["p50Milliseconds"] or 0)
    if median < STARVED_MILLISECONDS:
        return ""
    return f"the machine was starved: the median answer took {median:.0f} ms\n"


class Followed:
    """What a pod says from now on, kept for when the pod is gone; a context manager."""

    def __init__(self, kube: Kubectl, pod: str) -> None:
        self.text = ""
        self._file = tempfile.TemporaryFile("w+", errors="replace")
        words = ("logs", pod, "--follow", "--all-containers", "--timestamps", "--tail=30")
        self._process = subprocess.Popen(
            kube.command(*words), stdout=self._file, stderr=subprocess.STDOUT
        )

    def __enter__(self) -> Followed:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait(10)
        with self._file as file:
            file.seek(0)
            self.text = file.read()


class Toolbox:
    """A pod with Python in the site's namespace."""

    def __init__(self, kube: Kubectl, image: str) -> None:
        self._kube = kube
        self._image = image

    def python(self, program: str, *arguments: str) -> str:
        """Run a Python program in the pod and return what it printed."""
        self._make()
        return self._kube.run("exec", "toolbox", "--", "python3", "-c", program, *arguments)

    def _make(self) -> None:
        """Have the pod run; one that ended (its node lost its power, or its time is over) stays
        there for ever and cannot be asked."""
        pod = self._kube.find("pod", "toolbox")
        if pod is not None and pod["status"].get("phase") in ("Failed", "Succeeded"):
            self._kube.delete("pod", "toolbox")
            pod = None
        if pod is None:
            sleep = ["python3", "-c", "import time; time.sleep(7200)"]
            self._kube.apply(restricted_pod("toolbox", self._image, sleep, ca="toolbox-ca"))
        self._kube.run("wait", "--for=condition=Ready", "pod/toolbox", "--timeout=60s", timeout=70)

    def certificate_serial(self, host: str, port: int) -> str:
        """Serial number of the certificate that a server shows."""
        program = (
            "import hashlib, ssl, sys; pem = ssl.get_server_certificate((sys.argv[1], int(sys.argv[2])), timeout=5);"
            "print(hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest())"
        )
        return self.python(program, host, str(port)).strip()


def name_of_address(kube: Kubectl, service: str) -> Object:
    """Entry of a pod's hosts file for a Service, so that the test needs no name server."""
    address = kube.get("service", service)["spec"]["clusterIP"]
    return {"ip": address, "hostnames": [f"{service}.{kube.namespace}.svc"]}


def placed(avoid_node: str) -> Object:
    """Pod spec that keeps a client off one node."""
    if not avoid_node:
        return {}
    term = {
        "matchExpressions": [
            {"key": "kubernetes.io/hostname", "operator": "NotIn", "values": [avoid_node]}
        ]
    }
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    return {"affinity": {"nodeAffinity": required}}
