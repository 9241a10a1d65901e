# SPDX-License-Identifier: Apache-2.0
"""The checker on who acts and with which memory, by planted violations.

Each rule must find its violation and say nothing about the history without it.
"""

import dataclasses

import pytest
from tests.unit.simulator.checker_history import (
    CHANGES,
    FIRST,
    SECOND,
    A,
    B,
    C,
    Who,
    began_with,
    evidence,
    judged,
    memory,
)

from dpe_simulator.checker import LIMIT, TOPOLOGY, UNKNOWN, Expectation, check
from dpe_simulator.figures import describe


def test_a_clean_take_over_has_no_findings() -> None:
    assert judged(evidence(*FIRST, *SECOND, changes=CHANGES)) == []


# who acts


def test_two_that_act_at_the_same_time_are_a_fault_by_their_proofs_of_life() -> None:
    seen = evidence(*FIRST, A.acting(120, 122), *SECOND, changes=CHANGES)
    findings = check(seen, Expectation(0))
    assert [(one.kind, one.rule) for one in findings] == [(TOPOLOGY, "two-acting")]
    assert "pod-a/1 in epoch 1 acted for 1.000 s after pod-b/1 in epoch 2" in findings[0].text
    assert judged(seen, clock_tolerance=1.1) == []


def test_two_that_act_at_the_same_time_are_a_fault_by_an_effect_alone() -> None:
    late = A.change(123, 9, "9", "Created", "v1", 2)
    found = judged(evidence(*FIRST, late, *SECOND, changes=CHANGES))
    assert (TOPOLOGY, "two-acting") in found


def test_a_stop_that_comes_after_the_next_start_is_a_fault() -> None:
    seen = evidence(*FIRST, A.line("stop", 121.5), *SECOND, changes=CHANGES)
    assert judged(seen) == [(TOPOLOGY, "two-acting")]


def test_a_request_that_was_under_way_at_the_take_over_is_a_limit() -> None:
    late = A.effect(121.4, 9, kind="job-finished", sent=119.9)
    found = check(evidence(*FIRST, late, *SECOND, changes=CHANGES), Expectation(0))
    assert [(one.kind, one.rule) for one in found] == [(LIMIT, "late-effect")]


def test_a_component_of_another_name_or_role_is_another_component() -> None:
    other = dataclasses.replace(A, component="sport")
    worker = dataclasses.replace(A, role="worker")
    seen = evidence(
        *FIRST, *SECOND, other.start(100), other.acting(100, 140), worker.acting(100, 140)
    )
    assert judged(dataclasses.replace(seen, changes=None)) == [(UNKNOWN, "changes-not-read")] * 2


@pytest.mark.parametrize("epoch", [1, 2])
def test_an_epoch_that_does_not_rise_is_a_fault(epoch: int) -> None:
    again = dataclasses.replace(C, epoch=epoch)
    seen = evidence(*FIRST, *SECOND, again.start(150, memory=memory(3, 2)), again.line("stop", 151))
    (found,) = [one for one in check(seen, Expectation(0)) if one.rule == "epoch-backwards"]
    assert (found.kind, found.at) == (TOPOLOGY, 150)


def test_members_may_act_together_and_a_twin_of_one_is_a_limit() -> None:
    one, two = Who("p-1", None, member="1"), Who("p-2", None, member="2")
    twin = Who("p-3", None, member="1")
    both = [one.start(100), one.acting(100, 120), two.start(100), two.acting(100, 120)]
    assert judged(evidence(*both)) == []
    assert judged(evidence(*both, twin.start(110), twin.acting(110, 115))) == [
        (LIMIT, "member-twice")
    ]
    assert judged(evidence(*both, twin.start(121), twin.acting(121, 125))) == []


def test_workers_that_share_the_work_are_no_fault() -> None:
    workers = [Who(f"w-{number}", None, role="worker") for number in range(3)]
    assert judged(evidence(*(one.acting(100, 120) for one in workers))) == []


# memory


def test_a_start_from_an_older_memory_is_a_fault() -> None:
    found = check(evidence(*FIRST, *began_with(memory(1, 1))), Expectation(0))
    assert [(one.kind, one.rule) for one in found] == [(TOPOLOGY, "stale-memory")]
    assert "generation 1 of epoch 1, though generation 2 had been written" in found[0].text
    (unread,) = found[0].requests
    assert unread.sent == pytest.approx(110.1), "when it was written, by whom"


def test_a_start_without_the_memory_that_was_there_is_a_fault() -> None:
    seen = evidence(*FIRST, *began_with(memory(0, None, found="absent")))
    assert judged(seen) == [(TOPOLOGY, "memory-lost")]


def test_what_a_workflow_was_started_with_proves_a_memory_whose_writing_was_not_told() -> None:
    lines = [line for line in FIRST if isinstance(line, list) or line.kind != "memory-written"]
    proven = A.change(115, 4, "9", "Created", "v1", 2)
    assert judged(evidence(*lines, proven, *began_with(memory(1, 1)))) == [
        (TOPOLOGY, "stale-memory")
    ]
    assert judged(evidence(*lines, proven, *began_with(memory(2, 1)))) == []


def test_what_a_former_holder_writes_later_makes_no_memory_stale() -> None:
    for late in (A.wrote(121.2, 9), A.change(121.2, 8, "9", "Created", "v1", 9)):
        found = judged(evidence(*FIRST, late, *began_with(memory(2, 1)), changes=CHANGES[:2]))
        assert found == [(TOPOLOGY, "two-acting")]


def test_a_file_torn_by_a_crash_is_a_limit_and_torn_by_copying_a_fault() -> None:
    torn = began_with(memory(0, None, found="torn"))
    assert judged(evidence(*FIRST, *torn)) == [(TOPOLOGY, "stale-memory")]
    in_place = [A.start(100, writes="in-place"), *FIRST[1:]]
    assert judged(evidence(*in_place, *torn)) == [(LIMIT, "memory-torn")]
    in_peace = [*in_place, A.line("stop", 120)]
    assert judged(evidence(*in_peace, *torn)) == [(TOPOLOGY, "stale-memory")]


def test_each_concurrent_member_has_a_memory_of_its_own() -> None:
    one, two = Who("p-1", None, member="1"), Who("p-2", None, member="2")
    again = Who("p-3", None, member="2")
    lines = [
        one.start(100),
        one.wrote(101, 5),
        two.start(100),
        two.wrote(101, 2),
        two.line("stop", 102),
    ]
    assert judged(evidence(*lines, again.start(110, memory=memory(2, None)))) == []
    found = judged(evidence(*lines, again.start(110, memory=memory(1, None))))
    assert found == [(TOPOLOGY, "stale-memory")]


def test_what_begins_a_new_memory_is_told_once() -> None:
    lost = [B.start(121, memory=memory(0, None, found="absent")), B.wrote(122, 1)]
    third = [C.start(124, memory=memory(1, 2))]
    assert judged(evidence(*FIRST, *lost, *third)) == [(TOPOLOGY, "memory-lost")]
    stale = [C.start(124, memory=memory(0, 2))]
    found = judged(evidence(*FIRST, *lost, *stale))
    assert found == [(TOPOLOGY, "memory-lost"), (TOPOLOGY, "stale-memory")]


def test_only_the_named_components_are_judged() -> None:
    seen = evidence(*FIRST, A.acting(120, 122), *SECOND, changes=CHANGES)
    assert judged(seen, components=frozenset({"sport"})) == []
    assert judged(seen, components=frozenset({"news"})) == [(TOPOLOGY, "two-acting")]


# figures


def test_the_figures_tell_take_overs_effects_and_workflows() -> None:
    [figures] = describe(evidence(*FIRST, *SECOND, changes=CHANGES), Expectation())
    assert (figures["mode"], figures["epochs"], figures["runs"]) == ("Standby", [1, 2], 2)
    assert figures["longestOverlapMilliseconds"] == 0
    [take_over] = figures["takeOvers"]
    assert (take_over["gapMilliseconds"], take_over["clean"]) == (1000, False)
    assert take_over["firstEffectMilliseconds"] == 10_000
    assert take_over["memory"]["generation"] == 2
    assert figures["workflows"] == {"7": {"Created": 1, "Updated": 1}, "8": {"Created": 1}}


def test_the_figures_tell_the_longest_overlap() -> None:
    seen = evidence(*FIRST, A.acting(120, 121.25), *SECOND)
    assert describe(seen, Expectation())[0]["longestOverlapMilliseconds"] == 250
