# SPDX-License-Identifier: Apache-2.0
"""What the workflow client makes of what it finds in the end."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from dpe_operator.prober.http_client import parse_target
from dpe_operator.prober.retry import AttemptFailed, RetryProfile
from dpe_simulator.workflows import Outcome, WorkflowRun, WorkflowSettings, judge


def instance(
    state: str = "finished", *attempts: int, job_state: str = "finished"
) -> dict[str, Any]:
    jobs = [{"state": job_state, "attempt": attempt} for attempt in attempts or (1, 1)]
    return {"state": state, "jobs": jobs}


@pytest.mark.parametrize(
    ("accepted", "instances", "verdict"),
    [
        (True, [instance()], "finished"),
        (True, [], "lost"),
        (False, [], "notAccepted"),
        (True, [instance(), instance()], "doubled"),
        (True, [instance("failed")], "failed"),
        (True, [instance("running")], "unfinished"),
        (True, [instance("finished", 1)], "wrongJobs"),
        (True, [instance(job_state="running")], "wrongJobs"),
        (False, [instance()], "finished"),
    ],
)
def test_each_outcome_has_one_verdict(
    accepted: bool, instances: list[dict[str, Any]], verdict: str
) -> None:
    figures = judge([Outcome("t", accepted, instances)], jobs_each=2)
    verdicts = ("finished", "lost", "notAccepted", "doubled", "failed", "unfinished", "wrongJobs")
    assert {name: figures[name] for name in verdicts} == {
        name: int(name == verdict) for name in verdicts
    }
    assert len(figures["problems"]) == (verdict != "finished")


def test_jobs_that_ran_more_than_once_are_counted() -> None:
    figures = judge([Outcome("t", True, [instance("finished", 1, 3)])], jobs_each=2)
    assert (figures["finished"], figures["repeatedJobs"]) == (1, 1)


def test_what_an_early_end_kept_from_being_submitted_was_not_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also what had to wait behind eight others when it came."""
    target = parse_target("http://127.0.0.1:1/x", ca_file=None, verify=True)
    settings = WorkflowSettings(target, RetryProfile(), 200, ["audio"], 1, 0.1, 60.0, every=0.01)
    run, held, posted = WorkflowRun(settings), asyncio.Event(), []

    async def call(method: str, path: str, body: Any = None) -> Any:
        if method == "POST":
            posted.append(body["title"])
            if body["title"].endswith("-0"):
                return SimpleNamespace(status=201)
            await held.wait()
            raise AttemptFailed("refused", "nobody is there")
        mine = [instance("finished", 1)] if path.endswith("-0") else []
        return SimpleNamespace(json=lambda: {"instances": mine})

    async def ended_early() -> dict[str, Any]:
        running = asyncio.create_task(run.run())
        await asyncio.sleep(0.3)
        run.stop()
        held.set()
        return await running

    monkeypatch.setattr(run._api, "call", call)
    figures = asyncio.run(ended_early())
    assert len(posted) == 9, "eight at a time, after the first"
    counts = {name: figures[name] for name in ("workflows", "finished", "notAccepted", "lost")}
    assert counts == {"workflows": 9, "finished": 1, "notAccepted": 8, "lost": 0}
