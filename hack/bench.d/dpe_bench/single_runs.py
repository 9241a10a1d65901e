# SPDX-License-Identifier: Apache-2.0
"""One run with a singleton: who acts is taken away, and the ledger says what came of it."""

from __future__ import annotations

import math
import random
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from tests.e2e.kubectl import Object
from tests.e2e.workflow import log_on_node

from dpe_bench import exact, machines
from dpe_bench.cases import Item
from dpe_bench.lease_watch import LeaseWatch
from dpe_bench.ledger import Simulator, Start
from dpe_bench.single_figures import overlap_figures, verdict
from dpe_bench.single_subjects import Singleton
from dpe_simulator import checker
from dpe_simulator.findings import Evidence

# Changes come this often; whoever acts has to start a workflow for each.
_CHANGE_EVERY = "500ms"
_BEFORE_SECONDS = 4
_AFTER_SECONDS = 6
# A watcher looks every second; then a change without a workflow is lost.
_SETTLE_SECONDS = 8.0
_BACKLOG_SECONDS = 180
# What `cat` says.
_GONE = "No such file or directory"


@dataclass(frozen=True)
class Hit:
    """What a fault works with; its repairs are given away before anything is broken.

    `repair`: as soon as the clients have ended. `later`: once the evidence is read, for what would
    take away who acts by then.
    """

    subject: Singleton
    pod: Object
    repair: ExitStack
    later: ExitStack


@dataclass(frozen=True)
class Seen:
    """What was seen of a fault: when it struck, who began then, what the one that was hit wrote
    until `until`, and when it gave the Lease back, if that is what counts."""

    struck: float
    begun: Start | None
    lines: list[str]
    until: float
    released: float | None


def take(subject: Singleton, item: Item, seed: int) -> dict[str, Any]:
    """Take one run; return what the raw file keeps of it."""
    scenario = item.scenario.name
    acting = subject.acting(scenario)
    component, began_at = subject.component(scenario), time.time()
    with ExitStack() as later:
        hit = Hit(subject, subject.kube.get("pod", acting.pod), ExitStack(), later)
        seen = _struck(hit, item, acting, seed)
        # what a healed node still does belongs to the run
        subject.ledger.wait_quiet(seconds=_SETTLE_SECONDS + 2, within=_BACKLOG_SECONDS)
        evidence = subject.ledger.evidence(since=began_at, component_lines=seen.lines)
    _require_known(evidence, acting)
    origin = seen.struck if seen.released is None else seen.released
    end = seen.begun.at if seen.begun else seen.until
    overlap = overlap_figures(
        evidence.entries, component, begun=seen.begun.at if seen.begun else math.inf,
        seen_until=seen.until,
    )  # fmt: skip
    figures = {
        "gap_ms": round((end - origin) * 1000, 1),
        "gap_is_over": seen.begun is not None,
        "from_fault_ms": round((end - seen.struck) * 1000, 1),
        "counted_from": "fault" if seen.released is None else "release",
        "memory": _memory(evidence, seen.begun),
        **overlap,
    }
    return {"figures": figures, **verdict(_judge(evidence, component))}


def _struck(hit: Hit, item: Item, acting: Start, seed: int) -> Seen:
    """Break what the scenario says while the table changes, wait for who begins, and repair it."""
    subject, scenario, seconds = hit.subject, item.scenario.name, item.load_seconds
    deleted = scenario == "singleton-delete"
    with hit.repair as repair:
        repair.enter_context(_changes(subject, scenario, seconds=seconds))
        leases = repair.enter_context(LeaseWatch(subject.kube, subject.component(scenario)))
        # not always at the same point between two renewals of the Lease
        time.sleep(_BEFORE_SECONDS + random.Random(seed).uniform(0, 2))
        struck = FAULTS[scenario](hit)
        begun = _wait_start(subject, scenario, acting, after=struck, seconds=seconds)
        time.sleep(_AFTER_SECONDS)
        if scenario == "singleton-frozen":
            exact.thaw(hit.pod["spec"]["nodeName"])
            time.sleep(_AFTER_SECONDS)
        lines, until = _log(hit.pod, removed=deleted), time.time()
        released = leases.released_after(struck) if deleted else None
    return Seen(struck, begun, lines, until, released)


def _judge(evidence: Evidence, component: str) -> list[checker.Finding]:
    wanted = checker.Expectation(settle=_SETTLE_SECONDS, components=frozenset({component}))
    return checker.check(evidence, wanted)


def _memory(evidence: Evidence, begun: Start | None) -> str:
    """What the new one found of its memory: read, absent, torn; unknown without a new one."""
    for entry in evidence.entries:
        if begun and entry.process == begun.process and entry.kind == "start":
            memory = entry.detail.get("memory")
            return str(memory.get("found")) if isinstance(memory, dict) else "none"
    return "unknown"


def _changes(subject: Singleton, scenario: str, *, seconds: float) -> Simulator:
    rounds = int(seconds) * 4  # ended with the block at the latest
    return Simulator(
        "entries", f"--content-dsn={subject.ledger.dsn}", f"--table={subject.name(scenario)}",
        "--add=1", f"--rounds={rounds}", f"--every={_CHANGE_EVERY}",
    )  # fmt: skip


def _wait_start(
    subject: Singleton, scenario: str, old: Start, *, after: float, seconds: float
) -> Start | None:
    """Wait for the first process of the component that begins; None: nobody did in time."""
    end, component = time.monotonic() + seconds, subject.component(scenario)
    while time.monotonic() < end:
        found = subject.ledger.first_start(
            subject.role, component, after=after, besides=old.process
        )
        if found:
            return found
        time.sleep(0.5)
    return None


def _log(pod: Object, *, removed: bool) -> list[str]:
    """What the old one wrote on its node, which alone tells what it does while that is cut off.

    Args:
        pod: its pod.
        removed: whether it was deleted. Its log may be gone with it then, and it had the time to
            send its last lines.

    Raises:
        SubprocessError: the log cannot be read; OSError too.
        RuntimeError: it is empty.
    """
    try:
        lines = [text for _, text in log_on_node(pod)]
    except subprocess.CalledProcessError as problem:
        if removed and _GONE in (problem.stderr or ""):
            return []
        raise
    if not lines and not removed:
        raise RuntimeError(f"the log of {pod['metadata']['name']} is empty")
    return lines


def _require_known(evidence: Evidence, old: Start) -> None:
    """Refuse a run of which nobody knows what the one that acted did: it would look like nothing.

    Raises:
        RuntimeError: there is not a line of it.
    """
    if all(entry.process != old.process for entry in evidence.entries):
        raise RuntimeError(f"nothing that {old.process} did is in the ledger, though it acted")


# Faults: each returns its moment


def crash(hit: Hit) -> float:
    # Not before: its container is started again, and may be the one that acts by then. Without a
    # release nobody would act for a Lease more, and what changes meanwhile would count as lost.
    hit.later.callback(hit.subject.replace, hit.pod)
    found = exact.command_processes(hit.pod, "dpe-simulator")
    if not found:
        raise RuntimeError(f"no command found in {hit.pod['metadata']['name']}")
    return exact.kill(found)


def delete(hit: Hit) -> float:
    struck = time.time()
    hit.subject.kube.run("delete", "pod", hit.pod["metadata"]["name"], "--wait=false")
    return struck


def node_cut(hit: Hit) -> float:
    cable = exact.Cable(hit.pod["spec"]["nodeName"])
    hit.repair.callback(machines.wait_nodes, hit.subject.cluster)
    hit.repair.callback(cable.plug)
    return cable.pull()


def frozen(hit: Hit) -> float:
    node = hit.pod["spec"]["nodeName"]
    hit.repair.callback(machines.wait_nodes, hit.subject.cluster)
    hit.repair.callback(exact.thaw, node)
    return exact.freeze(node)


FAULTS: dict[str, Callable[[Hit], float]] = {
    "singleton-crash": crash,
    "singleton-delete": delete,
    "singleton-node-cut": node_cut,
    "singleton-node-cut-fast": node_cut,
    "singleton-frozen": frozen,
}
