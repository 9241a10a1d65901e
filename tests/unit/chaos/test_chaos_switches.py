# SPDX-License-Identifier: Apache-2.0
"""Which changes of the server that answers are explained, and which break the promise."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.chaos.faults import Struck
from tests.chaos.frontend import BALANCER
from tests.chaos.judge import Verdict
from tests.chaos.moves import ASLEEP, REPLACED, TAKEN_BACK, Move, Recorded
from tests.chaos.plan import Fault
from tests.chaos.switches import judge_switches

from dpe_operator.prober.measure import Change


def stopped_agent(pod: str, begun: float, ended: float) -> Struck:
    fault = Fault(1, begun, "agent frozen", BALANCER, "acting", ended - begun, "", 0)
    return Struck(fault, pod, begun, ended)


def switches(
    *changes: Change, moves: tuple[Move, ...] = (), faults: tuple[Struck, ...] = ()
) -> Verdict:
    verdict = Verdict()
    # told twice, by the log and by who watches the record
    recorded = [Recorded(0.0, "a", 0), Recorded(125.0, "b", 1, 100.5), Recorded(125.2, "b", 1)]
    judge_switches(changes, recorded, moves, faults, verdict, offset=1000.0)
    return verdict


def test_a_change_of_the_server_is_recorded_or_a_violation() -> None:
    there, back, again = Change(101, "a", "b"), Change(103, "b", "a"), Change(104, "a", "b")
    assert switches(there).violations == []
    assert "old-member: 1" in switches(there, back).violations[0]
    assert "old-member: 2" in switches(there, back, again).violations[0], "one record, one change"
    assert "old-member" in switches(Change(150, "a", "b")).violations[0], "long after the record"
    assert "old-member" in switches(Change(99, "a", "b")).violations[0], "before HAProxy's word"


def moved(how: str) -> Move:
    return Move("h", "b", "a", 200.0, 200.4, how)


@pytest.mark.parametrize(
    ("how", "rule"), [(TAKEN_BACK, "move-taken-back"), (REPLACED, "balancer-replaced")]
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
