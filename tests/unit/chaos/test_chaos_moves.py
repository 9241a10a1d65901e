# SPDX-License-Identifier: Apache-2.0
"""What a balancer's log says about moves that were never recorded."""

from __future__ import annotations

from tests.chaos.moves import ASLEEP, REPLACED, STARTED, TAKEN_BACK, Said, said

LOG = "2026-11-26 11:19:%02d,500 WARNING dpe_balancer %s\n"
ALONE = (
    "Server dpe-b/b is DOWN. 0 active and 1 backup servers left. Running on backup. 2 sessions.\n"
)
B_UP = "Server dpe-b/b is UP. 1 active and 1 backup servers online.\n"
A_DOWN = "Server dpe-a/a is DOWN. 0 active and 0 backup servers left. 3 sessions active.\n"
A_UP = "Server dpe-a/a is UP. 1 active and 0 backup servers online.\n"
# an HAProxy that was just started: the stand-in is still in maintenance, then it is let out of it
B_DOWN_AT_START = "Server dpe-b/b is DOWN. 0 active and 0 backup servers left. 0 sessions active.\n"
A_READY = "Backup Server dpe-b/a is UP/READY (leaving maintenance).\n"
A_BACK = "Backup Server dpe-b/a is UP via dpe-a/a. 0 active and 1 backup servers online.\n"
COPY = "[WARNING]  (9) : " + ALONE


def at(second: int, text: str) -> str:
    return LOG % (second, text)


WENT = at(11, "b is DOWN: requests go to a, to be counted soon")
BACK = at(12, "requests go back to b, no switch: a is DOWN too")
DECIDED = at(12, "requests go back to b, no switch: another balancer decides")
COUNTED = at(12, "active member: a, before: b (MemberDown)")
RECORDED = at(13, "recorded: active a, switches 1, epoch 1")
LATER = at(14, "members: a=UP b=UP")
HAPROXY_ENDED = at(13, "HAProxy ended; starting it again with a active")
ENDS = (
    at(13, "HAProxy (pid 9) hangs: no answer for 3 s"),
    "2026-11-26T11:19:13Z dpe-elector guard: the command ended with signal 9\n",
    "2026-11-26T11:19:13Z dpe-elector guard: started the command, PID 2\n",
    at(13, "clients are sent to another balancer: connections that are still open here have 5 s"),
)


def read(*lines: str) -> Said:
    return said("h", [at(10, "members: a=UP b=UP"), *lines])


def moves(*lines: str) -> list[tuple[str, str, str]]:
    return [(one.source, one.target, one.how) for one in read(*lines).moves]


def test_a_switch_that_is_recorded_is_no_move_of_that_kind() -> None:
    found = read(COPY, ALONE, WENT, COUNTED, RECORDED, B_UP, LATER, *ENDS)
    assert found.moves == []
    (one,) = found.recorded
    assert one.begin is not None
    assert (one.member, one.count, one.at - one.begin) == ("a", 1, 3.0), "from HAProxy's word on"


def test_what_a_balancer_decided_is_known_though_it_never_wrote_it_down() -> None:
    found = read(at(12, "active member: a, before: b (Terminating)"), ENDS[3])
    ((when, member),) = [(one.at, one.member) for one in found.decided]
    assert (member, found.drains[0].begin - when, found.recorded) == ("a", 1.0, [])


def test_a_move_is_taken_back_only_if_the_stand_in_was_down_by_haproxys_word() -> None:
    assert moves(ALONE, WENT, A_DOWN, BACK) == [("b", "a", TAKEN_BACK)]
    assert moves(ALONE, WENT, BACK) == []
    assert moves(ALONE, A_DOWN, A_UP, WENT, BACK) == []
    assert moves(ALONE, WENT, ALONE, BACK) == []


def test_a_balancer_that_ends_between_the_first_request_and_the_record() -> None:
    for end in ENDS:
        assert moves(ALONE, end) == [("b", "a", REPLACED)], "the agent had not looked yet"
        assert moves(ALONE, WENT, end) == [("b", "a", REPLACED)]
        assert moves(ALONE, WENT, COUNTED, end) == [("b", "a", REPLACED)]
        assert moves(ALONE, WENT, DECIDED, end) == [("b", "a", REPLACED)], "told before the end"
        assert moves(end, LATER) == []


def test_an_haproxy_that_ends_takes_with_it_only_what_its_agent_has_not_noticed() -> None:
    assert moves(ALONE, HAPROXY_ENDED) == [("b", "a", REPLACED)]
    assert moves(ALONE, WENT, HAPROXY_ENDED, COUNTED, RECORDED) == []


def test_a_server_that_is_up_again_before_the_agent_has_looked() -> None:
    (move,) = read(ALONE, B_UP, LATER).moves
    assert (move.source, move.target, move.how, move.pod) == ("b", "a", ASLEEP, "h")
    assert move.end - move.begin == 4.0, "between the agent's lines around it"
    assert moves(ALONE, WENT, B_UP, LATER, COUNTED, RECORDED) == []
    before = at(10, "active member: a, before: b (MemberDown)")
    assert moves(before, ALONE, B_UP, LATER) == [("b", "a", ASLEEP)], "of another time"
    assert moves(ALONE, A_DOWN, B_UP, LATER) == [("b", "a", TAKEN_BACK)], "both were down"


def test_an_haproxy_that_starts_while_the_server_is_down_uses_the_stand_in_once_it_may() -> None:
    """Seed 62: the log of such an HAProxy never says "0 active and 1 backup"."""
    assert moves(B_DOWN_AT_START, A_READY, B_UP, LATER) == [("b", "a", STARTED)]
    assert moves(A_READY, B_UP, LATER) == [], "b was not down"
    assert moves(B_DOWN_AT_START, B_UP, A_READY, LATER) == []
    for new in (HAPROXY_ENDED, ENDS[2]):
        assert moves(B_DOWN_AT_START, new, A_READY, B_UP, LATER) == [], "down in another HAProxy"
    assert moves(B_DOWN_AT_START, A_READY, WENT, COUNTED, RECORDED) == [], "recorded"
    assert moves(B_DOWN_AT_START, A_READY, ENDS[0]) == [("b", "a", REPLACED)]


def test_a_stand_in_that_comes_up_first_is_used_by_haproxy_itself() -> None:
    assert moves(A_DOWN, B_DOWN_AT_START, A_UP, A_BACK, B_UP, LATER) == [("b", "a", ASLEEP)]
    held_back = A_BACK.replace("1 backup", "0 backup")
    assert moves(A_DOWN, B_DOWN_AT_START, A_UP, held_back, B_UP, LATER) == []


def test_when_a_balancer_drains_is_told() -> None:
    (drain,) = read(ENDS[3], LATER).drains
    assert (drain.pod, drain.end - drain.begin) == ("h", 5.0)
