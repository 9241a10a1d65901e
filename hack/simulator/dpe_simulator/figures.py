# SPDX-License-Identifier: Apache-2.0
"""Figures about each component of the workflow system, for people and tests. Pure."""

from collections import Counter
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from dpe_simulator import check_triggers
from dpe_simulator.acts import WATCHERS, Component, Run, components_of
from dpe_simulator.check_acting import overlap
from dpe_simulator.check_changes import started_by
from dpe_simulator.findings import Evidence, Expectation


def describe(evidence: Evidence, expectation: Expectation) -> list[dict[str, Any]]:
    """Return the figures of each component that acted; JSON."""
    found = components_of(evidence.entries, only=expectation.components)
    return [_described(component, evidence, expectation) for component in found]


def _described(
    component: Component, evidence: Evidence, expectation: Expectation
) -> dict[str, Any]:
    runs, standby = component.runs, component.standby
    kinds = Counter(effect.kind for run in runs for effect in run.effects)
    told: dict[str, Any] = {
        "role": component.role, "name": component.name,
        "mode": "Standby" if standby else "Concurrent",
        "members": sorted({run.member for run in runs if run.member}),
        "epochs": [run.epoch for run in standby], "runs": len(runs), "effects": dict(kinds),
        "longestOverlapMilliseconds": max(
            (round(overlap(run, standby)[0] * 1000) for run in standby), default=0
        ),
        "takeOvers": [_take_over(one, two) for one, two in pairwise(standby)],
    }  # fmt: skip
    if component.role == "scheduler":
        settled = evidence.now - expectation.settle
        found = check_triggers.figures(component, since=evidence.since, settled=settled)
        told["triggers"] = asdict(found)
    if component.role in WATCHERS:
        told["workflows"] = {
            subject: dict(Counter(str(one.change["event"]) for one in started))
            for subject, started in started_by(component, "workflow-created").items()
        }
    return told


def _take_over(before: Run, after: Run) -> dict[str, Any]:
    """From the last proof of life of the one to the first of the other, and to its first effect."""
    effects = [effect.at for effect in after.effects]
    memory = after.start.get("memory")
    return {
        "fromEpoch": before.epoch, "toEpoch": after.epoch, "from": before.process,
        "to": after.process, "lastSign": before.last, "begun": after.begun,
        "clean": before.stopped, "gapMilliseconds": round((after.begun - before.last) * 1000),
        "firstEffectMilliseconds": (
            round((min(effects) - before.last) * 1000) if effects else None
        ),
        "memory": dict(memory) if isinstance(memory, dict) else None,
    }  # fmt: skip


def table(components: list[dict[str, Any]]) -> list[str]:
    """The figures as lines for people."""
    lines = []
    for one in components:
        text = f"{one['role']} {one['name']}: {one['mode']}, {one['runs']} start(s)"
        text += f", epochs {one['epochs']}" if one["epochs"] else ""
        effects = ", ".join(f"{count} {kind}" for kind, count in sorted(one["effects"].items()))
        text += f", {effects}" if effects else ""
        if triggers := one.get("triggers"):
            text += f", triggers: {triggers['fired']} of {triggers['due']} started"
        lines.append(text)
    return lines
