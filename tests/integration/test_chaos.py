# SPDX-License-Identifier: Apache-2.0
"""Faults at random against a busy site of processes: the topology breaks no promise, and the checker
would see it if it did (docs/how-to/chaos.md; `make chaos` plays longer)."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.chaos.plan import Fault
from tests.chaos.run import Outcome, Settings, judge_again, run
from tests.support.api_server import ApiServer
from tests.support.elector_pods import ELECTOR
from tests.support.mounts import needs_root
from tests.support.postgres import Postgres, running_postgres

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900), needs_root]


@pytest.fixture(scope="module")
def api() -> Iterator[ApiServer]:
    """One of its own, as it is stopped and frozen."""
    with ApiServer(audit=True) as server:
        yield server


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


def play(settings: Settings, api: ApiServer, postgres: Postgres, folder: Path) -> Outcome:
    outcome = run(settings, api, postgres, folder / "chaos")
    assert outcome.failed == []
    return outcome


@pytest.mark.flaky(reruns=0)  # two that act once in a hundred runs are no bad luck
def test_faults_at_random_break_no_promise(
    api: ApiServer, postgres: Postgres, tmp_path: Path
) -> None:
    # thaws are judged by order only: a busy machine wakes what was frozen when it likes
    settings = Settings("level-1", 120, actors=2, watchers=2, thaw_bound=2.0)
    outcome = play(settings, api, postgres, tmp_path)
    assert outcome.verdict.violations == []
    assert [text for text in outcome.verdict.unknown if text.startswith("not-settled")] == []
    assert sum(outcome.faults.values()) >= 240, "two in a second"
    assert len(outcome.faults) >= 15, "kinds"
    assert outcome.verdict.timed > 0, "take-overs whose times are known"
    assert outcome.verdict.workflows > 0


def planted(folder: Path, file: str, intact: str, broken: str) -> Path:
    """A copy of the elector with something broken in it."""
    copy = folder / "dpe_elector"
    shutil.copytree(ELECTOR, copy)
    text = (copy / file).read_text()
    assert intact in text
    (copy / file).write_text(text.replace(intact, broken))
    return copy


def test_a_guard_that_does_not_kill_is_found(
    api: ApiServer, postgres: Postgres, tmp_path: Path
) -> None:
    intact = "    def _check_permit(self) -> None:\n"
    elector = planted(tmp_path, "guard.py", intact, f"{intact}        return\n")
    cut = [
        Fault(n, 1.0, "API connection cut", f"actor{n}", "acting", 15.0, "", n) for n in (1, 2, 3)
    ]
    settings = Settings("planted", 17, actors=3, watchers=0, elector=elector, faults=cut)
    outcome = play(settings, api, postgres, tmp_path)
    assert any("two-acting" in text for text in outcome.verdict.violations)
    assert outcome.verdict.overlap_ms > 0
    again = judge_again([tmp_path / "chaos"], thaw_bound=settings.thaw_bound)
    assert again.violations == outcome.verdict.violations, "from the files that it left"


@pytest.mark.level2
def test_an_elector_that_takes_a_lease_too_early_is_found(
    api: ApiServer, postgres: Postgres, tmp_path: Path
) -> None:
    intact = "return state.since + max(state.longest, rules.timings.duration)"
    elector = planted(tmp_path, "election.py", intact, f"{intact} - 1.5")
    cut = [Fault(n, 1.0, "API connection cut", f"actor{n}", "acting", 6.0, "", n) for n in (1, 2)]
    settings = Settings("early", 8, actors=2, watchers=0, elector=elector, faults=cut)
    outcome = play(settings, api, postgres, tmp_path)
    assert any("lease-early" in text for text in outcome.verdict.violations)


@pytest.mark.level2
def test_a_balancer_that_sends_to_both_is_found(
    api: ApiServer, postgres: Postgres, tmp_path: Path
) -> None:
    chance = ("{ int(1),table_server_id(dpe) eq 2 }", "{ rand(2) eq 1 }")
    harmless = Fault(1, 3.0, "elector killed", "actor1", "acting", 0.0, "", 1)
    settings = Settings("both", 4, actors=1, watchers=1, haproxy=chance, faults=[harmless])
    outcome = play(settings, api, postgres, tmp_path)
    assert any("old-member" in text for text in outcome.verdict.violations)
