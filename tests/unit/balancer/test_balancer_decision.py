# SPDX-License-Identifier: Apache-2.0
"""The decision on the active member: who has the say, what is adopted, what HAProxy is told."""

from __future__ import annotations

from dataclasses import replace

from dpe_balancer.decision import decide, is_newer, is_ready, is_settled, with_word
from dpe_balancer.model import (
    Choice,
    CutSessions,
    Enable,
    MemberState,
    Moment,
    Pending,
    Record,
    Role,
    Seen,
    SetActive,
    Site,
    Step,
    Switch,
    SwitchRequest,
)

TCP = Site(("a", "b"), "me", tcp=True, drain_seconds=30)
HTTP = replace(TCP, tcp=False)
HOLDER = Role(holder=True, epoch=4, identity="me_1")
ON_A = Choice("a", "t0", 7, None, epoch=4)
MINE = Record(4, "a", "t0", 7, routed_to="me", fresh_for=4)
OTHERS = replace(MINE, routed_to="other", fresh_for=0)


def seen(
    a: MemberState = "UP",
    b: MemberState = "UP",
    entry: str | None = "a",
    *,
    sessions: tuple[int, int] = (0, 0),
    disabled: frozenset[str] = frozenset(),
    held: frozenset[str] = frozenset(),
    goods: int = 0,
) -> Seen:
    return Seen(
        {"a": a, "b": b},
        {"a": sessions[0], "b": sessions[1]},
        entry,
        disabled,
        held,
        goods={"a": goods, "b": goods},
    )


def counted(choice: Choice, look: Seen, **more: object) -> Step:
    """The step after the one that moved the requests: the stand-in's next check is good."""
    moved = ask(choice, look, **more).choice
    return ask(moved, replace(look, entry=moved.serving, goods={"a": 1, "b": 1}), **more)


def moment(
    look: Seen,
    *,
    role: Role = HOLDER,
    record: Record | None = MINE,
    terminating: str = "",
    now: float = 1000.0,
) -> Moment:
    return Moment(now, "t1", role, record, look, frozenset(terminating))


def ask(choice: Choice, look: Seen, site: Site = TCP, **more: object) -> Step:
    return decide(site, choice, moment(look, **more))  # type: ignore[arg-type]


def test_nothing_to_do() -> None:
    assert ask(ON_A, seen()) == Step(ON_A, ())


def test_active_down_standby_up_moves_the_requests_at_once_and_counts_later() -> None:
    moved = ask(ON_A, seen("DOWN", "UP"))
    assert moved.choice == replace(ON_A, pending=Pending("b", "t1", 1000.0, 0))
    assert moved.choice.serving == "b"
    assert moved.actions == (SetActive("b"),)
    step = ask(moved.choice, seen("DOWN", "UP", "b", goods=1))
    assert step.actions == ()
    assert step.choice.active == "b"
    assert step.choice.switch_count == 8
    assert step.choice.last_switch == Switch("a", "b", "MemberDown", "t1")
    assert step.choice.since == "t1"
    assert step.choice.pending is None


def test_no_switch_to_a_member_that_is_not_known_to_be_up() -> None:
    states: tuple[MemberState, ...] = ("DOWN", "UNKNOWN")
    for other in states:
        step = ask(ON_A, seen("DOWN", other))
        assert replace(step.choice, outage=None) == ON_A
        assert SetActive("b") not in step.actions


def test_an_unchecked_active_member_is_not_left() -> None:
    assert ask(ON_A, seen("UNKNOWN", "UP")) == Step(ON_A, ())


def test_no_fail_back() -> None:
    on_b = replace(ON_A, active="b")
    assert ask(on_b, seen(entry="b")) == Step(on_b, ())


def test_the_routed_balancer_decides_without_lease_and_api_server() -> None:
    step = counted(ON_A, seen("DOWN", "UP"), role=Role())
    assert step.choice.active == "b"
    # and does not fall back to the record it could not write yet
    assert ask(step.choice, seen("UP", "UP", "b"), role=Role()).choice == step.choice


def test_the_other_balancer_follows_the_record_against_its_own_checks() -> None:
    assert ask(ON_A, seen("DOWN", "UP"), role=Role(), record=OTHERS) == Step(ON_A, ())
    moved = replace(OTHERS, active="b", switch_count=8)
    step = ask(ON_A, seen(sessions=(3, 0)), role=Role(), record=moved)
    assert (step.choice.active, step.choice.switch_count) == ("b", 8)
    assert step.actions == (SetActive("b"), CutSessions("a"))


def test_the_other_balancer_waits_for_a_first_record() -> None:
    step = ask(Choice(), seen(entry=None), role=Role(), record=Record())
    assert step == Step(Choice(), ())
    assert ask(Choice(), seen(entry=None), role=Role(), record=None).choice.active is None


def test_a_new_holder_adopts_before_it_decides() -> None:
    recorded_b = replace(OTHERS, active="b", switch_count=9)
    old = replace(ON_A, epoch=0)
    # what it saw in passing is not enough
    assert ask(old, seen("DOWN", "UP"), record=recorded_b).choice.active == "a"
    step = ask(old, seen("DOWN", "UP"), record=replace(recorded_b, fresh_for=4))
    assert (step.choice.active, step.choice.switch_count, step.choice.epoch) == ("b", 9, 4)
    assert step.choice.last_switch is None


def test_a_new_holder_switches_when_the_adopted_member_is_down() -> None:
    fresh = replace(OTHERS, fresh_for=4)
    step = ask(Choice(), seen("DOWN", "UP", None), record=fresh)
    assert (step.choice.active, step.choice.serving) == ("a", "b")
    assert step.actions == (SetActive("b"),)
    # clients may be sent here now: not one of them is moved to the member that is down
    assert is_settled(step.choice, seen("DOWN", "UP", "b"))
    step = ask(step.choice, seen("DOWN", "UP", "b", goods=1), record=fresh)
    assert step.choice.active == "b"
    assert step.choice.last_switch == Switch("a", "b", "MemberDown", "t1")
    # its next look sees the same record of the other one and stays with that
    assert ask(step.choice, seen("DOWN", "UP", "b"), record=fresh).choice == step.choice


def test_a_new_holder_leaves_a_terminating_member_first() -> None:
    fresh = replace(OTHERS, fresh_for=4)
    step = ask(Choice(), seen(entry=None), record=fresh, terminating="a")
    assert step.choice.last_switch == Switch("a", "b", "Terminating", "t1")


def test_a_holder_that_was_routed_all_along_keeps_what_it_decided() -> None:
    decided = Choice("b", "t", 8, Switch("a", "b", "MemberDown", "t"), epoch=3)
    step = ask(decided, seen(entry="b"))
    assert step == Step(replace(decided, epoch=4), ())


def test_an_agent_started_anew_takes_its_own_record() -> None:
    step = ask(Choice(), seen(entry=None), record=replace(MINE, active="b"))
    assert step.choice.active == "b"
    step = ask(Choice(), seen(entry=None), role=Role(), record=replace(MINE, active="b"))
    assert step.choice.active == "b"


def test_first_start_picks_the_first_member_that_is_up() -> None:
    fresh = Record(fresh_for=4)
    assert ask(Choice(), seen(entry=None), record=fresh).choice.active == "a"
    step = ask(Choice(), seen("DOWN", "UP", None), record=fresh)
    assert (step.choice.active, step.choice.switch_count) == ("b", 0)
    assert step.choice.last_switch is None
    assert ask(Choice(), seen("DOWN", "DOWN", None), record=fresh).choice == Choice()
    assert ask(Choice(), seen("UNKNOWN", "UP", None), record=fresh).choice == Choice()
    assert ask(Choice(), seen(entry=None), record=fresh, terminating="a").choice.active == "b"


def test_a_recorded_member_that_is_gone_from_the_pair_is_replaced() -> None:
    fresh = replace(OTHERS, active="old", fresh_for=4)
    step = ask(Choice(), seen(entry=None), record=fresh)
    assert step.choice.last_switch == Switch("old", "a", "Adopted", "t1")
    assert step.choice.switch_count == 8


def test_planned_switch_is_compare_and_set() -> None:
    def requested(member: str, count: int) -> Record:
        return replace(MINE, request=SwitchRequest(member, count))

    step = ask(ON_A, seen(sessions=(5, 0)), record=requested("b", 7))
    assert step.choice.last_switch == Switch("a", "b", "Requested", "t1")
    assert step.actions == (SetActive("b"), CutSessions("a"))
    for ignored in (requested("b", 6), requested("b", 8), requested("a", 7), requested("x", 7)):
        assert ask(ON_A, seen(), record=ignored) == Step(ON_A, ())
    assert ask(ON_A, seen("UP", "DOWN"), record=requested("b", 7)) == Step(ON_A, ())
    assert ask(ON_A, seen(), record=requested("b", 7), terminating="b") == Step(ON_A, ())
    # done: the same request is old now
    assert ask(step.choice, seen(entry="b"), record=requested("b", 7)).choice == step.choice


def test_terminating_active_member_is_left() -> None:
    step = ask(ON_A, seen(), terminating="a")
    assert step.choice.last_switch == Switch("a", "b", "Terminating", "t1")
    assert ask(ON_A, seen(), terminating="ab") == Step(ON_A, ())
    assert ask(ON_A, seen("UP", "DOWN"), terminating="a") == Step(ON_A, ())
    # better a member that ends soon than one that is down
    assert ask(ON_A, seen("DOWN", "UP"), terminating="b").choice.serving == "b"


def test_tcp_sessions_of_the_other_member_are_cut_at_every_look() -> None:
    assert ask(ON_A, seen(sessions=(4, 2))).actions == (CutSessions("b"),)
    # while the active one is down HAProxy uses the other on its own: leave those
    assert ask(ON_A, seen("UNKNOWN", "UP", sessions=(0, 2))).actions == ()


def test_http_requests_finish_on_the_old_member_but_not_for_ever() -> None:
    on_b = replace(ON_A, active="b", changed_at=1000.0)
    look = seen(entry="b", sessions=(2, 2))
    assert ask(on_b, look, HTTP, now=1029.0).actions == ()
    assert ask(on_b, look, HTTP, now=1030.0).actions == (CutSessions("a"),)


def test_members_are_enabled_after_the_entry_is_set() -> None:
    both = frozenset("ab")
    step = ask(ON_A, seen("UNKNOWN", "UNKNOWN", None, disabled=both))
    assert step.actions == (SetActive("a"), Enable("a"), Enable("b"))
    # nothing known: they have to be checked before one can be picked
    step = ask(Choice(), seen("UNKNOWN", "UNKNOWN", None, disabled=both), record=Record())
    assert step.actions == (Enable("a"), Enable("b"))


def test_an_entry_that_somebody_changed_is_put_back() -> None:
    assert ask(ON_A, seen(entry="b")).actions == (SetActive("a"),)


def test_ready_and_settled() -> None:
    assert is_settled(ON_A, seen())
    assert not is_settled(ON_A, seen(entry="b"))
    assert not is_settled(ON_A, seen("UP", "UNKNOWN"))
    assert not is_settled(ON_A, seen(disabled=frozenset("b")))
    assert not is_settled(Choice(), seen(entry=None))
    assert is_ready(TCP, Choice(), Record(), seen(entry=None))
    assert not is_ready(TCP, Choice(), None, seen(entry=None))
    assert not is_ready(TCP, Choice(), MINE, seen(entry=None))
    assert is_ready(TCP, Choice(), replace(MINE, active="old"), seen(entry=None))


TOLD = Record(active="b", since="t1", switch_count=8, routed_to="other", unplanned=("t1",))


def test_the_word_of_the_routed_pod_corrects_an_older_record() -> None:
    found = with_word(TCP, OTHERS, TOLD)
    assert found == replace(OTHERS, active="b", since="t1", switch_count=8, unplanned=("t1",))


def test_words_that_correct_nothing() -> None:
    assert with_word(TCP, None, TOLD) is None
    for word in (
        None,
        replace(TOLD, switch_count=7),  # it is recorded
        replace(TOLD, routed_to="third"),  # clients are not sent there
        replace(TOLD, routed_to=None),
        replace(TOLD, active="old"),  # of another pair
        replace(TOLD, active=None),
    ):
        assert with_word(TCP, OTHERS, word) is OTHERS


def test_a_new_holder_goes_on_with_a_switch_that_was_not_recorded() -> None:
    read = with_word(TCP, replace(OTHERS, fresh_for=4), TOLD)
    choice = ask(Choice("a", "t0", 7), seen(), record=read).choice
    assert (choice.active, choice.switch_count, choice.epoch) == ("b", 8, 4)


def test_what_the_former_agent_kept_is_newer_only_while_clients_are_sent_here() -> None:
    kept = Record(active="b", switch_count=8, routed_to="me")
    assert is_newer(TCP, kept, MINE)
    assert not is_newer(TCP, replace(kept, switch_count=7), MINE), "it was recorded"
    assert not is_newer(TCP, kept, OTHERS), "another one decides by now"
    assert not is_newer(TCP, replace(kept, routed_to="other"), MINE), "it only followed then"
    assert not is_newer(TCP, kept, Record()), "a record made anew"
