# SPDX-License-Identifier: Apache-2.0
"""The pairs of servers that are measured: made, asked who is active, and brought to rest again."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.e2e.kubectl import Kubectl, KubectlError, Object, eventually
from tests.e2e.site import Site
from tests.e2e.site_manifests import certificate_objects, dpe_cluster, namespace, postgres

from dpe_bench import baselines, cases, machines
from dpe_bench.baselines import BASE, SITE
from dpe_bench.ledger import Ledger

LABEL = "dpe.dev/bench"
_STATES = "dpe.dev/member-states"
# Until the fault. While the pair changes often a member must have been up for 10 s before it is
# trusted with clients (dpe_balancer.switching.STEADY_SECONDS), and a bench changes it every minute.
_QUIET_SECONDS = 12
# Until the fault, for those after which the standby breaks the Lease early, because the routed
# balancer neither renews nor answers: it must have seen that one holding for 30 s
# (dpe_elector.timings.EARLY_PAUSE), however it came to hold.
_AFTER_TAKE_OVER_SECONDS = 35
_BREAKS_LEASE_EARLY = frozenset({"balancer-node-cut", "balancer-and-server-node-cut"})


def seconds_of_rest(scenario: str, *, whole: float, taken_over: float) -> float:
    """How long to wait before clients are started, so that the fault does not come too early.

    Args:
        scenario: whose fault comes next.
        whole: for how many seconds both servers have been up.
        taken_over: the same for the balancers: no other one holds, none was started.
    """
    rest = _QUIET_SECONDS - cases.UNDISTURBED_SECONDS - whole
    if scenario in _BREAKS_LEASE_EARLY:
        # the undisturbed part is left over for a standby that heard of the new holder late
        rest = max(rest, _AFTER_TAKE_OVER_SECONDS - taken_over)
    return max(0.0, rest)


class Subject:
    """What all of them have: a namespace with PostgreSQL and certificates, and the address."""

    about = "servers"

    def __init__(
        self, case: cases.Subject, cluster: Kubectl, images: Mapping[str, str], folder: Path
    ) -> None:
        self.case = case
        self.cluster = cluster
        part = "" if self.about == "servers" else f"{self.about}-"
        self.kube = cluster.within(f"bench-{part}{case.name}")
        self.images = images
        self.folder = folder / self.kube.namespace
        # since when the servers have been left up, and the balancers unchanged, as far as is known
        self._whole = self._taken_over = time.monotonic()
        self._servers_left_up = False  # by the fault of the run before

    def up(self) -> None:
        """Make it, from nothing."""
        self.remove()
        shutil.rmtree(self.folder, ignore_errors=True)
        place = namespace(self.kube.namespace)
        place["metadata"]["labels"][LABEL] = "true"
        self.cluster.apply(place)
        self.kube.apply(*postgres(self.kube.namespace, self.images["dpe-postgres"]))
        self.kube.apply(baselines.database_port())
        plane = machines.control_plane(self.cluster)
        self.ledger = Ledger(self.kube, node_address(self.cluster, plane))
        self.kube.apply(*certificate_objects(SITE, self.kube.namespace, self.folder))
        self.make()
        self.settle()

    def remove(self) -> None:
        """Take it away, with its namespace."""
        self.cluster.run(
            "delete", "namespace", self.kube.namespace, "--ignore-not-found", timeout=300
        )

    def make(self) -> None:
        """Apply its objects."""
        raise NotImplementedError

    def settle(self) -> None:
        """Wait until it stands as before a fault: all parts ready, nothing under way."""
        raise NotImplementedError

    def rest(self, scenario: str) -> None:
        """After `settle` and `aim`: leave it alone for as long as the scenario's fault demands.

        A baseline remembers nothing, so it needs no rest.
        """
        if not self.case.ours:
            return
        now = time.monotonic()
        time.sleep(
            seconds_of_rest(scenario, whole=now - self._whole, taken_over=now - self._taken_over)
        )
        self._servers_left_up = scenario in cases.LEAVE_SERVERS_UP

    def _found_whole(self) -> float:
        """Note that all parts are ready; return the time, in seconds of the monotonic clock."""
        now = time.monotonic()
        if not self._servers_left_up:
            self._whole = now
        return now

    def server(self) -> Object:
        """The pod of the active server."""
        raise NotImplementedError

    def balancer(self) -> Object:
        """The pod of the routed balancer."""
        raise NotImplementedError

    def standby_balancer(self) -> Object:
        """The pod of the balancer that no client uses."""
        raise NotImplementedError

    def aim(self, scenario: str) -> None:
        """Place active server and routed balancer so that the scenario hits what it says."""

    def switch_count(self) -> int | None:
        """How many changes of the active server are recorded; None: nobody records them."""
        return None

    def switch(self) -> None:
        """Make the other server active, as a person would."""
        raise NotImplementedError

    def roll(self) -> None:
        """Give both servers a new pod template, and wait until it is done."""
        raise NotImplementedError

    def database(self) -> Object:
        """The pod of the core database."""
        return self.pods({"app": "dpe-postgres"})[0]

    def pods(self, labels: Mapping[str, str]) -> list[Object]:
        """Running pods with these labels that are not on their way out."""
        return [
            pod
            for pod in self.kube.list("pod", labels)
            if "deletionTimestamp" not in pod["metadata"] and pod["status"]["phase"] == "Running"
        ]

    def url(self, node: str) -> str:
        """Of the servers, over the port that leads to them on a node."""
        service = self.kube.get("service", f"{SITE}-balancer")
        port = service["spec"]["ports"][0]["nodePort"]
        return f"https://{node_address(self.cluster, node)}:{port}{BASE}"

    def replace(self, pod: Object, *, at_once: bool = False) -> None:
        """Give a pod that was hit a successor, without the growing pause before a restart.

        `at_once`: it gets a second instead of its own time to end.
        """
        found = self.kube.find("pod", pod["metadata"]["name"])
        if found and found["metadata"]["uid"] == pod["metadata"]["uid"]:
            more = ("--grace-period=1",) if at_once else ()
            self.kube.delete("pod", pod["metadata"]["name"], *more, timeout=150)

    def replace_restarted(self, pod: Object) -> None:
        """The same for a pod of which a process was hit, unless its container outlived that."""
        found = self.kube.find("pod", pod["metadata"]["name"])
        if found is None or not same_container_runs(pod, found):
            self.replace(pod)


def node_address(cluster: Kubectl, node: str) -> str:
    """The address under which other machines reach a node."""
    addresses = cluster.get("node", node)["status"]["addresses"]
    return str(next(one["address"] for one in addresses if one["type"] == "InternalIP"))


def same_container_runs(before: Object, after: Object) -> bool:
    """Whether a pod's first container is the one of before, and runs."""
    one, other = (pod["status"]["containerStatuses"][0] for pod in (before, after))
    return one["containerID"] == other.get("containerID") and "running" in other.get("state", {})


class Ours(Subject):
    """A DpeCluster."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.site = Site(self.kube, SITE, self.images, self.folder)
        self._holding: object = None  # epoch and containers of the balancers, as last seen
        self._round = 0

    def make(self) -> None:
        """Apply the DpeCluster: default timings, unlike those of the tests."""
        terminate = self.case.name.endswith("-terminate")
        manifest = dpe_cluster(
            SITE, self.images, farms=(), tls="Terminate" if terminate else "Passthrough"
        )
        server = manifest["spec"]["server"]
        server["loadBalancer"].pop("timings")
        server["health"].pop("timeout")
        server["loadBalancer"]["service"] = {"type": "NodePort"}
        self.site.manifest = manifest
        self.kube.apply(manifest)

    def settle(self) -> None:
        """Ready, both members up, two balancers.

        Pods first, and the balancer's record: just after a fault, what the operator says may still
        be of before.
        """
        eventually(
            self._members_ready, timeout=420, what="each member has one pod, and it is ready"
        )
        eventually(self._both_recorded_up, timeout=420, what="both members are recorded as UP")
        self.kube.wait_ready("dpe", SITE, timeout=420)
        for member in ("a", "b"):
            self.site.wait_member_state(member, "Up", timeout=180)
        balancers = eventually(self._two_balancers, timeout=180, what="two balancers are ready")
        self.site.active()
        now = self._found_whole()
        if (holding := (self.site.epoch(), balancers)) != self._holding:
            self._holding, self._taken_over = holding, now

    def _members_ready(self) -> bool:
        return all(len(self._ready(f"dpe.dev/member={name}")) == 1 for name in ("a", "b"))

    def _both_recorded_up(self) -> bool:
        record = self.kube.find("endpointslice", f"{SITE}-balancer") or {"metadata": {}}
        states = json.loads(record["metadata"].get("annotations", {}).get(_STATES, "{}"))
        return [states.get(name) for name in ("a", "b")] == ["UP", "UP"]

    def _two_balancers(self) -> frozenset[str] | None:
        """The containers of both balancers; None while there are not two that are ready."""
        found = self._ready("app.kubernetes.io/component=balancer")
        return frozenset(found) if len(found) == 2 else None

    def _ready(self, label: str) -> list[str]:
        """Containers of the site's pods with a label that are ready; none of pods that leave."""
        name, _, value = label.partition("=")
        pods = self.pods({"app.kubernetes.io/instance": SITE, name: value})
        states = [pod["status"].get("containerStatuses") or [{}] for pod in pods]
        return [str(one[0].get("containerID")) for one in states if one[0].get("ready")]

    def server(self) -> Object:
        return self.kube.get("pod", self.site.member_pod(self.site.active()))

    def balancer(self) -> Object:
        return self.kube.get("pod", self.site.routed_balancer())

    def standby_balancer(self) -> Object:
        routed = self.site.routed_balancer()
        labels = {"app.kubernetes.io/instance": SITE, "app.kubernetes.io/component": "balancer"}
        return next(pod for pod in self.pods(labels) if pod["metadata"]["name"] != routed)

    def aim(self, scenario: str) -> None:
        if scenario in ("server-node-cut", "drain"):
            self.site.move_routed_balancer_off(self.server()["spec"]["nodeName"])
        elif scenario in cases.BALANCER_NODE_CUTS:
            self.site.move_active_off(self.balancer()["spec"]["nodeName"])
        elif scenario == "balancer-and-server-node-cut" and not self._both_on_one_node():
            # two members and two balancers on three nodes: one node has one of each
            self.kube.delete("pod", self.site.routed_balancer())
            self.settle()
            if not self._both_on_one_node():
                raise AssertionError("no node carries a balancer and a server")
        else:
            return
        self.settle()

    def _both_on_one_node(self) -> bool:
        node = self.balancer()["spec"]["nodeName"]
        for member in ("a", "b"):
            if self.site.node_of_member(member) == node:
                if self.site.active() != member:
                    self.kube.annotate("dpe", SITE, switch_to=member)
                    self.site.wait_active(member)
                return True
        return False

    def switch_count(self) -> int | None:
        """From the balancer's record; patient with an API server that has just come back."""

        def read() -> tuple[int] | None:
            try:
                return (self.site.switch_count(),)
            except (KubectlError, subprocess.TimeoutExpired):
                return None

        return eventually(read, timeout=60, what="the record is read")[0]

    def switch(self) -> None:
        target = self.site.standby()
        self.kube.annotate("dpe", SITE, switch_to=target)
        self.site.wait_active(target)

    def roll(self) -> None:
        self._round += 1
        mark = f"{time.time():.0f}-{self._round}"
        self.site.manifest["spec"]["server"]["podAnnotations"] = {"example.com/round": mark}
        self.kube.apply(self.site.manifest)
        eventually(
            lambda: all(
                self.site.member_annotation(name, "example.com/round") == mark
                for name in ("a", "b")
            ),
            timeout=180,
            what="both members have the new template",
        )


class Baseline(Subject):
    """A pair without this operator."""

    deployments: tuple[str, ...] = ()

    def settle(self) -> None:
        """All deployments complete, nothing on its way out."""
        for name in self.deployments:
            self.kube.run("rollout", "status", f"deployment/{name}", "--timeout=420s", timeout=430)
        eventually(self._nothing_leaves, timeout=420, what="no pod is on its way out", every=2)
        self._found_whole()

    def _nothing_leaves(self) -> bool:
        return not any("deletionTimestamp" in pod["metadata"] for pod in self.kube.list("pod"))

    def roll(self) -> None:
        for name in (one for one in self.deployments if one != "haproxy"):
            self.kube.run("rollout", "restart", f"deployment/{name}")
            self.kube.run("rollout", "status", f"deployment/{name}", "--timeout=180s", timeout=190)


class PlainDeployment(Baseline):
    """A Deployment of two behind a Service; both serve, so either may be hit."""

    deployments = ("server",)

    def make(self) -> None:
        self.kube.apply(*baselines.deployment_subject(self.images))

    def server(self) -> Object:
        return self.pods({"app": "server"})[0]


class DefaultHaproxy(Baseline):
    """Two HAProxy pods behind a Service; server a is active while it is up."""

    deployments = ("member-a", "member-b", "haproxy")

    def make(self) -> None:
        self.kube.apply(*baselines.haproxy_subject(self.images))

    def server(self) -> Object:
        return self.pods({"app": "member-a"})[0]

    def balancer(self) -> Object:
        """One of the two; where possible not the one beside the active server."""
        node = self.server()["spec"]["nodeName"]
        pods = self.pods({"app": "haproxy"})
        return sorted(pods, key=lambda pod: pod["spec"]["nodeName"] == node)[0]

    def aim(self, scenario: str) -> None:
        node = self.server()["spec"]["nodeName"]
        pods = self.pods({"app": "haproxy"})
        beside = [pod for pod in pods if pod["spec"]["nodeName"] == node]
        workers = [item["metadata"]["name"] for item in self.cluster.list("nodes")]
        if scenario in ("server-node-cut", "drain") and beside:
            self._move(beside[0], away_from=[node])
        elif scenario == "balancer-and-server-node-cut" and not beside:
            self._move(pods[0], away_from=[name for name in workers if name != node])

    def _move(self, pod: Object, *, away_from: list[str]) -> None:
        try:
            self.cluster.run("cordon", *away_from)
            self.replace(pod)
            self.settle()
        finally:
            self.cluster.run("uncordon", *away_from)


_KINDS: dict[str, type[Subject]] = {
    "dpe-operator": Ours,
    "dpe-operator-terminate": Ours,
    "deployment": PlainDeployment,
    "haproxy-default": DefaultHaproxy,
}


def subject_of(
    case: cases.Subject, cluster: Kubectl, images: Mapping[str, str], folder: Path
) -> Subject:
    """The subject of that name; nothing is made yet."""
    return _KINDS[case.name](case, cluster, images, folder)
