# SPDX-License-Identifier: Apache-2.0
"""Figures in the pages are those of the raw measurements beside them."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[3] / "docs"
TAKEOVER = json.loads((DOCS / "measurements/takeover.json").read_text())
WATCHERS = json.loads((DOCS / "measurements/watchers.json").read_text())
FAULTS = json.loads((DOCS / "measurements/singleton-faults.json").read_text())
CHOICE = (DOCS / "how-to/choose-standby-or-concurrent.md").read_text()


def spread(runs: list[dict[str, float]], key: str) -> str:
    values = [run[key] for run in runs]
    return f"{statistics.median(values):.1f} s, {max(values):.1f} s"


@pytest.mark.parametrize("case", TAKEOVER["cases"], ids=lambda c: f"{c['profile']}-{c['fault']}")
def test_the_times_of_a_take_over_are_the_measured_ones(case) -> None:
    runs = case["seconds"]
    assert case["n"] == len(runs) >= 10
    row = " | ".join(
        ["", case["profile"], case["fault"], spread(runs, "fromFault"), spread(runs, "nobodyActed")]
    )
    assert f"{row.strip()} |\n" in (DOCS / "how-to/standby-watchers.md").read_text()
    assert f"{row.strip().rpartition(' | ')[0]} |\n" in CHOICE


@pytest.mark.parametrize("case", WATCHERS["cases"], ids=lambda case: case["case"])
def test_what_two_watchers_cost_is_measured(case) -> None:
    assert case["once"] + case["twice"] + case["lost"] == case["changes"] == 72
    title = f"`{case['title']}`" + (", one watcher killed" if "killed" in case["case"] else "")
    figures = (case["once"], case["twice"], case["lost"], f"{case['longestUntilStarted']} s")
    cells = (title, f"{case['workflowTakes']} s", *map(str, figures))
    assert f"| {' | '.join(cells)} |\n" in CHOICE


@pytest.mark.parametrize(
    "run", FAULTS["runs"], ids=lambda run: f"{run['fault']}, {run['what'][:12]}"
)
def test_what_single_runs_have_shown_is_what_the_pages_say(run) -> None:
    assert (DOCS.parent / run["test"]).exists()
    pages = ("failure-modes.md", "reference/elector.md")
    assert any(f"{run['seconds']} s" in (DOCS / page).read_text() for page in pages)
