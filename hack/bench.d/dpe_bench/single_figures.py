# SPDX-License-Identifier: Apache-2.0
"""Figures about singletons and farms: of a run from the ledger, of all runs for the page; pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from dpe_bench import missed
from dpe_bench.cases import SCENARIOS, subjects_with
from dpe_bench.figures import distinct, spread, sum_of_found
from dpe_bench.raw import Run as RawRun
from dpe_bench.raw import not_taken, taken
from dpe_simulator.acts import Run, components_of
from dpe_simulator.findings import LIMIT, TOPOLOGY, UNKNOWN, EntrySeen, Finding

# What the checker calls a fault of the topology, by what it costs. The others (two acting, an old
# memory, an epoch that goes back) cost nothing by themselves: their consequences are among these.
LOST = frozenset({
    "workflow-lost", "workflow-stuck", "job-lost", "change-lost", "trigger-lost",
})  # fmt: skip
DOUBLED = frozenset({
    "workflow-doubled", "title-rule", "job-ended-twice", "job-doubled", "change-doubled",
    "trigger-doubled",
})  # fmt: skip
# What the checker could not see, so that nobody can say that nothing was lost. That the active
# member has changed is not among it: in runs with a switch it does.
INCOMPLETE = frozenset({"ledger-incomplete", "changes-not-read"})
# A process that has proved so shortly before the end of a run that it acts was not at its end.
_STILL_ACTING_SECONDS = 1.0


def overlap_figures(
    entries: Iterable[EntrySeen], component: str, *, begun: float, seen_until: float
) -> dict[str, Any]:
    """How long others went on acting after the new one had begun, by what they wrote.

    Counted from their first act after its beginning: one whose machine stood still did nothing
    before it went on. Every line counts, and every request that was sent.

    Args:
        entries: the ledger, with what lies in the logs of the old one.
        component: its name.
        begun: the new one's start.
        seen_until: when the logs of the old one were read.
    """
    acts = [
        (max(at, begun), until)
        for one in components_of(entries, only=frozenset({component}))
        for run in one.runs
        if run.begun < begun
        for at, until in _acts(run)
        if until > begun
    ]
    if not acts:
        return {"overlap_ms": 0.0, "overlap_is_over": True, "late_acts": 0}
    last = max(until for _, until in acts)
    return {
        "overlap_ms": round((last - min(at for at, _ in acts)) * 1000, 1),
        "overlap_is_over": last < seen_until - _STILL_ACTING_SECONDS,
        "late_acts": len(acts),
    }


def _acts(run: Run) -> list[tuple[float, float]]:
    lines = [(one.at, one.at if one.until is None else one.until) for one in run.lines]
    return [*lines, *((effect.sent, effect.sent) for effect in run.effects)]


def job_figures(entries: Sequence[EntrySeen], *, processor: str, struck: float) -> dict[str, Any]:
    """What became of the jobs that a lost processor had: how many, and when the last had ended."""
    had: dict[str, float | None] = {}
    for entry in sorted(entries, key=lambda one: one.at):
        subject = entry.subject or ""
        if entry.kind == "job-claimed" and entry.at <= struck:
            if entry.detail.get("processor") == processor:
                had[subject] = None
            else:
                had.pop(subject, None)
        elif entry.kind in ("job-finished", "job-failed") and subject in had:
            if entry.at <= struck:
                del had[subject]
            elif had[subject] is None:
                had[subject] = entry.at
    ended = [at for at in had.values() if at is not None]
    all_ended = len(ended) == len(had)
    return {
        "jobs_with_it": len(had),
        "jobs_ms": round((max(ended) - struck) * 1000, 1) if ended and all_ended else None,
        "jobs_are_over": all_ended,
    }


def verdict(findings: Iterable[Finding]) -> dict[str, Any]:
    """What the topology lost and doubled, its other faults, and what DPE's own limits cost.

    Where the evidence is incomplete (`incomplete` says why) what was found counts; where nothing
    was, it is None: nobody knows.
    """
    rules: dict[str, Counter[str]] = {TOPOLOGY: Counter(), LIMIT: Counter(), UNKNOWN: Counter()}
    for one in findings:
        rules[one.kind][one.rule] += 1
    faults = rules[TOPOLOGY]
    incomplete = {rule: count for rule, count in rules[UNKNOWN].items() if rule in INCOMPLETE}

    def found(which: frozenset[str]) -> int | None:
        count = sum(count for rule, count in faults.items() if rule in which)
        return count if count or not incomplete else None

    return {
        "lost": found(LOST),
        "doubled": found(DOUBLED),
        "other_faults": {
            rule: count for rule, count in faults.items() if rule not in LOST | DOUBLED
        },
        "limits": dict(rules[LIMIT]),
        "incomplete": incomplete,
    }


def published(lines: Sequence[RawRun], *, command: str) -> dict[str, Any]:
    """Return what docs/measurements/singletons.json holds, of the lines of the raw file.

    Overlap and late acts are the largest of any run; what was lost, doubled or cost by DPE's limits
    is the sum of all.
    """
    runs, failed = taken(lines), not_taken(lines)
    return {
        "command": command,
        "commits": sorted({run["commit"] for run in runs}),
        "machines": distinct(run["machine"] for run in runs),
        "versions": distinct(run["versions"] for run in runs),
        "runs_not_taken": missed.published(failed),
        "results": [
            result | {"runs_not_taken": failed[scenario.name, subject]}
            for scenario in SCENARIOS.values()
            if scenario.about != "servers"
            for subject in subjects_with(scenario.about)
            if (result := _result(runs, scenario.name, subject))
        ],
    }


def _result(runs: Iterable[RawRun], scenario: str, subject: str) -> dict[str, Any] | None:
    own = [run for run in runs if (run["scenario"], run["subject"]) == (scenario, subject)]
    seen = [run["figures"] for run in own]
    if not seen:
        return None
    found: dict[str, Any] = {
        "scenario": scenario,
        "subject": subject,
        "runs": len(seen),
        "gap_ms": spread([one["gap_ms"] for one in seen], [one["gap_is_over"] for one in seen]),
        "gaps_not_over": sum(not one["gap_is_over"] for one in seen),
        "lost": sum_of_found([run["lost"] for run in own]),
        "doubled": sum_of_found([run["doubled"] for run in own]),
        "other_faults": _total(run["other_faults"] for run in own),
        "limits": _total(run["limits"] for run in own),
    }
    if SCENARIOS[scenario].about == "farms":
        found["jobs_ms"] = _jobs_spread(seen)
        found["jobs_not_over"] = sum(not one["jobs_are_over"] for one in seen)
        return found
    return found | {
        "overlap_ms": max(one["overlap_ms"] for one in seen),
        "overlaps_not_over": sum(not one["overlap_is_over"] for one in seen),
        "late_acts": max(one["late_acts"] for one in seen),
    }


def _jobs_spread(seen: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Until the lost processors' jobs were done. Those that never were took longer than any."""
    times = [one["jobs_ms"] for one in seen if one["jobs_ms"] is not None]
    never = sum(not one["jobs_are_over"] for one in seen)
    if not times:
        return None
    return spread(times + [max(times)] * never, [True] * len(times) + [False] * never)


def _total(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in counts:
        total.update(one)
    return dict(sorted(total.items()))
