# SPDX-License-Identifier: Apache-2.0
"""What the measurement of two watchers counts: once, twice, and what nobody has started."""

from __future__ import annotations

import pytest
from tests.support.two_watchers import CASES, outcomes, summary

ADDED = {"1": 100.0, "2": 101.0, "3": 102.0}


def test_an_entry_without_a_workflow_is_counted_as_lost() -> None:
    started = {"1": [(100.5, 102.0)], "3": [(103.0, 104.0), (103.5, 105.0)]}
    found = summary(CASES[0], outcomes(ADDED, started), pairs=1)
    assert (found["changes"], found["once"], found["twice"], found["lost"]) == (3, 1, 1, 1)
    assert found["longestUntilStarted"] == 1.0
    assert found["workflowTakes"] == pytest.approx(1.25)


def test_where_all_are_lost_there_are_no_times() -> None:
    found = summary(CASES[0], outcomes(ADDED, {}), pairs=1)
    assert (found["once"], found["twice"], found["lost"]) == (0, 0, 3)
    assert (found["workflowTakes"], found["longestUntilStarted"]) == (None, None)
