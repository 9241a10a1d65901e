# SPDX-License-Identifier: Apache-2.0
"""Which changes of the server that answers are explained, and which break the promise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.chaos.faults import Struck
from tests.chaos.frontend import BALANCER
from tests.chaos.judge import Verdict
from tests.chaos.moves import (
    ASLEEP,
    REPLACED,
    STARTED,
    TAKEN_BACK,
    Decided,
    Drain,
    Move,
    Recorded,
    Said,
)
from tests.chaos.plan import Fault
from tests.chaos.switches import judge_switches

from dpe_operator.prober.measure import Change


def stopped_agent(pod: str, begun: float, ended: float) -> Struck:
    fault = Fault(1, begun, "agent frozen", BALANCER, "acting", ended - begun, "", 0)
    return Struck(fault, pod, begun, ended)


def switches(
    *changes: Change,
    moves: tuple[Move, ...] = (),
    faults: tuple[Struck, ...] = (),
    drains: tuple[Drain, ...] = (),
) -> Verdict:
    verdict = Verdict()
    # told twice, by the log and by who watches the record
    recorded = [Recorded(0.0, "a", 0), Recorded(125.0, "b", 1, 100.5), Recorded(125.2, "b", 1)]
    words = Said(recorded, [*moves], [*drains])
    judge_switches(changes, words, faults, verdict, offset=1000.0)
    return verdict


def test_a_change_of_the_server_is_recorded_or_a_violation() -> None:
    there, back, again = Change(101, "a", "b"), Change(103, "b", "a"), Change(104, "a", "b")
    assert switches(there).violations == []
    assert "old-member: 1" in switches(there, back).violations[0]
    assert "old-member: 2" in switches(there, back, again).violations[0], "one record, one change"
    assert "old-member" in switches(Change(150, "a", "b")).violations[0], "long after the record"
    assert "old-member" in switches(Change(99, "a", "b")).violations[0], "before HAProxy's word"


def test_a_switch_that_one_balancer_decided_and_another_recorded_begins_with_the_first() -> None:
    """Both ended on one drained node: the server said so, the balancer could not write any more."""
    recorded = [Recorded(0.0, "a", 0), Recorded(125.0, "b", 1, 125.0), Recorded(125.2, "b", 1)]
    there = Change(123.3, "a", "b")

    def judged(*decided: Decided) -> list[str]:
        verdict = Verdict()
        words = Said([*recorded], decided=[*decided])
        judge_switches([there], words, (), verdict, offset=0.0)
        return verdict.violations

    assert judged(Decided(123.2, "b")) == []
    assert "old-member: 1" in judged()[0]
    assert "old-member: 1" in judged(Decided(123.2, "a"))[0]
    assert "old-member: 1" in judged(Decided(110.0, "b"))[0], "that was another time"
    assert "old-member: 1" in judged(Decided(124.5, "b"))[0], "before anybody had decided"


def moved(how: str) -> Move:
    return Move("h", "b", "a", 200.0, 200.4, how)


@pytest.mark.parametrize(
    ("how", "rule"),
    [
        (TAKEN_BACK, "move-taken-back"),
        (REPLACED, "balancer-replaced"),
        (STARTED, "haproxy-started"),
    ],
)
def test_a_move_without_a_record_explains_one_change_there_and_one_back(
    how: str, rule: str
) -> None:
    there, back = Change(200.1, "b", "a"), Change(200.6, "a", "b")
    verdict = switches(there, back, moves=(moved(how),))
    assert (verdict.violations, verdict.explained_by_rule()) == ([], {rule: 2})
    assert "old-member: 2" in switches(there, back).violations[0]
    again = (Change(201.0, "b", "a"), Change(201.5, "a", "b"))
    assert "old-member: 2" in switches(there, back, *again, moves=(moved(how),)).violations[0]
    assert "old-member: 1" in switches(back, moves=(moved(how),)).violations[0], "back only"
    other_way = Move("h", "a", "b", 200.0, 200.4, how)
    assert "old-member: 1" in switches(there, back, moves=(other_way,)).violations[0]


def test_a_server_that_was_back_before_the_agent_looked_needs_an_agent_that_was_stopped() -> None:
    changes = Change(200.1, "b", "a"), Change(200.6, "a", "b")
    stopped = stopped_agent("h", 1199, 1201)
    verdict = switches(*changes, moves=(moved(ASLEEP),), faults=(stopped,))
    assert (verdict.violations, verdict.explained_by_rule()) == ([], {"agent-asleep": 2})
    for fault in (replace(stopped, pod="other"), replace(stopped, begun=1201, ended=1202)):
        assert switches(*changes, moves=(moved(ASLEEP),), faults=(fault,)).violations


def test_a_change_that_a_record_explains_too_leaves_its_move_for_the_change_back() -> None:
    """The client did not see the switch that was recorded: it went there and back all the same."""
    changes = Change(10.1, "b", "a"), Change(10.6, "a", "b")
    move = Move("h", "b", "a", 10.0, 10.4, ASLEEP)
    stopped = stopped_agent("h", 1009, 1011)
    assert switches(*changes, moves=(move,), faults=(stopped,)).violations == []
    assert "old-member: 1" in switches(*changes, moves=(move,)).violations[0]


def test_clients_of_a_balancer_that_drains_may_be_answered_by_the_server_that_was_left() -> None:
    """Seed 61: a server dies and comes back while one balancer takes over from the other."""
    there, late = Change(200.2, "b", "a"), Change(211.0, "a", "b")
    flapping = (Change(200.4, "a", "b"), Change(200.5, "b", "a"), Change(200.6, "a", "b"),
                Change(201.5, "b", "a"))  # fmt: skip
    move, drain = moved(REPLACED), Drain("g", 200.1, 205.1)
    verdict = switches(there, *flapping, late, moves=(move,), drains=(drain,))
    assert (verdict.violations, verdict.explained_by_rule()) == (
        [],
        {"balancer-replaced": 2, "draining": 4},
    )
    own, before, after = (
        replace(drain, pod="h"),
        Drain("g", 190.0, 195.0),
        Drain("g", 203.0, 208.0),
    )
    for other in (own, before, after):
        verdict = switches(there, *flapping, late, moves=(move,), drains=(other,))
        assert "old-member: 4" in verdict.violations[0]
    longer = Change(206.5, "a", "b"), Change(207.0, "b", "a")
    verdict = switches(there, *flapping, *longer, late, moves=(move,), drains=(drain,))
    assert "old-member: 2" in verdict.violations[0], "the drain is over"


def test_the_same_where_the_switch_is_recorded_in_the_end() -> None:
    changes = Change(125.2, "a", "b"), Change(125.3, "b", "a"), Change(125.4, "a", "b")
    drain = Drain("g", 101.0, 126.0)
    assert switches(*changes, drains=(drain,)).violations == []
    assert "old-member: 2" in switches(*changes).violations[0]
