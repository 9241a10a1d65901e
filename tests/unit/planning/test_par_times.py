# SPDX-License-Identifier: Apache-2.0
"""When a copy is due: as Kubernetes' CronJob runs it, not counting on days of a clock change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from dpe_operator.api.par_store import ParSync
from dpe_operator.planning.par_times import moment_of, next_due, overdue_at, schedule_problems


def sync(schedule: str, zone: str = "Europe/Berlin", **more: Any) -> ParSync:
    return ParSync.model_validate({"schedule": schedule, "timeZone": zone, **more})


def at(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("schedule", "zone", "since", "due"),
    [
        ("0 3 * * *", "Europe/Berlin", at(2026, 11, 22, 12), at(2026, 11, 23, 2)),
        ("0 3 * * *", "Europe/Berlin", at(2026, 7, 1, 12), at(2026, 7, 2, 1)),
        ("0 3 * * *", "UTC", at(2026, 11, 22, 3), at(2026, 11, 23, 3)),
        ("0 0 * * *", "America/New_York", at(2026, 11, 22, 12), at(2026, 11, 23, 5)),
        ("*/30 * * * *", "UTC", at(2026, 11, 22, 12, 1), at(2026, 11, 22, 12, 30)),
        ("0 3 29 2 *", "UTC", at(2026, 3, 1), at(2028, 2, 29, 3)),
        ("0 3 * * MON-FRI", "UTC", at(2026, 11, 20, 12), at(2026, 11, 23, 3)),
        # the clocks of Berlin change on 29 March and 25 October: that day's run may be none, or two
        ("30 2 * * *", "Europe/Berlin", at(2026, 3, 28, 12), at(2026, 3, 30, 0, 30)),
        ("30 2 * * *", "Europe/Berlin", at(2026, 10, 24, 12), at(2026, 10, 26, 1, 30)),
    ],
)
def test_due(schedule: str, zone: str, since: datetime, due: datetime) -> None:
    assert next_due(sync(schedule, zone), since) == due


def test_overdue_once_the_run_after_it_should_have_been_done() -> None:
    good = at(2026, 11, 22, 2, 1)
    assert overdue_at(sync("0 3 * * *"), good) == at(2026, 11, 23, 4)
    short = sync("0 3 * * *", startingDeadlineSeconds=600, maxRunTime="5m")
    assert overdue_at(short, good) == at(2026, 11, 23, 2, 15)


def test_a_run_left_out_in_spring_is_not_called_missing() -> None:
    good = at(2026, 3, 28, 1, 31)
    assert overdue_at(sync("30 2 * * *"), good) == at(2026, 3, 30, 2, 30)


@pytest.mark.parametrize(
    "schedule",
    [
        "0 3 * * *",
        "*/15 0-6 * * *",
        "0 3 1,15 * *",
        "0 3 * JAN-MAR sun",
        "5/10 3 * * 1-5/2",
        # steps of days, where both readings have the same days
        "0 3 5/10 * *",
        "0 3 */2 * *",
        "0 3 * * */2",
        "0 3 */2 * */1",
        "0 3 */1 * MON",
        "0 3 1-31/2 * MON",
        "0 3 1,*/2 * MON",
    ],
)
def test_what_a_cron_job_knows(schedule: str) -> None:
    assert list(schedule_problems(sync(schedule))) == []


@pytest.mark.parametrize(
    ("schedule", "word"),
    [
        ("0 3 * * 7", "write 0 for Sunday"),
        ("0 3 * * 5-7", "write 0 for Sunday"),
        ("0 3 L * *", "'L'"),
        ("0 3 LW * *", "schedule"),
        ("0 3 * * 5L", "schedule"),
        ("0 3 * * BLA", "no schedule"),
        ("60 3 * * *", "no schedule"),
        ("0 3 30 2 *", "schedule"),
        # cron has a seventh day, Kubernetes ends with the sixth
        ("0 3 * * 1/2", "has '1/2' as days of the week"),
        ("0 3 * * MON/2", "write a range such as 1-6/2"),
        ("0 3 * * 0,2/3", "has '2/3' as days of the week"),
        # cron takes days that are in both, Kubernetes those in either (or the other way round)
        ("0 3 */2 * MON", "has '*/2' as days of the month and 'MON' as days of the week"),
        ("0 3 1 * */2", "write * for one of them"),
        ("0 3 */2 * */2", "or ranges such as 1-31/2"),
        ("0 3 1,* * MON", "has '1,*' as days of the month"),
    ],
)
def test_what_it_does_not_know(schedule: str, word: str) -> None:
    (problem,) = schedule_problems(sync(schedule))
    assert problem.startswith("schedule: ") and word in problem


def test_steps_of_seven_are_no_sunday() -> None:
    assert list(schedule_problems(sync("0 3 * * */7"))) == []


def test_moments() -> None:
    assert moment_of("2026-11-22T02:00:00Z") == at(2026, 11, 22, 2)
    assert moment_of("2026-11-22T02:00:00") == at(2026, 11, 22, 2)
    assert moment_of("yesterday") is None and moment_of(None) is None
