# SPDX-License-Identifier: Apache-2.0
"""Schedules: reading, staggering, clock changes in spring and autumn, midnight."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_operator.planning.schedules import (
    HORIZON_DAYS,
    MINUTES_A_DAY,
    ScheduleError,
    check_schedule,
    check_zone,
    clashes,
    clock_changes,
    equal,
    last_run,
    runs,
    staggered,
)

BERLIN = "Europe/Berlin"
NOW = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
# cities east and west, north and south, a half-hour change, changes at midnight, none at all
ZONES = [
    BERLIN,
    "UTC",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Cairo",
    "America/Santiago",
    "Asia/Kolkata",
    "Pacific/Chatham",
]
MINUTES = st.integers(0, 59)
HOURS = st.integers(0, 23)


@pytest.mark.parametrize(
    "text",
    ["0 2 * * *", "*/15 * * * *", "0 2 * * MON-FRI", "30 23 L * *", "0 2 1,15 * 0", "0 2 29 2 *"],
)
def test_readable(text: str) -> None:
    check_schedule(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "five fields"),
        ("0 2 * *", "five fields"),
        ("0 0 2 * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 2 * * *", "Bad minute"),
        ("0 24 * * *", "Bad hour"),
        ("0 2 * 13 *", "Bad month"),
        ("0 2 30 2 *", "Bad day-of-month"),
        ("0 2 * * FOO", "Bad day-of-week"),
        ("0 zwei * * *", "Bad hour"),
        ("0 2 * * 8", "Bad day-of-week"),
    ],
)
def test_unreadable_lines_are_told_with_value_and_cure(text: str, why: str) -> None:
    with pytest.raises(ScheduleError) as refused:
        check_schedule(text)
    assert repr(text) in str(refused.value) and why in str(refused.value)
    assert "such as 0 2 * * *" in str(refused.value)


@pytest.mark.parametrize("zone", ["UTC", BERLIN, "America/Argentina/Buenos_Aires"])
def test_known_zones(zone: str) -> None:
    check_zone(zone)


@pytest.mark.parametrize(
    "zone", ["", "Berlin", "CEST+1", "../../etc/passwd", "/etc/localtime", "Europe"]
)
def test_unknown_zones(zone: str) -> None:
    with pytest.raises(ScheduleError, match="such as Europe/Berlin"):
        check_zone(zone)


def test_the_recommended_pair() -> None:
    assert staggered("0 2 * * *", stagger=1800, members=2) == ("0 2 * * *", "30 2 * * *")


@pytest.mark.parametrize(
    ("schedule", "stagger", "members", "made"),
    [
        ("45 23 * * *", 1800, 2, ("45 23 * * *", "15 0 * * *")),
        ("45 22 * * 1-5", 1800, 2, ("45 22 * * 1-5", "15 23 * * 1-5")),
        ("00 02 * * *", 60, 3, ("0 2 * * *", "1 2 * * *", "2 2 * * *")),
        ("0 2 * * *", 43200, 2, ("0 2 * * *", "0 14 * * *")),
        ("59 23 1 1 *", 60, 1, ("59 23 1 1 *",)),
    ],
)
def test_staggered(schedule: str, stagger: float, members: int, made: tuple[str, ...]) -> None:
    assert staggered(schedule, stagger=stagger, members=members) == made


@pytest.mark.parametrize(
    ("schedule", "stagger", "members", "why"),
    [
        ("*/30 2 * * *", 1800, 2, "no fixed daily time"),
        ("0 2,14 * * *", 1800, 2, "no fixed daily time"),
        ("0 */4 * * *", 1800, 2, "no fixed daily time"),
        ("45 23 * * 1-5", 1800, 2, "member 2 .* after midnight"),
        ("45 23 1 * *", 1800, 2, "member 2 .* after midnight"),
        ("0 2 * * *", 43200, 3, "more than a day"),
        ("0 2 * * *", 0, 2, "whole minutes"),
        ("0 2 * * *", 90, 2, "whole minutes"),
        ("0 2 * * *", 0.5, 2, "whole minutes"),
        ("x 2 * * *", 1800, 2, "Bad minute"),
    ],
)
def test_what_cannot_be_staggered(schedule: str, stagger: float, members: int, why: str) -> None:
    with pytest.raises(ScheduleError, match=why):
        staggered(schedule, stagger=stagger, members=members)


@given(
    minute=MINUTES, hour=HOURS, step=st.integers(1, MINUTES_A_DAY - 1), members=st.integers(2, 10)
)
def test_staggered_members_fire_once_a_day_each_and_one_step_apart(
    minute: int, hour: int, step: int, members: int
) -> None:
    schedule = f"{minute} {hour} * * *"
    moments = [(hour * 60 + minute + n * step) % MINUTES_A_DAY for n in range(members)]
    if len(set(moments)) < members:
        with pytest.raises(ScheduleError, match="more than a day"):
            staggered(schedule, stagger=step * 60, members=members)
        return
    made = staggered(schedule, stagger=step * 60, members=members)
    day = datetime(2026, 11, 25, tzinfo=UTC) - timedelta(seconds=1)
    for line, moment in zip(made, moments, strict=True):
        [fired] = runs(line, "UTC", since=day, until=day + timedelta(days=1))
        assert fired.hour * 60 + fired.minute == moment
    assert not clashes(made, "UTC", now=NOW)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("0 2 * * *", "00 02 * * *"),
        ("0 2 * * 0", "0 2 * * 7"),
        ("0 2 * * 0", "0 2 * * SUN"),
        ("0 2 * 1,2 *", "0 2 * JAN-FEB *"),
        ("0,30 2 * * *", "*/30 2 * * *"),
        ("0 2 * * 7#1", "0 2 * * 0#1"),
    ],
)
def test_the_same_in_other_words(first: str, second: str) -> None:
    assert equal(first, second)


@pytest.mark.parametrize("second", ["30 2 * * *", "0 2 * * 1", "0 3 * * *", "0 2 1 * *"])
def test_different(second: str) -> None:
    assert not equal("0 2 * * *", second)


# --- clock changes


def test_both_clock_changes_of_a_year_are_found() -> None:
    found = list(clock_changes(BERLIN, since=date(2026, 11, 24), days=HORIZON_DAYS))
    assert found == [
        datetime(2027, 3, 28, 1, 0, tzinfo=UTC),
        datetime(2027, 10, 31, 1, 0, tzinfo=UTC),
    ]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_zones_without_clock_changes(zone: str) -> None:
    assert not list(clock_changes(zone, since=date(2026, 1, 1), days=HORIZON_DAYS))


def test_in_spring_two_and_half_past_two_meet_at_three() -> None:
    [clash] = clashes(("0 2 * * *", "30 2 * * *"), BERLIN, now=NOW)
    assert (clash.first, clash.second, clash.clocks_change) == (1, 2, True)
    assert clash.moment.astimezone(ZoneInfo(BERLIN)).isoformat() == "2027-03-28T03:00:00+02:00"


def test_after_the_clock_change_the_next_one_is_told() -> None:
    after = datetime(2027, 3, 29, tzinfo=UTC)
    [clash] = clashes(("0 2 * * *", "30 2 * * *"), BERLIN, now=after)
    assert clash.moment.astimezone(ZoneInfo(BERLIN)).date() == date(2028, 3, 26)


def test_in_spring_a_skipped_time_meets_the_one_at_three() -> None:
    [clash] = clashes(("15 2 * * *", "0 3 * * *"), BERLIN, now=NOW)
    assert clash.clocks_change and clash.moment == datetime(2027, 3, 28, 1, 0, tzinfo=UTC)


def test_in_autumn_the_repeated_hour_brings_nobody_together() -> None:
    assert not clashes(("0 3 * * *", "30 3 * * *"), BERLIN, now=NOW)
    since = datetime(2027, 10, 30, 12, tzinfo=UTC)
    fired = list(runs("30 2 * * *", BERLIN, since=since, until=since + timedelta(days=1)))
    assert fired == [datetime(2027, 10, 31, 0, 30, tzinfo=UTC)], "once, the first time"


def test_in_autumn_an_hourly_line_fires_in_both_hours() -> None:
    since = datetime(2027, 10, 30, 23, 59, tzinfo=UTC)
    fired = list(runs("0 * * * *", BERLIN, since=since, until=since + timedelta(hours=3)))
    assert [moment.astimezone(ZoneInfo(BERLIN)).hour for moment in fired] == [2, 2, 3]


def test_clocks_that_change_at_midnight() -> None:
    """Cairo skips the hour from 0:00 on a Friday in April."""
    [clash] = clashes(("15 0 * * *", "45 0 * * *"), "Africa/Cairo", now=NOW)
    local = clash.moment.astimezone(ZoneInfo("Africa/Cairo"))
    assert clash.clocks_change and (local.hour, local.minute) == (1, 0)


def test_around_midnight_members_stay_apart() -> None:
    made = staggered("45 23 * * *", stagger=1800, members=3)
    assert made[1:] == ("15 0 * * *", "45 0 * * *")
    assert not clashes(made, BERLIN, now=NOW)


def test_a_plain_clash_is_found_on_its_first_day() -> None:
    [clash] = clashes(("0 5 * * *", "0 5 * * 1"), BERLIN, now=NOW)
    assert not clash.clocks_change
    assert clash.moment.astimezone(ZoneInfo(BERLIN)).isoformat() == "2026-11-30T05:00:00+01:00"


def test_lines_of_different_months_never_meet() -> None:
    assert not clashes(("0 5 1 1 *", "0 5 1 2 *"), BERLIN, now=NOW)


def test_every_two_members_are_compared() -> None:
    found = clashes(("0 5 * * *", "0 6 * * *", "0 6 * * 0", "0 5 1 * *"), BERLIN, now=NOW)
    assert [(clash.first, clash.second) for clash in found] == [(1, 4), (2, 3)]


@given(
    zone=st.sampled_from(ZONES),
    first=st.tuples(MINUTES, HOURS),
    second=st.tuples(MINUTES, HOURS),
    year=st.integers(2026, 2028),
)
def test_daily_times_clash_exactly_when_running_them_says_so(
    zone: str, first: tuple[int, int], second: tuple[int, int], year: int
) -> None:
    """Against the plain truth: both lines run through the whole horizon."""
    lines = tuple(f"{minute} {hour} * * *" for minute, hour in (first, second))
    now = datetime(year, 1, 15, 12, tzinfo=UTC)
    until = now + timedelta(days=HORIZON_DAYS)
    fired = [set(runs(line, zone, since=now, until=until)) for line in lines]
    assert len(fired[0]) >= HORIZON_DAYS - 1
    met = fired[0] & fired[1]
    found = clashes(lines, zone, now=now)
    assert bool(found) == bool(met)
    if met and first != second:
        assert found[0].moment == min(met) and found[0].clocks_change


@given(zone=st.sampled_from(ZONES), minute=MINUTES, hour=HOURS, step=st.integers(1, 120))
def test_two_staggered_members_never_fire_less_than_once_each_day(
    zone: str, minute: int, hour: int, step: int
) -> None:
    """A clock change moves a run, it never swallows one."""
    made = staggered(f"{minute} {hour} * * *", stagger=step * 60, members=2)
    since = datetime(2027, 1, 1, tzinfo=UTC)
    for line in made:
        fired = list(runs(line, zone, since=since, until=since + timedelta(days=365)))
        days = [moment.astimezone(ZoneInfo(zone)).date() for moment in fired]
        assert len(days) == len(set(days)) and len(days) >= 364


# --- what ran last


def test_the_last_run_within_a_time() -> None:
    before = datetime(2026, 11, 24, 2, 0, 10, tzinfo=UTC)
    found = last_run("0 2 * * *", "UTC", after=before - timedelta(seconds=30), before=before)
    assert found == datetime(2026, 11, 24, 2, 0, tzinfo=UTC)
    assert last_run("0 2 * * *", "UTC", after=found, before=before) is None


def test_a_cycle_of_a_minute_ends_with_the_window() -> None:
    found = list(runs("* * * * *", BERLIN, since=NOW, until=NOW + timedelta(minutes=5)))
    assert found == [NOW + timedelta(minutes=n) for n in range(1, 6)]


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("* * * * *", "2026-11-10T00:00:00+00:00"),
        ("30 * * * *", "2026-11-09T23:30:00+00:00"),
        ("0 3 * * *", "2026-11-09T03:00:00+00:00"),
        ("0 3 1 * *", "2026-11-01T03:00:00+00:00"),
        ("0 3 29 2 *", "2024-02-29T03:00:00+00:00"),
    ],
)
def test_the_last_run_of_a_long_time_is_found_however_often_it_fires(
    schedule: str, expected: str
) -> None:
    before = datetime(2026, 11, 10, 0, 0, 30, tzinfo=UTC)
    found = last_run(schedule, "UTC", before=before, after=datetime(2023, 1, 1, tzinfo=UTC))
    assert found is not None and found.isoformat() == expected


@pytest.mark.parametrize("hours", [1, 30, 1000, 9000])
def test_no_run_is_found_before_the_time_begins(hours: int) -> None:
    before = datetime(2026, 11, 10, 0, 0, 30, tzinfo=UTC)
    after = before - timedelta(hours=hours)
    assert last_run("0 3 29 2 *", "UTC", before=before, after=after) is None
