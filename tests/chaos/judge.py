# SPDX-License-Identifier: Apache-2.0
"""Judges a round from ledger, journals and the history of the Leases. Pure.

violation: the topology broke its promise; must be none. explained: what closed DPE's limits or
something outside the promise cost, one line each.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.chaos.acting import (
    STOPS_SECONDS,
    THAWS_SECONDS,
    Acting,
    Overlap,
    overlaps,
    without_freezes,
)
from tests.chaos.faults import Struck
from tests.chaos.frontend import BALANCER, SERVERS
from tests.chaos.history import Asked, Version

from dpe_elector.timings import EARLY_PAUSE, PROFILES
from dpe_simulator import checker

# Rules of the checker by what they say about a workflow.
LOST = {
    "workflow-lost", "workflow-stuck", "job-lost", "change-lost", "trigger-lost", "memory-lost",
}  # fmt: skip
DOUBLED = {
    "workflow-doubled", "title-rule", "job-ended-twice", "job-doubled", "change-doubled",
    "trigger-doubled",
}  # fmt: skip
_STOPPED = {"guard frozen", "pod frozen"}
AFTER_THAW = "after-thaw"
# Stretches that lie no further apart count as one: single acts of a busy machine are no fault each.
_TOGETHER_SECONDS = 1.0
_EPOCH_RESET = {"Lease deleted", "Lease edited", "Lease restored"}
# What keeps a pod from renewing its Lease, or takes that away from it: of the pod itself, of its
# component, of all. Only beside one of these a guard that is stopped lets two act.
_NOT_RENEWED_BY_POD = {"API connection cut", "token invalid", "elector frozen", "elector killed"}
_NOT_RENEWED_BY_COMPONENT = {*_EPOCH_RESET, "clock jumped"}
_NOT_RENEWED_BY_ANY = {"API server frozen", "API server away"}
# So long a client tries.
_RETRY_SECONDS = 25.0
# By so much the clock of the electors and that of the audit log may drift apart within a Lease's
# duration: one is set by the machine's time service, at most by 0.05 %, the other is not.
_CLOCK_SECONDS = 0.01
# The rule that excuses something, and its text.
_Why = tuple[str, str]


@dataclass
class Verdict:
    """What was found. overlap_ms: the longest of the violations; thaw_ms: after a thaw. timed:
    take-overs of a Lease that was held whose times are known; early: Leases of balancers that were
    broken early, as they may be."""

    workflows: int = 0
    violations: list[str] = field(default_factory=list)
    explained: list[tuple[str, str]] = field(default_factory=list)
    lost: int = 0
    doubled: int = 0
    overlap_ms: float = 0.0
    thaw_ms: list[float] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    take_overs: int = 0
    timed: int = 0
    early: int = 0
    versions: int = 0

    def add(self, other: Verdict) -> None:
        """Add the verdict of another round."""
        self.workflows += other.workflows
        self.violations += other.violations
        self.explained += other.explained
        self.lost += other.lost
        self.doubled += other.doubled
        self.overlap_ms = max(self.overlap_ms, other.overlap_ms)
        self.thaw_ms += other.thaw_ms
        self.unknown += other.unknown
        self.take_overs += other.take_overs
        self.timed += other.timed
        self.early += other.early
        self.versions += other.versions

    def explained_by_rule(self) -> dict[str, int]:
        """How many were explained, by rule."""
        return dict(sorted(Counter(rule for rule, _ in self.explained).items()))


# --- who acted


def judge_overlaps(
    acting: Iterable[Acting], struck: Sequence[Struck], verdict: Verdict, *, thaw_bound: float
) -> None:
    """Sort in when two acted: a violation, the moments after a thaw, or a guard that was stopped.

    Each stretch is judged by itself: what excuses one of them excuses no other of the same two. Only
    then stretches of the same two that are judged alike, and are close together, count as one.

    thaw_bound: seconds for which a pod that was frozen may act on after its thaw.
    """
    found: dict[tuple[frozenset[str], _Why | None], list[list[Overlap]]] = {}
    for one in overlaps(without_freezes(acting, struck)):
        pods = {one.first.pod, one.second.pod}
        why = _stopped(pods, one.start, one.end, struck, thaw_bound=thaw_bound)
        alike = found.setdefault((one.runs, why), [])
        if not alike or one.start - alike[-1][-1].end > _TOGETHER_SECONDS:
            alike.append([])
        alike[-1].append(one)
    for (_, why), alike in found.items():
        for stretches in alike:
            _put_down(stretches, why, struck, verdict)


def _put_down(
    stretches: Sequence[Overlap], why: _Why | None, struck: Sequence[Struck], verdict: Verdict
) -> None:
    """Put down for how long two acted; `why` excuses it."""
    one, end = stretches[0], stretches[-1].end
    ms = sum(stretch.seconds for stretch in stretches) * 1000
    told = (
        f"{one.first.component}: {one.first.run} and {one.second.run} acted both for {ms:.1f} ms, "
        f"from {one.start:.3f} to {end:.3f}"
    )
    if why is not None:
        rule, text = why
        if rule == AFTER_THAW:
            verdict.thaw_ms.append(ms)
        verdict.explained.append((rule, f"{told}, {text}"))
        return
    verdict.overlap_ms = max(verdict.overlap_ms, ms)
    pods = {one.first.pod, one.second.pod}
    near = [hit for hit in struck if hit.pod in pods and hit.begun <= end <= hit.ended + 15]
    faults = "; ".join(f"{hit.fault.kind} {hit.begun:.2f}-{hit.ended:.2f}" for hit in near)
    verdict.violations.append(f"two-acting: {told} (faults: {faults})")


def _stopped(
    pods: Collection[str], start: float, end: float, struck: Sequence[Struck], *, thaw_bound: float
) -> _Why | None:
    """Why one of the pods may have acted from `start` to `end` (boot time) beside its successor:
    it had just been thawed, or its guard was stopped while it could not renew; rule and text."""
    for one in struck:
        if one.fault.kind not in _STOPPED or one.pod not in pods or end > one.ended + thaw_bound:
            continue
        if one.fault.kind == "pod frozen":
            if one.ended - THAWS_SECONDS <= start:
                return AFTER_THAW, f"after {one.pod} was thawed at {one.ended:.3f}"
        elif one.begun <= start and _lost_its_lease(one, struck):
            return (
                "guard-stopped",
                f"while the guard of {one.pod} was stopped and its command was not",
            )
    return None


def _lost_its_lease(stopped: Struck, struck: Sequence[Struck]) -> bool:
    """Whether something else kept the pod of a stopped guard from renewing its Lease meanwhile."""
    for one in struck:
        if one.begun > stopped.ended or one.ended < stopped.begun - STOPS_SECONDS:
            continue
        kind, component = one.fault.kind, one.fault.component
        if kind in _NOT_RENEWED_BY_ANY:
            return True
        if kind in _NOT_RENEWED_BY_POD and one.pod == stopped.pod:
            return True
        if kind in _NOT_RENEWED_BY_COMPONENT and component == stopped.fault.component:
            return True
    return False


# --- the checker's findings


def judge_findings(
    findings: Iterable[checker.Finding],
    struck: Sequence[Struck],
    verdict: Verdict,
    *,
    failed: Mapping[str, Sequence[float]] | None = None,
    offset: float,
    thaw_bound: float,
) -> None:
    """Sort the checker's findings in.

    failed: by component, when (boot time) it gave up a request that nobody had answered.
    offset: what to add to the times of the findings to get the boot time.
    thaw_bound: seconds for which a pod that was frozen may act on after its thaw.
    """
    for finding in findings:
        text = f"{finding.rule}: {finding.text}"
        if finding.rule in ("member-changes", "old-member"):
            continue  # judge_switches tells which of them were recorded
        if finding.kind == checker.UNKNOWN:
            verdict.unknown.append(text)
        elif finding.kind == checker.LIMIT:
            verdict.explained.append((finding.rule, finding.text))
        elif finding.rule == "two-acting":
            # Told by epochs, which begin anew with a Lease that was deleted or edited. Who acted
            # at the same time, whatever the epochs, judge_overlaps has measured.
            continue
        elif why := _by_one_stopped(finding, struck, offset=offset, thaw_bound=thaw_bound):
            verdict.explained.append((why[0], f"{text} ({why[1]})"))
        elif "got no answer" in finding.text and _all_away(finding, struck, failed):
            text = f"{finding.text} (several faults of servers and balancers at once)"
            verdict.explained.append(("no-answer", text))
        elif finding.rule == "epoch-backwards" and _begins_anew(finding, struck, offset=offset):
            verdict.explained.append(
                ("epoch-anew", f"{finding.text} (its Lease was tampered with)")
            )
        else:
            verdict.violations.append(text)
            verdict.lost += finding.rule in LOST
            verdict.doubled += finding.rule in DOUBLED


def _by_one_stopped(
    finding: checker.Finding, struck: Sequence[Struck], *, offset: float, thaw_bound: float
) -> _Why | None:
    """Why one of the two requests of a finding was sent by a pod that should not have acted."""
    for request in finding.requests:
        at = request.sent + offset
        if found := _stopped({request.member}, at, at, struck, thaw_bound=thaw_bound):
            return found
    return None


def _begins_anew(finding: checker.Finding, struck: Sequence[Struck], *, offset: float) -> bool:
    """Whether the Lease had been tampered with before, from which on all epochs are lower."""
    at = math.inf if finding.at is None else finding.at + offset
    component = _named(finding.text)
    return any(
        one.fault.kind in _EPOCH_RESET and one.fault.component == component and one.begun <= at
        for one in struck
    )


def _all_away(
    finding: checker.Finding, struck: Sequence[Struck], failed: Mapping[str, Sequence[float]] | None
) -> bool:
    """Whether at least two faults had struck servers and balancers whenever a request failed."""
    times = (failed or {}).get(_named(finding.text), ())
    own = [one for one in struck if one.fault.component in (SERVERS, BALANCER)]
    return bool(times) and all(
        sum(one.begun <= at and one.ended >= at - _RETRY_SECONDS for one in own) >= 2
        for at in times
    )


def _named(text: str) -> str:
    """The component that a finding is about: "scheduler NAME: ..."."""
    return text.partition(":")[0].rpartition(" ")[2]


# --- the history of the Leases


def judge_history(versions: Sequence[Version], asked: Asked, verdict: Verdict) -> None:
    """Nobody takes a Lease that was held before its duration is over, and epochs rise.

    Only what electors wrote is judged, not what follows an edit. A take-over for which `asked` has
    no times (the audit log ended with the API server, or the watch had to begin anew) is judged by
    its epoch alone.
    """
    verdict.versions += len(versions)
    for name in sorted({one.name for one in versions}):
        own = [one for one in versions if one.name == name]
        # a watch that begins anew tells the present version once more
        own = [one for before, one in pairwise([None, *own]) if one != before and one is not None]
        moments = _moments(own, asked)
        for number, (before, after) in enumerate(pairwise(own), start=1):
            if before.gone or after.gone or before.uid != after.uid:
                continue
            if after.holder and after.holder != before.holder and after.by_elector:
                if _put_back(before, after, own[:number], verdict):
                    continue
                verdict.take_overs += 1
                first = next(
                    n
                    for n, one in enumerate(own)
                    if (one.uid, one.holder) == (before.uid, before.holder)
                )
                times = (moments[first], moments[number - 1], moments[number])
                _judge_take_over(before, after, times, verdict)


def _put_back(
    before: Version, after: Version, own: Sequence[Version], verdict: Verdict
) -> bool:  # fmt: skip
    """Whether an edit put in the holder that an elector had written before another edit.

    That leaves the time of renewal as it is, which an elector never does; where it was not kept
    nobody knows. `own`: all versions up to `before`.
    """
    stored = {(one.uid, one.holder, one.epoch) for one in own if one.by_elector}
    if before.by_elector or before.released or (after.uid, after.holder, after.epoch) not in stored:
        return False
    if not after.renewed:
        verdict.unknown.append(
            f"Lease {after.name}: whether {after.holder} took it from {before.holder} with epoch"
            f" {after.epoch} once more, or an edit put that back"
        )
        return True
    return after.renewed == before.renewed


def _moments(own: Sequence[Version], asked: Asked) -> list[float | None]:
    """When the API server was asked for each version; None: that is not known."""
    times = [asked.get((after.name, before.version)) for before, after in pairwise(own)]
    return [None, *times] if own else []


def _judge_take_over(
    before: Version, after: Version, times: tuple[float | None, float | None, float | None],
    verdict: Verdict,
) -> None:  # fmt: skip
    """times: of the first version with the former holder, of `before` and of `after`.

    Exact, however late anybody was told: the request for `before` arrived before that was stored,
    and so before anybody could see it; the one for `after` arrived after it was sent, and that must
    not be before `before` was seen for its whole duration.
    """
    told = f"Lease {after.name}: {before.holder} (epoch {before.epoch}) to {after.holder} (epoch "
    told += f"{after.epoch})"
    if after.epoch <= before.epoch:
        verdict.violations.append(f"lease-epoch: {told}: the epoch must rise")
    first, earlier, later = times
    if before.released or not before.holder or not before.by_elector:
        return
    if earlier is None or later is None:
        return
    verdict.timed += 1
    waited = later - earlier + _CLOCK_SECONDS
    if waited >= before.duration:
        return
    text = f"lease-early: {told} after {waited:.3f} s instead of {before.duration:g} s"
    if after.name != BALANCER:
        verdict.violations.append(text)
    elif waited < PROFILES["Hot"].silence:
        verdict.violations.append(f"{text}, and not even three renewals were left out")
    elif first is None:
        verdict.timed -= 1
    elif later - first + _CLOCK_SECONDS < EARLY_PAUSE:
        text += f", and it was held for {later - first:.3f} s only, not for {EARLY_PAUSE:g} s"
        verdict.violations.append(text)
    else:
        verdict.early += 1
