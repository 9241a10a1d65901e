# SPDX-License-Identifier: Apache-2.0
"""What becomes of the clients of a balancer that is routed no more, or may not be."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_balancer.drain import (
    CutOlder,
    Drain,
    DrainAction,
    EndWithAnswer,
    Fence,
    Place,
    drain,
    place,
)
from dpe_balancer.model import Choice, CutSessions, MemberState, Moment, Record, Role, Seen, Site

TCP = Site(("a", "b"), "me", tcp=True, drain_seconds=30)
HTTP = replace(TCP, tcp=False)
ON_A = Choice("a", "t0", 7, None, epoch=4)
MINE = Record(4, "a", "t0", 7, routed_to="me")
OTHERS = replace(MINE, epoch=5, routed_to="other")
HOLDER = Role(holder=True, epoch=4)
STANDBY = Role(known=True)
NOBODY_KNOWS = Role(epoch=4)


def moment(
    role: Role,
    record: Record | None,
    *,
    now: float = 1000.0,
    sessions: tuple[int, int] = (0, 0),
    a: MemberState = "UP",
    told: tuple[bool, bool] = (False, False),
) -> Moment:
    seen = Seen({"a": a, "b": "UP"}, dict(zip("ab", sessions, strict=True)), "a")
    seen = replace(seen, ends_with_answer=told[0], fenced=told[1])
    return Moment(now, "t1", role, record, seen)


def ask(site: Site, before: Drain, found: Moment) -> tuple[Drain, tuple[DrainAction, ...]]:
    return drain(site, before, ON_A, found, leaving=False)


@pytest.mark.parametrize(
    ("role", "record", "leaving", "where"),
    [
        (HOLDER, MINE, False, Place.HERE),
        # about to publish itself, with the recorded member adopted; or not yet
        (HOLDER, OTHERS, False, Place.HERE),
        (replace(HOLDER, epoch=6), OTHERS, False, Place.ELSEWHERE),
        (STANDBY, OTHERS, False, Place.ELSEWHERE),
        (NOBODY_KNOWS, OTHERS, False, Place.ELSEWHERE),
        # a container that was started anew: its Lease still names the one before
        (STANDBY, MINE, False, Place.HERE),
        (NOBODY_KNOWS, MINE, False, Place.UNSURE),
        # given back on purpose, and routed until another balancer has published itself
        (NOBODY_KNOWS, MINE, True, Place.HERE),
        (NOBODY_KNOWS, None, False, Place.HERE),
        (NOBODY_KNOWS, Record(), False, Place.HERE),
    ],
)
def test_place(role: Role, record: Record | None, leaving: bool, where: Place) -> None:
    assert place(TCP, ON_A, moment(role, record), leaving=leaving) is where


def test_here_nothing_is_done_whatever_is_open() -> None:
    for site in (TCP, HTTP):
        assert ask(site, Drain(), moment(HOLDER, MINE, sessions=(5, 5)))[1] == ()


def test_elsewhere_tcp_connections_to_the_active_member_get_their_time() -> None:
    found = moment(STANDBY, OTHERS, sessions=(3, 2))
    state, actions = ask(TCP, Drain(), found)
    assert actions == (Fence(on=True), CutSessions("b"))
    later = replace(moment(STANDBY, OTHERS, now=1029.9, sessions=(3, 0), told=(False, True)))
    state, actions = ask(TCP, state, later)
    assert actions == ()
    state, actions = ask(TCP, state, replace(later, now=1030.0))
    assert actions == (CutOlder(30),)
    # who comes all the same gets the same time
    assert ask(TCP, state, replace(later, now=1031.0))[1] == ()
    assert ask(TCP, state, replace(later, now=1060.0))[1] == (CutOlder(30),)


def test_elsewhere_its_own_checks_do_not_count() -> None:
    """It sees the active member down; HAProxy alone would go on with the other one."""
    found = moment(STANDBY, OTHERS, sessions=(0, 4), a="DOWN")
    assert ask(TCP, Drain(), found)[1] == (Fence(on=True), CutSessions("b"))


def test_elsewhere_http_answers_end_their_connection() -> None:
    state, actions = ask(HTTP, Drain(), moment(STANDBY, OTHERS, sessions=(2, 0)))
    assert actions == (EndWithAnswer(on=True), Fence(on=True))
    told = moment(STANDBY, OTHERS, now=1031.0, sessions=(1, 0), told=(True, True))
    assert ask(HTTP, state, told)[1] == (CutOlder(30),)


def test_routed_again_it_serves_as_before() -> None:
    away, _ = ask(HTTP, Drain(), moment(STANDBY, OTHERS))
    back = moment(HOLDER, MINE, told=(True, True), sessions=(5, 0), now=1031.0)
    assert ask(HTTP, away, back)[1] == (EndWithAnswer(on=False), Fence(on=False))


def test_a_new_holder_uses_both_members_before_it_is_routed() -> None:
    found = moment(HOLDER, OTHERS, told=(False, True))
    state, actions = ask(TCP, Drain(Place.ELSEWHERE, 990.0), found)
    assert actions == (Fence(on=False),)
    assert state.given_at == found.now
    unsure, _ = ask(TCP, state, moment(NOBODY_KNOWS, MINE, now=1100.0))
    back, _ = ask(TCP, unsure, moment(HOLDER, MINE, now=1200.0))
    assert (back.since, back.given_at) == (1200.0, found.now), "an outage gives nobody clients"


def test_unsure_tcp_cuts_once_and_goes_on() -> None:
    found = moment(NOBODY_KNOWS, MINE, sessions=(5, 1))
    state, actions = ask(TCP, Drain(), found)
    assert actions == (CutSessions("a"), CutSessions("b"))
    for now in (1000.1, 1030.0, 1090.0):
        state, actions = ask(TCP, state, replace(found, now=now))
        assert actions == ()
    # the Lease was renewed again, and ran out again
    state, _ = ask(TCP, state, moment(HOLDER, MINE))
    assert ask(TCP, state, found)[1] == (CutSessions("a"), CutSessions("b"))


def test_unsure_http_cuts_only_what_is_old_and_once() -> None:
    state, actions = ask(HTTP, Drain(), moment(NOBODY_KNOWS, MINE, sessions=(5, 0)))
    assert actions == (EndWithAnswer(on=True),)
    later = moment(NOBODY_KNOWS, MINE, now=1030.0, sessions=(5, 0), told=(True, False))
    state, actions = ask(HTTP, state, later)
    assert actions == (CutOlder(30),)
    assert ask(HTTP, state, replace(later, now=1075.0))[1] == ()


ROLES = st.sampled_from([HOLDER, STANDBY, NOBODY_KNOWS])
RECORDS = st.sampled_from([None, Record(), MINE, OTHERS])
STEPS = st.lists(
    st.tuples(ROLES, RECORDS, st.floats(0.1, 20), st.integers(0, 3), st.integers(0, 3)),
    max_size=40,
)


@given(st.sampled_from([TCP, HTTP]), STEPS)
def test_what_was_told_is_not_told_again(
    site: Site, history: list[tuple[Role, Record | None, float, int, int]]
) -> None:
    state, told, now = Drain(), (False, False), 0.0
    for role, record, seconds, to_a, to_b in history:
        now += seconds
        found = moment(role, record, now=now, sessions=(to_a, to_b), told=told)
        state, actions = ask(site, state, found)
        for action in actions:
            if isinstance(action, EndWithAnswer):
                assert not site.tcp
                told = (action.on, told[1])
            elif isinstance(action, Fence):
                told = (told[0], action.on)
        again = moment(role, record, now=now, sessions=(0, 0), told=told)
        assert ask(site, state, again)[1] == ()
        if place(site, ON_A, found, leaving=False) is Place.HERE:
            assert told == (False, False)
            assert not any(isinstance(action, CutSessions | CutOlder) for action in actions)
