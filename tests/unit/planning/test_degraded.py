# SPDX-License-Identifier: Apache-2.0
"""Degraded, the condition that alerts are made from, is True wherever waiting does not help."""

from datetime import timedelta

import pytest
from tests.support.pair_world import KIND, serving_pair, state
from tests.support.planning_world import World, cluster, server

from dpe_operator.planning.summary import with_failure

NEWER = [{"name": "a"}, {"name": "b", "image": "dpe:2"}]


def updated_to_a_bad_page(world: World, *, ready_for: float) -> None:
    """Update the standby alone: its pod is ready for so many seconds, its page is wrong."""
    world.edit(KIND, "radio", members=NEWER)
    world.settle(KIND, "radio")
    world.now += timedelta(seconds=60 - ready_for)  # pods that are run are ready for a minute
    world.run("radio-member-b")
    world.now -= timedelta(seconds=60 - ready_for)
    world.record("radio", b="DOWN")


def test_a_standby_that_stays_down_after_its_update_is_degraded() -> None:
    world = serving_pair()
    updated_to_a_bad_page(world, ready_for=60)
    plan = world.carry_out(KIND, "radio")
    assert state(world, "Degraded")[:2] == ("True", "MemberMissing")
    assert state(world, "Progressing")[0] == "False" and plan.requeue_after is None


def test_a_standby_that_has_just_been_updated_is_given_time_to_come_up() -> None:
    world = serving_pair()
    updated_to_a_bad_page(world, ready_for=20)
    plan = world.carry_out(KIND, "radio")
    assert state(world, "Degraded")[0] == "False"
    assert plan.requeue_after == 40.0, "no event tells that the time is over"
    world.now += timedelta(seconds=40)
    world.record("radio", b="DOWN")
    world.carry_out(KIND, "radio")
    assert state(world, "Degraded")[0] == "True"


def test_a_pair_that_never_serves_because_of_its_page_is_degraded() -> None:
    world = World(server())
    world.settle(KIND, "radio")
    world.now += timedelta(seconds=25)
    world.run_all()
    world.now -= timedelta(seconds=25)
    plan = world.settle(KIND, "radio")
    assert state(world, "BalancerReady")[1] == "NoActiveMember"
    assert state(world, "Degraded")[0] == "False" and plan.requeue_after == 25.0
    world.now += timedelta(seconds=25)
    plan = world.settle(KIND, "radio")
    assert state(world, "Degraded")[:2] == ("True", "NoActiveMember")
    assert plan.requeue_after is None


@pytest.mark.parametrize("well", [True, False])
def test_what_is_lost_while_a_spec_is_refused_is_degraded(well: bool) -> None:
    world = serving_pair()
    world.edit(KIND, "radio", env=[{"name": "DPE_SERVICE_ROOT", "value": "https://other"}])
    world.settle(KIND, "radio")
    assert state(world, "Accepted")[0] == "False" and state(world, "Degraded")[0] == "False"
    world.now += timedelta(seconds=10)
    world.record("radio", b="UP" if well else "DOWN")
    world.run("radio-balancer", ready=well)
    for _ in range(2):
        world.carry_out(KIND, "radio")
        assert state(world, "Degraded")[0] == ("False" if well else "True")


def test_balancers_that_nobody_routes_after_their_update_are_degraded() -> None:
    world = serving_pair()
    world.edit(KIND, "radio", loadBalancer={"timings": {"fall": 5}})
    world.carry_out(KIND, "radio")
    world.get("Deployment", "radio-balancer")["status"]["updatedReplicas"] = 1
    world.carry_out(KIND, "radio")
    assert state(world, "BalancerReady")[1] == "BalancerMissing"
    world.run("radio-balancer")
    world.record("radio", held=False)
    world.carry_out(KIND, "radio")
    assert state(world, "BalancerReady")[1] == "NotRouted"
    assert state(world, "Degraded")[0] == "True"


# --- while the API server refuses a change


def refuse(world: World, kind: str = KIND, name: str = "radio") -> None:
    """Reconcile where the API server refuses a child for good."""
    situation = world.situation(kind, name)
    status = with_failure(situation, world.plan(kind, name).status, "no", final=True)
    world.get(kind, name)["status"] = status


def test_a_refused_edit_of_what_runs_is_degraded_until_it_is_taken_back() -> None:
    world = serving_pair()
    for _ in range(2):
        refuse(world)
        assert state(world, "Ready")[:2] == ("False", "ApplyFailed")
        assert state(world, "Degraded")[:2] == ("True", "ApplyFailed")
        assert state(world, "Progressing")[0] == "False"
    world.carry_out(KIND, "radio")
    assert [state(world, kind)[0] for kind in ("Ready", "Degraded", "Progressing")] == [
        *("True", "False", "False"),
    ]


@pytest.mark.parametrize("lost_first", [True, False])
def test_what_is_lost_beside_a_refusal_is_told_and_stays_so(lost_first: bool) -> None:
    """That a server was there is known from the conditions alone."""
    world = serving_pair()
    if not lost_first:
        refuse(world)
    world.now += timedelta(seconds=10)
    world.run("radio-member-b", ready=False)
    world.record("radio", b="DOWN")
    if lost_first:
        world.carry_out(KIND, "radio")
    for _ in range(2):
        refuse(world)
        assert state(world, "Degraded")[:2] == ("True", "MemberMissing")
    world.carry_out(KIND, "radio")
    assert state(world, "Degraded")[:2] == ("True", "MemberMissing")
    assert state(world, "Progressing")[0] == "False"


def test_a_site_that_starts_is_degraded_no_longer_than_its_farm_is_refused() -> None:
    """Such as by rights that come a second later."""
    world = World(cluster())
    site, farm = ("DpeCluster", "radio"), ("ProcessorFarm", "radio-audio")
    world.settle(*site)
    world.settle(KIND, "radio")
    refuse(world, *farm)
    for _ in range(2):
        world.carry_out(*site)
        found = world.condition(*site, "Degraded")
        assert (found["status"], found["reason"]) == ("True", "ApplyFailed")
    world.carry_out(*farm)
    world.carry_out(*site)
    assert world.condition(*site, "Degraded")["status"] == "False"
    assert world.condition(*site, "Progressing")["status"] == "True"
