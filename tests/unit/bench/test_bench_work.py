# SPDX-License-Identifier: Apache-2.0
"""Workflows beside the clients: started until these end, and counted when all have ended."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.bench_parts import part

from dpe_simulator.findings import Evidence


class Simulator:
    """A command that does nothing; a client writes what came of its workflows when it ends."""

    begun: list[Simulator]
    notes: list[str]
    exited = False

    def __init__(self, *arguments: str) -> None:
        self.name = arguments[0]
        self.options = dict(one.lstrip("-").split("=", 1) for one in arguments[1:] if "=" in one)
        self.begun.append(self)

    def __enter__(self) -> Simulator:
        return self

    def __exit__(self, *_: Any) -> None:
        self.notes.append(f"{self.name} removed")

    def end(self) -> bool:
        self.notes.append(f"{self.name} ends")
        lines = [{"workflow": "run-1", "type": "simulated"}, {"workflow": "run-2", "type": "x"}]
        text = "".join(json.dumps(line) + "\n" for line in lines)
        Path(self.options["records"]).write_text(text)
        Path(self.options["json"]).write_text(json.dumps({"workflows": 5, "notAccepted": 3}))
        return not self.exited

    def wait(self, _seconds: float) -> bool:
        if self.name == "processor":
            return self.exited
        self.notes.append(f"{self.name} waited for")
        return True


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    notes: list[str] = []

    class Ledger:
        def wait_jobs(self, *, within: float) -> None:
            notes.append("jobs waited for")

        def evidence(self, *, since: float, client_lines: list[str]) -> Evidence:
            notes.append("evidence")
            accepted = [json.loads(line) for line in client_lines]
            pairs = tuple((one["type"], one["workflow"]) for one in accepted)
            return Evidence([], [], [], since, accepted=pairs)

    fake = type("Fake", (Simulator,), {"begun": [], "notes": notes})
    monkeypatch.setattr(part("work"), "Simulator", fake)
    made = part("work").Work(Ledger(), "https://x", tmp_path, seconds=10)
    return SimpleNamespace(made=made, notes=notes, fake=fake)


def test_workflows_are_started_until_the_clients_end_and_counted_when_they_have_ended(
    work: Any,
) -> None:
    with work.made:
        work.made.end()
        seen = work.made.counted()
    assert work.notes == [
        "client ends", "client waited for", "jobs waited for", "evidence", "client removed",
        "processor removed",
    ]  # fmt: skip
    assert (seen["workflows"], seen["not_accepted"]) == (2, 3)
    assert seen["lost"] == 2, "none of the two is in this ledger"


def test_the_client_has_more_workflows_than_it_can_begin(work: Any) -> None:
    (client,) = [one for one in work.fake.begun if one.name == "client"]
    assert client.options["every"] == "1000ms"
    assert int(client.options["workflows"]) >= 10 + part("probes").POD_STARTS_WITHIN + 120
    assert float(client.options["timeout"].rstrip("s")) > int(client.options["workflows"])


def test_a_client_that_ended_before_was_none(work: Any) -> None:
    work.fake.exited = True
    with work.made, pytest.raises(RuntimeError, match="ended by itself"):
        work.made.end()


def test_jobs_that_nobody_carries_out_any_more_are_not_lost_by_the_servers(work: Any) -> None:
    """Met with a baseline whose address led astray for a moment: 35 of 41 were "lost"."""
    work.fake.exited = True
    with work.made, pytest.raises(RuntimeError, match=r"processor .* ended by itself"):
        work.made.counted()


def test_jobs_are_waited_for_until_none_is_open_or_the_time_is_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger, clock = part("ledger"), [0.0]
    monkeypatch.setattr(ledger.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(ledger.time, "sleep", lambda s: clock.__setitem__(0, clock[0] + s))
    made = ledger.Ledger(None, "127.0.0.1")
    counts = iter([3, -1, 1, 0, 0])
    monkeypatch.setattr(made, "open_jobs", lambda: next(counts))
    made.wait_jobs(within=90)
    assert clock[0] == 3 and next(counts) == 0, "unknown is not none"
    monkeypatch.setattr(made, "open_jobs", lambda: 1)
    made.wait_jobs(within=90)
    assert clock[0] == 93
