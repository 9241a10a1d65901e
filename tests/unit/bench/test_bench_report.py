# SPDX-License-Identifier: Apache-2.0
"""From raw runs to what is published: counted runs, figures, page and picture; no cluster."""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tests.support.bench_parts import part

ROOT = Path(__file__).resolve().parents[3]
MEASUREMENTS = ROOT / "docs" / "measurements"


def seen(gap: float, **changes: Any) -> dict[str, Any]:
    return {
        "gap_ms": gap, "gap_is_over": True, "undisturbed_gap_ms": 30.0, "failed_requests": 2,
        "failed_after_retries": 0, "switches": 1, "overlap_ms": 0.0, **changes,
    }  # fmt: skip


def run(gap: float, scenario: str = "server-crash", subject: str = "dpe-operator", **changes: Any):
    return {
        "scenario": scenario, "subject": subject, "commit": "c1", "machine": {"cpus": 2},
        "versions": {"Kubernetes": "v1"}, "took_seconds": 60.0, "entries": {"cluster": seen(gap)},
        "lost": None, "doubled": None, **changes,
    }  # fmt: skip


RUNS = [
    run(300.0),
    run(250.0, entries={"cluster": seen(250.0), "nodeport": seen(280.0, failed_requests=9)}),
    run(900.0, commit="c2", entries={"cluster": seen(900.0, failed_requests=5)}),
    run(
        52000.0, "server-node-cut", "deployment", entries={"cluster": seen(5e4, gap_is_over=False)}
    ),
]


def results(runs: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    found = part("figures").published(runs, command="make bench-failover")
    return {(one["scenario"], one["subject"], one["entry"]): one for one in found["results"]}


def test_how_long_a_fault_took_stands_below_its_table() -> None:
    def lasting(seconds: float, name: str) -> dict[str, Any]:
        return run(9.0, name, fault_at_second=5.0, fault_over_at_second=5.0 + seconds)

    runs = [lasting(92.0, "rolling-update"), lasting(101.5, "rolling-update"),
            lasting(80.0, "rolling-update"), lasting(0.2, "server-hang"), run(9.0)]  # fmt: skip
    found = results(runs)
    taken = found["rolling-update", "dpe-operator", "cluster"]["fault_seconds"]
    assert (taken["p50"], taken["max"]) == (92.0, 96.5 + 5.0)
    assert found["server-crash", "dpe-operator", "cluster"]["fault_seconds"] is None
    text = part("page").markdown(part("figures").published(runs, command="x"))
    lines = [line for line in text.splitlines() if line.startswith("What was done took: ")]
    assert lines == ["What was done took: dpe-operator 92 s, at most 102 s."]


def test_figures_are_the_spread_of_the_gaps_and_the_worst_of_the_counts() -> None:
    one = results(RUNS)["server-crash", "dpe-operator", "cluster"]
    assert one["runs"] == 3
    assert one["gap_ms"] == {
        "p50": 300.0, "p99": 900.0, "p99_is_max": True, "max": 900.0, "at_least": [],
    }  # fmt: skip
    assert (one["failed_requests"], one["failed_after_retries"], one["gaps_not_over"]) == (5, 0, 0)
    assert results(RUNS)["server-crash", "dpe-operator", "nodeport"]["runs"] == 1


def test_how_long_the_slowest_request_took_is_published_where_it_is_known() -> None:
    def waited(*values: float | None) -> Any:
        seen_by = [{"cluster": seen(1.0) | ({"slowest_ms": value} if value else {})}
                   for value in values]  # fmt: skip
        return results([run(1.0, entries=one) for one in seen_by])[
            "server-crash", "dpe-operator", "cluster"
        ]["slowest_ms"]

    assert (waited(None), waited(800.0, 950.0), waited(None, 800.0)) == (None, 950.0, 800.0)
    told = part("page").summary(
        part("figures").published(
            [run(1.0, entries={"cluster": seen(1.0, slowest_ms=800.0)})], command="x"
        )
    )
    assert "| 1, 1; 800 (1) |" in told
    classes = {
        kind: {"longestGapMilliseconds": 1.0, "maxMilliseconds": most}
        for kind, most in (("keepAlive", 300.0), ("fresh", None), ("slow", 2000.0))
    }
    rest = {"undisturbed": {"gapMilliseconds": 1.0, "failedWithoutRetry": 0}, "switches": []}
    names = ("gapMilliseconds", "gapIsOver", "sentSeconds", "requests", "failedWithoutRetry",
             "failedAfterRetries", "overlapMilliseconds", "errorKinds")  # fmt: skip
    found = part("figures").entry_figures(dict.fromkeys(names, 0) | rest | {"classes": classes})
    assert found["slowest_ms"] == 300.0


def test_a_99th_percentile_is_claimed_from_100_runs_on() -> None:
    many = results([run(float(n)) for n in range(1, 101)])
    assert many["server-crash", "dpe-operator", "cluster"]["gap_ms"] == {
        "p50": 50.0, "p99": 99.0, "p99_is_max": False, "max": 100.0, "at_least": [],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("gaps", "not_over", "at_least"),
    [
        ([1, 2, 3], [3], ["p99", "max"]),
        ([1, 2, 3], [2, 3], ["p50", "p99", "max"]),
        ([1, 2, 3], [1], ["p50", "p99", "max"]),  # it may be the longest
        ([1, 2, 3, 4], [4], ["p99", "max"]),
        ([1, 1, 1], [1], ["p99", "max"]),  # two of three are as long as that
        ([7], [7], ["p50", "p99", "max"]),
        ([*range(1, 201)], [200], ["max"]),
        ([*range(1, 201)], [198], ["p99", "max"]),
    ],
)
def test_a_figure_that_may_be_larger_in_truth_is_said_to_be_a_bound(
    gaps: list[float], not_over: list[float], at_least: list[str]
) -> None:
    over = [gap not in not_over for gap in gaps]
    if gaps == [1, 1, 1]:
        over = [True, False, True]
    assert part("figures").spread(gaps, over)["at_least"] == at_least


def test_a_median_that_is_a_bound_is_marked_wherever_it_stands(tmp_path: Path) -> None:
    open_ended = {"cluster": seen(4e4, gap_is_over=False)}
    more = [run(4e4, "server-hang", "deployment", entries=open_ended)] * 2
    write_raw(tmp_path / "raw.jsonl", [*RUNS, *more, run(5e4, "server-hang", "deployment")])
    part("report").write(tmp_path / "raw.jsonl", tmp_path)
    page = (tmp_path / "failover.md").read_text()
    assert "| deployment | pod | 3 | >40000 | max | >50000 |" in page
    assert "| dpe-operator | pod | 3 | 300 | max | 900 |" in page
    readme = part("report").readme(tmp_path / "raw.jsonl")
    assert "| >40000, >50000 (3) |" in readme and "| 300, 900 (3) |" in readme
    circles = list(
        ET.fromstring((tmp_path / "failover.svg").read_text()).iter(
            "{http://www.w3.org/2000/svg}circle"
        )
    )
    hollow = [one.get("fill") == "#ffffff" for one in circles]
    assert hollow == [False, True, True], "crash with ours, hang and node cut with the Deployment"
    assert "hollow" in page


def test_workflows_that_nobody_looked_at_are_unknown_and_not_0() -> None:
    def lost(*values: int | None) -> Any:
        runs = [run(1.0, lost=value) for value in values]
        return results(runs)["server-crash", "dpe-operator", "cluster"]["lost"]

    assert (lost(None), lost(0, None), lost(0, 2)) == (None, None, 2)


def test_workflows_that_were_refused_are_summed_and_unknown_of_older_runs() -> None:
    def refused(*counts: int | None) -> Any:
        runs = [run(1.0, **({} if one is None else {"not_accepted": one})) for one in counts]
        return results(runs)["server-crash", "dpe-operator", "cluster"]["not_accepted"]

    assert (refused(2, 0, 1), refused(2, None), refused(None)) == (3, None, None)


def test_recorded_switches_are_the_most_of_any_run_that_looked(tmp_path: Path) -> None:
    def recorded(*values: int | None) -> Any:
        runs = [run(1.0, recorded_switches=value) for value in values]
        return results([*runs, run(1.0)])["server-crash", "dpe-operator", "cluster"]

    assert recorded()["recorded_switches"] is None, "older runs do not say it"
    assert recorded(None)["recorded_switches"] is None
    assert recorded(0)["recorded_switches"] == 0
    assert recorded(0, 2, 1)["recorded_switches"] == 2
    write_raw(tmp_path / "raw.jsonl", [run(1.0, recorded_switches=0)])
    part("report").write(tmp_path / "raw.jsonl", tmp_path)
    page = (tmp_path / "failover.md").read_text()
    assert (
        "| dpe-operator | pod | 1 | 1 | max | 1 | 500 | 30 | - | 2 | 0 | 1 | 0 | 0 | -/- |" in page
    )


def test_what_is_kept_of_a_run_are_the_fields_of_the_probers_summary() -> None:
    from dpe_operator.prober.measure import Record, summarize  # noqa: PLC0415

    records = [
        Record(kind, t, t, t, True, 1, "a") for kind in ("fresh", "keepAlive") for t in (1, 9)
    ]
    summary = {**summarize(records, seconds=9, undisturbed=6.0), "errorKinds": {}}
    summary["sentSeconds"] = 9.0  # by the bench
    kept = part("figures").entry_figures(summary)
    assert (kept["gap_ms"], kept["kept_gap_ms"], kept["fresh_gap_ms"]) == (8000, 8000, 8000)
    assert set(seen(0.0)) <= set(kept)


def test_a_gap_of_the_untouched_part_that_nobody_knows_is_told_as_none(tmp_path: Path) -> None:
    def untouched(*gaps: float | None) -> Any:
        runs = [run(1.0, entries={"cluster": seen(1.0, undisturbed_gap_ms=gap)}) for gap in gaps]
        return runs, results(runs)["server-crash", "dpe-operator", "cluster"]["undisturbed_gap_ms"]

    assert untouched(30.0, None)[1]["max"] == 30.0
    runs, figures = untouched(None)
    assert figures is None
    write_raw(tmp_path / "raw.jsonl", runs)
    part("report").write(tmp_path / "raw.jsonl", tmp_path)
    page = (tmp_path / "failover.md").read_text()
    assert (
        "| dpe-operator | pod | 1 | 1 | max | 1 | 500 | - | - | 2 | 0 | 1 | - | 0 | -/- |" in page
    )
    told = {**runs[0], "entries": {"cluster": {**seen(1.0), "undisturbed_gap_ms": None}}}
    assert "gap 1 ms (untouched -), failed 2" in part("bench")._line(told)


def write_raw(path: Path, runs: list[dict[str, Any]]) -> None:
    for one in runs:
        part("raw").append(path, one)


def test_the_report_is_made_without_a_cluster(tmp_path: Path) -> None:
    write_raw(tmp_path / "raw.jsonl", RUNS)
    command = [sys.executable, ROOT / "hack/bench", "report", "--raw", tmp_path / "raw.jsonl"]
    done = subprocess.run([*command, "--out", tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "failover.json").read_text())
    assert found["commits"] == ["c1", "c2"] and len(found["results"]) == 3
    page = (tmp_path / "failover.md").read_text()
    row = "| dpe-operator | pod | 3 | 300 | max | 900 | 500 | 30 | - | 5 | 0 | 1 | - | 0 | -/- |"
    assert row in page
    assert "| >50000 | max | >50000 |" in page, "a gap that was not over is marked"
    picture = ET.fromstring((tmp_path / "failover.svg").read_text())
    labels = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert "900 (3)" in labels and "50,000 or more (1)" in labels


@pytest.mark.parametrize("there", [False, True])
def test_without_a_run_the_page_says_so(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "raw.jsonl").touch()
    part("report").write(tmp_path / "raw.jsonl", tmp_path)
    assert "No run is published here yet" in (tmp_path / "failover.md").read_text()
    assert json.loads((tmp_path / "failover.json").read_text())["results"] == []
    assert not (tmp_path / "failover.svg").exists()


def test_what_is_published_is_what_the_raw_runs_give() -> None:
    report = part("report")
    for name, text in report.texts(report.RAW).items():
        assert (MEASUREMENTS / name).read_text() == text, f"{name}: run make bench-report"
    assert report.README.read_text() == report.readme(report.RAW), "run make bench-report"
    assert (MEASUREMENTS / "failover.svg").exists() == bool(
        part("raw").taken(part("raw").read(report.RAW))
    )


def test_a_line_that_a_killed_bench_left_unfinished_does_not_count(tmp_path: Path) -> None:
    raw, path = part("raw"), tmp_path / "raw.jsonl"
    write_raw(path, RUNS[:2])
    with path.open("a") as file:
        file.write('{"scenario": "server-cr')
    assert raw.read(path) == RUNS[:2]
    raw.append(path, RUNS[2])
    assert raw.read(path) == RUNS[:3]


def test_a_last_line_that_only_lacks_its_line_break_is_a_run(tmp_path: Path) -> None:
    raw, path = part("raw"), tmp_path / "raw.jsonl"
    path.write_text(json.dumps(RUNS[0]) + "\n" + json.dumps(RUNS[1]))
    assert raw.read(path) == RUNS[:2]
    raw.append(path, RUNS[2])
    assert raw.read(path) == RUNS[:3]


def test_a_line_that_was_cut_in_the_middle_of_a_letter_is_no_trouble(tmp_path: Path) -> None:
    raw, path = part("raw"), tmp_path / "raw.jsonl"
    path.write_bytes(json.dumps(RUNS[0]).encode() + b'\n{"problem": "\xc3')
    assert raw.read(path) == RUNS[:1]
    raw.append(path, RUNS[1])
    assert raw.read(path) == RUNS[:2]


def test_a_broken_line_in_between_is_told_with_its_number(tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_text("{}\nnonsense\n{}\n")
    with pytest.raises(ValueError, match="line 2"):
        part("raw").read(tmp_path / "raw.jsonl")


def test_runs_of_another_commit_count_only_when_asked_to() -> None:
    counted = part("raw").counted
    assert counted(RUNS, commit="c1")["server-crash", "dpe-operator"] == 2
    assert counted(RUNS, commit=None)["server-crash", "dpe-operator"] == 3


def test_the_plan_is_what_is_promised() -> None:
    plan = part("cases").plan()
    ours = {item.scenario.name: item.runs for item in plan if item.subject.name == "dpe-operator"}
    assert (ours["server-crash"], ours["server-node-cut"], ours["api-outage"]) == (30, 10, 3)
    others = {item.key: item.runs for item in plan if not item.subject.ours}
    assert others["server-crash", "haproxy-default"] == 10
    assert others["server-node-cut", "deployment"] == 3
    assert ("balancer-kill", "deployment") not in others, "it has none"
    servers = {name for name, one in part("cases").SCENARIOS.items() if one.about == "servers"}
    assert set(part("faults").FAULTS) == servers


def test_a_name_that_is_not_known_is_told_with_those_that_are() -> None:
    with pytest.raises(ValueError, match=r"SCENARIO: there is no 'crash'; there are: server-crash"):
        part("cases").plan(scenarios=["crash"])


def test_an_early_end_leaves_something_of_every_scenario() -> None:
    left = [(item, item.runs) for item in part("cases").plan()]
    order = list(part("order").rounds(left, size=3))
    assert Counter(item.key for item in order) == {item.key: runs for item, runs in left}
    first = order[: 3 * len(left)]
    assert set(Counter(item.key for item in first).values()) == {3}
    subjects = [item.subject.name for item in first]
    assert subjects == sorted(subjects, key=subjects.index), "a subject is set up once a round"
    own = [item.key[0] for item in first if (item.subject.name, item.scenario.about)
           == ("dpe-operator", "servers")]  # fmt: skip
    assert own == own[: len(own) // 3] * 3, "scenarios take turns"
