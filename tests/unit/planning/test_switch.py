# SPDX-License-Identifier: Apache-2.0
"""The user's order to switch: carried out, done, or refused with a reason; never left lying."""

from typing import Any

import pytest

from dpe_operator.planning.record import Record
from dpe_operator.planning.switch import SwitchOrder, plan_switch

GOOD: dict[str, Any] = {
    "exists": True,
    "fresh": True,
    "active": "a",
    "count": 4,
    "states": {"a": "Up", "b": "Up"},
}


def order(wanted: str | None, *, balanced: bool = True, **changes: Any) -> SwitchOrder:
    record = Record(**{**GOOD, **changes})
    return plan_switch(wanted, members=["a", "b"], record=record, balanced=balanced)


def test_no_order() -> None:
    assert order(None) == SwitchOrder()


def test_the_request_names_the_present_count() -> None:
    assert order("b") == SwitchOrder(request="b@4")


def test_done_when_the_member_serves() -> None:
    found = order("a", request="a@3")
    assert found.done and found.request is None
    assert found.notice and found.notice.note == "a is active now"


def test_already_active() -> None:
    found = order("a")
    assert found.done and found.notice and "already" in found.notice.note


@pytest.mark.parametrize(
    ("wanted", "changes", "words"),
    [
        ("c", {}, "no such member: write a or b"),
        ("b", {"states": {"a": "Up", "b": "Down"}}, "health check says down"),
        ("b", {"states": {"a": "Up"}}, "health check says unknown"),
        ("b", {"fresh": False}, "no balancer is routed"),
        ("b", {"active": None}, "no balancer is routed"),
        ("b", {"balanced": False}, "type: External"),
    ],
)
def test_refused(wanted: str, changes: dict[str, Any], words: str) -> None:
    found = order(wanted, **changes)
    assert found.done and found.request is None
    assert found.notice and found.notice.type == "Warning" and words in found.notice.note
    assert found.notice.reason == "SwitchRefused"
