# SPDX-License-Identifier: Apache-2.0
"""The checker on changes and their workflows, by planted violations.

Each rule must find its violation and say nothing about the history without it.
"""

import dataclasses
from typing import Any

import pytest
from tests.unit.simulator.checker_history import (
    CHANGES,
    FIRST,
    NOW,
    SECOND,
    A,
    B,
    C,
    Who,
    began_with,
    evidence,
    happened,
    judged,
    memory,
    told,
)

from dpe_simulator.checker import (
    LIMIT,
    TOPOLOGY,
    UNKNOWN,
    ChangeSeen,
    EntrySeen,
    Expectation,
    check,
)

# changes without a workflow


def test_a_change_without_a_workflow_is_a_fault_once_it_had_time() -> None:
    missing = happened(135, "9", "Created", "v1")
    assert judged(evidence(*FIRST, *SECOND, changes=[*CHANGES, missing])) == [
        (TOPOLOGY, "change-lost")
    ]
    early = happened(NOW - 30, "9", "Created", "v1")
    assert judged(evidence(*FIRST, *SECOND, changes=[*CHANGES, early])) == []


def test_a_change_of_something_else_is_none_of_its_business() -> None:
    other = ChangeSeen("another_table", "9", "Created", "v1", 135)
    assert judged(evidence(*FIRST, *SECOND, changes=[*CHANGES, other])) == []


def test_a_change_that_a_later_one_has_overtaken_needs_no_workflow() -> None:
    merged = [
        happened(120.2, "7", "Updated", "v1a"), *CHANGES,
    ]  # fmt: skip
    assert judged(evidence(*FIRST, *SECOND, changes=merged)) == []


def test_a_later_event_covers_the_earlier_ones_and_an_update_covers_no_deletion() -> None:
    gone = happened(131, "7", "Deleted", "v3")
    seen = evidence(*FIRST, *SECOND, changes=[*CHANGES, gone])
    assert judged(seen) == [(TOPOLOGY, "change-lost")]
    told_late = B.change(139, 5, "7", "Deleted", "v3", 3)
    assert judged(evidence(*FIRST, *SECOND, told_late, changes=[*CHANGES, gone])) == []
    # A file that is gone is told with the last version that somebody saw.
    of_what_was_seen = B.change(139, 5, "7", "Deleted", "v2", 3)
    assert judged(evidence(*FIRST, *SECOND, of_what_was_seen, changes=[*CHANGES, gone])) == []
    too_early = B.change(130.5, 5, "7", "Deleted", "v2", 3)
    found = judged(evidence(*FIRST, *SECOND, too_early, changes=[*CHANGES, gone]))
    assert found == [(TOPOLOGY, "change-lost")]


def test_what_came_and_went_between_two_looks_is_a_limit() -> None:
    short = [happened(135, "9", "Created", "v1"), happened(136, "9", "Deleted", "v2")]
    assert judged(evidence(*FIRST, *SECOND, changes=[*CHANGES, *short])) == [
        (LIMIT, "gone-before-seen")
    ]
    long = [happened(125, "9", "Created", "v1"), happened(200, "9", "Deleted", "v2")]
    found = judged(evidence(*FIRST, *SECOND, changes=[*CHANGES, *long]))
    assert found == [(TOPOLOGY, "change-lost")] * 2


def test_what_came_and_went_while_nobody_acted_is_a_limit() -> None:
    third = [C.start(300, memory=memory(3, 2)), *C.acting(300, 320)]
    absent = [happened(142, "9", "Created", "v1"), happened(301, "9", "Deleted", "v2")]
    found = judged(evidence(*FIRST, *SECOND, *third, changes=[*CHANGES, *absent]))
    assert found == [(LIMIT, "gone-before-seen")]
    # A file that is gone is told with the last version that was seen of it.
    updated = [happened(142, "8", "Updated", "v2"), happened(301, "8", "Deleted", "v3")]
    told = C.change(302, 9, "8", "Deleted", "v1", 3)
    assert judged(evidence(*FIRST, *SECOND, *third, told, changes=[*CHANGES, *updated])) == []


def test_what_changed_all_the_time_until_it_was_gone_was_never_seen() -> None:
    changes = [
        happened(122, "9", "Created", "v1"), happened(180, "9", "Updated", "v2"),
        happened(230, "9", "Deleted", "v3"),
    ]  # fmt: skip
    found = judged(evidence(*FIRST, *SECOND, changes=[*CHANGES, *changes]))
    assert found == [(LIMIT, "gone-before-seen")]


def test_what_was_deleted_before_anybody_looked_is_not_missed() -> None:
    old = [happened(10, "3", "Created", "v1"), happened(20, "3", "Deleted", "v2")]
    assert judged(evidence(*FIRST, *SECOND, changes=[*old, *CHANGES])) == []
    alive = [happened(10, "3", "Created", "v1")]
    assert judged(evidence(*FIRST, *SECOND, changes=[*alive, *CHANGES])) == [
        (TOPOLOGY, "change-lost")
    ]


def test_what_was_remembered_at_the_first_start_needs_no_workflow() -> None:
    first = [A.start(100, firstStart="remember"), A.wrote(101, 1)]
    old = happened(10, "3", "Created", "v1")
    assert judged(evidence(*first, changes=[old])) == []
    assert judged(evidence(*first, changes=[happened(102, "3", "Created", "v1")])) == [
        (TOPOLOGY, "change-lost")
    ]


def test_a_change_that_the_title_of_an_older_workflow_swallowed_is_a_limit() -> None:
    changed = happened(135, "7", "Updated", "v3")
    refused = B.change(136, 3, "7", "Updated", "v3", 3, kind="workflow-refused")
    found = check(evidence(*FIRST, *SECOND, refused, changes=[*CHANGES, changed]), Expectation(0))
    assert [(one.kind, one.rule) for one in found] == [(LIMIT, "title-refused")]
    assert "workflow:3 for Updated 7" in found[0].text


def test_a_refusal_of_the_very_change_that_is_under_way_is_no_finding() -> None:
    again = B.change(131, 3, "7", "Updated", "v2", 3, kind="workflow-refused", request="r-3")
    assert judged(evidence(*FIRST, *SECOND, again, changes=CHANGES)) == []


def test_of_changes_that_overtook_each_other_the_last_one_is_told() -> None:
    quick = [happened(135, "9", "Created", "v1"), happened(140, "9", "Updated", "v2")]
    found = check(evidence(*FIRST, *SECOND, changes=[*CHANGES, *quick]), Expectation(0))
    assert [one.rule for one in found] == ["change-lost"]
    assert "Updated 9" in found[0].text
    slow = [happened(135, "9", "Created", "v1"), happened(340, "9", "Updated", "v2")]
    assert len(check(evidence(*FIRST, *SECOND, changes=[*CHANGES, *slow]), Expectation(0))) == 2


MEMORY_FIRST = {"order": "memory-first"}
LOST = [happened(104, "7", "Created", "v1")]


def test_a_crash_after_the_memory_and_before_the_workflow_is_a_limit() -> None:
    first = [A.start(100, **MEMORY_FIRST), A.acting(100, 106)]
    second = began_with(memory(1, 1), **MEMORY_FIRST)
    wrote = A.wrote(105, 1, "7", "Created", "v1")
    assert judged(evidence(*first, wrote, *second, changes=LOST)) == [(LIMIT, "effect-lost")]
    # It died before it could tell that it had written; its successor's memory tells.
    assert judged(evidence(*first, *second, changes=LOST)) == [(LIMIT, "effect-lost")]
    # One that went on to the next change has not died of this one.
    more = [wrote, A.wrote(105.5, 2, "8", "Created", "v1")]
    assert judged(evidence(*first, *more, *began_with(memory(2, 1)), changes=LOST)) == [
        (TOPOLOGY, "change-lost")
    ]
    # It saw the entry for the first time after it had been changed again.
    merged = [*LOST, happened(104.5, "7", "Updated", "v1b")]
    wrote_both = A.wrote(105, 1, "7", "Created", "v1b")
    assert judged(evidence(*first, wrote_both, *second, changes=merged)) == [(LIMIT, "effect-lost")]
    # Without a memory that knows it there is no excuse.
    assert judged(evidence(*first, *began_with(memory(0, None, found="absent")), changes=LOST)) == [
        (TOPOLOGY, "change-lost")
    ]


def test_servers_that_were_away_for_too_long_are_a_fault_when_the_memory_comes_first() -> None:
    lines = [
        A.start(100, **MEMORY_FIRST), A.wrote(105, 1, "7", "Created", "v1"),
        A.line("start-failed", 125, change=told("7", "Created", "v1"), problem="refused"),
    ]  # fmt: skip
    assert judged(evidence(*lines, changes=LOST)) == [(TOPOLOGY, "change-lost")]


# changes with two workflows


def doubled(first: list[Any], second: list[EntrySeen], **more: Any) -> list[tuple[str, str]]:
    repeated = B.change(125, 4, "8", "Created", "v1", 2, **more)
    return judged(evidence(*first, *second, repeated, changes=CHANGES[:2]))


def test_a_change_worked_off_twice_without_reason_is_a_fault() -> None:
    assert doubled(FIRST, began_with(memory(2, 1))) == [(TOPOLOGY, "change-doubled")]


def test_a_change_repeated_after_a_crash_in_the_gap_is_a_limit() -> None:
    crashed = FIRST[:-1]  # the second workflow is there, the memory of it was never written
    assert doubled(crashed, began_with(memory(1, 1))) == [(LIMIT, "change-repeated")]


def test_it_may_be_repeated_by_one_who_comes_later() -> None:
    crashed = FIRST[:-1]
    between = [
        B.start(121, memory=memory(1, 1)),
        B.change(122, 5, "9", "Created", "v1", 1),
        B.wrote(122.1, 2),
    ]
    third = [C.start(124, memory=memory(2, 2)), C.change(125, 6, "8", "Created", "v1", 2)]
    found = judged(evidence(*crashed, *between, *third, changes=CHANGES[:2]))
    assert found == [(LIMIT, "change-repeated")]
    # One that went on from a memory which the first had written had no reason to repeat it.
    after = [B.start(121, memory=memory(2, 1)), B.line("stop", 123)]
    found = judged(evidence(*crashed, *after, *third, changes=CHANGES[:2]))
    assert found == [(TOPOLOGY, "change-doubled")]


def test_a_request_that_is_sent_again_and_arrives_after_the_successors_own_is_no_second_one() -> (
    None
):
    crashed = [*FIRST[:-1], A.change(126, 9, "8", "Created", "v1", 1, request="r-2", sent=110)]
    found = doubled(crashed, began_with(memory(1, 1)))
    assert found == [(LIMIT, "late-effect"), (LIMIT, "change-repeated")]
    other = [*FIRST[:-1], A.change(126, 9, "8", "Created", "v1", 1, request="r-9", sent=110)]
    assert (TOPOLOGY, "change-doubled") in doubled(other, began_with(memory(1, 1)))


def test_a_request_that_is_carried_out_after_the_successors_own_was_the_first_one() -> None:
    late = A.change(126, 9, "8", "Created", "v1", 1, sent=119.9)
    crashed = [*(line for line in FIRST[:-2]), late]
    found = doubled(crashed, began_with(memory(1, 1)))
    assert found == [(LIMIT, "late-effect"), (LIMIT, "change-repeated")]


def test_a_stale_memory_excuses_no_repeated_change() -> None:
    found = doubled(FIRST, began_with(memory(1, 1)))
    assert found == [(TOPOLOGY, "stale-memory"), (TOPOLOGY, "change-doubled")]


def test_a_former_holder_that_goes_on_excuses_no_repeated_change() -> None:
    late = A.change(122, 2, "8", "Created", "v1", 1)
    lines = [line for line in FIRST[:-2] if line != late]
    found = doubled([*lines, late], [*began_with(memory(1, 1)), B.line("stop", 126)])
    assert found == [(TOPOLOGY, "two-acting"), (TOPOLOGY, "change-doubled")]


def test_the_memory_that_comes_first_excuses_no_repeated_change() -> None:
    crashed = [A.start(100, **MEMORY_FIRST), *FIRST[1:-1]]
    assert doubled(crashed, began_with(memory(1, 1))) == [(TOPOLOGY, "change-doubled")]


def test_a_watcher_that_keeps_no_memory_repeats_everything_and_that_is_its_limit() -> None:
    assert doubled(FIRST, began_with({"found": "not-kept"})) == [(LIMIT, "memory-not-kept")]


def test_one_process_that_works_off_a_change_twice_has_no_excuse() -> None:
    lines = [
        A.start(100, memory={"found": "not-kept"}), A.change(105, 1, "7", "Created", "v1", 0),
        A.change(106, 2, "7", "Created", "v1", 0),
    ]  # fmt: skip
    assert judged(evidence(*lines, changes=CHANGES[:1])) == [(TOPOLOGY, "change-doubled")]


def test_a_torn_memory_repeats_and_that_is_a_limit_where_crashes_can_tear_it() -> None:
    in_place = [A.start(100, writes="in-place"), *FIRST[1:]]
    torn = began_with(memory(0, None, found="torn"))
    assert doubled(in_place, torn) == [(LIMIT, "memory-torn"), (LIMIT, "change-repeated")]
    assert doubled(FIRST, torn) == [(TOPOLOGY, "stale-memory"), (TOPOLOGY, "change-doubled")]


def test_the_flood_after_a_torn_memory_may_go_on_in_the_next_process() -> None:
    in_place = [A.start(100, writes="in-place"), *FIRST[1:]]
    torn = [
        B.start(121, memory=memory(0, None, found="torn")),
        B.wrote(121.5, 1, "9", "Created", "v1"),
    ]
    third = [C.start(124, memory=memory(1, 2)), C.change(125, 4, "8", "Created", "v1", 1)]
    found = judged(evidence(*in_place, *torn, *third, changes=CHANGES[:2]))
    assert found == [(LIMIT, "memory-torn"), (LIMIT, "change-repeated")]


def test_a_deletion_of_what_a_crash_kept_out_of_the_memory_is_a_limit() -> None:
    gone = [*CHANGES[:2], happened(120, "8", "Deleted", "v3")]
    crashed = FIRST[:-1]  # the second workflow is there, the memory of it was never written
    assert judged(evidence(*crashed, *began_with(memory(1, 1)), changes=gone)) == [
        (LIMIT, "deletion-forgotten")
    ]
    # One that was given a memory of it should have seen that it is gone.
    assert judged(evidence(*FIRST, *began_with(memory(2, 1)), changes=gone)) == [
        (TOPOLOGY, "change-lost")
    ]


def test_a_deletion_that_a_torn_memory_has_forgotten_is_a_limit() -> None:
    in_place = [A.start(100, writes="in-place"), *FIRST[1:]]
    torn = began_with(memory(0, None, found="torn"))
    changed = [
        *CHANGES[:2],
        happened(119, "8", "Updated", "v2"),
        happened(120, "8", "Deleted", "v3"),
    ]
    assert judged(evidence(*in_place, *torn, changes=changed)) == [
        (LIMIT, "memory-torn"), (LIMIT, "deletion-forgotten"),
    ]  # fmt: skip
    assert judged(evidence(*in_place, *began_with(memory(2, 1)), changes=changed)) == [
        (TOPOLOGY, "change-lost")
    ]
    alive = [*CHANGES[:2], happened(119, "8", "Updated", "v2")]
    found = judged(evidence(*in_place, *torn, changes=alive))
    assert found == [(LIMIT, "memory-torn"), (TOPOLOGY, "change-lost")]


def test_one_request_that_was_sent_again_is_left_to_its_own_rule() -> None:
    assert doubled(FIRST, began_with(memory(2, 1)), request="r-2") == []


ONE, TWO = Who("p-1", None, member="1"), Who("p-2", None, member="2")


def pair(first: str, second: str) -> list[tuple[str, str]]:
    lines = [
        ONE.start(100), TWO.start(100),
        ONE.change(105, 1, "7", "Created", "v1", 0, title=first),
        TWO.change(106, 2, "7", "Created", "v1", 0, title=second),
    ]  # fmt: skip
    return judged(evidence(*lines, changes=CHANGES[:1]))


def test_concurrent_members_that_do_not_overlap_double_and_that_is_a_limit() -> None:
    assert pair("1-7-Created", "1-7-Created") == [(LIMIT, "overlap-only")]


@pytest.mark.parametrize(
    ("first", "second"), [("1-7-ab12", "1-7-cd34"), ("!01-7-Created", "!01-7-Created")]
)
def test_titles_that_keep_nobody_apart_are_a_fault(first: str, second: str) -> None:
    assert pair(first, second) == [(TOPOLOGY, "change-doubled")]


def test_a_concurrent_member_that_crashed_in_the_gap_repeats_and_that_is_a_limit() -> None:
    again = Who("p-3", None, member="1")
    lines = [
        ONE.start(100), ONE.change(105, 1, "7", "Created", "v1", 0), ONE.acting(100, 105.5),
        again.start(107), again.change(108, 2, "7", "Created", "v1", 0),
    ]  # fmt: skip
    assert judged(evidence(*lines, changes=CHANGES[:1])) == [(LIMIT, "change-repeated")]


def test_watchers_whose_changes_nobody_read_are_not_called_clean() -> None:
    seen = dataclasses.replace(evidence(*FIRST, *SECOND), changes=None)
    assert judged(seen) == [(UNKNOWN, "changes-not-read")]
