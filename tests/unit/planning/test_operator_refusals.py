# SPDX-License-Identifier: Apache-2.0
"""What the operator refuses, in which words, and that the cure cures it: the fast sibling of
`tests/integration/test_operator_bad_input.py`."""

from __future__ import annotations

import pytest
from tests.support.bad_input import REFUSED_BY_OPERATOR, BadInput
from tests.support.planning_world import NAMESPACE, PLANNERS, World


@pytest.mark.parametrize("row", REFUSED_BY_OPERATOR, ids=str)
def test_refused_with_exactly_this_message_and_cured_by_it(row: BadInput) -> None:
    world = World(*row.exists, row.resource)
    for existing in row.exists:
        if existing["kind"] in PLANNERS:
            world.carry_out(existing["kind"], existing["metadata"]["name"])
    kind, name = row.resource["kind"], row.resource["metadata"]["name"]
    world.carry_out(kind, name)
    found = world.condition(kind, name, "Accepted")
    told = row.message.replace("NAMESPACE", NAMESPACE)
    assert (found["status"], found["reason"]) == ("False", row.reason)
    assert found["message"] == f"{told} (nothing is made until then)"
    world.put(row.cured)
    cured = row.cured["metadata"]["name"]
    world.carry_out(kind, cured)
    assert world.condition(kind, cured, "Accepted")["status"] == "True"
