# SPDX-License-Identifier: Apache-2.0
"""Figures in the pages are those of the raw measurements beside them."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

import pytest

from dpe_operator.planning.pair_findings import LOST_BALANCER_MS

DOCS = Path(__file__).resolve().parents[3] / "docs"
TAKEOVER = json.loads((DOCS / "measurements/takeover.json").read_text())
WATCHERS = json.loads((DOCS / "measurements/watchers.json").read_text())
FAULTS = json.loads((DOCS / "measurements/singleton-faults.json").read_text())
CHAOS = json.loads((DOCS / "measurements/chaos.json").read_text())
FAILOVER = json.loads((DOCS / "measurements/failover.json").read_text())
SINGLETONS = json.loads((DOCS / "measurements/singletons.json").read_text())
MODES = (DOCS / "failure-modes.md").read_text()
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


@pytest.mark.parametrize(
    ("fault", "profiles", "sentence"),
    [
        ("pod deleted", ("Safe", "Fast"), "the program: {0:.1f} s, longest {1:.1f} s."),
        ("processes killed", ("Safe",), "| {0:.1f} s, longest {1:.1f} s ("),
        ("processes killed", ("Fast",), "({0:.1f} s, {1:.1f} s)"),
    ],
)
def test_the_failure_modes_name_the_measured_take_overs(fault, profiles, sentence) -> None:
    cases = [one for one in TAKEOVER["cases"] if one["fault"] == fault]
    runs = [run for one in cases if one["profile"] in profiles for run in one["seconds"]]
    seconds = [run["fromFault"] for run in runs]
    assert sentence.format(statistics.median(seconds), max(seconds)) in MODES


def test_the_failure_modes_name_how_long_a_farm_is_a_processor_short() -> None:
    (farm,) = [
        one
        for one in SINGLETONS["results"]
        if (one["scenario"], one["subject"]) == ("farm-node-cut", "dpe-operator")
    ]
    assert f"about {round(farm['gap_ms']['p50'], -3) / 1000:.0f} s" in MODES


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


@pytest.mark.parametrize("scenario", ["packet-loss", "database-freeze"])
def test_what_must_cause_no_switch_has_caused_none(scenario: str) -> None:
    own = [one for one in FAILOVER["results"] if one["scenario"] == scenario]
    ours = [one for one in own if one["subject"].startswith("dpe-operator")]
    assert ours
    assert {one["recorded_switches"] for one in ours} == {0}


def test_the_budget_of_clients_counts_with_a_lost_balancer_that_was_measured() -> None:
    """A database that stands still is no gap of the pair, and the port of a lost node none of it;
    nor does the pair know how long an API server is away that it would need for a take-over."""
    others = ("database-freeze", "api-outage-and-balancer-node-cut")
    gaps = [
        one["gap_ms"]["max"]
        for one in FAILOVER["results"]
        if one["subject"].startswith("dpe-operator")
        and one["entry"] != "lost-node"
        and one["scenario"] not in others
    ]
    assert max(gaps) <= LOST_BALANCER_MS


@pytest.mark.parametrize(("rig", "faults", "each"), [("processes", 10_000, 200), ("kind", 300, 10)])
def test_what_chaos_has_found_is_what_the_page_says(rig: str, faults: int, each: int) -> None:
    (total,) = [one for one in CHAOS["totals"] if one["rig"] == rig]
    rarest, thaws = min(total["faultsByKind"].values()), total["afterThaw"]
    assert total["faults"] >= faults and rarest >= each
    assert total["violations"] == total["roundsFailed"] == []
    counts = ("faults", "workflows", "takeOvers", "lost", "doubled")
    first = [f"{total[name]:,}" for name in counts]
    first.insert(1, str(rarest))
    cells = [rig, *first, f"{total['overlap_ms']:g}", f"{thaws['n']} times, {thaws['max_ms']:g}"]
    page = (DOCS / "how-to/chaos.md").read_text()
    assert f"| {' | '.join(cells)} |\n" in page
    assert [text for text in total["unknown"] if f"`{text}`" not in page] == [], "untold"


def test_the_longest_run_of_the_model_is_what_the_page_says() -> None:
    run = json.loads((DOCS / "measurements/model.json").read_text())
    assert run["steps"] > 4_000_000 and run["takeOvers"] > 10_000
    assert run["broken"] == []
