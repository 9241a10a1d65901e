# SPDX-License-Identifier: Apache-2.0
"""When the active member changes: outages of both, fail-back, flapping; and random histories."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dpe_balancer.decision import decide
from dpe_balancer.model import (
    Choice,
    Enable,
    HoldBack,
    MemberState,
    Moment,
    Record,
    Release,
    Role,
    Seen,
    SetActive,
    Site,
    Step,
    SwitchRequest,
    Watch,
)
from dpe_balancer.switching import (
    HEAD_START_SECONDS,
    RUSH_SECONDS,
    STEADY_SECONDS,
    TOGETHER_SECONDS,
    is_flapping,
    seconds,
)
from dpe_balancer.watch import watched

NEVER = Site(("a", "b"), "me", tcp=True, drain_seconds=30, flap_switches=3, flap_seconds=600)
AUTOMATIC = replace(NEVER, failback_seconds=60.0)
HOLDER = Role(holder=True, epoch=4, identity="me_1")
MINE = Record(4, "a", "", 7, routed_to="me", fresh_for=4)
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def at(now: float) -> str:
    return (START + datetime.timedelta(seconds=now)).isoformat()


@dataclass
class Pair:
    """A pair of members and the HAProxy before it, as the decision sees and changes them.

    `goods` grows by itself for a member that is UP whenever a whole second passes.
    """

    site: Site = NEVER
    choice: Choice = field(default_factory=lambda: Choice("a", at(0), 7, epoch=4))
    record: Record = MINE
    now: float = 1000.0
    states: dict[str, MemberState] = field(default_factory=lambda: {"a": "UP", "b": "UP"})
    goods: dict[str, int] = field(default_factory=lambda: {"a": 0, "b": 0})
    terminating: str = ""
    entry: str = "a"
    held: frozenset[str] = frozenset()
    watch: Watch = field(default_factory=Watch)
    said: list[object] = field(default_factory=list)

    def look(self) -> Step:
        """One tick with nothing changed in time."""
        self.watch = watched(self.watch, self.states, self.now)
        seen = Seen(
            dict(self.states),
            {},
            self.entry,
            held=self.held,
            goods=dict(self.goods),
        )
        leaving = frozenset(self.terminating)
        moment = Moment(self.now, at(self.now), HOLDER, self.record, seen, leaving, self.watch)
        step = decide(self.site, self.choice, moment)
        for action in step.actions:
            if isinstance(action, SetActive):
                self.entry = action.member
            elif isinstance(action, HoldBack):
                self.held |= {action.member}
            elif isinstance(action, Release):
                self.held -= {action.member}
        self.said += step.actions
        self.choice = step.choice
        return step

    def go(self, seconds_: float, *, check: bool = True, **states: MemberState) -> None:
        """Members change, then time passes in ticks of 0.1 s."""
        self.states.update(states)
        for tick in range(max(1, round(seconds_ * 10))):
            self.look()
            self.now += 0.1
            if check and tick % 5 == 4:
                for name, state in self.states.items():
                    self.goods[name] += state == "UP"
        self.look()

    def fail_over(self, up_for: float = 30.0) -> None:
        """The active member fails, the other one takes over, the failed one comes back."""
        active = self.choice.active
        assert active is not None
        self.go(2, **{active: "DOWN"})
        self.go(up_for, **{active: "UP"})


def test_requests_are_moved_in_the_tick_that_sees_down_and_counted_at_a_good_check() -> None:
    pair = Pair()
    pair.look()
    pair.states["a"] = "DOWN"
    step = pair.look()
    assert (pair.entry, step.choice.active, step.choice.switch_count) == ("b", "a", 7)
    pair.go(1)
    last = pair.choice.last_switch
    assert last is not None
    assert (pair.choice.active, pair.choice.switch_count, last.cause) == ("b", 8, "MemberDown")
    assert last.at == at(1000.0), "when requests were moved, not when it was counted"
    assert pair.choice.unplanned == (last.at,)


def test_without_checks_it_counts_after_five_seconds() -> None:
    pair = Pair()
    pair.go(TOGETHER_SECONDS - 0.3, check=False, a="DOWN")
    assert (pair.entry, pair.choice.switch_count) == ("b", 7)
    pair.go(0.5, check=False)
    assert (pair.choice.active, pair.choice.switch_count) == ("b", 8)


@pytest.mark.parametrize("apart", [0.1, 1.0, 4.8])
@pytest.mark.parametrize("first", ["a", "b"])
def test_both_down_together_is_no_switch(first: str, apart: float) -> None:
    pair = Pair()
    pair.go(1)
    pair.go(apart, check=False, **{first: "DOWN"})
    pair.go(20, a="DOWN", b="DOWN")
    assert (pair.entry, pair.choice.active, pair.choice.switch_count) == ("a", "a", 7)
    assert pair.choice.pending is None and pair.choice.outage is not None
    assert pair.held == {"b"}, "HAProxy must not fall back to it by itself"
    # b is back first, a within its head start: a serves, and nothing was counted
    pair.go(HEAD_START_SECONDS - 0.5, b="UP")
    assert (pair.entry, pair.held) == ("a", {"b"})
    pair.go(RUSH_SECONDS + 0.1, a="UP")
    assert (pair.entry, pair.choice.switch_count, pair.choice.outage) == ("a", 7, None)
    assert pair.held == frozenset()


def test_after_the_head_start_whoever_is_up_serves() -> None:
    pair = Pair()
    pair.go(10, a="DOWN", b="DOWN")
    pair.go(HEAD_START_SECONDS + 0.2, b="UP")
    assert (pair.entry, pair.held) == ("b", frozenset())
    pair.go(2)
    assert (pair.choice.active, pair.choice.switch_count) == ("b", 8)


def test_after_a_short_outage_the_head_start_is_short() -> None:
    pair = Pair()
    pair.go(1, a="DOWN", b="DOWN")
    pair.go(0.8, b="UP")
    assert pair.entry == "a"
    pair.go(0.5)
    assert pair.entry == "b"


def after_an_outage() -> Pair:
    pair = Pair()
    pair.go(20, a="DOWN", b="DOWN")
    pair.go(1, a="UP", b="UP")
    return pair


def test_after_an_outage_a_member_that_is_busy_with_all_who_waited_is_not_left() -> None:
    pair = after_an_outage()
    assert pair.held == {"b"}, "HAProxy does not fall back to it by itself either"
    pair.go(HEAD_START_SECONDS - 0.5, a="DOWN")
    assert (pair.entry, pair.choice.pending, pair.choice.switch_count) == ("a", None, 7)
    pair.go(1, a="UP")
    assert (pair.entry, pair.choice.active, pair.choice.switch_count) == ("a", "a", 7)


def test_after_an_outage_a_member_that_stays_down_is_left() -> None:
    pair = after_an_outage()
    pair.go(HEAD_START_SECONDS + 0.2, a="DOWN")
    assert (pair.entry, pair.held) == ("b", frozenset())
    pair.go(2)
    assert (pair.choice.active, pair.choice.switch_count) == ("b", 8)


def test_some_time_after_an_outage_a_member_that_is_down_is_left_at_once() -> None:
    pair = after_an_outage()
    pair.go(RUSH_SECONDS)
    assert pair.held == frozenset()
    pair.go(0.1, a="DOWN")
    assert pair.entry == "b"


def test_one_that_follows_late_is_no_common_outage() -> None:
    pair = Pair()
    pair.go(2, a="DOWN")
    pair.go(TOGETHER_SECONDS + 1)
    pair.go(20, b="DOWN")
    assert (pair.choice.active, pair.choice.switch_count, pair.choice.outage) == ("b", 8, None)
    pair.go(1, a="UP")  # no head start for anybody
    assert (pair.entry, pair.choice.active, pair.choice.switch_count) == ("a", "a", 9)


def test_active_member_that_is_back_before_it_counted_is_not_served_again() -> None:
    pair = Pair()
    pair.go(0.3, check=False, a="DOWN")
    pair.go(2, a="UP")
    assert (pair.entry, pair.choice.active, pair.choice.switch_count) == ("b", "b", 8)


def test_haproxy_started_anew_in_between_loses_nothing() -> None:
    pair = Pair()
    pair.go(0.2, check=False, a="DOWN")
    assert pair.entry == "b"
    pair.go(1, check=False, a="UNKNOWN", b="UNKNOWN")
    assert (pair.entry, pair.choice.switch_count) == ("b", 7)
    pair.go(1, a="DOWN", b="UP")
    assert (pair.choice.active, pair.choice.switch_count) == ("b", 8)


def test_who_no_longer_decides_forgets_what_was_provisional() -> None:
    pair = Pair()
    pair.go(0.2, check=False, a="DOWN")
    watch = pair.watch
    seen = Seen({"a": "DOWN", "b": "UP"}, {}, "b", held=frozenset("b"))
    record = replace(MINE, routed_to="other", fresh_for=0)
    moment = Moment(pair.now, at(pair.now), Role(), record, seen, frozenset(), watch)
    step = decide(NEVER, pair.choice, moment)
    assert (step.choice.serving, step.choice.pending) == ("a", None)
    assert step.actions == (SetActive("a"), Release("b"))


def test_never_is_never() -> None:
    pair = Pair()
    pair.fail_over()
    pair.go(200)
    assert (pair.choice.active, pair.choice.switch_count) == ("b", 8)


def test_automatic_goes_back_after_the_quiet_period() -> None:
    pair = Pair(AUTOMATIC)
    pair.fail_over(up_for=55)
    pair.go(1, a="DOWN")  # and the period begins again
    pair.go(58, a="UP")
    assert pair.choice.active == "b"
    pair.go(3)
    last = pair.choice.last_switch
    assert last is not None
    assert (pair.choice.active, pair.entry, last.cause) == ("a", "a", "Failback")
    assert pair.choice.unplanned == (at(1000.0),), "a fail-back is none of the unplanned ones"


def test_automatic_prefers_the_first_listed_member_only() -> None:
    pair = Pair(AUTOMATIC, choice=Choice("b", at(0), 7, epoch=4), entry="b")
    pair.record = replace(MINE, active="b")
    pair.go(61)
    assert pair.choice.active == "a"
    pair.go(200)
    assert (pair.choice.active, pair.choice.switch_count) == ("a", 8)


def test_automatic_undoes_no_switch_that_was_asked_for() -> None:
    pair = Pair(AUTOMATIC)
    pair.record = replace(MINE, request=SwitchRequest("b", 7))
    pair.go(300)
    assert (pair.choice.active, pair.choice.switch_count) == ("b", 8)


def test_automatic_waits_while_something_is_going_on() -> None:
    pair = Pair(AUTOMATIC)
    pair.fail_over()
    pair.terminating = "a"
    pair.go(100)
    assert pair.choice.active == "b"
    pair.terminating = ""
    pair.record = replace(MINE, request=SwitchRequest("b", pair.choice.switch_count))
    pair.go(100)
    assert pair.choice.active == "b"
    pair.record = MINE
    pair.go(1)
    assert pair.choice.active == "a"


def test_automatic_waits_for_the_period_after_a_member_that_was_told_to_end() -> None:
    pair = Pair(AUTOMATIC)
    pair.go(200)
    pair.terminating = "a"
    pair.go(1)
    assert pair.choice.active == "b"
    pair.terminating = ""
    pair.go(50)
    assert pair.choice.active == "b"
    pair.go(15)
    assert pair.choice.active == "a"


def flapping(site: Site = NEVER) -> Pair:
    pair = Pair(site)
    for _ in range(4):
        pair.fail_over(up_for=15)
    assert (pair.choice.active, pair.choice.switch_count) == ("a", 11)
    return pair


def test_flapping_is_more_than_the_limit_within_the_period() -> None:
    pair = Pair()
    for count in range(4):
        assert not is_flapping(NEVER, pair.choice, at(pair.now)), count
        pair.fail_over(up_for=15)
    assert is_flapping(NEVER, pair.choice, at(pair.now))
    first = seconds(pair.choice.unplanned[0])
    assert first is not None
    assert not is_flapping(NEVER, pair.choice, at(first - START.timestamp() + 601))


def test_switches_of_a_clock_that_was_wrong_do_not_flap_for_ever() -> None:
    choice = flapping().choice
    first = seconds(choice.unplanned[0])
    assert first is not None
    assert is_flapping(NEVER, choice, at(first - START.timestamp() - 5)), "a little ahead"
    assert not is_flapping(NEVER, choice, at(first - START.timestamp() - 3600)), "an hour ahead"


def test_while_flapping_a_member_has_to_be_steady_first() -> None:
    pair = flapping()
    pair.go(1, b="DOWN")
    pair.go(2, b="UP")
    assert pair.held == {"b"}
    pair.go(STEADY_SECONDS - 3, a="DOWN")
    assert (pair.entry, pair.choice.active) == ("a", "a"), "b is UP for too short a time"
    pair.go(2)
    assert (pair.entry, pair.choice.active, pair.held) == ("b", "b", {"a"})


def test_while_flapping_an_haproxy_started_anew_holds_the_other_back_before_it_may_be_used() -> (
    None
):
    """It falls back to the other by itself as soon as that is enabled and the active one is DOWN."""
    pair = flapping()
    active = pair.choice.active
    assert active is not None
    other = "b" if active == "a" else "a"
    states: dict[str, MemberState] = {active: "DOWN", other: "UNKNOWN"}
    seen = Seen(states, {}, active, disabled=frozenset({other}))
    now, watch = pair.now, watched(pair.watch, states, pair.now)
    moment = Moment(now, at(now), HOLDER, pair.record, seen, frozenset(), watch)
    assert decide(NEVER, pair.choice, moment).actions == (HoldBack(other), Enable(other))


def test_while_flapping_clients_are_not_left_alone_for_long() -> None:
    pair = flapping()
    pair.go(20, b="DOWN")
    pair.go(STEADY_SECONDS - 1, a="DOWN")
    pair.go(0.5, b="UP")
    assert pair.entry == "a"
    pair.go(1)
    assert pair.entry == "b", "a is DOWN for longer than b would have to be UP"


def test_while_flapping_a_steady_member_takes_over_at_once() -> None:
    pair = flapping()
    pair.go(STEADY_SECONDS + 1)
    pair.states["a"] = "DOWN"
    pair.look()
    assert pair.entry == "b"


def test_no_fail_back_while_flapping() -> None:
    pair = Pair(AUTOMATIC)
    for _ in range(4):
        pair.fail_over(up_for=15)
    pair.fail_over(up_for=1)
    assert pair.choice.active == "b"
    pair.go(120)
    assert pair.choice.active == "b"
    pair.go(600)
    assert pair.choice.active == "a"


def test_times_that_are_none() -> None:
    assert seconds("yesterday") is None
    assert seconds("2026-01-01T00:00:00") is None
    assert seconds("2026-01-01T00:00:00.5Z") == START.timestamp() + 0.5


STATE = st.sampled_from(["UP", "UP", "UP", "DOWN", "DOWN", "UNKNOWN"])
LOOK = st.tuples(
    STATE,
    STATE,
    st.sampled_from(["", "", "a", "b", "ab"]),
    st.booleans(),
    st.sampled_from([0.1, 0.1, 0.5, 2.0, 4.0, 12.0, 70.0]),
    st.sampled_from(["", "", "a", "b"]),
)
Event = tuple[MemberState, MemberState, str, bool, float, str]


def steps(pair: Pair, history: list[Event]) -> Iterator[tuple[Choice, Step]]:
    for a, b, terminating, checked, passes, asked in history:
        pair.states, pair.terminating = {"a": a, "b": b}, terminating
        request = SwitchRequest(asked, pair.choice.switch_count) if asked else None
        pair.record = replace(MINE, request=request)
        for name, state in pair.states.items():
            pair.goods[name] += checked and state == "UP"
        before = pair.choice
        yield before, pair.look()
        pair.now += passes


SITES = st.sampled_from([NEVER, AUTOMATIC, replace(AUTOMATIC, flap_switches=1)])


@settings(max_examples=200, deadline=None)
@given(SITES, st.lists(LOOK, max_size=40))
def test_properties_over_any_history(site: Site, history: list[Event]) -> None:
    pair = Pair(site)
    for before, step in steps(pair, history):
        choice, states = step.choice, pair.states
        changed = choice.active != before.active
        assert choice.switch_count == before.switch_count + changed
        assert pair.entry == choice.serving, "the entry follows in the same tick"
        assert choice.outage is None or choice.pending is None
        assert choice.serving not in pair.held
        entries = [action for action in step.actions if isinstance(action, SetActive)]
        assert len(entries) <= 1, "never two members in one tick"
        if changed:
            last = choice.last_switch
            assert last is not None
            assert (last.source, last.target) == (before.active, choice.active)
            assert states[choice.active or ""] == "UP"
            assert before.pending is not None or last.cause != "MemberDown"
        elif choice.serving != before.serving and choice.pending is not None:
            # never away from a member that serves, never to one that is not up
            assert (states[before.serving or ""], states[choice.serving or ""]) == ("DOWN", "UP")
        # asked again at the same moment there is nothing left to do, unless a planned one is due
        again = pair.look()
        assert not [
            a for a in again.actions if not isinstance(a, SetActive | Release | HoldBack | Enable)
        ]
        if again.choice == choice:
            assert again.actions == ()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 4.5), st.floats(4, 9), st.floats(0, 2.5), st.booleans()),
        max_size=3,
    )
)
def test_both_down_within_five_seconds_never_counts(
    outages: list[tuple[float, float, float, bool]],
) -> None:
    pair = Pair()
    for apart, lasts, back, a_first in outages:
        first, second = ("a", "b") if a_first else ("b", "a")
        pair.go(apart, check=False, **{first: "DOWN"})
        pair.go(lasts, **{second: "DOWN"})
        pair.go(back, **{first: "UP"})
        pair.go(8, **{second: "UP"})
        assert (pair.entry, pair.choice.active, pair.choice.switch_count) == ("a", "a", 7)


@settings(max_examples=40, deadline=None)
@given(SITES, st.lists(LOOK, max_size=20), st.sampled_from(["a", "b"]))
def test_who_is_steadily_up_serves_in_the_end(site: Site, history: list[Event], alive: str) -> None:
    pair = Pair(site)
    for _ in steps(pair, history):
        pass
    pair.terminating, pair.record = "", MINE
    states: dict[str, MemberState] = {"a": "DOWN", "b": "DOWN", alive: "UP"}
    pair.go(STEADY_SECONDS + TOGETHER_SECONDS + 1, **states)
    assert (pair.entry, pair.choice.active, pair.choice.pending) == (alive, alive, None)
