# SPDX-License-Identifier: Apache-2.0
"""A new version that is well until clients come: the balancer goes back, and so it stays."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from tests.support.pair_world import KIND, image, request, serving_pair, state
from tests.support.planning_world import World


def stamp(world: World, *, minutes_ago: float) -> str:
    at = world.now - timedelta(minutes=minutes_ago)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def failed_update(*, minutes_ago: float, pod_minutes_ago: float, **switch: Any) -> World:
    """b has the new image, served, went down, and a serves again."""
    world = serving_pair()
    world.edit(KIND, "radio", image="dpe-server:2")
    world.settle(KIND, "radio")
    world.run("radio-member-b")
    (pod,) = [
        obj
        for ref, obj in world.objects.items()
        if ref.kind == "Pod" and ref.name.startswith("radio-member-b")
    ]
    pod["metadata"]["creationTimestamp"] = stamp(world, minutes_ago=pod_minutes_ago)
    last = {
        "from": "b",
        "to": "a",
        "cause": "MemberDown",
        "at": stamp(world, minutes_ago=minutes_ago),
    }
    world.record("radio", active="a", count=2, last=last | switch)
    world.settle(KIND, "radio")
    return world


def test_it_is_not_switched_to_again() -> None:
    world = failed_update(minutes_ago=1, pod_minutes_ago=2)
    assert request(world) is None and image(world, "a") != image(world, "b")
    status, _, message = state(world, "Degraded")
    assert status == "True" and "went down while it served" in message


@pytest.mark.parametrize(
    ("why", "minutes_ago", "pod_minutes_ago", "switch"),
    [
        ("somebody has deleted its pod, to try again", 2, 1, {}),
        ("that is an hour ago", 61, 70, {}),
        ("it was left because somebody asked for it", 1, 2, {"cause": "Requested"}),
        ("it was the other one that went down", 1, 2, {"from": "a", "to": "b"}),
    ],
)
def test_otherwise_it_is(
    why: str, minutes_ago: float, pod_minutes_ago: float, switch: dict[str, str]
) -> None:
    world = failed_update(minutes_ago=minutes_ago, pod_minutes_ago=pod_minutes_ago, **switch)
    assert request(world) == "b@2", why
