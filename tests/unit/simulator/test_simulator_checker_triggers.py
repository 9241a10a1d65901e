# SPDX-License-Identifier: Apache-2.0
"""The checker on triggers of schedulers, by planted violations.

Each rule must find its violation and say nothing about the history without it.
"""

import dataclasses
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.unit.simulator.checker_history import Who, evidence, judged

from dpe_simulator.checker import LIMIT, TOPOLOGY, EntrySeen, Expectation, check
from dpe_simulator.figures import describe

# triggers: a schedule at 2:00 on a clock on which an hour takes a minute


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


# Real second 100 shows 2:00 on the first day, and each day takes 24 minutes.
CLOCK = {"anchor": 100.0, "shown": at("2026-06-01T02:00"), "rate": 3600.0}
DAY = 24.0
PLAN = {"schedule": "0 2 * * *", "zone": "Europe/Berlin", "clock": CLOCK, "title": "t"}
S, T = (
    Who("s-1", 1, role="scheduler", component="nightly"),
    Who("s-2", 2, "scheduler", None, "nightly"),
)


def fires(who: Who, number: int, day: int, **more: Any) -> EntrySeen:
    trigger = at(f"2026-06-{day:02d}T02:00")
    real = 100.0 + (day - 1) * DAY
    return who.effect(real + 0.1, number, trigger=trigger, triggerTime=f"day {day}", **more)


# Triggers at 100, 124, 148, 172: the first scheduler until 130, the second from 135 on.
SCHEDULE = [
    S.start(90, **PLAN), S.acting(90, 130), fires(S, 1, 1), fires(S, 2, 2),
    T.start(135, **PLAN), T.acting(135, 180), fires(T, 3, 3), fires(T, 4, 4),
]  # fmt: skip


def without(*gone: EntrySeen) -> list[Any]:
    return [line for line in SCHEDULE if line not in gone]


def test_a_scheduler_that_fires_at_each_trigger_has_no_findings() -> None:
    assert judged(evidence(*SCHEDULE)) == []


def test_a_trigger_that_was_not_fired_by_one_who_acted_is_a_fault() -> None:
    assert judged(evidence(*without(fires(T, 3, 3))), settle=20.0) == [(TOPOLOGY, "trigger-lost")]


def test_a_trigger_that_got_no_answer_is_a_fault() -> None:
    failed = T.line("start-failed", 150, trigger=at("2026-06-03T02:00"), problem="refused")
    seen = evidence(*without(fires(T, 3, 3)), failed)
    assert judged(seen) == [(TOPOLOGY, "trigger-lost")]


def test_a_trigger_inside_a_take_over_is_a_limit() -> None:
    gap = [S.start(90, **PLAN), S.acting(90, 120), fires(S, 1, 1)]
    found = check(evidence(*gap, *SCHEDULE[4:]), Expectation(0))
    assert [(one.kind, one.rule) for one in found] == [(LIMIT, "trigger-missed")]
    assert "nobody acted for 15.000 s" in found[0].text
    assert "2026-06-02T02:00+0200" in found[0].text


def test_a_trigger_at_which_the_scheduler_died_is_a_limit() -> None:
    died = [S.start(90, **PLAN), S.acting(90, 124.5), fires(S, 1, 1)]
    assert judged(evidence(*died, *SCHEDULE[4:])) == [(LIMIT, "trigger-missed")]


def test_a_trigger_over_which_the_scheduler_was_frozen_is_a_limit() -> None:
    frozen = T.line("trigger-missed", 153, trigger=at("2026-06-03T02:00"))
    seen = evidence(*without(fires(T, 3, 3)), frozen)
    assert judged(seen, settle=20.0) == [(LIMIT, "trigger-missed")]


def test_a_trigger_that_was_fired_twice_is_a_fault() -> None:
    again = T.effect(136, 9, trigger=at("2026-06-02T02:00"), triggerTime="day 2")
    (doubled,) = check(evidence(*SCHEDULE, again), Expectation(0))
    assert (doubled.kind, doubled.rule) == (TOPOLOGY, "trigger-doubled")
    assert [one.process for one in doubled.requests] == ["s-1", "s-2"]
    same_request = T.effect(
        136, 9, trigger=at("2026-06-02T02:00"), triggerTime="day 2", request="r-2"
    )
    assert judged(evidence(*SCHEDULE, same_request)) == []
    assert len(judged(evidence(*SCHEDULE, again, same_request))) == 1, "r-2, again, r-2 once more"


def test_a_trigger_that_the_title_rule_refused_is_a_limit() -> None:
    refused = fires(T, 3, 4, kind="workflow-refused")
    seen = evidence(*without(fires(T, 4, 4)), refused)
    assert judged(seen) == [(LIMIT, "title-refused")]
    own = fires(T, 4, 4, kind="workflow-refused")  # its first answer was lost
    assert judged(evidence(*SCHEDULE, own)) == []


def test_concurrent_members_answer_for_their_own_triggers() -> None:
    one, two = (Who(f"s-{n}", None, "scheduler", n, "nightly") for n in ("1", "2"))
    later = {**PLAN, "schedule": "30 2 * * *"}
    both = [
        one.start(90, **PLAN), one.acting(90, 120), fires(one, 1, 1),
        two.start(90, **later), two.acting(90, 120),
        two.effect(100.6, 2, trigger=at("2026-06-01T02:30"), triggerTime="half past"),
    ]  # fmt: skip
    assert judged(evidence(*both)) == []
    assert judged(evidence(*both[:-1]), settle=10.0) == [(TOPOLOGY, "trigger-lost")]


def test_triggers_before_the_run_are_not_judged() -> None:
    seen = dataclasses.replace(evidence(*without(fires(S, 1, 1))), since=110.0)
    assert judged(seen, settle=10.0) == []


# figures


def test_the_figures_tell_how_many_triggers_were_due_and_started() -> None:
    [scheduler] = describe(evidence(*SCHEDULE), Expectation())
    assert scheduler["triggers"] == {"due": 4, "fired": 4, "missed": 0}
