# SPDX-License-Identifier: Apache-2.0
"""From the raw runs to the published figures; pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from dpe_bench import missed
from dpe_bench.cases import SCENARIOS, SUBJECTS, WATCHED_SECONDS
from dpe_bench.raw import Run, not_taken, taken
from dpe_operator.prober.measure import GAP_CLASSES

# Below this many runs nobody can tell a 99th percentile: the largest value stands in its place.
RUNS_FOR_P99 = 100
# Of runs that do not say it themselves.
_UNDISTURBED_SECONDS_ONCE = 6
_Number = TypeVar("_Number", int, float)
ENTRIES = ("cluster", "nodeport", "lost-node")


def began_at(summary: Mapping[str, Any]) -> float:
    """When a prober's clients began, in seconds since 1970."""
    return datetime.fromisoformat(summary["startedAt"]).timestamp()


def require_watched(seen: Mapping[str, Mapping[str, Any]], *, over: float) -> None:
    """Refuse a run whose clients did not see what came of its fault: they would report no gap.

    Args:
        seen: the probers' summaries by entry. The clients of a lost node are ended on purpose.
        over: when what was done was over, in seconds since 1970.

    Raises:
        RuntimeError: an entry's clients stopped before that, or too soon after it.
    """
    for entry, summary in seen.items():
        watched = began_at(summary) + summary["sentSeconds"] - over
        if entry != "lost-node" and watched < WATCHED_SECONDS:
            raise RuntimeError(
                f"{entry}: clients sent until {watched:.1f} s after the fault was over, and"
                f" {WATCHED_SECONDS} s are needed to see what came of it"
            )


def entry_figures(summary: dict[str, Any]) -> dict[str, Any]:
    """Take from a summary of the prober what is kept of a run."""
    classes = summary["classes"]

    def gap(kind: str) -> float | None:
        return classes[kind]["longestGapMilliseconds"] if kind in classes else None

    waits = [classes[kind]["maxMilliseconds"] for kind in GAP_CLASSES if kind in classes]
    return {
        "gap_ms": summary["gapMilliseconds"],
        "gap_is_over": summary["gapIsOver"],
        "kept_gap_ms": gap("keepAlive"),
        "fresh_gap_ms": gap("fresh"),
        "slowest_ms": largest_known(waits),
        "undisturbed_gap_ms": summary["undisturbed"]["gapMilliseconds"],
        "undisturbed_failed_requests": summary["undisturbed"]["failedWithoutRetry"],
        "sent_seconds": summary["sentSeconds"],
        "requests": summary["requests"],
        "failed_requests": summary["failedWithoutRetry"],
        "failed_after_retries": summary["failedAfterRetries"],
        "switches": len(summary["switches"]),
        "overlap_ms": summary["overlapMilliseconds"],
        "error_kinds": summary["errorKinds"],
    }


def published(lines: Sequence[Run], *, command: str) -> dict[str, Any]:
    """Return what docs/measurements/failover.json holds, of the lines of the raw file.

    Counts (failures, switches, overlap) are the largest of any run, never an average that hides a
    bad one.
    """
    runs, failed = taken(lines), not_taken(lines)
    return {
        "command": command,
        "commits": sorted({run["commit"] for run in runs}),
        "machines": distinct(run["machine"] for run in runs),
        "versions": distinct(run["versions"] for run in runs),
        "undisturbed_seconds": sorted(
            {run.get("undisturbed_seconds", _UNDISTURBED_SECONDS_ONCE) for run in runs}
        ),
        "runs_not_taken": missed.published(failed),
        "results": [
            result | {"runs_not_taken": failed[scenario, subject]}
            for scenario in SCENARIOS
            for subject in SUBJECTS
            for entry in ENTRIES
            if (result := _result(runs, scenario, subject, entry))
        ],
    }


def _result(runs: Iterable[Run], scenario: str, subject: str, entry: str) -> dict[str, Any] | None:
    own = [
        run
        for run in runs
        if (run["scenario"], run["subject"]) == (scenario, subject) and entry in run["entries"]
    ]
    seen = [run["entries"][entry] for run in own]
    if not seen:
        return None
    return {
        "scenario": scenario,
        "subject": subject,
        "entry": entry,
        "runs": len(seen),
        "gap_ms": spread([one["gap_ms"] for one in seen], [one["gap_is_over"] for one in seen]),
        "gaps_not_over": sum(not one["gap_is_over"] for one in seen),
        "fault_seconds": spread_of_known([_fault_seconds(run) for run in own]),
        "slowest_ms": largest_known([one.get("slowest_ms") for one in seen]),
        "undisturbed_gap_ms": spread_of_known([one["undisturbed_gap_ms"] for one in seen]),
        **{
            name: max(one[name] for one in seen)
            for name in ("failed_requests", "failed_after_retries", "switches", "overlap_ms")
        },
        "recorded_switches": largest_known([run.get("recorded_switches") for run in own]),
        "workflows": sum_or_unknown([run.get("workflows") for run in own]),
        "not_accepted": sum_or_unknown([run.get("not_accepted") for run in own]),
        "lost": sum_of_found([run["lost"] for run in own]),
        "doubled": sum_of_found([run["doubled"] for run in own]),
    }


def _fault_seconds(run: Run) -> float | None:
    """How long what was done took, by the clocks of its clients; None: the run does not tell."""
    if "fault_over_at_second" not in run:
        return None
    return float(round(run["fault_over_at_second"] - run["fault_at_second"], 2))


def spread(values: Sequence[float], over: Sequence[bool] | None = None) -> dict[str, Any]:
    """Median, 99th percentile (the largest of fewer than 100 values) and largest.

    Args:
        values: one of each run.
        over: whether each was over when its run ended, else it is a lower bound; None: all were.

    Returns:
        The three; `at_least` names those of them that may be larger in truth.
    """
    ordered = sorted(values)
    enough = len(ordered) >= RUNS_FOR_P99
    ranks = {
        "p50": math.ceil(0.5 * len(ordered)),
        "p99": math.ceil(0.99 * len(ordered)) if enough else len(ordered),
        "max": len(ordered),
    }
    found = {name: ordered[rank - 1] for name, rank in ranks.items()}
    known = values if over is None else [v for v, ended in zip(values, over, strict=True) if ended]

    def is_certain(name: str) -> bool:
        # bounds may be larger in truth: only values that are over hold a figure where it is
        return sum(value <= found[name] for value in known) >= ranks[name]

    at_least = [name for name in ranks if not is_certain(name)]
    return {**found, "p99_is_max": not enough, "at_least": at_least}


def spread_of_known(values: Sequence[float | None]) -> dict[str, Any] | None:
    """The spread of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return spread(known) if known else None


def sum_or_unknown(values: Sequence[int | None]) -> int | None:
    """Add up. What was not looked at in every run is unknown, and never 0."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def sum_of_found(values: Sequence[int | None]) -> int | None:
    """Add up what should not have been. What was found in a run counts, whatever is known of the
    others; that there was none is said only where every run was looked at."""
    return sum(value or 0 for value in values) or sum_or_unknown(values)


def largest_known(values: Sequence[_Number | None]) -> _Number | None:
    """The largest of the values that are known; None where none is."""
    return max((value for value in values if value is not None), default=None)


def distinct(values: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each value once, in the order of their first appearance."""
    found: list[dict[str, Any]] = []
    for value in values:
        if value not in found:
            found.append(value)
    return found
