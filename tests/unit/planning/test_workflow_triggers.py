# SPDX-License-Identifier: Apache-2.0
"""Triggers that fall into a take-over, and commands that keep ending."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.support.workflow_world import NAME, SCHEDULER, WORKER, WorkflowWorld, concurrent, standby

from dpe_operator.planning.triggers import Gap, missed_trigger

DAILY = {"schedule": "0 13 * * *", "timeZone": "Europe/Berlin"}  # 12:00 UTC


def taken_over(world: WorkflowWorld, *, began: float, ago: float, epoch: int = 2) -> None:
    """Let the second pod have taken over `ago` seconds ago, `began` after the last word."""
    at = world.now - timedelta(seconds=ago)
    before = (at - timedelta(seconds=began)).isoformat().replace("+00:00", "Z")
    world.hold(world.child("-1"), epoch=epoch, ago=1, record={"before": before})
    world.lease()["spec"]["acquireTime"] = at.isoformat().replace("+00:00", "Z")


@pytest.fixture
def world() -> WorkflowWorld:
    made = WorkflowWorld(standby(SCHEDULER, **DAILY))
    made.well()
    return made


def test_before_the_first_take_over_nothing_is_known(world: WorkflowWorld) -> None:
    assert world.said("TriggerMissed")[:2] == ("Unknown", "NotKnown")


@pytest.mark.parametrize(
    ("began", "ago", "status"),
    [
        (17, 10, "True"),  # from 11:59:33 to 11:59:50, and the program needs time to start
        (17, 11, "False"),
        (17, -5 + 60, "False"),
    ],
)
def test_a_trigger_in_a_take_over_is_told(
    world: WorkflowWorld, began: float, ago: float, status: str
) -> None:
    taken_over(world, began=began, ago=ago)
    plan = world.carry_out(SCHEDULER, NAME)
    assert world.said("TriggerMissed")[0] == status
    told = [notice.reason for notice in plan.notices]
    assert ("TriggerMissed" in told) == (status == "True")
    assert world.said("Ready")[0] == "True"


def test_it_says_when_and_what_to_do_and_is_told_once(world: WorkflowWorld) -> None:
    world.now += timedelta(seconds=30)
    taken_over(world, began=20, ago=20)
    world.carry_out(SCHEDULER, NAME)
    status, reason, message = world.said("TriggerMissed")
    assert (status, reason) == ("True", "TriggerInTakeOver")
    assert message.startswith(
        "Nobody acted from 2026-11-22 12:59:50 CET to 2026-11-22 13:00:10 CET, so the trigger of "
        "2026-11-22 13:00:00 CET was most likely missed: start that workflow by hand"
    )
    assert world.carry_out(SCHEDULER, NAME).notices == ()


def test_it_ends_when_the_next_trigger_has_come(world: WorkflowWorld) -> None:
    world.now += timedelta(seconds=30)
    taken_over(world, began=20, ago=20)
    world.work()
    spec = dict(world.lease()["spec"])
    world.now += timedelta(days=1)
    spec["renewTime"] = world.now.isoformat().replace("+00:00", "Z")
    world.lease()["spec"] = spec
    world.work()
    status, reason, message = world.said("TriggerMissed")
    assert (status, reason) == ("False", "NextHasCome") and "2026-11-23 13:00:00 CET" in message


def test_another_take_over_does_not_take_it_back(world: WorkflowWorld) -> None:
    """An update hands over once or twice: the trigger stays lost, and is not told again."""
    world.now += timedelta(seconds=30)
    taken_over(world, began=20, ago=20)
    world.work()
    said = world.said("TriggerMissed")
    world.now += timedelta(minutes=10)
    taken_over(world, began=2, ago=5, epoch=3)
    plan = world.carry_out(SCHEDULER, NAME)
    assert world.said("TriggerMissed") == said
    assert "TriggerMissed" not in [notice.reason for notice in plan.notices]
    world.now += timedelta(days=1)
    taken_over(world, began=2, ago=5, epoch=4)
    world.work()
    assert world.said("TriggerMissed")[:2] == ("False", "NoneMissed")


def test_while_nobody_acts_a_trigger_is_missed_at_once(world: WorkflowWorld) -> None:
    world.now += timedelta(seconds=30)
    world.hold(None, epoch=1, ago=40)
    world.work()
    assert world.said("TriggerMissed")[0] == "True"
    assert "on, until now" in world.said("TriggerMissed")[2]


def test_a_time_without_its_zone_counts_as_not_said(world: WorkflowWorld) -> None:
    world.hold(world.child("-1"), epoch=2, record={"before": "2026-11-22T11:59:40"})
    world.carry_out(SCHEDULER, NAME)
    assert world.said("TriggerMissed")[:2] == ("Unknown", "NotKnown")


@pytest.mark.parametrize("resource", [standby(SCHEDULER), standby(WORKER), concurrent(SCHEDULER)])
def test_where_no_trigger_is_declared_or_more_than_one_fires_nothing_is_said(resource: Any) -> None:
    world = WorkflowWorld(resource)
    world.well()
    assert not world.states("TriggerMissed")


def test_a_gap_of_years_is_looked_through_quickly() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    gap = Gap(now - timedelta(days=5000), None)
    missed = missed_trigger("* * * * *", "UTC", gap, now=now)
    assert missed is not None and missed.trigger > now - timedelta(days=401)


# --- commands that keep ending


def loop(world: WorkflowWorld, *, pod: str | None, code: int = 1, ago: float = 1) -> None:
    ends = [[1000 + n, world.child(f"-{n % 2}"), code] for n in range(6)]
    world.hold(pod, epoch=7, ago=ago, record={"ends": ends, "crashLooping": True})


@pytest.mark.parametrize("acts", [True, False])
def test_a_crash_loop_is_told_and_degrades(acts: bool) -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    loop(world, pod=world.child("-0") if acts else None, code=127)
    plan = world.carry_out(WORKER, NAME)
    assert world.said("CrashLooping")[:2] == ("True", "CommandEnds")
    status, reason, message = world.said("HolderActive")
    assert (status, reason) == ("False", "CrashLooping")
    assert "in news-worker-0 and news-worker-1, last in pod news-worker-1 with exit code 127" in (
        message
    )
    assert "there is no such program in the image" in message
    assert world.said("Degraded")[0] == "True" and plan.requeue_after == 20.0
    assert [n.reason for n in plan.notices].count("CrashLooping") == 1
    assert "TakenOver" not in [notice.reason for notice in plan.notices]


def test_a_command_that_has_run_for_a_minute_is_healthy_again() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    loop(world, pod=world.child("-0"), ago=61)
    world.lease()["spec"]["renewTime"] = world.now.isoformat().replace("+00:00", "Z")
    world.work()
    assert world.said("HolderActive")[0] == "True" and world.said("Ready")[0] == "True"
    assert world.said("CrashLooping")[0] == "True"  # until those ends are forgotten
    world.hold(world.child("-0"), epoch=7)
    world.work()
    assert world.said("CrashLooping")[:2] == ("False", "Runs")


@pytest.mark.parametrize("ends", ["x", [1], [["a", "b"]], [[1, 2, "x"]], None])
def test_ends_that_cannot_be_read_break_nothing(ends: Any) -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.hold(world.child("-0"), epoch=1, record={"ends": ends, "crashLooping": True})
    world.work()
    assert "the candidates' pods" in world.said("CrashLooping")[2]
