# SPDX-License-Identifier: Apache-2.0
"""The work beside the bench's clients: real servers, processor, client and PostgreSQL."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.bench_parts import bench_on_the_path, part  # noqa: F401
from tests.support.postgres import Postgres, running_postgres
from tests.support.simulator import BASE, FailoverAddress, Simulated

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


def work_of(dsn: str, port: int, folder: Path, *, seconds: float) -> Any:
    class Ledger(part("ledger").Ledger):  # type: ignore[misc, name-defined]
        pass

    Ledger.dsn = dsn
    return part("work").Work(
        Ledger(None, "127.0.0.1"), f"http://127.0.0.1:{port}{BASE}", folder, seconds=seconds
    )


def test_workflows_are_counted_across_a_killed_server(postgres: Postgres, tmp_path: Path) -> None:
    dsn = postgres.new_database("work")
    common = ("--host", "127.0.0.1", "--port", "0", "--dsn", dsn)
    with (
        Simulated(tmp_path, "a", "server", "--member", "a", *common) as a,
        Simulated(tmp_path, "b", "server", "--member", "b", *common) as b,
        FailoverAddress(a.port, b.port) as address,
    ):
        with work_of(dsn, address.port, tmp_path, seconds=6) as work:
            time.sleep(3)
            a.end(signal.SIGKILL)
            time.sleep(3)
            work.end()
            counted = work.counted()
        assert 3 <= counted["workflows"] <= 7, f"in six seconds, a second apart: {counted}"
        assert (counted["not_accepted"], counted["lost"], counted["doubled"]) == (0, 0, 0), counted
        assert counted["other_faults"] == {}, counted


def test_a_workflow_that_is_gone_and_one_that_nobody_ends_are_lost(
    postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dsn = postgres.new_database("gone")
    monkeypatch.setattr(part("work"), "_ENDS_WITHIN_SECONDS", 3)
    monkeypatch.setattr(part("work"), "_SETTLE_SECONDS", 1.0)
    server = ("server", "--member", "a", "--host", "127.0.0.1", "--port", "0", "--dsn", dsn)
    with Simulated(tmp_path, "a", *server) as a:
        work = work_of(dsn, a.port, tmp_path, seconds=2)
        monkeypatch.setattr(work._processor, "_command", ["sleep", "60"])
        with work:
            time.sleep(3)
            with part("ledger").connect(dsn, name="test") as session:
                session.execute("DELETE FROM dpe_jobs WHERE workflow_id = 1")
                session.execute("DELETE FROM dpe_workflows WHERE id = 1")
                session.commit()
            work.end()
            counted = work.counted()
    assert counted["workflows"] > 1, counted
    assert (counted["lost"], counted["doubled"]) == (counted["workflows"], 0), counted
