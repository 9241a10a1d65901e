# SPDX-License-Identifier: Apache-2.0
"""The checker on changes that a later one of the same entry has overtaken: soon, or far too late."""

from typing import Any

from tests.unit.simulator.checker_history import (
    CHANGES,
    FIRST,
    NOW,
    A,
    B,
    began_with,
    evidence,
    happened,
    judged,
    memory,
    told,
)

from dpe_simulator.checker import LIMIT, TOPOLOGY, EntrySeen, Expectation, check

# Entry 7: created at 104; its second version comes at 110, without a workflow.
ALONE = [A.start(100), A.acting(100, 400), A.change(105, 1, "7", "Created", "v1", 0)]
UNSEEN = [happened(104, "7", "Created", "v1"), happened(110, "7", "Updated", "v2")]


def overtaken(at: float, *more: EntrySeen | list[EntrySeen], **wish: Any) -> list[tuple[str, str]]:
    """What is found when the third version comes at `at`, and soon has a workflow."""
    third = A.change(at + 1, 9, "7", "Updated", "v3", 1)
    changes = [*UNSEEN, happened(at, "7", "Updated", "v3")]
    return judged(evidence(*(more or ALONE), third, changes=changes), **wish)


def test_a_change_that_nobody_worked_off_is_lost_though_a_later_one_has_its_workflow() -> None:
    assert overtaken(300) == [(TOPOLOGY, "change-lost")]
    assert overtaken(300, settle=200.0) == []
    assert overtaken(160) == [], "before anybody need have looked"


def test_time_in_which_nobody_acted_counts_for_no_change() -> None:
    taken_over = [
        A.start(100), A.acting(100, 120), A.change(105, 1, "7", "Created", "v1", 0),
        A.wrote(105, 1, "7", "Created", "v1"),
        B.start(300, memory=memory(1, 1)), B.acting(300, 400),
    ]  # fmt: skip
    for at, found in ((340, []), (380, [(TOPOLOGY, "change-lost")])):
        third = B.change(at + 1, 9, "7", "Updated", "v3", 1)
        changes = [*UNSEEN, happened(at, "7", "Updated", "v3")]
        assert judged(evidence(*taken_over, third, changes=changes)) == found
    frozen = [
        A.start(100), A.acting(100, 112), A.line("acting", 290, 290), A.acting(290, 310),
        A.change(105, 1, "7", "Created", "v1", 0),
    ]  # fmt: skip
    assert overtaken(295, *frozen) == []


def test_a_change_is_overtaken_by_one_that_is_too_young_to_be_judged_itself() -> None:
    changes = [UNSEEN[0], happened(NOW - 62, "7", "Updated", "v2")]
    soon = [*changes, happened(NOW - 10, "7", "Updated", "v3")]
    assert judged(evidence(*ALONE, changes=soon)) == []
    late = [*UNSEEN, happened(NOW - 10, "7", "Updated", "v3")]
    third = A.change(NOW - 9, 9, "7", "Updated", "v3", 1)
    assert judged(evidence(*ALONE, third, changes=late)) == [(TOPOLOGY, "change-lost")]


def test_a_version_that_nobody_noted_covers_the_one_before_it() -> None:
    between = A.change(200, 8, "7", "Updated", "v2b", 1)
    assert overtaken(300, *ALONE, between) == []
    assert judged(evidence(*ALONE, between, changes=UNSEEN)) == []


def test_a_refusal_excuses_the_change_that_it_was_for_and_no_earlier_one() -> None:
    refused = A.change(301, 1, "7", "Updated", "v3", 1, kind="workflow-refused")
    changes = [*UNSEEN, happened(300, "7", "Updated", "v3")]
    found = check(evidence(*ALONE, refused, changes=changes), Expectation(0))
    assert [(one.kind, one.rule) for one in found] == [
        (TOPOLOGY, "change-lost"), (LIMIT, "title-refused"),
    ]  # fmt: skip
    assert "at 110.000" in found[0].text


def test_a_deletion_is_not_told_by_the_next_one() -> None:
    changes = [
        happened(104, "7", "Created", "v1"), happened(110, "7", "Deleted", "v2"),
        happened(300, "7", "Created", "v3"), happened(310, "7", "Deleted", "v4"),
    ]  # fmt: skip
    again = [
        A.change(301, 2, "7", "Created", "v3", 1), A.change(311, 3, "7", "Deleted", "v4", 2),
    ]  # fmt: skip
    found = check(evidence(*ALONE, *again, changes=changes), Expectation(0))
    assert [one.text.partition(":")[2] for one in found] == [
        " Deleted 7 at 110.000 has no workflow"
    ]


def test_what_came_and_went_unseen_before_it_came_again_is_a_limit() -> None:
    changes = [
        happened(104, "8", "Created", "v1"), happened(110, "8", "Deleted", "v2"),
        happened(300, "8", "Created", "v3"),
    ]  # fmt: skip
    again = A.change(301, 2, "8", "Created", "v3", 1)
    seen = evidence(*ALONE, again, changes=[UNSEEN[0], *changes])
    assert judged(seen) == [(LIMIT, "gone-before-seen")]


def test_a_deletion_that_was_forgotten_hides_no_loss_before_it() -> None:
    changes = [
        *CHANGES[:2], happened(111, "8", "Updated", "v2"), happened(120, "8", "Deleted", "v3"),
    ]  # fmt: skip
    crashed = FIRST[:-1]  # the second workflow is there, the memory of it was never written
    seen = evidence(*crashed, *began_with(memory(1, 1)), changes=changes)
    assert judged(seen) == [(LIMIT, "deletion-forgotten")]
    assert judged(seen, settle=5.0) == [
        (LIMIT, "deletion-forgotten"), (TOPOLOGY, "change-lost"),
    ]  # fmt: skip


def test_time_in_which_no_server_answered_counts_for_no_change() -> None:
    other = told("8", "Created", "v1")
    failed = A.line("start-failed", 240, change=other, triedSince=115.0, problem="refused")
    assert overtaken(300, *ALONE, failed) == [(TOPOLOGY, "change-lost")]
    at_last = A.change(290, 2, "8", "Created", "v1", 1, triedSince=241.0)
    assert overtaken(300, *ALONE, failed, at_last) == []
    assert overtaken(360, *ALONE, failed, at_last) == [(TOPOLOGY, "change-lost")]
