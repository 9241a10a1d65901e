# SPDX-License-Identifier: Apache-2.0
"""Since when a member is as it is, and the gap at a switch, from counters seen every 0.1 s."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dpe_balancer.model import Choice, MemberState, Moment, Pending, Role, Seen, Switch, Watch
from dpe_balancer.watch import WAIT_SECONDS, Meter, measured, watched

ON_A = Choice("a", "t0", 3)


def test_since_when() -> None:
    watch = watched(Watch(), {"a": "UP", "b": "UNKNOWN"}, 1.0)
    watch = watched(watch, {"a": "UP", "b": "DOWN"}, 2.0)
    assert watch == Watch({"a": 1.0}, {"b": 2.0})
    watch = watched(watch, {"a": "DOWN", "b": "DOWN"}, 3.0)
    assert watch == Watch({}, {"a": 3.0, "b": 2.0})
    assert watched(watch, {"a": "UNKNOWN", "b": "UP"}, 4.0) == Watch({"b": 4.0}, {})


class Line:
    """What the meter sees, look by look; the switch is made by `to`."""

    def __init__(self, *, tcp: bool) -> None:
        self.tcp = tcp
        self.meter, self.choice = Meter(), ON_A
        self.counts = {"a": 10, "b": 0}
        self.goods = {"a": 5, "b": 5}
        self.sessions = {"a": 0, "b": 0}
        self.now = 100.0

    def look(self, to: Choice | None = None, *, a: int = 0, b: int = 0, good: bool = False) -> None:
        self.counts["a"] += a
        self.counts["b"] += b
        if good:
            self.goods = {name: count + 1 for name, count in self.goods.items()}
        states: dict[str, MemberState] = {"a": "UP", "b": "UP"}
        seen = Seen(
            states,
            dict(self.sessions),
            "a",
            goods=dict(self.goods),
            answers=dict(self.counts),
        )
        at = f"t{self.now:.1f}"
        moment = Moment(self.now, at, Role(), None, seen)
        after = self.choice if to is None else to
        self.meter, self.choice = measured(self.meter, self.choice, after, moment, tcp=self.tcp)
        self.now += 0.1

    def down(self) -> Choice:
        """The choice of this look: b stands in for a."""
        return replace(self.choice, pending=Pending("b", f"t{self.now:.1f}", self.now, 5))

    def counted(self) -> Choice:
        pending = self.choice.pending
        assert pending is not None
        last = Switch("a", "b", "MemberDown", pending.at)
        return replace(self.choice, active="b", last_switch=last, pending=None)

    def planned(self) -> Choice:
        last = Switch("a", "b", "Requested", f"t{self.now:.1f}")
        return replace(self.choice, active="b", last_switch=last)

    @property
    def gap(self) -> int | None:
        return None if self.choice.last_switch is None else self.choice.last_switch.gap_ms


@pytest.mark.parametrize("early", [True, False])
def test_last_answer_of_the_old_to_first_of_the_new(early: bool) -> None:
    line = Line(tcp=False)
    line.look()
    line.look(a=4, good=True)  # the last answer
    line.look()
    line.look()
    line.look(line.down())
    if early:
        line.look(b=2)  # 0.4 s later
        line.look(line.counted())
    else:
        line.look(line.counted())
        assert line.gap is None, "nobody is answered yet"
        line.look(b=2)
    assert line.gap == (400 if early else 500)
    line.look(b=9)
    assert line.gap == (400 if early else 500)


def test_haproxy_may_have_fallen_back_before_the_agent_saw_it() -> None:
    line = Line(tcp=False)
    line.look()
    line.look(a=4, good=True)
    line.look(line.down(), b=1)
    line.look(line.counted())
    assert line.gap == 100


def test_tcp_counts_from_the_last_good_check_to_the_first_connection() -> None:
    line = Line(tcp=True)
    line.sessions = {"a": 3, "b": 0}
    line.look()
    line.look(good=True)
    for _ in range(4):
        line.look()
    line.look(line.down())
    line.look(line.counted(), b=1)
    assert line.gap == 600


@pytest.mark.parametrize("tcp", [True, False])
def test_a_planned_switch_counts_from_the_switch(tcp: bool) -> None:
    line = Line(tcp=tcp)
    line.sessions = {"a": 1, "b": 0}
    line.look()
    line.look(a=1, good=True)
    for _ in range(5):
        line.look()
    line.look(line.planned())
    line.look(b=1)
    assert line.gap == 100


@pytest.mark.parametrize("tcp", [True, False])
def test_an_idle_site_has_no_gap(tcp: bool) -> None:
    line = Line(tcp=tcp)
    line.look()
    line.look(a=1)
    for _ in range(30):
        line.look(good=True)
    line.look(line.down())
    line.look(line.counted())
    line.look(b=5)
    assert line.gap is None


def test_nobody_asks_any_more() -> None:
    line = Line(tcp=False)
    line.look()
    line.look(a=1, good=True)
    line.look(line.down())
    line.look(line.counted())
    line.now += WAIT_SECONDS
    line.look()
    line.look(b=5)
    assert line.gap is None


def test_a_switch_of_another_balancer_is_not_measured() -> None:
    line = Line(tcp=False)
    line.look()
    line.look(a=1, good=True)
    adopted = replace(ON_A, active="b", last_switch=Switch("a", "b", "MemberDown", "before"))
    line.look(adopted)
    line.look(b=1)
    assert line.gap is None


def test_a_move_that_was_taken_back_has_no_gap() -> None:
    line = Line(tcp=False)
    line.look()
    line.look(a=1, good=True)
    line.look(line.down())
    line.look(replace(line.choice, pending=None, outage=1.0))
    line.look(b=3)
    assert line.meter.measuring is None and line.meter.found is None
