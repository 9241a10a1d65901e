# SPDX-License-Identifier: Apache-2.0
"""A pair whose members are all replaced, and one whose balancers vanish: nobody loses clients."""

from datetime import timedelta
from typing import Any

import pytest
from tests.support.pair_world import KIND, serving_pair, state
from tests.support.planning_world import World, server

from dpe_operator.planning.objects import Obj

OTHERS = [{"name": "c"}, {"name": "d"}]
EXTERNALS = [{"name": n, "external": {"host": f"{n}.studio.example"}} for n in ("x", "y")]


@pytest.fixture
def world() -> World:
    return serving_pair()


def balancer(world: World) -> tuple[Obj, Obj]:
    """The balancer's pod template and the config it reads."""
    live = world.get("Deployment", "radio-balancer")
    template: Obj = live["spec"]["template"]
    [source] = [v for v in template["spec"]["volumes"] if v["name"] == "config-source"]
    return template, world.get("ConfigMap", source["configMap"]["name"])["data"]


def test_no_new_balancer_before_a_new_member_can_serve(world: World) -> None:
    before = balancer(world)
    world.edit(KIND, "radio", members=OTHERS)
    plan = world.settle(KIND, "radio")
    assert balancer(world) == before and plan.requeue_after == 3.0
    assert world.has("Deployment", "radio-member-a"), "it serves"
    assert state(world, "Ready")[0] == "False"

    world.run("radio-member-c")
    world.settle(KIND, "radio")
    assert balancer(world) != before
    assert world.has("Deployment", "radio-member-a"), "the balancers are not new yet"
    world.run_all()
    world.record("radio", active="c", count=1)
    plan = world.settle(KIND, "radio")
    assert not world.has("Deployment", "radio-member-a") and plan.requeue_after is None


def test_external_members_serve_until_a_member_in_the_cluster_can() -> None:
    world = World(server(members=EXTERNALS))
    world.settle(KIND, "radio")
    world.run_all()
    world.record("radio", active="x")
    world.settle(KIND, "radio")
    before = balancer(world)
    world.edit(KIND, "radio", members=[{"name": "a"}, {"name": "b"}])
    world.settle(KIND, "radio")
    assert balancer(world) == before
    world.run("radio-member-a")
    world.settle(KIND, "radio")
    assert balancer(world) != before


def test_a_new_health_page_is_asked_for_once_a_member_has_it(world: World) -> None:
    before = balancer(world)
    world.edit(KIND, "radio", image="dpe:2", health={"path": "/new"})
    world.settle(KIND, "radio")
    assert balancer(world) == before
    world.run("radio-member-b")
    world.settle(KIND, "radio")
    assert balancer(world) != before


@pytest.mark.parametrize(
    ("placement", "states", "stays"),
    [
        ("Required", {"a": "UP", "b": "UP"}, False),
        ("Required", {"a": "DOWN", "b": "UP"}, True),
        ("Required", {"a": "DOWN", "b": "DOWN"}, False),
        ("Preferred", {"a": "UP", "b": "UP"}, True),
    ],
)
def test_a_former_standby_makes_room_where_nodes_are_not_shared(
    placement: str, states: dict[str, Any], stays: bool
) -> None:
    world = World(server(placement=placement))
    world.settle(KIND, "radio")
    world.run_all()
    world.record("radio", **states)
    world.settle(KIND, "radio")
    world.edit(KIND, "radio", members=OTHERS)
    world.settle(KIND, "radio")
    for kind in ("Deployment", "Service"):
        assert world.has(kind, "radio-member-a"), "it serves, as far as is known"
        assert world.has(kind, "radio-member-b") is stays


def test_the_last_words_of_balancers_that_are_gone_do_not_stand_for_ever(world: World) -> None:
    world.run("radio-balancer", ready=False)
    world.now += timedelta(seconds=20)
    plan = world.settle(KIND, "radio")
    assert world.get(KIND, "radio")["status"]["routedBalancer"] == "radio-balancer-0"
    assert plan.requeue_after == 41.0
    world.now += timedelta(seconds=41)
    assert world.settle(KIND, "radio").requeue_after == 10.0
    assert state(world, "BalancerReady")[:2] == ("False", "NotRouted")


def test_a_balancer_that_is_heard_again_after_an_outage_is_noticed(world: World) -> None:
    """Nothing but the time of its Lease changes when the API server is back."""
    world.now += timedelta(seconds=70)
    plan = world.settle(KIND, "radio")
    assert state(world, "BalancerReady")[:2] == ("False", "NotRouted")
    assert plan.requeue_after == 10.0
    world.now += timedelta(seconds=10)
    world.record("radio", a="UP", b="UP")
    assert world.settle(KIND, "radio").requeue_after is None
    assert state(world, "BalancerReady")[0] == "True"
