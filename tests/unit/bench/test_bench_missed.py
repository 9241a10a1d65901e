# SPDX-License-Identifier: Apache-2.0
"""Runs that gave no figures: noted, published, and never counted; no cluster."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.bench_parts import part


def seen(gap: float) -> dict[str, Any]:
    return {
        "gap_ms": gap, "gap_is_over": True, "undisturbed_gap_ms": 30.0, "failed_requests": 2,
        "failed_after_retries": 0, "switches": 1, "overlap_ms": 0.0,
    }  # fmt: skip


def run(scenario: str = "server-crash", subject: str = "dpe-operator") -> dict[str, Any]:
    return {
        "scenario": scenario, "subject": subject, "commit": "c1", "machine": {"cpus": 2},
        "versions": {"Kubernetes": "v1"}, "took_seconds": 60.0, "entries": {"cluster": seen(300.0)},
        "lost": 0, "doubled": 0, "load_seconds": 10, "level": "pod", "about": "servers",
    }  # fmt: skip


def missed(scenario: str = "server-crash", subject: str = "dpe-operator") -> dict[str, Any]:
    return {
        "time": "2026-01-31T12:00:00+00:00", "scenario": scenario, "subject": subject,
        "commit": "c1", "about": "servers", "problem": "not within 180 s: b is active",
        "spent": {"set up": 90.0, "settle": 3.0},
    }  # fmt: skip


# what is noted


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A bench whose runs do what `takes` says, one after the other."""
    module = part("bench")
    made = module.Bench.__new__(module.Bench)
    items = part("cases").plan(["server-crash"], ["dpe-operator"], 3)
    made._wish = SimpleNamespace(
        items=items, raw_file=tmp_path / "raw.jsonl", any_commit=False, seed=1
    )
    made._commit, made._before, made.takes = "c1", None, []

    def one(_item: Any, laps: Any) -> None:
        laps.done("set up")
        problem = made.takes.pop(0)
        if problem is not None:
            raise problem

    for name in ("_prepare", "_leave", "_begin_anew"):
        monkeypatch.setattr(made, name, lambda: None)
    monkeypatch.setattr(made, "_tell", lambda _item: None)
    monkeypatch.setattr(made, "_one", one)
    return made


def lines(bench: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = part("raw").read(bench._wish.raw_file)
    return found


def test_a_run_that_did_not_work_is_noted_and_does_not_count(bench: Any) -> None:
    text = "not within 180 s: b is active " + "x" * 400 + "\nand what was seen"
    bench.takes = [None, AssertionError(text), None]
    assert bench.run() == 1
    (line,) = lines(bench)
    assert {key: line[key] for key in ("scenario", "subject", "commit", "about")} == {
        "scenario": "server-crash", "subject": "dpe-operator", "commit": "c1", "about": "servers",
    }  # fmt: skip
    assert line["problem"] == text[:300] and line["time"] and line["spent"] == {"set up": 0.0}
    assert part("bench").remaining(bench._wish, "c1")[0][1] == 3


def test_where_a_site_does_not_become_whole_again_it_is_the_run_before_that_did_it(
    bench: Any,
) -> None:
    (bench._before,) = part("cases").plan(["server-hang"], ["dpe-operator"], 1)
    bench.takes = [AssertionError("both members are UP"), None, None]
    bench.run()
    (line,) = lines(bench)
    assert line["scenario"] == "server-hang"
    assert line["problem"] == "not whole again afterwards: both members are UP"


def test_who_stops_the_bench_has_not_met_a_run_that_failed(bench: Any) -> None:
    bench.takes = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert lines(bench) == []


def test_nor_when_a_repair_fails_because_of_that(bench: Any) -> None:
    """The repair's failure comes out of the block; what was under way is its context."""

    def repair() -> None:
        raise RuntimeError("kubectl was ended too")

    try:
        with ExitStack() as stack:
            stack.callback(repair)
            raise KeyboardInterrupt
    except RuntimeError as problem:
        bench.takes = [problem]
    with pytest.raises(KeyboardInterrupt):
        bench.run()
    assert lines(bench) == []


def test_a_problem_is_told_without_the_folders_of_this_machine() -> None:
    told = part("missed").told
    hide = {"/home/me/.cache/dpe": "CACHE", "/home/me": "~"}
    problem = RuntimeError("/home/me/.cache/dpe/tools/kubectl of /home/me failed\nmore")
    assert told(problem, hide) == "CACHE/tools/kubectl of ~ failed"
    assert told(AssertionError(), hide) == "AssertionError"


# who reads it


def test_no_reader_takes_it_for_a_run() -> None:
    raw, order, cases = part("raw"), part("order"), part("cases")
    assert raw.counted([run(), missed()], commit="c1") == {("server-crash", "dpe-operator"): 1}
    (item,) = cases.plan(["server-crash"], ["dpe-operator"], 1)
    odd = missed() | {"load_seconds": item.load_seconds, "took_seconds": 999.0}
    assert order.seconds_left([(item, 1)], [run(), odd]) == 60 + 90


def written(folder: Path, runs: list[dict[str, Any]]) -> tuple[Any, str]:
    for one in runs:
        part("raw").append(folder / "raw.jsonl", one)
    part("report").write(folder / "raw.jsonl", folder)
    return json.loads((folder / "failover.json").read_text()), (folder / "failover.md").read_text()


def test_it_is_published_beside_the_runs_that_worked(tmp_path: Path) -> None:
    others = [missed("server-hang", "deployment"), missed("server-hang", "haproxy-default")]
    found, page = written(tmp_path, [run(), missed(), missed(), run("drain"), *others])
    counts = {one["scenario"]: (one["runs"], one["runs_not_taken"]) for one in found["results"]}
    assert counts == {"server-crash": (1, 2), "drain": (1, 0)}
    assert found["runs_not_taken"] == [
        {"scenario": "server-crash", "subject": "dpe-operator", "runs": 2},
        {"scenario": "server-hang", "subject": "deployment", "runs": 1},
        {"scenario": "server-hang", "subject": "haproxy-default", "runs": 1},
    ]
    sections = {part.split("\n")[0]: part for part in page.split("\n## ")}
    assert "without figures: dpe-operator 2" in sections["server-crash"]
    hang = sections["server-hang"]
    assert "without figures: deployment 1, haproxy-default 1" in hang and "| Subject" not in hang
    assert "without figures" not in sections["drain"]
    assert "2 runs on a kind cluster" in page and "4 more" in page
    readme = part("report").readme(tmp_path / "raw.jsonl")
    assert "| 300, 300 (1), 2 without figures |" in readme


def test_where_all_went_well_the_page_says_nothing_of_it(tmp_path: Path) -> None:
    found, page = written(tmp_path, [run()])
    assert found["runs_not_taken"] == [] and "without figures" not in page


def test_where_no_run_worked_the_page_says_that_too(tmp_path: Path) -> None:
    found, page = written(tmp_path, [missed()])
    assert found["results"] == [] and "without figures: dpe-operator 1" in page
    assert not (tmp_path / "failover.svg").exists()


def test_singletons_have_it_too() -> None:
    lost = {"scenario": "singleton-crash", "subject": "client-go", "commit": "c", "problem": "x"}
    found = part("single_figures").published([lost, lost], command="make bench-failover")
    assert found["runs_not_taken"] == [
        {"scenario": "singleton-crash", "subject": "client-go", "runs": 2}
    ]
    assert "without figures: client-go 2" in part("single_page").markdown(found)
