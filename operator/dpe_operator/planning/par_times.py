# SPDX-License-Identifier: Apache-2.0
"""When the copy of PAR files is due, and when it is overdue.

The schedule is carried out by Kubernetes' CronJob, which reads cron lines a little differently from
the schedulers of DPE: it knows no 7 for Sunday, no L and no #, takes other days where both fields
of days are set and one has a step, leaves out what falls into the hour that is skipped in spring,
and may run twice in autumn. So a run on a day on which the clocks change is never counted on.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from dpe_operator.api.par_store import ParSync
from dpe_operator.builders.par_sync import DEFAULT_STARTING_DEADLINE
from dpe_operator.planning.schedules import ScheduleError, check_schedule, check_zone, runs

# 29 February may be eight years away.
_HORIZON: Final = timedelta(days=9 * 366)
_FIELD: Final = re.compile(r"(\*|[0-9A-Za-z]+(-[0-9A-Za-z]+)?)(/[0-9]+)?")
_WORDS: Final = frozenset(
    "jan feb mar apr may jun jul aug sep oct nov dec sun mon tue wed thu fri sat".split()
)


def schedule_problems(sync: ParSync) -> Iterator[str]:
    """Find what is wrong with schedule and time zone, without the path of the fields."""
    try:
        check_schedule(sync.schedule)
    except ScheduleError as error:
        yield f"schedule: {error}"
    else:
        yield from _dialect_problems(sync.schedule)
    try:
        check_zone(sync.time_zone or "")
    except ScheduleError as error:
        yield f"timeZone: {error}"


def _dialect_problems(schedule: str) -> Iterator[str]:
    for part in re.split("[ ,]", schedule):
        words = set(re.findall("[a-z]+", part.lower()))
        if not _FIELD.fullmatch(part) or not words <= _WORDS:
            yield (
                f"schedule: {schedule!r} has {part!r}, which Kubernetes' CronJob does not know:"
                " write numbers, ranges such as 1-5, steps such as */2, or names such as MON"
            )
    yield from _day_problems(schedule)


def _day_problems(schedule: str) -> Iterator[str]:
    """Find days that Kubernetes' CronJob would count in another way than `next_due`."""
    _, _, dates, _, weekdays = schedule.split()
    if "7" in re.sub("/[0-9]+", "", weekdays):
        yield (
            f"schedule: {schedule!r} has 7 as a day of the week, which Kubernetes' CronJob does"
            " not know: write 0 for Sunday"
        )
    for part in weekdays.split(","):
        if re.fullmatch("[0-9A-Za-z]+/[0-9]+", part):
            yield (
                f"schedule: {schedule!r} has {part!r} as days of the week, which Kubernetes'"
                " CronJob ends with Saturday and cron with the Sunday after it: write a range such"
                " as 1-6/2"
            )
    if _both(dates, weekdays) != (dates.startswith("*") or weekdays.startswith("*")):
        yield (
            f"schedule: {schedule!r} has {dates!r} as days of the month and {weekdays!r} as days of"
            " the week, and cron and Kubernetes' CronJob do not agree whether a day has to be in"
            " both: write * for one of them, or ranges such as 1-31/2, where one suffices"
        )


def _both(dates: str, weekdays: str) -> bool:
    """Whether Kubernetes' CronJob takes days that are in both fields only: one has a plain star.

    To cron it suffices that a field begins with a star, be it one with a step.
    """
    return any(re.fullmatch(r"\*(/0*1)?", part) for part in f"{dates},{weekdays}".split(","))


def next_due(sync: ParSync, since: datetime) -> datetime | None:
    """Return the first moment (UTC) after `since` at which the copy is due; None: there is none."""
    zone = sync.time_zone or "UTC"
    for moment in runs(sync.schedule, zone, since=since, until=since + _HORIZON):
        if not _clocks_change(moment.astimezone(ZoneInfo(zone)).date(), ZoneInfo(zone)):
            return moment
    return None


def _clocks_change(day: date, zone: ZoneInfo) -> bool:
    begin, end = (
        datetime.combine(day + timedelta(days=number), time(), tzinfo=zone) for number in (0, 1)
    )
    return begin.utcoffset() != end.utcoffset()


def overdue_at(sync: ParSync, success: datetime) -> datetime | None:
    """Return when a copy of `success` becomes too old.

    That is when the run after it should have been done at the latest: started by its deadline, and
    as long as a run may take.
    """
    due = next_due(sync, success)
    late = sync.starting_deadline_seconds
    allowed = timedelta(seconds=DEFAULT_STARTING_DEADLINE if late is None else late)
    longest = timedelta(seconds=sync.max_run_time.seconds)
    return None if due is None else due + allowed + longest


def moment_of(text: object) -> datetime | None:
    """Read a time as the runs write it; None where it is none."""
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
