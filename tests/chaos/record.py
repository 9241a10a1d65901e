# SPDX-License-Identifier: Apache-2.0
"""The record of chaos runs: figures of rounds that add up to those of a run, and of runs to a total.

So a long run can be played in parts: several seeds, or one seed that goes on where it was stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from tests.chaos.judge import Verdict

Figures = dict[str, Any]

RIG = "processes"
# What tells runs apart; the rest are figures. A run with the same is the same run.
_NAMES = ("rig", "seed", "commit", "rate", "timings")
# Which code has judged it once more, where that is not the one that played it.
_JUDGED_BY = "judgedBy"
_LARGEST = {"overlap_ms", "max_ms"}
_DERIVED = {"faultsPerSecond", "workflowsPerSecond"}


def added(first: Mapping[str, Any], second: Mapping[str, Any]) -> Figures:
    """Both together: numbers are added (or the larger one taken, where that is what they mean),
    lists joined, names taken from the first."""
    found: Figures = dict(first)
    for name, value in second.items():
        if name in _DERIVED or name in _NAMES or name in ("date", _JUDGED_BY):
            found.setdefault(name, value)
        elif name not in found:
            found[name] = value
        elif isinstance(value, Mapping):
            found[name] = dict(sorted(added(found[name], value).items()))
        elif name in _LARGEST:
            found[name] = max(found[name], value)
        else:
            found[name] = found[name] + value
    if seconds := found.get("minutes", 0) * 60:
        found["minutes"] = round(found["minutes"], 2)
        found["faultsPerSecond"] = round(found.get("faults", 0) / seconds, 2)
        found["workflowsPerSecond"] = round(found.get("workflows", 0) / seconds, 2)
    return found


def judged(verdict: Verdict) -> Figures:
    """What a verdict says of a run."""
    return {
        "workflows": verdict.workflows, "takeOvers": verdict.take_overs,
        "takeOversTimed": verdict.timed, "brokenEarly": verdict.early,
        "leaseVersions": verdict.versions, "lost": verdict.lost, "doubled": verdict.doubled,
        "overlap_ms": round(verdict.overlap_ms, 1),
        "afterThaw": {"n": len(verdict.thaw_ms), "max_ms": round(max(verdict.thaw_ms, default=0.0), 1)},
        "violations": verdict.violations, "explained": verdict.explained_by_rule(),
        "unknown": verdict.unknown,
    }  # fmt: skip


def total(runs: Iterable[Mapping[str, Any]], rig: str = RIG) -> Figures:
    """All runs of a rig together."""
    found: Figures = {}
    own = [run for run in runs if run.get("rig") == rig]
    for run in own:
        names = (*_NAMES, "date", _JUDGED_BY)
        figures = {name: value for name, value in run.items() if name not in names}
        found = added(found, figures)
    seeds = [str(run["seed"]) for run in own]
    commits = sorted({str(run["commit"]) for run in own})
    return {"rig": rig, "seeds": seeds, "commits": commits, **found}


class Book:
    """The file with all runs and the total of each rig; runs of the other rig are left as they are."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def find(self, names: Mapping[str, Any]) -> Figures | None:
        """The run with these names, as far as it was played."""
        return next((run for run in self._runs() if _same(run, names)), None)

    def keep(self, run: Figures) -> None:
        """Put a run down, in place of what there was of it."""
        others = self._read()
        runs = [one for one in self._runs() if not _same(one, run)]
        others["runs"] = [*runs, run]
        totals = [one for one in others.get("totals", []) if one.get("rig") != run["rig"]]
        others["totals"] = [*totals, total(others["runs"], run["rig"])]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(others, indent=1) + "\n", encoding="utf-8")
        fresh.replace(self._path)

    def judge_anew(
        self, rig: str, seed: str, verdict: Verdict, *, rounds: int, commit: str
    ) -> None:
        """Put down what a run has come to when all its rounds were judged once more.

        Args:
            rig, seed: of the run.
            verdict: on all its rounds together.
            rounds: how many of them were judged.
            commit: that judged them.

        Raises:
            LookupError: there is no run of that rig and seed, or not all its rounds were judged, so
                that the others would be lost.
        """
        own = [run for run in self._runs() if (run.get("rig"), run.get("seed")) == (rig, seed)]
        if len(own) != 1:
            raise LookupError(f"{self._path}: {len(own)} runs of rig {rig} with seed {seed!r}")
        (run,) = own
        failed = _failed(run)
        if not run["rounds"] - failed <= rounds <= run["rounds"]:
            raise LookupError(
                f"{self._path}: the run of rig {rig} with seed {seed!r} has {run['rounds']} rounds, "
                f"of which {failed} failed, and {rounds} are judged here; if it was stopped and went "
                "on, name all its folders"
            )
        self.keep({**run, **judged(verdict), _JUDGED_BY: commit})

    def _read(self) -> Figures:
        return json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}

    def _runs(self) -> list[Figures]:
        return list(self._read().get("runs", []))


def _same(run: Mapping[str, Any], names: Mapping[str, Any]) -> bool:
    return all(run.get(name) == names[name] for name in _NAMES)


def _failed(run: Mapping[str, Any]) -> int:
    """Rounds that may have left nothing to judge; that a run was given up is told there too."""
    return sum(str(text).startswith("round ") for text in run.get("roundsFailed", ()))
