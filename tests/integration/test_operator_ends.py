# SPDX-License-Identifier: Apache-2.0
"""An operator that can no longer do its work ends, and says why: the elector then hands over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.api_server import ROOT, ApiServer
from tests.support.operator_kit import OperatorProcess, Site, eventually, operator
from tests.support.planning_world import cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

# The operator with one worker whose reconcile hangs (and does not let itself be cancelled, where it
# is "deaf", or keeps the whole event loop, where it is "greedy"), and with less patience.
_STUCK = """
import asyncio, functools, sys
from dpe_operator.cli.main import main
from dpe_operator.runtime import health, operator, reconciler, watchdog

async def hang(self, key):
    while sys.argv[1] == "greedy":
        pass
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            if sys.argv[1] != "deaf":
                raise

reconciler.Reconciler.reconcile = hang
health.STUCK_SECONDS = 1.0
operator.watch_over = functools.partial(watchdog.watch_over, pause=0.2, blocked=3.0)
operator._HARD_END_SECONDS = 4.0
sys.exit(main(["run"]))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """An API server whose CRDs the tests may delete."""
    with ApiServer() as made:
        made.install_crds()
        yield made


def last_line(running: OperatorProcess) -> str:
    """Return the message of the last line of the log."""
    last = json.loads(running.log.read_text().splitlines()[-1])
    assert last["level"] == "CRITICAL"
    return str(last["message"])


def test_it_ends_when_the_kinds_are_deleted_and_the_next_one_goes_on(
    server: ApiServer, tmp_path: Path
) -> None:
    site = Site(server, server.create_namespace())
    site.create(cluster())
    with operator(server, tmp_path, namespaces=site.namespace) as running:
        eventually(lambda: site.find("DpeServer", "radio"), seconds=30, log=running.log)
        server.kubectl("delete", "-f", str(ROOT / "crds"), "--wait=true")
        assert running.process.wait(timeout=40) == 1, running.log.read_text()[-3000:]
        said = last_line(running)
        assert "to be started anew" in said and site.namespace in said
    with operator(server, tmp_path, namespaces=site.namespace) as running:
        assert running.process.wait(timeout=30) == 1
        assert "install the CRDs" in running.log.read_text()
    server.install_crds()
    with operator(server, tmp_path, namespaces=site.namespace) as running:
        site.create(cluster())
        eventually(lambda: site.find("DpeServer", "radio"), seconds=30, log=running.log)


def stuck(server: ApiServer, folder: Path, hearing: str) -> OperatorProcess:
    """Return an operator that has ended by itself since its reconcile hangs."""
    server.install_crds()
    site = Site(server, server.create_namespace())
    site.create(cluster())
    script = folder / "stuck.py"
    script.write_text(_STUCK)
    main = (str(script), hearing)
    with operator(server, folder, namespaces=site.namespace, main=main) as running:
        assert running.process.wait(timeout=30) == 1, running.log.read_text()[-3000:]
    return running


@pytest.mark.parametrize("hearing", ["obedient", "deaf"])
def test_it_ends_when_a_reconcile_hangs(server: ApiServer, tmp_path: Path, hearing: str) -> None:
    said = last_line(stuck(server, tmp_path, hearing))
    assert "a reconcile has been running for" in said
    assert ("ended hard" in said) == (hearing == "deaf")


def test_it_ends_when_its_event_loop_is_kept_busy(server: ApiServer, tmp_path: Path) -> None:
    """And says where, so that somebody can mend it."""
    said = stuck(server, tmp_path, "greedy").log.read_text()
    assert "Timeout (0:00:03)!" in said
    assert re.search(r'stuck\.py", line \d+ in hang', said), said[-2000:]
