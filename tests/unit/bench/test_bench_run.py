# SPDX-License-Identifier: Apache-2.0
"""One run from settling to its line in the raw file; cluster, clients and fault are stand-ins."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.bench_parts import part


class Pair:
    """A subject that notes what it is asked to do; each fault is one recorded switch."""

    about = "servers"

    def __init__(self, case: Any, notes: list[str], counts: bool) -> None:
        self.case, self.notes, self.counts = case, notes, counts
        self.switches = 7

    def __getattr__(self, name: str) -> Any:
        return lambda *words: self.notes.append(" ".join([name, *words]))

    def server(self) -> Any:
        return {"spec": {"nodeName": "worker"}}

    balancer = server

    def switch_count(self) -> int | None:
        self.notes.append("switch_count")
        return self.switches if self.counts else None


class Work:
    """Work that notes what is asked of it."""

    def __init__(self, notes: list[str], seconds: int) -> None:
        self.notes = notes
        notes.append(f"work for {seconds} s")

    def __enter__(self) -> Work:
        return self

    def __exit__(self, *_: Any) -> None:
        self.notes.append("work removed")

    def end(self) -> None:
        self.notes.append("work ends")

    def counted(self) -> dict[str, Any]:
        self.notes.append("work counted")
        return {"workflows": 20, "lost": 0, "doubled": 1, "other_faults": {}, "limits": {}}


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, notes: list[str]) -> Any:
    module = part("bench")

    class Clients:
        def end(self) -> None:
            notes.append("clients end")

        def __init__(self, _subject: Any, *, seconds: int, **_: Any) -> None:
            notes.append(f"clients for {seconds} s")

        def __enter__(self) -> Clients:
            return self

        def __exit__(self, *_: Any) -> None:
            notes.append("clients removed")

        def summaries(self) -> dict[str, Any]:
            from dpe_operator.prober.measure import Record, summarize  # noqa: PLC0415

            records = [Record("fresh", t, t, t, True, 1, "a") for t in (1, 9)]
            summary = {**summarize(records, seconds=9, undisturbed=4.0), "errorKinds": {}}
            started = datetime.fromtimestamp(time.time() - 5, UTC).isoformat()
            summary |= {"startedAt": started, "sentSeconds": made.sent_seconds}
            return {"cluster": summary, "lost-node": summary | {"sentSeconds": 1.0}}

    def fault(strike: Any) -> None:
        notes.append("fault")
        strike.repair.callback(notes.append, "repair")
        strike.subject.switches += 1

    monkeypatch.setattr(module, "Clients", Clients)
    monkeypatch.setattr(module, "Work", lambda *_, seconds: Work(notes, seconds))
    monkeypatch.setattr(module, "surviving_worker", lambda *_: "other")
    monkeypatch.setattr(module, "FAULTS", dict.fromkeys(part("cases").SCENARIOS, fault))
    monkeypatch.setattr(module, "_line", lambda _run: "a line")
    monkeypatch.setattr(module.time, "sleep", lambda _seconds: None)
    for name in ("wait_nodes", "wait_api_server"):
        monkeypatch.setattr(module.machines, name, lambda _, name=name: notes.append(name))
    made = module.Bench.__new__(module.Bench)
    made._wish = SimpleNamespace(raw_file=tmp_path / "raw.jsonl", seed=1)
    made._commit, made._cluster, made._versions = "c1", None, {}
    made._subject, made._nodes_touched, made._before = None, False, None
    made.sent_seconds = 10.0  # by its clients, of which five were before the fault
    return made


def one(bench: Any, notes: list[str], scenario: str, subject: str = "dpe-operator") -> Any:
    (item,) = part("cases").plan([scenario], [subject], 1)
    bench._subject = Pair(item.subject, notes, counts=item.subject.ours)
    bench._one(item, part("laps").Laps())
    return part("raw").read(bench._wish.raw_file)[-1]


def test_a_run_settles_rests_strikes_counts_the_switches_and_repairs(
    bench: Any, notes: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    run = one(bench, notes, "server-crash")
    assert notes == [
        "settle", "aim server-crash", "rest server-crash", "url other", "work for 10 s",
        "switch_count", "clients for 10 s", "fault", "work ends", "switch_count",
        "clients removed", "repair", "work counted", "work removed",
    ]  # fmt: skip
    assert (run["workflows"], run["lost"], run["doubled"]) == (20, 0, 1)
    assert (run["recorded_switches"], run["load_seconds"], run["undisturbed_seconds"]) == (1, 10, 4)
    assert list(run["spent"]) == sorted(
        ["set up", "settle", "aim", "rest", "start", "load", "repair", "work"]
    )
    told = capsys.readouterr().err
    assert "took 0 s: set up 0.0, settle 0.0, aim 0.0, rest 0.0, start" in told


def test_clients_end_when_a_change_is_done_that_takes_as_long_as_it_takes(
    bench: Any, notes: list[str]
) -> None:
    one(bench, notes, "rolling-update")
    after = notes[notes.index("fault") :]
    assert after[:6] == [
        "fault", "clients end", "work ends", "switch_count", "clients removed", "repair",
    ]  # fmt: skip


def test_nodes_are_waited_for_after_a_run_that_touched_one(bench: Any, notes: list[str]) -> None:
    one(bench, notes, "server-node-cut")
    assert "wait_nodes" not in notes, "nobody had touched one"
    one(bench, notes, "server-crash")
    assert notes.count("wait_nodes") == 1
    one(bench, notes, "server-crash")
    assert notes.count("wait_nodes") == 1


def test_after_an_api_outage_balancers_have_time_to_record_before_the_switches_are_read(
    bench: Any, notes: list[str]
) -> None:
    assert one(bench, notes, "api-outage")["recorded_switches"] == 1
    end = notes.index("fault")
    assert notes[end : end + 4] == ["fault", "clients end", "work ends", "switch_count"]
    scenarios = part("cases").SCENARIOS.values()
    assert all(each.tail >= 10 for each in scenarios if each.level == "api")


def test_what_ran_before_is_known_until_the_subject_is_made_anew(
    bench: Any, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one(bench, notes, "server-crash")
    assert bench._before.scenario.name == "server-crash"
    (item,) = part("cases").plan(["server-crash"], ["deployment"], 1)
    made = SimpleNamespace(case=item.subject, about="servers", up=lambda: None)
    monkeypatch.setattr(part("bench"), "subject_of", lambda *_: made)
    bench._images, bench._folder = {}, Path()
    bench._on(item.subject, "servers")
    assert bench._before is None


def test_a_baseline_records_no_switches(bench: Any, notes: list[str]) -> None:
    assert one(bench, notes, "server-crash", "deployment")["recorded_switches"] is None


def test_clients_that_stop_before_the_fault_is_over_have_not_seen_it(
    bench: Any, notes: list[str]
) -> None:
    bench.sent_seconds = 5.0 + part("cases").WATCHED_SECONDS - 0.5
    with pytest.raises(RuntimeError, match=r"cluster: .* 1\.5 s after the fault"):
        one(bench, notes, "server-crash")
    assert "repair" in notes and part("raw").read(bench._wish.raw_file) == []


def test_how_long_clients_sent_and_when_the_fault_was_over_stands_in_the_run(
    bench: Any, notes: list[str]
) -> None:
    run = one(bench, notes, "server-crash")
    assert run["entries"]["cluster"]["sent_seconds"] == 10.0
    assert run["fault_at_second"] == pytest.approx(5.0, abs=0.5)
    assert run["fault_at_second"] <= run["fault_over_at_second"] < 6
    assert run["entries"]["lost-node"]["sent_seconds"] == 1.0, "it is ended early on purpose"


def test_a_client_has_sent_for_as_long_as_it_opened_new_connections() -> None:
    sent = part("probes").sent_seconds
    assert (
        sent({"classes": {"fresh": {"requests": 501}, "keepAlive": {"requests": 7}}}, 50) == 10.02
    )
    assert sent({"classes": {}}, 50) == 0.0
