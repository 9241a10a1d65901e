# SPDX-License-Identifier: Apache-2.0
"""Where a published figure misses its goal, the guide says why."""

import importlib
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_a_goal_that_is_missed_is_explained() -> None:
    goals = importlib.import_module("dpe_bench.cases").GOALS_MS
    page = (ROOT / "docs" / "how-to/measure-failover.md").read_text()
    failover = json.loads((ROOT / "docs/measurements/failover.json").read_text())
    limits = page.partition("### Goals and limits\n")[2].partition("\n### ")[0]
    explained = limits.split("\n- ")[1:]
    for one in failover["results"]:
        goal = goals.get((one["scenario"], one["subject"]))
        if one["entry"] == "cluster" and goal is not None and one["gap_ms"]["max"] > goal:
            assert any(
                f"`{one['scenario']}`" in point
                and ("both modes" in point or f"`{one['subject']}`" in point)
                for point in explained
            ), f"{one['scenario']} {one['subject']}: {one['gap_ms']['max']} ms, goal {goal}"
