# SPDX-License-Identifier: Apache-2.0
"""Carries a moment out: one fault or two, each of which ends by itself and is undone."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dpe_bench import exact, machines
from tests.chaos.faults import NotDone
from tests.chaos.freezing import Freezer, send
from tests.chaos.kind import pods
from tests.chaos.kind.cluster import TROUBLE, Ground, tool
from tests.chaos.kind.hits import Hit
from tests.chaos.kind.plan import KINDS, Moment
from tests.chaos.kind.site import BusySite
from tests.chaos.kind.snapshot import Snapshot, is_ready
from tests.chaos.plan import Fault
from tests.e2e import processes
from tests.e2e.kubectl import Object, eventually
from tests.support.elector_pods import boot


@dataclass
class Strike:
    """What an action works with. `begun` is called when the fault begins, after all preparation.

    pod: who is struck; None: nobody in particular. node: the machine.
    """

    ground: Ground
    busy: BusySite
    fault: Fault
    hit: Hit
    pod: Object | None
    snapshot: Snapshot
    begun: Callable[[], None]
    freezer: Freezer

    @property
    def seconds(self) -> float:
        """For how long."""
        return self.fault.seconds

    @property
    def struck(self) -> Object:
        """The pod; NotDone: there is none at the moment."""
        if self.pod is None:
            raise NotDone(f"no pod of {self.fault.component} is there")
        return self.pod

    @property
    def name(self) -> str:
        """Of the pod."""
        return str(self.struck["metadata"]["name"])


@dataclass
class Faults:
    """Plays moments; `hits` is what was done, `not_done` what there was nothing to do to."""

    ground: Ground
    busy: BusySite
    hits: list[Hit] = field(default_factory=list)
    not_done: list[Hit] = field(default_factory=list)
    freezer: Freezer = field(default_factory=Freezer)

    def play(self, moment: Moment) -> list[Hit]:
        """Carry it out; returns when its faults are over and undone."""
        start = time.monotonic()
        # kubectl takes long to give up asking an API server that is away
        blind = any(fault.kind == "API server away" for fault in moment.faults)
        seen = self._look() if blind else None
        with ThreadPoolExecutor(max_workers=2) as threads:
            running = [threads.submit(self._strike, fault, start, seen) for fault in moment.faults]
        return [one.result() for one in running]

    def _strike(self, fault: Fault, start: float, seen: Snapshot | None) -> Hit:
        time.sleep(max(0.0, start + fault.at - time.monotonic()))
        hit = Hit(fault)
        try:
            self._carry_out(fault, hit, seen or self._look())
        except NotDone as problem:
            hit.problem = str(problem)
        except Exception as problem:  # whatever it is: it was not done as planned, and is told
            hit.problem = repr(problem)[:600]
        hit.ended = boot()
        (self.hits if hit.begun else self.not_done).append(hit)
        return hit

    def _carry_out(self, fault: Fault, hit: Hit, snapshot: Snapshot) -> None:
        pod = snapshot.target(fault.component, fault.role) if fault.component else None
        if KINDS[fault.kind].node:
            if pod is None:
                raise NotDone(f"no pod of {fault.component} is there")
            hit.node = pod["spec"].get("nodeName", "")
            if hit.node not in snapshot.workers():
                raise NotDone(f"{hit.node or 'no node'} is no worker")
            hit.pods = snapshot.on_node(hit.node)
        elif fault.kind == "ServiceAccount deleted":
            own = snapshot.of(snapshot.part(fault.component))
            hit.pods = {one["metadata"]["name"]: fault.component for one in own}
        elif pod is not None and fault.role != "all":
            hit.pod = pod["metadata"]["name"]
            hit.pods = {hit.pod: fault.component}

        def begun() -> None:
            hit.begun = boot()

        strike = Strike(self.ground, self.busy, fault, hit, pod, snapshot, begun, self.freezer)
        _ACTIONS[fault.kind](strike)

    def _look(self) -> Snapshot:
        """What there is now, or was when the API server last answered."""
        try:
            return self.ground.look()
        except TROUBLE:
            return self.ground.last


# --- pods


def _delete(strike: Strike) -> None:
    at_once = ("--grace-period=0", "--force") if strike.fault.detail == "at once" else ()
    kube, name = strike.ground.kubectl_of(strike.struck), strike.name
    strike.begun()
    kube.run("delete", "pod", name, "--wait=false", "--ignore-not-found", *at_once)


def _kill(strike: Strike) -> None:
    pids = pods.processes(strike.struck).of(strike.fault.detail)
    if not pids:
        raise NotDone(f"{strike.name} has no such process at the moment")
    strike.begun()
    send(pids, signal.SIGKILL)


def _stop(strike: Strike) -> None:
    pids = pods.processes(strike.struck).of(strike.fault.detail)
    if not pids:
        raise NotDone(f"{strike.name} has no such process at the moment")
    strike.begun()
    strike.freezer.hold(pids, strike.seconds, random.Random(strike.fault.order))


def _lose_packets(strike: Strike) -> None:
    node = strike.struck["spec"]["nodeName"]
    strike.begun()
    try:
        processes.lose_packets(strike.struck, 0.01)
        time.sleep(strike.seconds)
    finally:
        processes.lose_no_packets(node)


# --- machines


def _cut(strike: Strike) -> None:
    cable = exact.Cable(strike.hit.node)
    strike.begun()
    try:
        cable.pull()
        time.sleep(strike.seconds)
    finally:
        cable.plug()


def _freeze(strike: Strike) -> None:
    strike.begun()
    try:
        exact.freeze(strike.hit.node)
        time.sleep(strike.seconds)
    finally:
        exact.thaw(strike.hit.node)


def _cut_power(strike: Strike) -> None:
    strike.begun()
    try:
        tool("hack/cluster", "kill", strike.hit.node)
        time.sleep(strike.seconds)
    finally:
        tool("hack/cluster", "start", strike.hit.node)


def _drain(strike: Strike) -> None:
    node, kube = strike.hit.node, strike.busy.cluster
    flags = ("--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=120s")
    strike.begun()
    try:
        kube.run("drain", node, *flags, timeout=130)
    finally:
        kube.run("uncordon", node)


# --- what the API server keeps, and planned work


def _delete_lease(strike: Strike) -> None:
    strike.begun()
    strike.busy.kube.run("delete", "lease", strike.fault.component, "--wait=false")


def _delete_account(strike: Strike) -> None:
    """No token of before is good any more: the operator makes the account again and replaces the
    pods, one after the other."""
    kube, name = strike.busy.kube, strike.fault.component
    former = kube.get("serviceaccount", name)["metadata"]["uid"]
    strike.begun()
    kube.run("delete", "serviceaccount", name)
    eventually(
        lambda: ((kube.find("serviceaccount", name) or {}).get("metadata") or {}).get("uid")
        not in (None, former),
        timeout=60, what=f"ServiceAccount {name} is made again",
    )  # fmt: skip
    former_pods = list(strike.hit.pods)

    def replaced() -> bool:
        snapshot = strike.ground.look()
        pods_now = [one for one in snapshot.of(snapshot.part(name)) if is_ready(one)]
        new = sum(one["metadata"]["name"] not in former_pods for one in pods_now)
        return new >= len(former_pods)

    eventually(replaced, timeout=300, every=1, what=f"the pods of {name} are replaced")


def _switch(strike: Strike) -> None:
    strike.begun()
    strike.busy.switch()


def _roll(strike: Strike) -> None:
    strike.begun()
    strike.busy.roll(strike.fault.component, f"r{strike.fault.order}")


# --- the site


def _freeze_database(strike: Strike) -> None:
    (database,) = (
        pod for pod in strike.snapshot.pods
        if pod["metadata"].get("labels", {}).get("app") == "dpe-postgres"
    )  # fmt: skip
    pids = pods.processes(database).of("all")
    strike.begun()
    strike.freezer.hold(pids, strike.seconds, random.Random(strike.fault.order))


def _stop_api(strike: Strike) -> None:
    plane = strike.ground.control_plane
    strike.begun()
    try:
        machines.stop_api_server(plane)
        time.sleep(strike.seconds)
    finally:
        machines.start_api_server(plane)
        machines.wait_api_server(strike.busy.cluster)


_ACTIONS: dict[str, Callable[[Strike], None]] = {
    "pod deleted": _delete,
    "process killed": _kill,
    "process stopped": _stop,
    "node cut off": _cut,
    "node frozen": _freeze,
    "node power cut": _cut_power,
    "node drained": _drain,
    "Lease deleted": _delete_lease,
    "ServiceAccount deleted": _delete_account,
    "planned switch": _switch,
    "rolling update": _roll,
    "database frozen": _freeze_database,
    "API server away": _stop_api,
    "packets lost": _lose_packets,
}
