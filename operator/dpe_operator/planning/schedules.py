# SPDX-License-Identifier: Apache-2.0
"""Arithmetic on declared schedules: are they readable, can they be staggered, do they stay apart?

Concurrent schedulers are kept from starting the same workflow twice by *slightly different* times,
so two members that fire at the same moment defeat them. A schedule here is a cron line of five
fields, read as Debian's cron reads it, in an IANA time zone; how DPE itself treats the hour that a
clock change takes away or repeats is not known, and the finding says so.

What Debian's cron does, and `cronsim` after it: a fixed time that falls into the hour which is
skipped in spring runs at the first minute after it, and one in the hour which is repeated in autumn
runs once, the first time. Lines whose minute or hour begins with `*` follow the clock instead.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import combinations
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

MINUTES_A_DAY: Final = 24 * 60
# A year and a month: both clock changes of every year, 29 February apart, are in it.
HORIZON_DAYS: Final = 400
# Around a clock change only times within some hours of it are moved.
_AROUND: Final = timedelta(hours=26)
# Cycles of a minute fire 3,000 times in that window; more is never needed to find the first clash.
_MOST_RUNS: Final = 4000
# In each but the last, a schedule that has not fired in the one before fires less often than that.
_SPANS: Final = tuple(map(timedelta, (1 / 24, 2, 33, 9 * 366)))


class ScheduleError(ValueError):
    """A schedule, time zone or stagger that cannot be used; the message holds value and cure."""


@dataclass(frozen=True, slots=True)
class Clash:
    """Two members (numbers from 1) that fire at the same moment; `clocks_change` that day."""

    first: int
    second: int
    moment: datetime
    clocks_change: bool


def check_schedule(text: str) -> None:
    """Make sure that a cron line can be read and fires at all.

    Raises:
        ScheduleError: it cannot, or never does.
    """
    found = _parsed(text)
    if next(found, None) is None:
        raise ScheduleError(f"{text!r} never fires: write a day of the month that its months have")


def check_zone(name: str) -> None:
    """Make sure that a time zone is known.

    Raises:
        ScheduleError: it is not.
    """
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ScheduleError(
            f"{name!r} is no time zone of the IANA list: write one such as Europe/Berlin or UTC"
        ) from error


def staggered(schedule: str, *, stagger: float, members: int) -> tuple[str, ...]:
    """Return one schedule for each member: the first as it is, each next one `stagger` later.

    Only a fixed daily time can be moved, and past midnight only where every day is meant: the line
    would fire on the wrong days otherwise.

    Args:
        schedule: a cron line of five fields.
        stagger: seconds from one member to the next.
        members: how many there are.

    Raises:
        ScheduleError: it cannot be staggered; the cure is one schedule for each member.
    """
    check_schedule(schedule)
    minute, hour, *days = schedule.split()
    if not (minute.isdigit() and hour.isdigit()):
        raise ScheduleError(
            f"{schedule!r} is no fixed daily time (plain numbers for minute and hour), so it is"
            " not known how to move it: write schedules, one for each member"
        )
    step = _whole_minutes(stagger)
    start = int(hour) * 60 + int(minute)
    moments = [start + step * number for number in range(members)]
    if len({moment % MINUTES_A_DAY for moment in moments}) < members:
        raise ScheduleError(
            f"{members} members {step} minutes apart fill more than a day, so that two fire at the"
            " same time: write a shorter stagger"
        )
    if moments[-1] >= MINUTES_A_DAY and days != ["*", "*", "*"]:
        late = next(n for n, moment in enumerate(moments, start=1) if moment >= MINUTES_A_DAY)
        raise ScheduleError(
            f"member {late} of {schedule!r} would fire after midnight, on a day that the schedule"
            " does not mean: write schedules, one for each member, or a shorter stagger"
        )
    return tuple(_line(moment % MINUTES_A_DAY, days) for moment in moments)


def _whole_minutes(stagger: float) -> int:
    if stagger < 60 or stagger % 60:
        raise ScheduleError(
            f"a stagger of {stagger:g} s is not usable, cron knows whole minutes only: write 1m or"
            " more, such as 30m"
        )
    return int(stagger // 60)


def _line(moment: int, days: Sequence[str]) -> str:
    return " ".join((str(moment % 60), str(moment // 60), *days))


def equal(first: str, second: str) -> bool:
    """Whether two readable lines mean the same, however they are written."""
    return _meaning(first) == _meaning(second)


def _meaning(text: str) -> tuple[object, ...]:
    found = _parsed(text)
    weekdays = frozenset(_from_sunday(day) for day in found.weekdays)
    return (
        frozenset(found.minutes),
        frozenset(found.hours),
        frozenset(found.days),
        frozenset(found.months),
        weekdays,
        found.day_and,
    )


def _from_sunday(day: int | tuple[int, int]) -> int | tuple[int, int]:
    """Sunday is 0 and 7 in cron; a pair is the n-th such day of the month."""
    return day % 7 if isinstance(day, int) else (day[0] % 7, day[1])


def runs(schedule: str, zone: str, *, since: datetime, until: datetime) -> Iterator[datetime]:
    """Yield the moments (UTC) at which a schedule fires, after `since` and up to `until`."""
    found = CronSim(schedule, since.astimezone(ZoneInfo(zone)))
    for count, moment in enumerate(found):
        utc = moment.astimezone(UTC)
        if utc > until or count >= _MOST_RUNS:
            return
        if utc > since:
            yield utc


def last_run(schedule: str, zone: str, *, before: datetime, after: datetime) -> datetime | None:
    """Return the last moment (UTC) at which a schedule fired after `after`, up to `before`.

    Looked for from the end: a schedule of every minute fires more often in a long time than is
    worth counting.
    """
    for span in _SPANS:
        begin = max(after, before - span)
        found = deque(runs(schedule, zone, since=begin, until=before), maxlen=1)
        if found or begin == after:
            return found[0] if found else None
    return None


def clashes(schedules: Sequence[str], zone: str, *, now: datetime) -> tuple[Clash, ...]:
    """Return the next clash of each two members within `HORIZON_DAYS`; empty: they stay apart.

    A day on which the clocks change is looked at by running the schedules; all other days by
    comparing their fields, which is exact there and costs no time.
    """
    day = now.astimezone(ZoneInfo(zone)).date()
    return _clashes(tuple(schedules), zone, day)


@lru_cache(maxsize=256)
def _clashes(schedules: tuple[str, ...], zone: str, day: date) -> tuple[Clash, ...]:
    changes = tuple(clock_changes(zone, since=day, days=HORIZON_DAYS))
    changed = {moment.astimezone(ZoneInfo(zone)).date() for moment in changes}
    found: list[Clash] = []
    for (one, first), (two, second) in combinations(enumerate(schedules, start=1), 2):
        moments = [
            *_on_plain_days(first, second, zone, since=day, but=changed),
            *_around_changes(first, second, zone, changes, since=day),
        ]
        if moments:
            moment = min(moments)
            special = moment.astimezone(ZoneInfo(zone)).date() in changed
            found.append(Clash(one, two, moment, special))
    return tuple(found)


def _on_plain_days(
    first: str, second: str, zone: str, *, since: date, but: set[date]
) -> Iterator[datetime]:
    one, two = _parsed(first), _parsed(second)
    minutes, hours = one.minutes & two.minutes, one.hours & two.hours
    if not minutes or not hours:
        return
    clock = time(min(hours), min(minutes))
    for number in range(HORIZON_DAYS):
        day = since + timedelta(days=number)
        if day not in but and _fires_on(one, day) and _fires_on(two, day):
            yield datetime.combine(day, clock, tzinfo=ZoneInfo(zone)).astimezone(UTC)
            return


def _fires_on(line: CronSim, day: date) -> bool:
    return day.month in line.months and line.match_day(day)


def _around_changes(
    first: str, second: str, zone: str, changes: Sequence[datetime], *, since: date
) -> Iterator[datetime]:
    begin = datetime.combine(since, time(), tzinfo=ZoneInfo(zone)).astimezone(UTC)
    for change in changes:
        window = {"since": max(begin, change - _AROUND), "until": change + _AROUND}
        both = set(runs(first, zone, **window)) & set(runs(second, zone, **window))
        if both:
            yield min(both)


def clock_changes(zone: str, *, since: date, days: int) -> Iterator[datetime]:
    """Yield the moments (UTC) at which the clocks of a zone change within `days` from `since`."""
    found = ZoneInfo(zone)
    begin = datetime.combine(since, time(), tzinfo=UTC) - timedelta(days=1)
    for number in range(days + 1):
        low = begin + timedelta(days=number)
        high = low + timedelta(days=1)
        if low.astimezone(found).utcoffset() == high.astimezone(found).utcoffset():
            continue
        before = low.astimezone(found).utcoffset()
        while high - low > timedelta(minutes=1):
            middle = low + timedelta(minutes=(high - low) // timedelta(minutes=2))
            if middle.astimezone(found).utcoffset() == before:
                low = middle
            else:
                high = middle
        yield high


def _parsed(text: str) -> CronSim:
    if len(text.split()) != 5:
        raise ScheduleError(
            f"{text!r} is no schedule: write five fields, minute hour day-of-month month"
            " day-of-week, such as 0 2 * * *"
        )
    try:
        return CronSim(text, datetime(2024, 1, 1))
    except CronSimError as error:
        raise ScheduleError(
            f"{text!r} is no schedule ({error}): write five fields, minute hour day-of-month month"
            " day-of-week, such as 0 2 * * *"
        ) from error
