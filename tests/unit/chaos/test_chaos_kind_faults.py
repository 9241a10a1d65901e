# SPDX-License-Identifier: Apache-2.0
"""Whatever happens while a fault lasts, it is undone."""

from __future__ import annotations

import importlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.chaos.kind.plan import KINDS, Moment
from tests.chaos.kind.pods import Tree
from tests.chaos.kind.snapshot import Part, Snapshot
from tests.chaos.plan import Fault
from tests.support.bench_parts import bench_on_the_path  # noqa: F401

POD = {
    "metadata": {"name": "n1", "uid": "u1", "labels": {"c": "news"}, "namespace": "chaos"},
    "spec": {"nodeName": "w1"}, "status": {},
}  # fmt: skip
NODE = {"metadata": {"name": "w1", "labels": {}}, "spec": {}, "status": {}}


class Ground:
    """A cluster of one pod on one node."""

    def __init__(self, *pods: dict[str, Any]) -> None:
        self.last = Snapshot([Part("news", {"c": "news"}, 1)], pods, [NODE])

    def look(self) -> Snapshot:
        return self.last


@pytest.fixture
def faults() -> Any:
    """The module, which needs the bench's folder on the path."""
    return importlib.import_module("tests.chaos.kind.faults")


@pytest.fixture
def child() -> Iterator[int]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process.pid
        process.kill()


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def moment(kind: str, *, seconds: float = 0.4, detail: str = "all") -> Moment:
    return Moment(1, [Fault(1, 0.0, kind, "news", "acting", seconds, detail, 3)])


def play(faults: Any, one: Moment, *pods: dict[str, Any]) -> tuple[list[Any], list[Any]]:
    made = faults.Faults(Ground(*pods), None)
    made.play(one)
    return made.hits, made.not_done


def test_a_stopped_process_goes_on(
    faults: Any, child: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults.pods, "processes", lambda pod: Tree(child, 0, []))
    seen: list[str] = []
    sleep = time.sleep

    def watched(seconds: float) -> None:
        sleep(0.2)
        seen.append(state(child))

    monkeypatch.setattr(faults.time, "sleep", watched)
    (hit,), _ = play(faults, moment("process stopped"), POD)
    assert seen[-1] == "T"
    sleep(0.2)
    assert state(child) == "S"
    assert (hit.pod, hit.problem) == ("n1", "")
    assert 0 < hit.begun < hit.ended


def test_it_goes_on_also_when_something_breaks_meanwhile(
    faults: Any, child: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults.pods, "processes", lambda pod: Tree(child, 0, []))
    undone: list[str] = []
    monkeypatch.setattr(faults.exact, "freeze", lambda node: None)
    monkeypatch.setattr(faults.exact, "thaw", undone.append)
    sleep = time.sleep

    def broken(seconds: float) -> None:
        if seconds:
            raise RuntimeError("no more")

    monkeypatch.setattr(faults.time, "sleep", broken)
    (hit,), _ = play(faults, moment("process stopped"), POD)
    sleep(0.2)
    assert state(child) == "S"
    assert "no more" in hit.problem
    (hit,), _ = play(faults, moment("node frozen"), POD)
    assert undone == ["w1"]
    assert (hit.node, hit.pods) == ("w1", {"n1": "news"})


def test_what_there_was_nothing_to_do_to_is_counted_apart(
    faults: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    hits, not_done = play(faults, moment("process killed"))
    assert (hits, len(not_done)) == ([], 1)
    monkeypatch.setattr(faults.pods, "processes", lambda pod: Tree(0, 0, []))
    hits, not_done = play(faults, moment("process killed"), POD)
    assert hits == []
    assert "no such process" in not_done[0].problem


def test_each_kind_can_be_carried_out(faults: Any) -> None:
    assert set(faults._ACTIONS) == set(KINDS)
