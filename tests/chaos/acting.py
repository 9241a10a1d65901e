# SPDX-License-Identifier: Apache-2.0
"""Who acted when, by ledger and journals, and which two did so at the same time. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tests.chaos.faults import Struck

from dpe_simulator.acts import components_of
from dpe_simulator.findings import EntrySeen

# A pod may act so long after its freeze was noted, and so long before its thaw was: both are noted
# beside the signals, which do not reach all of its processes at one moment.
STOPS_SECONDS, THAWS_SECONDS = 0.1, 0.05


@dataclass(frozen=True)
class Acting:
    """Something of a pod acted from `start` to `end` (boot time); `run`: which start of it."""

    component: str
    pod: str
    run: str
    start: float
    end: float


@dataclass(frozen=True)
class Overlap:
    """From `start` to `end` (boot time) two acted; the first is the one that had begun before."""

    first: Acting
    second: Acting
    start: float
    end: float

    @property
    def seconds(self) -> float:
        """For how long."""
        return self.end - self.start

    @property
    def runs(self) -> frozenset[str]:
        """Which two starts, whichever began first."""
        return frozenset((self.first.run, self.second.run))


def merge(moments: Iterable[tuple[float, float]], *, gap: float) -> list[tuple[float, float]]:
    """Put stretches together between which there are at most `gap` seconds."""
    found: list[tuple[float, float]] = []
    for start, end in sorted(moments):
        if found and start - found[-1][1] <= gap:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        else:
            found.append((start, end))
    return found


def acting_by_ledger(entries: Sequence[EntrySeen], *, offset: float) -> list[Acting]:
    """Who acted by the proofs of life and the requests in the ledger: each start of a command from
    its first to its last, as nothing of it may come after the first of its successor.

    offset: what to add to its wall clock to get the boot time.
    """
    found = []
    for component in components_of(entries):
        for run in component.standby:
            proofs = [
                (line.at, line.at if line.until is None else line.until)
                for line in run.lines
                if line.kind != "stop"
            ]
            moments = [*proofs, *((effect.sent, effect.sent) for effect in run.effects)]
            for start, end in merge(moments, gap=math.inf):
                one = Acting(component.name, run.member or "", run.process, start, end)
                found.append(Acting(one.component, one.pod, one.run, start + offset, end + offset))
    return found


def without_freezes(acting: Iterable[Acting], struck: Sequence[Struck]) -> list[Acting]:
    """Leave out the time for which a pod was frozen as a whole: a job that it began before and ended
    after its thaw is told in one stretch."""
    found = []
    for one in acting:
        pieces = [(one.start, one.end)]
        for frozen in struck:
            if frozen.fault.kind == "pod frozen" and frozen.pod == one.pod:
                hole = frozen.begun + STOPS_SECONDS, frozen.ended - THAWS_SECONDS
                pieces = [left for piece in pieces for left in _outside(piece, hole)]
        found += [replace(one, start=start, end=end) for start, end in pieces]
    return found


def _outside(
    stretch: tuple[float, float], hole: tuple[float, float]
) -> Iterator[tuple[float, float]]:
    """What is left of a stretch; all of it where the hole is none or elsewhere."""
    (start, end), (begin, until) = stretch, hole
    if begin >= until or end <= begin or start >= until:
        yield stretch
        return
    if start < begin:
        yield start, begin
    if end > until:
        yield until, end


def overlaps(acting: Iterable[Acting]) -> list[Overlap]:
    """Each stretch for which two starts of one component acted at the same time."""
    found: list[Overlap] = []
    open_now: list[Acting] = []
    for one in sorted(acting, key=lambda one: one.start):
        open_now = [other for other in open_now if other.end > one.start]
        for other in open_now:
            end = min(other.end, one.end)
            # a single request is a stretch without a length
            both = end > one.start or one.start == one.end
            if other.component == one.component and other.run != one.run and both:
                found.append(Overlap(other, one, one.start, end))
        open_now.append(one)
    return found
