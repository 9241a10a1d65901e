# SPDX-License-Identifier: Apache-2.0
"""What the workflow client makes of what it finds in the end."""

from typing import Any

import pytest

from dpe_simulator.workflows import Outcome, judge


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
