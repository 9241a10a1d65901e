# SPDX-License-Identifier: Apache-2.0
"""Which run comes next, and how long all that are left will take; pure."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from dpe_bench.cases import SCENARIOS, Item
from dpe_bench.laps import SET_UP
from dpe_bench.raw import Run, taken

# Several subjects at a time would disturb each other; changing them takes minutes.
_RUNS_IN_A_ROUND = 5
# Only until there are runs to learn from: what a run takes beside its load (settle, place, start
# clients, repair), by level, and what making a subject takes.
_GUESSED_OVERHEAD_SECONDS = {"pod": 35, "node": 90, "api": 90}
_GUESSED_SET_UP_SECONDS = 90
# The latest runs tell best how long the next one takes.
_LEARN_FROM = 5
# Their runs do not take as long as their clients may send.
_ENDED_EARLY = frozenset(name for name, scenario in SCENARIOS.items() if scenario.tail)


def rounds(left: Iterable[tuple[Item, int]], size: int = _RUNS_IN_A_ROUND) -> Iterator[Item]:
    """Yield the items in the order of the runs, so that an early end leaves a bit of everything.

    A round is up to *size* runs of each, by subject, because a subject takes minutes to set up.
    Within it the scenarios take turns: whatever the machine does meanwhile, it does to all of them,
    and the balancers are left alone for a while between two runs in which one is lost.
    """
    counts = list(left)
    while counts:
        for subject in dict.fromkeys(_made_for(item) for item, _ in counts):
            own = [one for one in counts if _made_for(one[0]) == subject]
            for turn in range(size):
                yield from (item for item, runs in own if runs > turn)
        counts = [(item, runs - size) for item, runs in counts if runs > size]


def _made_for(item: Item) -> tuple[str, str]:
    """Runs for which this is the same use the same subject, as long as no other comes between."""
    return item.subject.name, item.scenario.about


def seconds_left(left: Iterable[tuple[Item, int]], runs: Iterable[Run]) -> float:
    """Estimate how long the rest takes, by the latest runs of the same kind.

    Runs whose clients sent for another time, or that do not tell for how long, are not of the same
    kind. Without any, the overhead of other scenarios of that level counts.
    """
    counts, known = list(left), [run for run in taken(runs) if "load_seconds" in run]
    took = sum(count * _run_seconds(item, known) for item, count in counts)
    return took + _changes(counts) * _set_up_seconds(known)


def _run_seconds(item: Item, runs: Sequence[Run]) -> float:
    def same(run: Run) -> bool:
        kind = run["scenario"], run["subject"], run["load_seconds"]
        return kind == (*item.key, item.load_seconds)

    if taken := _latest(runs, same, lambda run: run["took_seconds"]):
        return statistics.median(taken)

    def alike(run: Run) -> bool:
        kind = run.get("about"), run.get("level")
        same_level = kind == (item.scenario.about, item.scenario.level)
        return same_level and run["scenario"] not in _ENDED_EARLY

    overheads = _latest(runs, alike, lambda run: run["took_seconds"] - run["load_seconds"])
    guess = _GUESSED_OVERHEAD_SECONDS[item.scenario.level]
    return item.load_seconds + statistics.median(overheads or [guess])


def _set_up_seconds(runs: Sequence[Run]) -> float:
    taken = _latest(
        runs,
        lambda run: run.get("spent", {}).get(SET_UP, 0.0) > 1,  # else it was there already
        lambda run: run["spent"][SET_UP],
    )
    return statistics.median(taken or [_GUESSED_SET_UP_SECONDS])


def _latest(
    runs: Iterable[Run], wanted: Callable[[Run], bool], value: Callable[[Run], float]
) -> list[float]:
    return [value(run) for run in runs if wanted(run)][-_LEARN_FROM:]


def _changes(left: Iterable[tuple[Item, int]]) -> int:
    """How often a subject is made: at the beginning, and where the next run needs another."""
    needed = [_made_for(item) for item in rounds(left)]
    return bool(needed) + sum(one != other for one, other in pairwise(needed))
