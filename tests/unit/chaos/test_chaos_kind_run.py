# SPDX-License-Identifier: Apache-2.0
"""What a round on the cluster leaves behind can be judged once more, also when the round failed."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.chaos.kind.judging import unseen
from tests.support.bench_parts import bench_on_the_path  # noqa: F401

MISSING = "['node w1 is not Ready'], 300 s after node cut off w1 1.00-2.00"


@pytest.fixture
def run() -> Any:
    """The module, which needs the bench's folder on the path."""
    return importlib.import_module("tests.chaos.kind.run")


@pytest.fixture
def session(run: Any, tmp_path: Path) -> Any:
    """A session on a cluster that is not whole after the first fault; its other parts do nothing."""
    made = object.__new__(run._Session)
    made._settings, made._busy, made._folder = run.Settings("7", 300), None, tmp_path
    made._ground, made._leases = SimpleNamespace(replaced=0), SimpleNamespace(versions=[])
    made._logs, made._say = SimpleNamespace(forget=lambda before: None), lambda text: None

    def strike(faults: Any, moments: Any, seconds: float, outcome: Any, number: int) -> None:
        outcome.missing.append(MISSING)

    made._strike = strike
    return made


def played(session: Any, run: Any, folder: Path) -> tuple[Any, Any]:
    """What the round has shown, and what it comes to when it is judged once more."""
    outcome = session._one_round(1, iter(()), 300.0)
    return outcome, run.judge_again([folder], thaw_bound=0.1, say=lambda text: None)


def test_what_was_not_whole_is_found_once_more(session: Any, run: Any, tmp_path: Path) -> None:
    session._see = lambda hits, start, missing: unseen(start.wall, start.offset, hits, missing)
    outcome, again = played(session, run, tmp_path)
    assert outcome.failed == []
    assert outcome.verdict.violations == again.violations == [f"not-whole: {MISSING}"]


def test_also_where_the_round_could_not_be_looked_at(
    session: Any, run: Any, tmp_path: Path
) -> None:
    def see(*arguments: Any) -> None:
        raise RuntimeError("the database does not answer")

    session._see = see
    outcome, again = played(session, run, tmp_path)
    assert "the database does not answer" in outcome.failed[0]
    assert outcome.verdict.violations == again.violations == [f"not-whole: {MISSING}"]
