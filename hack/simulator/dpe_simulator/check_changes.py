# SPDX-License-Identifier: Apache-2.0
"""Rules about watchers: each change of an entry or file starts one workflow, or it is told why not.

Pure. A watcher polls, so a change that a later one has overtaken needs no workflow of its own.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from dpe_simulator.acts import WATCHERS, Component, Effect, Run, Stretch
from dpe_simulator.check_acting import generations, newest_before, torn_by_a_crash
from dpe_simulator.findings import (
    LIMIT,
    TOPOLOGY,
    UNKNOWN,
    ChangeSeen,
    Evidence,
    Expectation,
    Finding,
)
from dpe_simulator.titles import UNCHECKED_MARK

Key = tuple[str, bool]
# Of each process when it acted, and when it waited for an answer meanwhile.
Acted = list[tuple[Sequence[Stretch], Sequence[Stretch]]]


@dataclass(frozen=True)
class Started:
    """A workflow for a change, or its refusal, and the process that asked for it."""

    run: Run
    effect: Effect

    @property
    def change(self) -> Mapping[str, Any]:
        """What it was for: subject, event, version."""
        found: Mapping[str, Any] = self.effect.why["change"]
        return found

    @property
    def key(self) -> Key:
        """Sorts behind those of earlier changes of the same subject."""
        return str(self.change["version"]), self.change["event"] == "Deleted"


def check(component: Component, evidence: Evidence, expectation: Expectation) -> Iterable[Finding]:
    """Judge the changes that one component should have seen; nothing for other roles."""
    if component.role not in WATCHERS:
        return
    head = f"{component.role} {component.name}"
    yield from _doubled(head, component, expectation.clock_tolerance)
    if evidence.changes is None:
        text = f"{head}: what happened to entries and files was not read (--content-dsn)"
        yield Finding(UNKNOWN, "changes-not-read", text)
        return
    yield from _lost(head, component, evidence, expectation)


def started_by(component: Component, kind: str) -> dict[str, list[Started]]:
    """Workflows that were started (or refused), by what they were for, as they were asked for.

    Not as they were made: a server that stood still may carry out the request of a process after
    that of its successor.
    """
    found: defaultdict[str, list[Started]] = defaultdict(list)
    for run in component.runs:
        for effect in run.effects:
            if effect.kind == kind and isinstance(effect.why.get("change"), dict):
                found[str(effect.why["change"]["subject"])].append(Started(run, effect))
    for started in found.values():
        started.sort(key=lambda one: one.effect.sent)
    return found


# doubled


def _doubled(head: str, component: Component, tolerance: float) -> Iterable[Finding]:
    for subject, started in started_by(component, "workflow-created").items():
        same: defaultdict[tuple[object, object], list[Started]] = defaultdict(list)
        for one in started:
            same[one.change["event"], one.change["version"]].append(one)
        for found in same.values():
            for number, second in enumerate(found[1:], 1):
                first = found[number - 1]
                # One request, sent again as its answer was lost, is a rule of its own; it may come
                # after another one's.
                sent_before = {one.effect.request_id for one in found[:number]}
                if second.effect.request_id not in sent_before:
                    told = f"{head}: {first.change['event']} {subject} started"
                    told += f" {first.effect.subject} by {first.run.name}"
                    told += f" and {second.effect.subject} by {second.run.name}"
                    yield _why_twice(told, component, first, second, tolerance)


def _why_twice(
    told: str, component: Component, first: Started, second: Started, tolerance: float
) -> Finding:
    if first.run.epoch is None and first.run.member != second.run.member:
        title = first.effect.title
        if title != second.effect.title or title.startswith(UNCHECKED_MARK):
            text = f"{told}: their titles {title!r} and {second.effect.title!r} keep nobody apart"
            return Finding(TOPOLOGY, "change-doubled", text)
        text = f"{told}: the first had ended before; the title rule guards overlap only"
        return Finding(LIMIT, "overlap-only", text)
    memory = second.run.start.get("memory")
    found = memory.get("found") if isinstance(memory, dict) else None
    if first.run is not second.run:
        if found == "not-kept":
            return Finding(LIMIT, "memory-not-kept", f"{told}: it keeps no memory")
        line = next(runs for runs in component.lines_of_succession() if second.run in runs)
        begun, ended = line.index(first.run), line.index(second.run)
        # The flood after a torn memory may go on in the next process.
        if any(torn_by_a_crash(*two) for two in pairwise(line[begun : ended + 1])):
            return Finding(LIMIT, "change-repeated", f"{told}: the memory between them was torn")
        if _died_in_the_gap(line, first, second, tolerance):
            text = f"{told}: the first one died between the workflow and writing its memory"
            return Finding(LIMIT, "change-repeated", text)
    requests = tuple(one.run.sent(one.effect) for one in (first, second))
    return Finding(TOPOLOGY, "change-doubled", told, requests)


def _died_in_the_gap(
    line: Sequence[Run], first: Started, second: Started, tolerance: float
) -> bool:
    """Whether the first never got to write its memory, and nobody after it was given an old one."""
    begun, ended = line.index(first.run), line.index(second.run)
    if first.run.start.get("order") == "memory-first":
        return False
    before = int(first.effect.why.get("generation") or 0)
    told = max((generation for _, generation in generations(first.run)), default=0)
    newest = newest_before(line, tolerance=tolerance)
    followers = [
        (number, int(memory.get("generation") or 0))
        for number in range(begun + 1, ended + 1)
        if isinstance(memory := line[number].start.get("memory"), dict)
    ]
    # The next one shows what the first had left; those after it may have gone on from there.
    left = next((read for number, read in followers if number == begun + 1), before)
    return (
        first.effect.sent <= second.run.begun + tolerance
        and told <= before == left
        and bool(followers)
        and all(newest[number] <= read for number, read in followers)
    )


# lost


@dataclass(frozen=True)
class _Judged:
    """A change, and the next one of the same subject.

    covered: it has a workflow. overtaken: the next one came so soon that nobody need have seen it.
    """

    change: ChangeSeen
    following: ChangeSeen | None
    covered: bool
    overtaken: bool


def _lost(
    head: str, component: Component, evidence: Evidence, expectation: Expectation
) -> Iterable[Finding]:
    created = started_by(component, "workflow-created")
    refused = started_by(component, "workflow-refused")
    owners = {one.effect.subject: one for found in created.values() for one in found}
    acted, settled = _acted(component), evidence.now - expectation.settle
    for subject, changes in _of_component(component, evidence).items():
        there = created.get(subject, [])
        judged = _judge(changes, there, acted, expectation)
        missing = []
        for number, one in enumerate(judged):
            if one.covered or one.overtaken or one.change.at > settled:
                continue
            if _never_seen(judged[: number + 1]):
                text = f"{head}: {subject} was gone before anybody looked"
                yield Finding(LIMIT, "gone-before-seen", text)
            else:
                missing.append(one)
        if missing and (run := _forgotten(component, missing[-1].change, there)):
            text = f"{head}: {subject} was gone, and {run.name} had begun without a memory of it"
            yield Finding(LIMIT, "deletion-forgotten", text)
            missing.pop()
        for one in missing:
            excuses = _covering(one.change, one.following, refused.get(subject, []), expectation)
            yield _why_lost(head, component, one, excuses, owners)


def _judge(
    changes: Sequence[ChangeSeen], there: Sequence[Started], acted: Acted, expectation: Expectation
) -> list[_Judged]:
    """Judge the changes of one subject."""
    return [
        _Judged(
            change,
            following,
            covered=bool(_covering(change, following, there, expectation)),
            overtaken=following is not None
            and _longest(acted, change.at, following.at) <= expectation.settle,
        )
        for change, following in zip(changes, [*changes[1:], None], strict=True)
    ]


def _acted(component: Component) -> Acted:
    """When each of its processes acted; that nobody follows the last one excuses nothing."""
    found: Acted = [(run.stretches(), run.waits()) for run in component.runs]
    if found:
        stretches, waits = found[-1]
        found[-1] = ([*stretches, (component.runs[-1].last, math.inf)], waits)
    return found


def _longest(acted: Acted, begin: float, end: float) -> float:
    """The longest time within two moments (seconds) for which one process could have looked."""

    def within(stretches: Sequence[Stretch]) -> float:
        return sum(max(0.0, min(until, end) - max(since, begin)) for since, until in stretches)

    return max((within(stretches) - within(waits) for stretches, waits in acted), default=0.0)


def _of_component(component: Component, evidence: Evidence) -> dict[str, list[ChangeSeen]]:
    """The changes that it should have seen, by subject, the earliest first."""
    sources = {run.start.get("source") for run in component.runs}
    begun = _looks_since(component)
    found: defaultdict[str, list[ChangeSeen]] = defaultdict(list)
    for change in evidence.changes or ():
        if change.source in sources:
            found[change.subject].append(change)
    own = {}
    for subject, changes in found.items():
        changes.sort(key=lambda one: one.at)
        former = [one for one in changes if one.at <= begun]
        # What was deleted before anybody looked is nobody's, and what was remembered at first too.
        nobodys = former and (former[-1].event == "Deleted" or _remembers(component))
        own[subject] = changes[len(former) if nobodys else 0 :]
    return {subject: changes for subject, changes in own.items() if changes}


def _remembers(component: Component) -> bool:
    return bool(component.runs) and component.runs[0].start.get("firstStart") == "remember"


def _looks_since(component: Component) -> float:
    """When it began to look; where it remembers what is there at first, when it had done so."""
    if _remembers(component):
        for line in component.runs[0].of("memory-written"):
            if "change" not in line.detail:
                return line.at
    return component.runs[0].begun if component.runs else 0.0


def _key(change: ChangeSeen) -> Key:
    return change.version, change.event == "Deleted"


def _covering(
    change: ChangeSeen, following: ChangeSeen | None, started: Sequence[Started],
    expectation: Expectation,
) -> list[Started]:  # fmt: skip
    """Those that were for this change, or for one between it and the next that was noted."""
    tolerance, key = expectation.clock_tolerance, _key(change)
    return [
        one
        for one in started
        if one.key == key
        or (one.key > key and (following is None or one.key < _key(following)))
        # A file that is gone is told with the last version that was seen of it.
        or (
            change.event == one.change["event"] == "Deleted"
            and one.effect.at >= change.at - tolerance
            and (following is None or one.effect.sent <= following.at + tolerance)
        )
    ]


def _never_seen(judged: Sequence[_Judged]) -> bool:
    """Whether the last change is the end of something that nobody need have seen alive."""
    *alive, last = judged
    former = [number for number, one in enumerate(alive, 1) if one.change.event == "Deleted"]
    life = alive[former[-1] if former else 0 :]
    return last.change.event == "Deleted" and all(one.overtaken and not one.covered for one in life)


def _forgotten(component: Component, change: ChangeSeen, there: Sequence[Started]) -> Run | None:
    """The run that could not tell a deletion: its memory knew nothing of what was gone.

    By a crash that tore it, by one between the last workflow and its memory, or as it keeps none.
    """
    if change.event != "Deleted" or not there:
        return None
    last = max(there, key=lambda one: one.effect.at)
    for line in component.lines_of_succession():
        for run, following in pairwise(line):
            if run is last.run and _never_remembered(last, following):
                return following
    for before, run in pairwise(component.runs):
        memory = run.start.get("memory")
        kept = isinstance(memory, dict) and memory.get("found") != "not-kept"
        if run.begun > last.effect.at and (torn_by_a_crash(before, run) or not kept):
            return run
    return None


def _never_remembered(last: Started, following: Run) -> bool:
    """Whether a run died between a workflow and writing its memory, as the next one's shows."""
    memory = following.start.get("memory")
    before = int(last.effect.why.get("generation") or 0)
    told = max((generation for _, generation in generations(last.run)), default=0)
    return (
        last.run.start.get("order") != "memory-first"
        and isinstance(memory, dict)
        and told <= before == int(memory.get("generation") or 0)
    )


def _why_lost(
    head: str, component: Component, judged: _Judged, refusals: Sequence[Started],
    owners: Mapping[str, Started],
) -> Finding:  # fmt: skip
    change = judged.change
    told = f"{head}: {change.event} {change.subject} at {change.at:.3f} has no workflow"
    if refusals:
        return _refusal(told, refusals[0], owners)
    for run, following in pairwise([*component.runs, None]):
        assert run is not None
        failed = [line for line in run.of("start-failed") if _is_about(line.detail, change)]
        if failed and run.start.get("order") == "memory-first":
            text = f"{told}: it was remembered, and then {failed[-1].detail['problem']}"
            return Finding(TOPOLOGY, "change-lost", text)
        if run.start.get("order") == "memory-first" and _died_remembering(run, following, change):
            text = f"{told}: {run.name} died between writing its memory and the workflow"
            return Finding(LIMIT, "effect-lost", text)
    return Finding(TOPOLOGY, "change-lost", told)


def _refusal(told: str, one: Started, owners: Mapping[str, Started]) -> Finding:
    owner = owners.get(one.effect.subject)
    whose = f" for {owner.change['event']} {owner.change['subject']}" if owner else ""
    text = f"{told}: {one.effect.subject}{whose} had the title {one.effect.title!r} and was open"
    return Finding(LIMIT, "title-refused", text)


def _is_about(detail: Mapping[str, Any], change: ChangeSeen) -> bool:
    told = detail.get("change")
    if not isinstance(told, dict) or told["subject"] != change.subject:
        return False
    # A watcher that sees an entry for the first time says Created, whatever was done to it before.
    gone = (told["event"] == "Deleted", change.event == "Deleted")
    return all(gone) or (told["version"] == change.version and not any(gone))


def _died_remembering(run: Run, following: Run | None, change: ChangeSeen) -> bool:
    """Whether it wrote down the change, by its own word or by its successor's memory."""
    written = run.of("memory-written")
    if any(_is_about(line.detail, change) for line in written):
        return not _went_on(run, change)
    memory = following.start.get("memory") if following else None
    if not isinstance(memory, dict) or run.stopped:
        return False
    known = max((generation for _, generation in generations(run)), default=0)
    return int(memory.get("generation") or 0) == known + 1 and change.at <= run.last + 10.0


def _went_on(run: Run, change: ChangeSeen) -> bool:
    """Whether it worked off another change after it: then it did not die of this one."""
    at = min(line.at for line in run.of("memory-written") if _is_about(line.detail, change))
    return any(line.at > at for line in run.of("memory-written"))
