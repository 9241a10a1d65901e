# SPDX-License-Identifier: Apache-2.0
"""A DpeServer that changes: rolling update, upgrade of the operator, orders to switch."""

from typing import Any

import pytest
from tests.support.pair_world import KIND, image, reasons, request, serving_pair, state
from tests.support.planning_world import World

from dpe_operator.api import constants
from dpe_operator.planning.objects import annotations
from dpe_operator.planning.plan import Environment


@pytest.fixture
def world() -> World:
    return serving_pair()


# --- rolling update


def test_rolling_update_standby_switch_former_active(world: World) -> None:
    world.edit(KIND, "radio", image="dpe:2")
    world.carry_out(KIND, "radio")
    assert (image(world, "a"), image(world, "b")) == (
        "registry.example.com/dpe-server:2.15",
        "dpe:2",
    )
    assert state(world, "Progressing")[:2] == ("True", "Updating")
    assert state(world, "Degraded")[0] == "False"

    world.carry_out(KIND, "radio")
    assert request(world) is None, "the new standby has not proven itself yet"
    world.run("radio-member-b")
    plan = world.carry_out(KIND, "radio")
    assert request(world) == "b@0" and image(world, "a") != "dpe:2"
    assert plan.requeue_after == 3.0

    world.record("radio", active="b", count=1)
    world.carry_out(KIND, "radio")
    assert request(world) is None and image(world, "a") == "dpe:2"
    world.run("radio-member-a")
    plan = world.settle(KIND, "radio")
    assert state(world, "Ready") == ("True", "AllReady", "b serves, a is ready to take over.")
    assert plan.requeue_after is None


def test_rolling_update_stops_at_a_bad_standby_and_rolls_back(world: World) -> None:
    before = image(world, "a")
    world.edit(KIND, "radio", image="no/such:image")
    world.carry_out(KIND, "radio")
    world.run("radio-member-b", ready=False)
    pod = world.get("Pod", "radio-member-b-0")
    pod["status"]["containerStatuses"] = [
        {"name": "dpe", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "gone"}}}
    ]
    world.record("radio", b="DOWN")
    world.settle(KIND, "radio")
    assert image(world, "a") == before
    assert state(world, "Degraded")[0] == "True" and "set it back" in state(world, "Ready")[2]

    world.edit(KIND, "radio", image=before)
    world.carry_out(KIND, "radio")
    assert image(world, "b") == before
    world.run("radio-member-b")
    world.record("radio")
    world.settle(KIND, "radio")
    assert state(world, "Ready")[0] == "True" and request(world) is None


def test_a_held_member_is_still_repaired_with_its_old_template(world: World) -> None:
    world.edit(KIND, "radio", image="dpe:2")
    plan = world.carry_out(KIND, "radio")
    held = next(c for c in plan.children if c.ref.name == "radio-member-a" and
                c.ref.kind == "Deployment")  # fmt: skip
    assert held.manifest["spec"]["template"]["spec"]["containers"][0]["image"].endswith("2.15")
    assert plan.held == frozenset()


def test_without_memory_a_held_member_is_left_untouched(world: World) -> None:
    world.memories.clear()
    world.edit(KIND, "radio", image="dpe:2")
    plan = world.carry_out(KIND, "radio")
    assert {ref.name for ref in plan.held} == {"radio-member-a"}
    assert image(world, "a").endswith("2.15") and image(world, "b") == "dpe:2"
    assert plan.deletions == ()


# --- upgrades of the operator


def test_an_operator_upgrade_restarts_nothing_until_approved(world: World) -> None:
    world.environment = Environment(balancer_image="localhost/dpe/balancer:2")
    before = world.get("Deployment", "radio-balancer")["spec"]["template"]
    world.settle(KIND, "radio")
    assert world.get("Deployment", "radio-balancer")["spec"]["template"] == before
    assert world.get(KIND, "radio")["status"]["outdated"] == ["radio-balancer"]
    assert state(world, "Ready")[0] == "True"

    world.edit(KIND, "radio", podAnnotations={"x": "y"})  # concerns the members only
    world.settle(KIND, "radio")
    assert world.get("Deployment", "radio-balancer")["spec"]["template"] == before

    world.annotate(KIND, "radio", approve_upgrade="true")
    world.settle(KIND, "radio")
    template = world.get("Deployment", "radio-balancer")["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "localhost/dpe/balancer:2"
    assert "outdated" not in world.get(KIND, "radio")["status"]


def test_another_reason_takes_the_new_image_along(world: World) -> None:
    world.environment = Environment(balancer_image="localhost/dpe/balancer:2")
    world.edit(KIND, "radio", loadBalancer={"timings": {"fall": 4}})
    world.settle(KIND, "radio")
    template = world.get("Deployment", "radio-balancer")["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == "localhost/dpe/balancer:2"


def test_balancers_of_the_rollout_before_find_their_config_until_it_is_through(
    world: World,
) -> None:
    """Else a bad config and a lost pod would be an outage: the replacement would read the bad one."""
    before = configs(world)
    world.edit(KIND, "radio", loadBalancer={"timings": {"fall": 4}})
    world.settle(KIND, "radio")
    assert before < configs(world), "the new one beside the old one"

    world.run("radio-balancer", ready=False)
    world.settle(KIND, "radio")
    assert before < configs(world), "the new one does not start: the old one is needed"

    world.run("radio-balancer")
    world.settle(KIND, "radio")
    assert before.isdisjoint(configs(world)) and len(configs(world)) == 1


def configs(world: World) -> set[str]:
    """Names of the balancer's configurations."""
    found = {ref.name for ref in world.objects if ref.kind == "ConfigMap"}
    return {name for name in found if name.startswith("radio-balancer")}


# --- orders


def test_switch_order(world: World) -> None:
    world.annotate(KIND, "radio", switch_to="b")
    world.carry_out(KIND, "radio")
    assert request(world) == "b@0"
    world.record("radio", active="b", count=1)
    plan = world.carry_out(KIND, "radio")
    assert request(world) is None and reasons(plan) == ["SwitchDone"]
    assert constants.ANNOTATION_SWITCH_TO not in annotations(world.get(KIND, "radio"))


@pytest.mark.parametrize(("wanted", "states"), [("c", {}), ("b", {"b": "DOWN"})])
def test_refused_order_is_an_event_and_goes(
    world: World, wanted: str, states: dict[str, Any]
) -> None:
    world.record("radio", **states)
    world.settle(KIND, "radio")
    world.annotate(KIND, "radio", switch_to=wanted)
    plan = world.carry_out(KIND, "radio")
    assert "SwitchRefused" in reasons(plan) and request(world) is None
    assert constants.ANNOTATION_SWITCH_TO not in annotations(world.get(KIND, "radio"))
