# SPDX-License-Identifier: Apache-2.0
"""A pair in the imagined cluster that serves, and short looks at it."""

from typing import Any

from tests.support.planning_world import World, server

from dpe_operator.api import constants
from dpe_operator.planning.objects import annotations
from dpe_operator.planning.plan import Plan

KIND = "DpeServer"


def serving_pair(**spec: Any) -> World:
    """A pair that serves: all rolled out, a is active, b is up."""
    made = World(server(**spec))
    made.settle(KIND, "radio")
    made.run_all()
    made.record("radio")
    made.settle(KIND, "radio")
    return made


def state(world: World, kind: str) -> tuple[str, str, str]:
    """Status, reason and message of a condition of the pair."""
    found = world.condition(KIND, "radio", kind)
    return found["status"], found["reason"], found["message"]


def image(world: World, member: str) -> str:
    """The image in a member's Deployment."""
    live = world.get("Deployment", f"radio-member-{member}")
    return str(live["spec"]["template"]["spec"]["containers"][0]["image"])


def request(world: World) -> str | None:
    """The switch request on the slice."""
    notes = annotations(world.get("EndpointSlice", "radio-balancer"))
    return notes.get(constants.ANNOTATION_SWITCH_REQUEST)


def reasons(plan: Plan) -> list[str]:
    """The reasons of a plan's events, those of its deletions too."""
    own = [deletion.notice for deletion in plan.deletions if deletion.notice is not None]
    return [notice.reason for notice in (*plan.notices, *own)]
