# SPDX-License-Identifier: Apache-2.0
"""Rules about who acted: one at a time, epochs that rise, memory that is carried over. Pure."""

from collections.abc import Iterable, Sequence
from itertools import combinations

from dpe_simulator.acts import Component, Run
from dpe_simulator.findings import LIMIT, TOPOLOGY, Expectation, Finding, Request


def check(component: Component, expectation: Expectation) -> Iterable[Finding]:
    """Judge the processes of one component."""
    yield from _two_acting(component, expectation.clock_tolerance)
    yield from _epochs(component)
    yield from _members_twice(component, expectation.clock_tolerance)
    for runs in component.lines_of_succession():
        yield from _memories(component, runs, expectation.clock_tolerance)


def overlap(run: Run, runs: Sequence[Run]) -> tuple[float, Run | None]:
    """How long a run acted after the first act of a later epoch (seconds), and of which one."""
    later = [one for one in runs if (one.epoch or 0) > (run.epoch or 0)]
    if not later:
        return 0.0, None
    first = min(later, key=lambda one: one.begun)
    return max(0.0, run.last - first.begun), first


def _two_acting(component: Component, tolerance: float) -> Iterable[Finding]:
    for run in component.standby:
        seconds, other = overlap(run, component.standby)
        if other is None:
            continue
        if seconds > tolerance:
            text = (
                f"{component.role} {component.name}: {run.name} acted for {seconds:.3f} s after "
                f"{other.name} had begun at {other.begun:.3f}"
            )
            yield Finding(TOPOLOGY, "two-acting", text)
        for effect in run.effects:
            if effect.at > other.begun + tolerance >= effect.sent:
                text = (
                    f"{component.role} {component.name}: {effect.kind} {effect.subject} of "
                    f"{run.name} was sent at {effect.sent:.3f} and done at {effect.at:.3f}, when "
                    f"{other.name} acted already: nobody can call a request back"
                )
                yield Finding(LIMIT, "late-effect", text)


def _epochs(component: Component) -> Iterable[Finding]:
    highest: Run | None = None
    for run in component.standby:
        if highest is not None and (run.epoch or 0) <= (highest.epoch or 0):
            text = (
                f"{component.role} {component.name}: {run.name} began at {run.begun:.3f}, after "
                f"{highest.name} at {highest.begun:.3f}: every start must have a higher epoch"
            )
            yield Finding(TOPOLOGY, "epoch-backwards", text, at=run.begun)
        else:
            highest = run


def _members_twice(component: Component, tolerance: float) -> Iterable[Finding]:
    """No Lease guards a Concurrent member: a twin may live on a node that is cut off."""
    members = [run for run in component.runs if run.epoch is None and run.member is not None]
    for first, second in combinations(members, 2):
        seconds = min(first.last, second.last) - max(first.begun, second.begun)
        if first.member == second.member and seconds > tolerance:
            text = (
                f"{component.role} {component.name}: member {first.member} acted twice for "
                f"{seconds:.3f} s, as {first.process} and {second.process}"
            )
            yield Finding(LIMIT, "member-twice", text)


def torn_by_a_crash(before: Run, run: Run) -> bool:
    """Whether a run found a memory that the one before it died writing over."""
    memory = run.start.get("memory")
    torn = isinstance(memory, dict) and memory.get("found") == "torn"
    return torn and before.start.get("writes") == "in-place" and not before.stopped


def generations(run: Run) -> list[tuple[float, int]]:
    """When this run is known to have had which generation of its memory."""
    memory = run.start.get("memory")
    read = [(run.begun, int(memory.get("generation") or 0))] if isinstance(memory, dict) else []
    written = [(line.at, int(line.detail["generation"])) for line in run.of("memory-written")]
    # A change that was worked off with a memory proves that there was one.
    used = [(effect.sent, int(effect.why.get("generation") or 0)) for effect in run.effects]
    return [*read, *written, *used]


def newest_before(runs: Sequence[Run], *, tolerance: float) -> list[int]:
    """For each run the newest generation that is known to have been there before it began.

    A run that began with less, or with nothing, begins a new memory: what was before it counts no
    more for those that follow.
    """
    known = sorted(
        (at, number, generation)
        for number, run in enumerate(runs)
        for at, generation in generations(run)
    )
    found, base, newest, place = [], 0, 0, 0
    for number, run in enumerate(runs):
        while place < len(known) and known[place][0] < run.begun - tolerance:
            _, owner, generation = known[place]
            newest = max(newest, generation) if owner >= base else newest
            place += 1
        found.append(newest)
        memory = run.start.get("memory")
        if isinstance(memory, dict) and int(memory.get("generation") or 0) < newest:
            base, newest = number, 0
    return found


def _memories(component: Component, runs: Sequence[Run], tolerance: float) -> Iterable[Finding]:
    newest = newest_before(runs, tolerance=tolerance)
    for number, run in enumerate(runs):
        memory = run.start.get("memory")
        if not isinstance(memory, dict) or memory.get("found") not in ("read", "absent", "torn"):
            continue
        if int(memory.get("generation") or 0) < newest[number]:
            yield _stale(component, run, memory, newest=newest[number], before=runs[number - 1])


def _stale(
    component: Component, run: Run, memory: dict[str, object], *, newest: int, before: Run
) -> Finding:
    head = f"{component.role} {component.name}: {run.name} began"
    tail = f"generation {newest} had been written before"
    if memory["found"] == "torn":
        if torn_by_a_crash(before, run):
            text = f"{head} without memory: {before.name} died while it wrote over the file; {tail}"
            return Finding(LIMIT, "memory-torn", text)
        text = f"{head} with a torn memory, which its writer only ever renames into place; {tail}"
        return Finding(TOPOLOGY, "stale-memory", text)
    if memory["found"] == "absent":
        return Finding(TOPOLOGY, "memory-lost", f"{head} without any memory; {tail}")
    read = f"generation {memory['generation']} of epoch {memory.get('epoch')}"
    # the first thing that was written and not read: by somebody who should have acted no more?
    unread = [
        Request(before.process, before.member or "", at)
        for at, generation in sorted(generations(before))
        if generation > int(str(memory["generation"]))
    ]
    text = f"{head} with {read}, though {tail}"
    return Finding(TOPOLOGY, "stale-memory", text, tuple(unread[:1]))
