# SPDX-License-Identifier: Apache-2.0
"""Conditions: transition times move only when a status flips."""

from datetime import UTC, datetime

import pytest

from dpe_operator.planning.conditions import MAX_MESSAGE, Conditions, truth

NOW = datetime(2026, 11, 22, 12, 0, 0, 999, tzinfo=UTC)
BEFORE = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def test_same_status_keeps_its_time_though_the_message_changes() -> None:
    conditions = Conditions(generation=3, previous=[BEFORE], now=NOW)
    conditions.set("Ready", True, "AllReady", "new words")
    assert conditions.entries() == [
        {
            "type": "Ready",
            "status": "True",
            "observedGeneration": 3,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
            "reason": "AllReady",
            "message": "new words",
        }
    ]
    assert not conditions.flipped("Ready")


def test_flip_and_first_statement_take_the_present_time() -> None:
    conditions = Conditions(generation=3, previous=[BEFORE], now=NOW)
    conditions.set("Ready", False, "No", "")
    conditions.set("Degraded", True, "Yes", "")
    assert {entry["lastTransitionTime"] for entry in conditions.entries()} == {
        "2026-11-22T12:00:00Z"
    }
    assert conditions.flipped("Ready")
    assert conditions.flipped("Degraded")


def test_a_status_without_time_gets_one() -> None:
    conditions = Conditions(generation=1, previous=[{"type": "Ready", "status": "True"}], now=NOW)
    conditions.set("Ready", True, "AllReady", "")
    assert conditions.entries()[0]["lastTransitionTime"] == "2026-11-22T12:00:00Z"


@pytest.mark.parametrize(("value", "word"), [(True, "True"), (False, "False"), (None, "Unknown")])
def test_truth(value: bool | None, word: str) -> None:
    assert truth(value) == word


def test_long_messages_are_cut() -> None:
    conditions = Conditions(generation=1, previous=[], now=NOW)
    conditions.set("Ready", False, "No", "x" * 5000)
    assert len(conditions.message("Ready")) == MAX_MESSAGE
    assert conditions.message("Ready").endswith("...")
