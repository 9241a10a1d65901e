# SPDX-License-Identifier: Apache-2.0
"""Whole runs of the bench with real watchers, processors and PostgreSQL; only Kubernetes is missing."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.bench_parts import bench_on_the_path, part  # noqa: F401
from tests.support.postgres import Postgres, running_postgres
from tests.support.simulated_site import Site
from tests.support.simulator import Simulated, eventually

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


@dataclass
class Watchers:
    """The subject of a run: a watcher after the other, each a process on this machine."""

    site: Site
    memory: Path
    log: Path
    running: list[Simulated] = field(default_factory=list)
    table: str = "safe"

    def __post_init__(self) -> None:
        class Ledger(part("ledger").Ledger):  # type: ignore[misc, name-defined]
            dsn = self.site.dsn

        self.ledger = Ledger(None, "127.0.0.1")
        found = {"metadata": {"name": socket.gethostname()}, "spec": {"nodeName": "n"}}
        # instead of kubectl: a Lease that was given back once
        program = self.log.with_name("kubectl")
        program.write_text("#!/bin/sh\necho '|2026-01-31T12:00:00.000000Z'\nexec sleep 600\n")
        program.chmod(0o755)
        self.kube = SimpleNamespace(
            binary=program, kubeconfig="", namespace="", get=lambda *_: found
        )
        self.role = "table-watcher"

    def start(self, epoch: int) -> None:
        records = f"--records={self.log}"
        self.running.append(
            self.site.component(
                f"watcher-{epoch}", "table-watcher", "--name", "safe-table-watcher", records,
                f"--memory={self.memory}", f"--content-dsn={self.site.dsn}", "--table=safe",
                "--table-id=safe", "--activities=0", DPE_ELECTOR_EPOCH=str(epoch),
            )
        )  # fmt: skip

    def name(self, _scenario: str) -> str:
        return self.table

    def component(self, _scenario: str) -> str:
        return "safe-table-watcher"

    def acting(self, scenario: str) -> Any:
        find: Callable[..., Any] = part("single_subjects").Singleton.acting
        return find(self, scenario)


@pytest.fixture
def watchers(
    postgres: Postgres, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Watchers]:
    site = Site(postgres, tmp_path, request.node.name[:60])
    site.add("--lease", "2s")
    made = Watchers(site, tmp_path / "memory", tmp_path / "records")
    made.memory.mkdir()
    yield made
    for one in made.running:
        one.__exit__(None, None, None)
    site.close()


def take(
    watchers: Watchers, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Any], float]
) -> dict[str, Any]:
    runs, cases = part("single_runs"), part("cases")
    monkeypatch.setattr(runs, "_BEFORE_SECONDS", 1)
    monkeypatch.setattr(runs, "_AFTER_SECONDS", 2)
    monkeypatch.setattr(runs, "_SETTLE_SECONDS", 3.0)
    monkeypatch.setattr(runs, "_log", lambda _, removed: watchers.log.read_text().splitlines())
    monkeypatch.setitem(runs.FAULTS, "singleton-crash", fault)
    watchers.start(1)
    (item,) = cases.plan(["singleton-crash"], ["dpe-operator"])
    found: dict[str, Any] = runs.take(watchers, item, 1)
    return found


@pytest.mark.level2
def test_one_after_the_other_is_a_gap_and_nothing_else(
    watchers: Watchers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(hit: Any) -> float:
        eventually(lambda: any(watchers.memory.iterdir()), seconds=30, what="a memory")
        struck: float = part("exact").kill([watchers.running[0].process.pid])
        time.sleep(1)
        watchers.start(2)
        return struck

    seen = take(watchers, monkeypatch, fault)
    figures = seen["figures"]
    assert 1000 <= figures["gap_ms"] < 30_000 and figures["gap_is_over"], seen
    assert figures["gap_ms"] == figures["from_fault_ms"] and figures["counted_from"] == "fault"
    assert (figures["overlap_ms"], figures["late_acts"]) == (0, 0), seen
    assert figures["memory"] == "read", seen
    assert (seen["lost"], seen["doubled"], seen["other_faults"]) == (0, 0, {}), seen
    assert len(watchers.site.titles()) >= 8, "changes came all the while"


def test_two_at_a_time_are_seen(watchers: Watchers, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(hit: Any) -> float:
        struck = time.time()
        watchers.start(2)
        hit.repair.callback(watchers.running[0].process.send_signal, signal.SIGTERM)
        return struck

    seen = take(watchers, monkeypatch, fault)
    figures = seen["figures"]
    assert figures["overlap_ms"] > 1000 and figures["late_acts"] > 5, seen
    assert not figures["overlap_is_over"], "it goes on until the repair"
    assert seen["other_faults"].get("two-acting") == 1, seen


@pytest.mark.level2
def test_one_that_goes_on_after_a_freeze_is_seen(
    watchers: Watchers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(hit: Any) -> float:
        struck = time.time()
        os.kill(watchers.running[0].process.pid, signal.SIGSTOP)
        watchers.start(2)
        time.sleep(2)
        os.kill(watchers.running[0].process.pid, signal.SIGCONT)
        time.sleep(0.5)
        watchers.running[0].process.kill()
        return struck

    figures = take(watchers, monkeypatch, fault)["figures"]
    assert figures["late_acts"] >= 1 and figures["overlap_is_over"], figures
    assert figures["overlap_ms"] < 1500, "not the two seconds in which it stood still"


@pytest.mark.level2
def test_a_farm_that_loses_a_processor(
    watchers: Watchers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, site = part("farm_runs"), watchers.site
    url = f"--url=http://127.0.0.1:{site.servers[0].port}/DpeWebApplication"
    farm: list[Simulated] = []

    def add() -> None:
        options = (url, "--type=audio", "--quota=1", "--poll=200ms")
        farm.append(Simulated(tmp_path, f"p{len(farm)}", "processor", *options))

    class Cable:
        """Pulled: the first processor is killed, and replaced a second later."""

        def __init__(self, _node: str) -> None:
            self.plugged = False

        def pull(self) -> float:
            names = watchers.ledger.busy_processors(socket.gethostname())
            struck: float = part("exact").kill([int(names[0].split("/")[1])])
            time.sleep(1)
            add()
            return struck

        def plug(self) -> None:
            self.plugged = True

    def client(_subject: Any, records: Path, *, seconds: float) -> Any:
        return part("ledger").Simulator(
            "client", url, "--workflows=12", "--jobs=1", "--job-type=audio", "--job-seconds=1s",
            f"--timeout={seconds:g}s", f"--records={records}",
        )  # fmt: skip

    pod = {"metadata": {"name": socket.gethostname()}, "spec": {"nodeName": "n"}}
    subject = SimpleNamespace(
        folder=tmp_path, cluster=None, ledger=watchers.ledger, role="processor",
        server=lambda: pod, processors=lambda: [pod],
    )  # fmt: skip
    monkeypatch.setattr(runs, "_client", client)
    monkeypatch.setattr(runs, "_SETTLE_SECONDS", 3.0)
    monkeypatch.setattr(runs, "_BEFORE_SECONDS", 1)
    monkeypatch.setattr(runs.exact, "Cable", Cable)
    monkeypatch.setattr(runs.machines, "wait_nodes", lambda _: None)
    add()
    add()
    (item,) = part("cases").plan(["farm-node-cut"], ["dpe-operator"])
    try:
        seen = runs.take(subject, item, 1)
    finally:
        for one in farm:
            one.__exit__(None, None, None)
    figures = seen["figures"]
    assert 1000 <= figures["gap_ms"] < 30_000 and figures["gap_is_over"], seen
    assert figures["jobs_with_it"] == 1 and figures["jobs_are_over"], seen
    assert figures["jobs_ms"] > 0, seen
    assert (seen["lost"], seen["doubled"]) == (0, 0), seen


def test_a_lost_processors_jobs_are_followed(watchers: Watchers, tmp_path: Path) -> None:
    """The queries that a run with a farm is made of."""
    site, ledger, struck = watchers.site, watchers.ledger, time.time()
    assert ledger.first_start("processor", None, after=struck) is None
    url = ("--url", f"http://127.0.0.1:{site.servers[0].port}/DpeWebApplication")
    with Simulated(tmp_path, "one", "processor", *url, "--type", "audio"):
        number = site.create("news", "audio", seconds=2.0)
        until = time.monotonic() + 20
        while not (busy := ledger.busy_processors(socket.gethostname())):
            assert time.monotonic() < until, "it takes the job"
            time.sleep(0.1)
        assert ledger.open_jobs() == 1
        moment = time.time()
        while site.workflow(number)["state"] != "finished":
            assert time.monotonic() < until + 20, "it finishes the job"
            time.sleep(0.1)
        assert ledger.open_jobs() == 0
    begun = ledger.first_start("processor", None, after=struck)
    assert begun is not None and begun.process == busy[0] and begun.pod == socket.gethostname()
    entries = ledger.evidence(since=struck).entries
    figures = part("single_figures").job_figures(entries, processor=busy[0], struck=moment)
    assert figures["jobs_with_it"] == 1 and figures["jobs_are_over"], figures
    assert 0 < figures["jobs_ms"] < 30_000
