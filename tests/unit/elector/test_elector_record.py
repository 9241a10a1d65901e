# SPDX-License-Identifier: Apache-2.0
"""The record on the Lease: since when it is held, and what became of commands of late."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dpe_elector import lease
from dpe_elector.lease import CRASH_LOOP_ENDS, ENDS_KEPT, ENDS_SECONDS, RECORD, End, Writing

T = 1_700_000_000
MADE: dict[str, Any] = {"metadata": {"name": "x"}, "spec": {}}


def write(
    before: dict[str, Any],
    at: float,
    *,
    holder: str = "me",
    fresh: bool = False,
    pod: str = "radio-0",
    ended: int | None = None,
    stopping: float | None = None,
) -> dict[str, Any]:
    end = None if ended is None else End(at - 0.1, ended)
    writing = Writing("me", holder, 3, 15, fresh, pod, end, stopping)
    return lease.written(before, writing, at)


def record(of: dict[str, Any]) -> dict[str, Any]:
    return dict(json.loads(of["metadata"]["annotations"][RECORD]))


def ended(before: dict[str, Any], times: int, *, at: float, every: float = 1.0) -> dict[str, Any]:
    """Let commands end one after the other, in two pods in turn."""
    for number in range(times):
        pod = f"radio-{number % 2}"
        before = write(before, at + number * every, fresh=True, pod=pod)
        before = write(before, at + number * every, holder="", pod=pod, ended=1)
    return before


def test_since_is_when_it_was_taken_or_given_back() -> None:
    taken = write(MADE, T, fresh=True)
    renewed = write(taken, T + 2)
    assert record(taken)["since"] == record(renewed)["since"] == "2023-11-14T22:13:20Z"
    released = write(renewed, T + 10, holder="")
    assert record(released)["since"] == "2023-11-14T22:13:30Z"
    assert record(write(released, T + 11, fresh=True))["since"] == "2023-11-14T22:13:31Z"


def test_a_renewal_says_the_same_and_is_no_heavier_than_before() -> None:
    """It is sent every half second to two seconds, by every singleton, for ever."""
    taken = write(MADE, T, fresh=True)
    first, later = (write(taken, T + n)["metadata"]["annotations"][RECORD] for n in (2, 4000))
    assert first == later
    assert len(first) < 150
    assert sorted(json.loads(first)) == ["epoch", "identity", "pod", "seconds", "since", "state"]


def test_an_end_is_written_with_pod_and_status() -> None:
    released = write(write(MADE, T, fresh=True), T + 5, holder="", ended=127)
    assert record(released)["ends"] == [[T + 4, "radio-0", 127]]
    assert record(released)["crashLooping"] is False
    assert lease.view(released).released


def test_ends_are_handed_on_and_counted_over_all_pods() -> None:
    looping = ended(MADE, CRASH_LOOP_ENDS - 1, at=T)
    assert record(looping)["crashLooping"] is False
    looping = ended(looping, 1, at=T + 60)
    assert record(looping)["crashLooping"] is True
    assert {end[1] for end in record(looping)["ends"]} == {"radio-0", "radio-1"}
    held = write(looping, T + 61, fresh=True)
    assert record(held)["crashLooping"] is True, "a new start alone is no recovery"


def test_ends_are_forgotten_after_ten_minutes() -> None:
    held = write(ended(MADE, 6, at=T), T + 10, fresh=True)
    assert record(write(held, T + ENDS_SECONDS - 2))["crashLooping"] is True
    later = write(held, T + ENDS_SECONDS + 2)
    assert record(later)["crashLooping"] is False and len(record(later)["ends"]) == 2
    assert "ends" not in record(write(held, T + ENDS_SECONDS + 20))
    assert "crashLooping" not in record(write(held, T + ENDS_SECONDS + 20))


def test_only_the_newest_are_kept() -> None:
    looping = ended(MADE, 3 * ENDS_KEPT, at=T)
    ends = record(looping)["ends"]
    assert len(ends) == ENDS_KEPT
    assert ends[-1][0] == T + 3 * ENDS_KEPT - 2


@pytest.mark.parametrize(
    "junk",
    [
        *("none", 5, [1, 2], [["x", "y", "z"]], [[T]], [[T, "a", 1, 2]], [None], {"a": 1}),
        *([[10**400, "a", 1]], [[-(10**400), "a", 1]]),
    ],
    ids=range(10),
)
def test_ends_written_by_hand_do_no_harm(junk: object) -> None:
    edited = {**MADE, "metadata": {"annotations": {RECORD: json.dumps({"ends": junk})}}}
    assert "ends" not in record(write(edited, T))


def test_a_record_of_an_elder_elector_gets_a_since() -> None:
    old = {"identity": "me", "epoch": 3, "seconds": 15, "state": "held", "pod": "radio-0"}
    before = {**MADE, "metadata": {"annotations": {RECORD: json.dumps(old)}}}
    assert record(write(before, T))["since"] == "2023-11-14T22:13:20Z"


def test_who_takes_it_notes_when_the_one_before_was_last_heard() -> None:
    """By it the operator tells whether a trigger fell into a take-over."""
    first = write(MADE, T, fresh=True)
    assert "before" not in record(first)
    last_sign = write(first, T + 8)["spec"]["renewTime"]
    taken = write(write(first, T + 8), T + 30, fresh=True)
    assert record(taken)["before"] == last_sign
    assert record(write(taken, T + 32))["before"] == last_sign


def test_who_takes_it_from_one_that_was_stopped_notes_when_that_began() -> None:
    """A program that ends for 20 s starts nothing in them, though its Lease is renewed."""
    held = write(write(MADE, T, fresh=True), T + 10, stopping=T + 9)
    assert record(held)["stopping"] == "2023-11-14T22:13:29.000000Z"
    given_back = write(held, T + 29, holder="", stopping=T + 9)
    for left in (held, given_back):
        taken = write(left, T + 40, fresh=True)
        assert record(taken)["before"] == "2023-11-14T22:13:29.000000Z"
        assert "stopping" not in record(taken)
