# SPDX-License-Identifier: Apache-2.0
"""The checker on triggers of schedulers, by planted violations.

Each rule must find its violation and say nothing about the history without it.
"""

import dataclasses
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from tests.unit.simulator.checker_history import Who, evidence, judged

from dpe_simulator.checker import LIMIT, TOPOLOGY, EntrySeen, Evidence, Expectation, check
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


def history(*parts: EntrySeen | list[EntrySeen], now: float = 200.0) -> Evidence:
    """What there is to see at a moment, which comes soon after the last line."""
    return dataclasses.replace(evidence(*parts), now=now)


def test_a_scheduler_that_fires_at_each_trigger_has_no_findings() -> None:
    assert judged(history(*SCHEDULE)) == []


def test_a_trigger_that_was_not_fired_by_one_who_acted_is_a_fault() -> None:
    assert judged(history(*without(fires(T, 3, 3))), settle=20.0) == [(TOPOLOGY, "trigger-lost")]


def test_a_trigger_that_got_no_answer_is_a_fault() -> None:
    failed = T.line("start-failed", 150, trigger=at("2026-06-03T02:00"), problem="refused")
    seen = history(*without(fires(T, 3, 3)), failed)
    assert judged(seen) == [(TOPOLOGY, "trigger-lost")]


def test_a_trigger_inside_a_take_over_is_a_limit() -> None:
    gap = [S.start(90, **PLAN), S.acting(90, 120), fires(S, 1, 1)]
    found = check(history(*gap, *SCHEDULE[4:]), Expectation(0))
    assert [(one.kind, one.rule) for one in found] == [(LIMIT, "trigger-missed")]
    assert "nobody acted for 15.000 s" in found[0].text
    assert "2026-06-02T02:00+0200" in found[0].text


def test_a_trigger_at_which_the_scheduler_died_is_a_limit() -> None:
    died = [S.start(90, **PLAN), S.acting(90, 124.5), fires(S, 1, 1)]
    assert judged(history(*died, *SCHEDULE[4:])) == [(LIMIT, "trigger-missed")]


def test_a_trigger_over_which_the_scheduler_was_frozen_is_a_limit() -> None:
    frozen = T.line("trigger-missed", 153, trigger=at("2026-06-03T02:00"))
    seen = history(*without(fires(T, 3, 3)), frozen)
    assert judged(seen, settle=20.0) == [(LIMIT, "trigger-missed")]


def test_a_trigger_that_was_fired_twice_is_a_fault() -> None:
    again = T.effect(136, 9, trigger=at("2026-06-02T02:00"), triggerTime="day 2")
    (doubled,) = check(history(*SCHEDULE, again), Expectation(0))
    assert (doubled.kind, doubled.rule) == (TOPOLOGY, "trigger-doubled")
    assert [one.process for one in doubled.requests] == ["s-1", "s-2"]
    same_request = T.effect(
        136, 9, trigger=at("2026-06-02T02:00"), triggerTime="day 2", request="r-2"
    )
    assert judged(history(*SCHEDULE, same_request)) == []
    assert len(judged(history(*SCHEDULE, again, same_request))) == 1, "r-2, again, r-2 once more"


def test_a_trigger_that_the_title_rule_refused_is_a_limit() -> None:
    refused = fires(T, 3, 4, kind="workflow-refused")
    seen = history(*without(fires(T, 4, 4)), refused)
    assert judged(seen) == [(LIMIT, "title-refused")]
    own = fires(T, 4, 4, kind="workflow-refused")  # its first answer was lost
    assert judged(history(*SCHEDULE, own)) == []


def test_concurrent_members_answer_for_their_own_triggers() -> None:
    one, two = (Who(f"s-{n}", None, "scheduler", n, "nightly") for n in ("1", "2"))
    later = {**PLAN, "schedule": "30 2 * * *"}
    both = [
        one.start(90, **PLAN), one.acting(90, 120), fires(one, 1, 1),
        two.start(90, **later), two.acting(90, 120),
        two.effect(100.6, 2, trigger=at("2026-06-01T02:30"), triggerTime="half past"),
    ]  # fmt: skip
    assert judged(history(*both, now=130.0)) == []
    found = judged(history(*both[:-1], now=130.0), settle=10.0)
    assert found == [(TOPOLOGY, "trigger-lost")]


def test_triggers_before_the_run_are_not_judged() -> None:
    seen = dataclasses.replace(history(*without(fires(S, 1, 1))), since=110.0)
    assert judged(seen, settle=10.0) == []


# after the last one's last sign


def first_alone() -> list[Any]:
    """The first scheduler of the two, without the second."""
    return [S.start(90, **PLAN), S.acting(90, 130), fires(S, 1, 1), fires(S, 2, 2)]


def test_what_is_due_after_a_scheduler_that_nobody_follows_is_a_limit() -> None:
    died = [*first_alone(), S.acting(130, 131)]
    found = check(history(*died), Expectation(0, settle=20.0))
    assert [(one.kind, one.rule) for one in found] == [(LIMIT, "trigger-missed")] * 2
    assert "2026-06-03T02:00+0200: nobody has acted since the last sign of s-1" in found[0].text
    assert "17.000 s before" in found[0].text
    stopped = [*died, S.line("stop", 131)]
    assert judged(history(*stopped), settle=20.0) == [(LIMIT, "trigger-missed")] * 2


def test_what_is_due_within_settle_of_the_end_of_the_evidence_is_not_judged() -> None:
    """A scheduler that was stopped with all else, and lines that had not reached the ledger yet."""
    stopped = [*SCHEDULE, T.line("stop", 180)]
    assert judged(history(*stopped, now=215.0), settle=20.0) == []
    assert judged(history(*stopped, now=217.0), settle=20.0) == [(LIMIT, "trigger-missed")]
    assert judged(history(*first_alone(), now=150.0), settle=20.0) == []


def test_an_evidence_that_begins_later_judges_only_what_is_due_after_its_beginning() -> None:
    seen = dataclasses.replace(history(*first_alone()), since=160.0)
    assert judged(seen, settle=20.0) == [(LIMIT, "trigger-missed")]


def test_each_concurrent_member_that_nobody_follows_misses_its_own_triggers() -> None:
    one, two = (Who(f"s-{n}", None, "scheduler", n, "nightly") for n in ("1", "2"))
    both = [
        one.start(90, **PLAN), one.acting(90, 120), fires(one, 1, 1),
        two.start(90, **{**PLAN, "schedule": "30 2 * * *"}), two.acting(90, 160),
        *(
            two.effect(at_half + 0.1, number, trigger=at(f"2026-06-0{number}T02:30"))
            for number, at_half in ((1, 100.5), (2, 124.5), (3, 148.5))
        ),
    ]  # fmt: skip
    found = judged(history(*both, now=160.0), settle=20.0)
    assert found == [(LIMIT, "trigger-missed")]


def test_members_that_another_mode_has_replaced_have_nothing_more_to_miss() -> None:
    former = Who("s-0", None, "scheduler", "2", "nightly")
    later = {**PLAN, "schedule": "30 2 * * *"}
    lines = [
        former.start(80, **later), former.acting(80, 85),
        S.start(90, **PLAN), S.acting(90, 180), *(fires(S, n, n) for n in (1, 2, 3, 4)),
    ]  # fmt: skip
    assert judged(history(*lines), settle=20.0) == []
    [figures] = describe(history(*lines), Expectation(settle=20.0))
    assert figures["triggers"] == {"due": 4, "fired": 4, "missed": 0}


# figures


def test_the_figures_tell_how_many_triggers_were_due_and_started() -> None:
    [scheduler] = describe(history(*SCHEDULE), Expectation())
    assert scheduler["triggers"] == {"due": 4, "fired": 4, "missed": 0}


def test_the_figures_count_what_was_due_after_the_last_one_too() -> None:
    [scheduler] = describe(history(*first_alone()), Expectation(settle=20.0))
    assert scheduler["triggers"] == {"due": 4, "fired": 2, "missed": 2}
    [soon] = describe(history(*first_alone(), now=160.0), Expectation(settle=20.0))
    assert soon["triggers"] == {"due": 2, "fired": 2, "missed": 0}
