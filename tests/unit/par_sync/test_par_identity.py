# SPDX-License-Identifier: Apache-2.0
"""Which two places belong together, and what only a person may decide."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_par_sync.identity import UNREADABLE, Mark, Marks, Pairing, decode, judge
from dpe_par_sync.result import Refused

MASTER = Mark("m1", "m1", "studio/radio")
COPY = Mark("r1", "m1", "studio/radio")
BEGUN = replace(COPY, complete=False)
STRANGER = Mark("m2", "m2", "studio/other")


def refusal(marks: Marks, adopt: str = "", used: frozenset[str] = frozenset()) -> Refused:
    with pytest.raises(Refused) as refused:
        judge(marks, adopt, used)
    return refused.value


@pytest.mark.parametrize("empty", [True, False])
def test_two_that_know_each_other_are_a_pair(empty: bool) -> None:
    assert judge(Marks(MASTER, COPY, empty), "", frozenset()) is Pairing.PAIRED
    assert judge(Marks(MASTER, BEGUN, empty), "", frozenset()) is Pairing.PAIRED


def test_the_first_run_needs_nobody() -> None:
    assert judge(Marks(None, None, True), "", frozenset()) is Pairing.FIRST


def test_a_first_run_that_was_killed_between_the_marks_goes_on() -> None:
    assert judge(Marks(None, BEGUN, True), "", frozenset()) is Pairing.FIRST


@pytest.mark.parametrize(
    ("marks", "reason"),
    [
        (Marks(None, None, False), "NotPaired"),
        (Marks(None, COPY, True), "MasterNotMarked"),
        (Marks(None, COPY, False), "MasterNotMarked"),
        (Marks(None, BEGUN, False), "MasterNotMarked"),
        (Marks(MASTER, None, True), "RedundantNotMarked"),
        (Marks(MASTER, None, False), "RedundantNotMarked"),
        (Marks(STRANGER, COPY, False), "WrongPair"),
        (Marks(STRANGER, COPY, True), "WrongPair"),
        (Marks(UNREADABLE, COPY, False), "MarkUnreadable"),
        (Marks(MASTER, UNREADABLE, False), "MarkUnreadable"),
        (Marks(None, UNREADABLE, True), "MarkUnreadable"),
        (Marks(UNREADABLE, UNREADABLE, True), "MarkUnreadable"),
    ],
)
def test_anything_else_is_refused_until_a_new_text_accepts_it(marks: Marks, reason: str) -> None:
    refused = refusal(marks)
    assert refused.reason == reason
    assert "set the annotation dpe.dev/adopt-par to a new text" in str(refused)
    assert judge(marks, "yes", frozenset({"other"})) is Pairing.ADOPT
    again = refusal(marks, "yes", frozenset({"yes"}))
    assert again.reason == reason
    assert "its present text 'yes' has been used before" in str(again)


def test_a_new_text_where_nothing_is_wrong_accepts_the_deletions() -> None:
    marks = Marks(MASTER, COPY, False)
    assert judge(marks, "yes", frozenset()) is Pairing.ACCEPTED
    assert judge(marks, "yes", frozenset({"yes"})) is Pairing.PAIRED


@given(
    st.builds(
        Mark,
        id=st.text(min_size=1),
        master=st.text(min_size=1),
        store=st.text(),
        complete=st.booleans(),
        adopted=st.lists(st.text(), max_size=5).map(tuple),
    )
)
def test_a_mark_survives_being_written_and_read(mark: Mark) -> None:
    assert decode(mark.encode()) == mark


def test_a_mark_keeps_the_last_texts_only() -> None:
    mark = replace(MASTER, adopted=tuple(str(number) for number in range(50)))
    assert decode(mark.encode()).adopted == tuple(str(number) for number in range(30, 50))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        json.dumps({"id": "x"}).encode(),
        json.dumps({"id": "", "master": "x", "complete": True}).encode(),
        json.dumps({"id": 1, "master": "x", "complete": True}).encode(),
        json.dumps({"id": "x", "master": "x", "complete": True, "adopted": 3}).encode(),
        MASTER.encode()[:-20],
    ],
)
def test_half_a_mark_is_no_mark(content: bytes) -> None:
    assert decode(content) == UNREADABLE


@given(st.binary(max_size=100))
def test_any_content_is_a_mark_or_unreadable(content: bytes) -> None:
    decode(content)
