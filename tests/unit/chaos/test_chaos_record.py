# SPDX-License-Identifier: Apache-2.0
"""Rounds add up to a run, runs to a total, and a run that was stopped is found again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.chaos import again
from tests.chaos.judge import Verdict
from tests.chaos.record import RIG, Book, added, total

NAMES = {"rig": RIG, "seed": "7", "commit": "abc", "rate": 2.5, "timings": "Fast"}


def figures(**changes: Any) -> dict[str, Any]:
    return {
        **NAMES, "date": "2026-01-01", "rounds": 1, "minutes": 4.0, "faults": 600,
        "faultsByKind": {"pod frozen": 500, "guard killed": 100}, "workflows": 1320,
        "overlap_ms": 0.0, "afterThaw": {"n": 2, "max_ms": 40.0}, "violations": [], **changes,
    }  # fmt: skip


def test_rounds_add_up() -> None:
    second = figures(
        faultsByKind={"pod frozen": 10, "crash loop": 1}, overlap_ms=3.5, faults=11, workflows=1200,
        afterThaw={"n": 1, "max_ms": 90.0}, violations=["two-acting: x"], date="2026-01-02",
    )  # fmt: skip
    both = added(figures(), second)
    assert both["faultsByKind"] == {"crash loop": 1, "guard killed": 100, "pod frozen": 510}
    assert (both["minutes"], both["rounds"], both["faults"]) == (8.0, 2, 611)
    assert (both["overlap_ms"], both["afterThaw"]) == (3.5, {"n": 3, "max_ms": 90.0})
    assert both["violations"] == ["two-acting: x"]
    assert (both["faultsPerSecond"], both["workflowsPerSecond"]) == (1.27, 5.25)
    assert {name: both[name] for name in NAMES} == NAMES


def test_the_book_goes_on_with_a_run_and_adds_the_runs_up(tmp_path: Path) -> None:
    path = tmp_path / "measurements/chaos.json"
    book = Book(path)
    assert book.find(NAMES) is None
    book.keep(figures())
    found = book.find(NAMES)
    assert found is not None
    book.keep(added(found, figures()))
    book.keep(figures(seed="8"))
    said = json.loads(path.read_text())
    assert [(one["seed"], one["rounds"]) for one in said["runs"]] == [("7", 2), ("8", 1)]
    (whole,) = said["totals"]
    assert (whole["seeds"], whole["faults"], whole["minutes"]) == (["7", "8"], 1800, 12.0)
    assert whole["faultsPerSecond"] == 2.5
    assert book.find({**NAMES, "commit": "another"}) is None


def test_runs_of_the_other_rig_stay_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "chaos.json"
    other = {"rig": "kind", "seed": "1", "faults": 300}
    path.write_text(json.dumps({"runs": [other], "totals": [{"rig": "kind"}], "note": "kept"}))
    Book(path).keep(figures())
    said = json.loads(path.read_text())
    assert (said["runs"][0], said["totals"][0], said["note"]) == (other, {"rig": "kind"}, "kept")
    assert total(said["runs"])["faults"] == 600


def test_a_run_that_is_judged_once_more_keeps_its_faults(tmp_path: Path) -> None:
    book = Book(tmp_path / "chaos.json")
    book.keep({**figures(), "violations": ["two-acting: once"]})
    book.keep(figures(seed="8"))
    anew = Verdict(workflows=3, explained=[("after-thaw", "x")])
    book.judge_anew(RIG, "7", anew, rounds=1, commit="abc")
    run = book.find(NAMES)
    assert run is not None
    assert (run["faults"], run["workflows"], run["violations"]) == (600, 3, [])
    assert (run["explained"], run["judgedBy"]) == ({"after-thaw": 1}, "abc")
    (whole,) = json.loads((tmp_path / "chaos.json").read_text())["totals"]
    assert whole["violations"] == [] and "judgedBy" not in whole
    with pytest.raises(LookupError, match="seed '9'"):
        book.judge_anew(RIG, "9", Verdict(), rounds=1, commit="abc")


def test_a_run_of_which_not_all_rounds_are_there_is_not_judged_once_more(tmp_path: Path) -> None:
    """A run that went on after it was stopped has its rounds in two folders."""
    book = Book(tmp_path / "chaos.json")
    failed = ["round 2: RuntimeError('x')", "given up, the site is not whole: x"]
    book.keep(figures(rounds=4, roundsFailed=failed, violations=["two-acting: once"]))
    for rounds in (2, 5):
        with pytest.raises(LookupError, match=rf"4 rounds, of which 1 failed, and {rounds} are"):
            book.judge_anew(RIG, "7", Verdict(), rounds=rounds, commit="abc")
    kept = book.find(NAMES)
    assert kept is not None and kept["violations"] == ["two-acting: once"]
    book.judge_anew(RIG, "7", Verdict(), rounds=3, commit="abc")
    book.judge_anew(RIG, "7", Verdict(), rounds=4, commit="abc")  # it failed when it was judged


def test_rounds_of_several_folders_are_judged_together(tmp_path: Path) -> None:
    for name, seen in (("first/round-1", 1), ("first/round-2", 2), ("second/round-1", 4)):
        (tmp_path / name).mkdir(parents=True)
        again.keep(tmp_path / name, seen)
    (tmp_path / "second/round-2").mkdir()  # it failed
    folders = [tmp_path / "first", tmp_path / "second"]
    told: list[str] = []
    verdict = again.judge_again(
        folders, lambda seen: (Verdict(workflows=seen), f"{seen}"), told.append
    )
    assert (verdict.workflows, len(again.rounds(folders))) == (7, 3)
    assert [text.rpartition(" ")[2] for text in told] == ["1", "2", "4"]


def test_what_cannot_be_put_down_ends_with_a_word_about_it(tmp_path: Path) -> None:
    book = Book(tmp_path / "chaos.json")
    book.keep(figures(rounds=2))
    with pytest.raises(SystemExit, match="2 rounds"):
        again.put_down(book, RIG, "7", [tmp_path], Verdict())
