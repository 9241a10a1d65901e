# SPDX-License-Identifier: Apache-2.0
"""A watcher that is killed again and again, and once its server: nothing is called a wrong name."""

import json
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.postgres import Postgres, running_postgres
from tests.support.simulated_site import Site
from tests.support.simulator import BASE, FailoverAddress, Simulated, eventually

pytestmark = [pytest.mark.integration, pytest.mark.level2, pytest.mark.timeout(600)]
ROUNDS = 15
SETTLE = 20


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


@pytest.fixture
def site(postgres: Postgres, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(postgres, tmp_path, request.node.name[-40:])
    yield made
    made.close()


def check(site: Site) -> tuple[int, list[tuple[str, str]]]:
    command = ("check", "--dsn", site.dsn, "--content-dsn", site.dsn, "--switches", "1")
    with Simulated(site.folder, "check", *command, "--settle", "15s", "--json", "-") as checker:
        status, output = checker.wait()
    findings: list[dict[str, Any]] = json.loads(output)["findings"]
    return status, [(one["kind"], one["rule"]) for one in findings]


@pytest.mark.parametrize(
    ("options", "limits"),
    [
        ((), {"change-repeated"}),
        (("--gap", "150ms"), {"change-repeated"}),
        (("--memory-first", "--gap", "150ms"), {"effect-lost"}),
        (("--memory-in-place",), {"change-repeated", "memory-torn", "deletion-forgotten"}),
    ],
    ids=["plain", "gap", "first", "torn"],
)
def test_killed_again_and_again(
    site: Site, tmp_path: Path, options: tuple[str, ...], limits: set[str]
) -> None:
    servers = [site.add(), site.add()]
    memory = tmp_path / "memory"
    memory.mkdir()
    dice = random.Random(7)
    with FailoverAddress(servers[0].port, servers[1].port) as address:
        url = ("--url", f"http://127.0.0.1:{address.port}{BASE}", "--heartbeat", "100ms")

        def watcher(epoch: int) -> Simulated:
            return Simulated(
                tmp_path, f"watcher-{epoch}", "table-watcher", *url, "--content-dsn", site.dsn,
                "--interval", "100ms", "--memory", str(memory), "--name", "news",
                "--activity-seconds", "20ms", *options, DPE_ELECTOR_EPOCH=str(epoch),
            )  # fmt: skip

        changing = (
            "--add",
            "2",
            "--update",
            "3",
            "--delete",
            "1",
            "--rounds",
            "9999",
            "--every",
            "2s",
        )
        with (
            Simulated(
                tmp_path, "worker", "worker", *url, "--poll", "300ms", "--quota", "5"
            ) as worker,
            Simulated(
                tmp_path, "entries", "entries", "--content-dsn", site.dsn, *changing
            ) as entries,
        ):
            for epoch in range(1, ROUNDS + 1):
                with watcher(epoch) as killed:
                    eventually(lambda one=killed: "memory: " in one.said, seconds=40)
                    time.sleep(dice.uniform(0, 2.0))
                    killed.end(signal.SIGKILL if dice.random() < 0.8 else signal.SIGTERM)
                if epoch == ROUNDS // 2:
                    servers[0].end(signal.SIGKILL)
            entries.end(signal.SIGKILL)
            with watcher(ROUNDS + 1) as last:
                time.sleep(SETTLE)
                assert last.end()[0] == 0
            assert worker.end()[0] == 0
        status, found = check(site)
        assert status == 0, found
        # A machine under load may leave an entry unseen from its creation to its deletion.
        assert {rule for _, rule in found} <= limits | {"gone-before-seen"}

        # The same history with an old memory at its end is called what it is.
        old = memory / "memory.json"
        text = json.loads(old.read_text())
        old.write_text(json.dumps({**text, "generation": text["generation"] - 1}))
        with watcher(ROUNDS + 2) as stale:
            started = "SELECT count(*) FROM dpe_ledger WHERE kind = 'start' AND epoch = %s"
            eventually(lambda: site.rows(started, ROUNDS + 2) == [(1,)], seconds=30)
            stale.end()
        status, found = check(site)
        assert status == 1
        assert ("topology", "stale-memory") in found
