# SPDX-License-Identifier: Apache-2.0
"""Findings about a pair: flapping, and clients that give up too early; passed on to the site."""

import json
from datetime import timedelta

from tests.support.pair_world import reasons, serving_pair, state
from tests.support.planning_world import World, cluster, server

from dpe_operator.api import constants

KIND = constants.KIND_SERVER
SWITCH = {"from": "a", "to": "b", "cause": "MemberDown", "at": "2026-11-22T12:00:00Z"}


def unplanned(world: World, *minutes_ago: float) -> None:
    times = [(world.now - timedelta(minutes=ago)).isoformat() for ago in minutes_ago]
    world.annotate("EndpointSlice", "radio-balancer", unplanned_switches=json.dumps(times))


def test_a_calm_pair() -> None:
    world = serving_pair()
    assert state(world, "Flapping")[:2] == ("False", "Calm")
    unplanned(world, 9, 5, 1)
    assert "Flapping" not in reasons(world.carry_out(KIND, "radio"))
    assert state(world, "Flapping")[0] == "False", "three are allowed"


def test_flapping_is_told_once_and_ends_by_itself() -> None:
    world = serving_pair()
    unplanned(world, 9, 5, 3, 1)
    plan = world.carry_out(KIND, "radio")
    assert reasons(plan).count("Flapping") == 1
    assert state(world, "Flapping")[:2] == ("True", "TooManySwitches")
    assert state(world, "Ready")[0] == "True", "the pair serves"
    assert plan.requeue_after is not None and 55 < plan.requeue_after <= 60
    plan = world.carry_out(KIND, "radio")
    assert plan.notices == ()
    world.now += timedelta(seconds=plan.requeue_after or 0)
    world.record("radio")
    world.carry_out(KIND, "radio")
    assert state(world, "Flapping")[0] == "False"


def test_switches_of_a_clock_that_was_wrong_do_not_flap_for_ever() -> None:
    world = serving_pair()
    unplanned(world, -60, -59, -58, -57)
    world.carry_out(KIND, "radio")
    assert state(world, "Flapping")[0] == "False", "noted while a node's clock was an hour ahead"
    unplanned(world, 3, 2, 1, -0.1)
    world.carry_out(KIND, "radio")
    assert state(world, "Flapping")[0] == "True", "a clock that is a little ahead"


def test_the_limit_is_the_users() -> None:
    world = serving_pair()
    world.edit(KIND, "radio", loadBalancer={"flapLimit": {"switches": 1, "period": "1h"}})
    unplanned(world, 50, 40)
    world.carry_out(KIND, "radio")
    assert "More than 1 unplanned switches in 1h" in state(world, "Flapping")[2]


def test_a_budget_above_the_worst_gap_is_enough() -> None:
    world = serving_pair()
    assert state(world, "ClientBudget")[:2] == ("True", "Enough")


def test_a_budget_below_the_loss_of_a_balancer_is_told_once_with_numbers() -> None:
    world = serving_pair()
    world.edit(KIND, "radio", clients={"totalBudget": "5s"})
    plan = world.carry_out(KIND, "radio")
    assert reasons(plan).count("ClientBudget") == 1
    status, reason, message = state(world, "ClientBudget")
    assert (status, reason) == ("False", "TooSmall")
    assert "clients.totalBudget is 5s" in message and "above 12300ms" in message
    assert world.carry_out(KIND, "radio").notices == ()


def test_a_budget_below_the_last_gap() -> None:
    world = serving_pair()
    world.record("radio", active="b", count=1, last={**SWITCH, "gapMs": 21_000})
    world.carry_out(KIND, "radio")
    message = state(world, "ClientBudget")[2]
    assert "the last switch took 21000ms" in message and "above 21000ms" in message


def test_a_budget_below_what_slow_checks_take_to_notice() -> None:
    world = serving_pair()
    world.edit(KIND, "radio", health={"path": "/status", "timeout": "8s"})
    world.carry_out(KIND, "radio")
    # 250 ms until the next check, three that take 8 s, two pauses of 25 ms
    status, _, message = state(world, "ClientBudget")
    assert status == "False" and "left after 24300ms" in message
    assert "no server after 30300ms" in message and "above 30300ms" in message


def test_too_few_attempts_are_used_up_before_the_budget() -> None:
    world = serving_pair()
    world.edit(KIND, "radio", clients={"attempts": 8})
    world.carry_out(KIND, "radio")
    # half of 250, 500, 1000, and four times 2000 ms
    status, _, message = state(world, "ClientBudget")
    assert status == "False" and "attempts is 8, which is 4875ms" in message
    assert "more attempts" in message


def test_nothing_is_said_about_a_balancer_of_the_site() -> None:
    own = {"type": "External", "externalAddress": {"host": "dpe.studio.example"}}
    world = World(server(loadBalancer=own))
    world.settle(KIND, "radio")
    kinds = {entry["type"] for entry in world.get(KIND, "radio")["status"]["conditions"]}
    assert not kinds & {"Flapping", "ClientBudget"}


def test_the_site_says_what_its_pair_says() -> None:
    world = World(cluster(clients={"totalBudget": "6s"}))
    for _ in range(3):
        world.settle(constants.KIND_CLUSTER, "radio")
        world.settle(KIND, "radio")
        world.run_all()
    world.record("radio")
    unplanned(world, 4, 3, 2, 1)
    world.settle(KIND, "radio")
    plan = world.carry_out(constants.KIND_CLUSTER, "radio")
    for kind, status in (("Flapping", "True"), ("ClientBudget", "False")):
        found = world.condition(constants.KIND_CLUSTER, "radio", kind)
        assert found["status"] == status
        assert found["message"] == state(world, kind)[2]
    assert not {"Flapping", "ClientBudget"} & set(reasons(plan)), "the pair has told it"
