# SPDX-License-Identifier: Apache-2.0
"""The checker on components of the workflow system, by planted violations.

Each rule must find its violation and say nothing about the history without it.
"""

import dataclasses
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dpe_simulator.checker import (
    LIMIT,
    TOPOLOGY,
    UNKNOWN,
    ChangeSeen,
    EntrySeen,
    Evidence,
    Expectation,
    check,
)
from dpe_simulator.figures import describe

NOW = 1000.0
TABLE = "dpe_entries"
Detail = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Who:
    """A process of a component."""

    process: str
    epoch: int | None
    role: str = "table-watcher"
    member: str | None = None
    component: str = "news"

    def line(self, kind: str, at: float, until: float | None = None, **detail: Any) -> EntrySeen:
        told = {"component": self.component, **detail}
        return EntrySeen(
            self.process, at, until, kind, self.member, None, None, told, self.role, self.epoch
        )

    def start(self, at: float, **detail: Any) -> EntrySeen:
        if self.role.endswith("watcher"):
            usual = {"source": TABLE, "order": "effect-first", "writes": "renamed",
                     "firstStart": "trigger", "memory": memory(0, None, found="absent")}  # fmt: skip
            detail = {**usual, **detail}
        return self.line("start", at, **detail)

    def acting(self, begin: float, end: float) -> list[EntrySeen]:
        """A proof of life every half second."""
        return [
            self.line("acting", begin + number / 2, min(end, begin + number / 2 + 0.5))
            for number in range(int((end - begin) * 2 + 0.99))
        ]

    def effect(
        self, at: float, number: int, *, kind: str = "workflow-created", sent: float | None = None,
        title: str = "t", request: str | None = None, **why: Any,
    ) -> EntrySeen:  # fmt: skip
        by = {"role": self.role, "component": self.component, "member": self.member,
              "process": self.process, "epoch": self.epoch,
              "sentAt": at - 0.01 if sent is None else sent, **why}  # fmt: skip
        detail = {"title": title, "requestId": request or f"r-{number}", "by": by}
        return EntrySeen("server-a", at, None, kind, "a", None, f"workflow:{number}", detail)

    def change(
        self, at: float, number: int, subject: str, event: str, version: str, generation: int,
        **more: Any,
    ) -> EntrySeen:  # fmt: skip
        return self.effect(
            at, number, generation=generation, change=told(subject, event, version), **more
        )

    def wrote(self, at: float, generation: int, *change: str) -> EntrySeen:
        detail = {"change": told(*change)} if change else {}
        return self.line("memory-written", at, generation=generation, **detail)


def told(subject: str, event: str, version: str) -> Detail:
    return {"source": TABLE, "subject": subject, "event": event, "version": version}


def memory(generation: int, epoch: int | None, *, found: str = "read") -> Detail:
    return {"found": found, "generation": generation, "epoch": epoch, "entries": generation}


def happened(at: float, subject: str, event: str, version: str) -> ChangeSeen:
    return ChangeSeen(TABLE, subject, event, version, at)


def evidence(*parts: EntrySeen | list[EntrySeen], changes: Any = ()) -> Evidence:
    lines = [one for part in parts for one in (part if isinstance(part, list) else [part])]
    lines.sort(key=lambda one: one.at)
    return Evidence([], [], lines, NOW, changes=changes)


def judged(seen: Evidence, **expectation: Any) -> list[tuple[str, str]]:
    return [(one.kind, one.rule) for one in check(seen, Expectation(0, **expectation))]


A, B, C = Who("pod-a/1", 1), Who("pod-b/1", 2), Who("pod-c/1", 3)
# Two epochs of a Standby watcher: two entries before the take-over, one after it.
FIRST = [
    A.start(100), A.acting(100, 120),
    A.change(105, 1, "7", "Created", "v1", 0), A.wrote(105.1, 1, "7", "Created", "v1"),
    A.change(110, 2, "8", "Created", "v1", 1), A.wrote(110.1, 2, "8", "Created", "v1"),
]  # fmt: skip
SECOND = [
    B.start(121, memory=memory(2, 1)), B.acting(121, 140),
    B.change(130, 3, "7", "Updated", "v2", 2), B.wrote(130.1, 3, "7", "Updated", "v2"),
    B.line("stop", 140),
]  # fmt: skip
CHANGES = [
    happened(104, "7", "Created", "v1"), happened(109, "8", "Created", "v1"),
    happened(120.5, "7", "Updated", "v2"),
]  # fmt: skip


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


def began_with(found: Detail, **detail: Any) -> list[EntrySeen]:
    return [B.start(121, memory=found, **detail), B.line("stop", 122)]


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


def test_what_begins_a_new_memory_is_told_once() -> None:
    lost = [B.start(121, memory=memory(0, None, found="absent")), B.wrote(122, 1)]
    third = [C.start(124, memory=memory(1, 2))]
    assert judged(evidence(*FIRST, *lost, *third)) == [(TOPOLOGY, "memory-lost")]
    stale = [C.start(124, memory=memory(0, 2))]
    found = judged(evidence(*FIRST, *lost, *stale))
    assert found == [(TOPOLOGY, "memory-lost"), (TOPOLOGY, "stale-memory")]


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


def test_only_the_named_components_are_judged() -> None:
    seen = evidence(*FIRST, A.acting(120, 122), *SECOND, changes=CHANGES)
    assert judged(seen, components=frozenset({"sport"})) == []
    assert judged(seen, components=frozenset({"news"})) == [(TOPOLOGY, "two-acting")]


# triggers: a schedule at 2:00 on a clock on which an hour takes a minute


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin")).timestamp()


# Real second 100 shows 2:00 on the first day, and each day takes 24 minutes.
CLOCK = {"anchor": 100.0, "shown": at("2026-06-01T02:00"), "rate": 3600.0}
DAY = 24.0
PLAN = {"schedule": "0 2 * * *", "zone": "Europe/Berlin", "clock": CLOCK, "title": "t"}
S, T = (
    Who("s-1", 1, role="scheduler", component="nightly"),
    Who("s-2", 2, "scheduler", None, "nightly"),
)


def fires(who: Who, number: int, day: int, **more: Any) -> EntrySeen:
    trigger = at(f"2026-06-{day:02d}T02:00")
    real = 100.0 + (day - 1) * DAY
    return who.effect(real + 0.1, number, trigger=trigger, triggerTime=f"day {day}", **more)


# Triggers at 100, 124, 148, 172: the first scheduler until 130, the second from 135 on.
SCHEDULE = [
    S.start(90, **PLAN), S.acting(90, 130), fires(S, 1, 1), fires(S, 2, 2),
    T.start(135, **PLAN), T.acting(135, 180), fires(T, 3, 3), fires(T, 4, 4),
]  # fmt: skip


def without(*gone: EntrySeen) -> list[Any]:
    return [line for line in SCHEDULE if line not in gone]


def test_a_scheduler_that_fires_at_each_trigger_has_no_findings() -> None:
    assert judged(evidence(*SCHEDULE)) == []


def test_a_trigger_that_was_not_fired_by_one_who_acted_is_a_fault() -> None:
    assert judged(evidence(*without(fires(T, 3, 3))), settle=20.0) == [(TOPOLOGY, "trigger-lost")]


def test_a_trigger_that_got_no_answer_is_a_fault() -> None:
    failed = T.line("start-failed", 150, trigger=at("2026-06-03T02:00"), problem="refused")
    seen = evidence(*without(fires(T, 3, 3)), failed)
    assert judged(seen) == [(TOPOLOGY, "trigger-lost")]


def test_a_trigger_inside_a_take_over_is_a_limit() -> None:
    gap = [S.start(90, **PLAN), S.acting(90, 120), fires(S, 1, 1)]
    found = check(evidence(*gap, *SCHEDULE[4:]), Expectation(0))
    assert [(one.kind, one.rule) for one in found] == [(LIMIT, "trigger-missed")]
    assert "nobody acted for 15.000 s" in found[0].text
    assert "2026-06-02T02:00+0200" in found[0].text


def test_a_trigger_at_which_the_scheduler_died_is_a_limit() -> None:
    died = [S.start(90, **PLAN), S.acting(90, 124.5), fires(S, 1, 1)]
    assert judged(evidence(*died, *SCHEDULE[4:])) == [(LIMIT, "trigger-missed")]


def test_a_trigger_over_which_the_scheduler_was_frozen_is_a_limit() -> None:
    frozen = T.line("trigger-missed", 153, trigger=at("2026-06-03T02:00"))
    seen = evidence(*without(fires(T, 3, 3)), frozen)
    assert judged(seen, settle=20.0) == [(LIMIT, "trigger-missed")]


def test_a_trigger_that_was_fired_twice_is_a_fault() -> None:
    again = T.effect(136, 9, trigger=at("2026-06-02T02:00"), triggerTime="day 2")
    (doubled,) = check(evidence(*SCHEDULE, again), Expectation(0))
    assert (doubled.kind, doubled.rule) == (TOPOLOGY, "trigger-doubled")
    assert [one.process for one in doubled.requests] == ["s-1", "s-2"]
    same_request = T.effect(
        136, 9, trigger=at("2026-06-02T02:00"), triggerTime="day 2", request="r-2"
    )
    assert judged(evidence(*SCHEDULE, same_request)) == []
    assert len(judged(evidence(*SCHEDULE, again, same_request))) == 1, "r-2, again, r-2 once more"


def test_a_trigger_that_the_title_rule_refused_is_a_limit() -> None:
    refused = fires(T, 3, 4, kind="workflow-refused")
    seen = evidence(*without(fires(T, 4, 4)), refused)
    assert judged(seen) == [(LIMIT, "title-refused")]
    own = fires(T, 4, 4, kind="workflow-refused")  # its first answer was lost
    assert judged(evidence(*SCHEDULE, own)) == []


def test_concurrent_members_answer_for_their_own_triggers() -> None:
    one, two = (Who(f"s-{n}", None, "scheduler", n, "nightly") for n in ("1", "2"))
    later = {**PLAN, "schedule": "30 2 * * *"}
    both = [
        one.start(90, **PLAN), one.acting(90, 120), fires(one, 1, 1),
        two.start(90, **later), two.acting(90, 120),
        two.effect(100.6, 2, trigger=at("2026-06-01T02:30"), triggerTime="half past"),
    ]  # fmt: skip
    assert judged(evidence(*both)) == []
    assert judged(evidence(*both[:-1]), settle=10.0) == [(TOPOLOGY, "trigger-lost")]


def test_triggers_before_the_run_are_not_judged() -> None:
    seen = dataclasses.replace(evidence(*without(fires(S, 1, 1))), since=110.0)
    assert judged(seen, settle=10.0) == []


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
    [scheduler] = describe(evidence(*SCHEDULE), Expectation())
    assert scheduler["triggers"] == {"due": 4, "fired": 4, "missed": 0}


def test_the_figures_tell_the_longest_overlap() -> None:
    seen = evidence(*FIRST, A.acting(120, 121.25), *SECOND)
    assert describe(seen, Expectation())[0]["longestOverlapMilliseconds"] == 250
