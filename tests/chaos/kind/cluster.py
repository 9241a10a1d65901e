# SPDX-License-Identifier: Apache-2.0
"""The cluster under a run: looked at, brought to rest, and repaired whatever has happened to it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from dpe_bench import machines
from tests.chaos.freezing import send
from tests.chaos.kind import pods
from tests.chaos.kind.site import BusySite
from tests.chaos.kind.snapshot import Snapshot, waiting
from tests.e2e import processes
from tests.e2e.kubectl import Kubectl, KubectlError, Object
from tests.e2e.operator_release import NAMESPACE as OPERATOR_NAMESPACE

ROOT = Path(__file__).resolve().parents[3]
# What may go wrong with a command while machines and the API server come and go.
TROUBLE = (
    AssertionError,
    KubectlError,
    RuntimeError,
    subprocess.SubprocessError,
    OSError,
    ValueError,
)
SYSTEM = "kube-system"
# A container that failed often is not started for minutes; so long it may wait here.
_WAITS_SECONDS = 20.0
_LOOK_SECONDS = 2.0


class Ground:
    """The cluster with the busy site on it."""

    def __init__(self, busy: BusySite, say: Callable[[str], None]) -> None:
        self._busy = busy
        self._say = say
        self._parts = busy.parts()
        self.control_plane = machines.control_plane(busy.cluster)
        self.last = self.look()
        # pods that were deleted because Kubernetes would have let them wait for minutes
        self.replaced = 0
        # what `settle` last saw missing before all was there
        self.waited_for: list[str] = []

    def look(self) -> Snapshot:
        """Ask the API server.

        Raises:
            KubectlError, subprocess.TimeoutExpired: it does not answer.
        """
        site = _items(self._busy.kube, "dpeclusters.dpe.dev,endpointslices")
        by_kind: dict[str, list[Object]] = {}
        for item in [*_items(self._busy.cluster, "nodes,pods,leases", "--all-namespaces"), *site]:
            by_kind.setdefault(item["kind"], []).append(item)
        ours = (self._busy.kube.namespace, OPERATOR_NAMESPACE)
        pods_here = [
            pod for pod in by_kind.get("Pod", [])
            if pod["status"].get("phase") not in ("Failed", "Succeeded")
        ]  # fmt: skip
        leases = by_kind.get("Lease", [])
        record = [
            one for one in by_kind.get("EndpointSlice", [])
            if _name(one) == self._busy.layout.balancers
        ]  # fmt: skip
        self.last = Snapshot(
            self._parts, [pod for pod in pods_here if _namespace(pod) in ours],
            by_kind.get("Node", []), {_name(one): one for one in leases if _namespace(one) in ours},
            record[0] if record else {}, (by_kind.get("DpeCluster") or [{}])[0], time.time(),
            {_name(one): one for one in leases if _namespace(one) == SYSTEM},
            [pod for pod in pods_here if _namespace(pod) == SYSTEM],
        )  # fmt: skip
        return self.last

    def kubectl_of(self, pod: Object) -> Kubectl:
        """kubectl in the namespace of a pod."""
        return self._busy.cluster.within(pod["metadata"]["namespace"])

    def settle(self, seconds: float) -> list[str]:
        """Wait until the site is whole, and seen so twice; what is missing when the time is up.

        Once is not enough: a machine that has just come back has not told yet what is amiss there.
        """
        begun, whole, restarted = time.monotonic(), 0, False
        self.waited_for = []
        missing = ["nothing was seen"]
        while whole < 2 and time.monotonic() - begun < seconds:
            time.sleep(_LOOK_SECONDS)
            try:
                missing = self.look().missing()
                whole = 0 if missing else whole + 1
                self.waited_for = missing or self.waited_for
                if missing and time.monotonic() - begun > _WAITS_SECONDS:
                    self._replace_waiting()
                    restarted = restarted or self._restart_waiting_controllers()
            except TROUBLE as problem:
                whole, missing = 0, [f"no answer from the API server: {str(problem)[:200]}"]
        return [] if whole else missing

    def _replace_waiting(self) -> None:
        for pod in waiting(self.last.pods):
            self.kubectl_of(pod).run("delete", "pod", pod["metadata"]["name"], "--wait=false")
            self.replaced += 1

    def _restart_waiting_controllers(self) -> bool:
        """Whether Kubernetes' own controllers, which end when the API server is away, were let wait,
        and are started at once by a kubelet that is started anew."""
        if not waiting(self.last.system_pods):
            return False
        processes.on_node(self.control_plane, "systemctl restart kubelet")
        self.replaced += 1
        return True

    def repair(self) -> None:
        """Undo every fault there can be, also those of a run that was killed."""
        machines.start_api_server(self.control_plane)
        for pod in self.last.pods:
            if pod["status"].get("containerStatuses"):
                send(pods.processes(pod).of("all"), signal.SIGCONT)
        repair(self._busy.cluster)


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


def _namespace(item: Object) -> str:
    return str(item["metadata"].get("namespace", ""))


def _items(kube: Kubectl, kinds: str, *more: str) -> list[Object]:
    text = kube.run("get", kinds, "-o", "json", "--request-timeout=8s", *more, timeout=20)
    found: list[Object] = json.loads(text)["items"]
    return found


def tool(*arguments: str) -> str:
    """Run one of the project's tools; return what it printed.

    Raises:
        RuntimeError: it failed.
    """
    done = subprocess.run(
        [ROOT / arguments[0], *arguments[1:]], cwd=ROOT, capture_output=True, text=True,
        timeout=2700, check=False, env={**os.environ, "YES": "1"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(arguments)}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout.strip()


def repair(cluster: Kubectl) -> None:
    """Sound nodes and an API server, whatever was done to them."""
    plane = f"{os.environ.get('CLUSTER', 'dpe')}-control-plane"
    try:
        # without an API server the cluster would be made anew
        machines.start_api_server(plane)
        machines.wait_api_server(cluster)
    except TROUBLE:
        pass  # there is no cluster, or it needs more than that
    tool("hack/cluster", "up")  # thaws, starts and heals nodes
    for node in cluster.list("nodes"):
        name = node["metadata"]["name"]
        cluster.run("uncordon", name)
        processes.lose_no_packets(name)
    machines.wait_nodes(cluster)
