# SPDX-License-Identifier: Apache-2.0
"""Pods that hold a token of a service account that is no more are replaced; no others are."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from tests.support.pair_world import KIND, reasons, serving_pair
from tests.support.planning_world import World
from tests.support.workflow_world import KINDS, NAME, WORKER, WorkflowWorld, standby

from dpe_operator.planning.accounts import TOKEN_LIFE
from dpe_operator.planning.objects import Obj, condition
from dpe_operator.planning.plan import Plan

MINUTE = timedelta(minutes=1)


def created(obj: Obj, at: datetime) -> None:
    obj["metadata"]["creationTimestamp"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")


def ready(pod: Obj, status: str) -> None:
    for entry in pod["status"]["conditions"]:
        if entry["type"] == "Ready":
            entry["status"] = status
    assert condition(pod, "Ready")


def aged(world: World, account: str, pods: list[Obj], *, account_age: timedelta) -> None:
    """The account is so old; the pods are from before it."""
    created(world.get("ServiceAccount", account), world.now - account_age)
    for pod in pods:
        created(pod, world.now - account_age - MINUTE)


def gone(plan: Plan) -> set[str]:
    return {one.ref.name for one in plan.deletions if one.ref.kind == "Pod"}


# candidates


@pytest.fixture(params=KINDS)
def standing_by(request: pytest.FixtureRequest) -> WorkflowWorld:
    memory = {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}
    own = {"memory": memory} if "Watcher" in request.param else {}
    world = WorkflowWorld(standby(request.param, **own))
    world.well()
    return world


def refused(world: WorkflowWorld, *, age: timedelta = MINUTE, status: str = "False") -> Plan:
    """Plan with an account of this age and candidates from before it."""
    aged(world, world.child(), world.pods(), account_age=age)
    for pod in world.pods():
        ready(pod, status)
    return world.plan(world.kind, NAME)


def test_candidates_that_the_api_server_refuses_are_replaced(standing_by: WorkflowWorld) -> None:
    plan = refused(standing_by)
    assert gone(plan) == {standing_by.child("-0"), standing_by.child("-1")}
    uids = {pod["metadata"]["uid"] for pod in standing_by.pods()}
    assert {one.uid for one in plan.deletions if one.ref.kind == "Pod"} == uids
    assert all(one.urgent for one in plan.deletions if one.ref.kind == "Pod")
    told = [one.notice.note for one in plan.deletions if one.notice is not None]
    assert reasons(plan).count("TokenRefused") == 2
    assert len(told) == 2 and f"ServiceAccount {standing_by.child()}" in told[0]


def test_one_that_the_api_server_answers_is_left_alone(standing_by: WorkflowWorld) -> None:
    """Its token was renewed already, or it is refused only since a moment ago."""
    plan = refused(standing_by, status="True")
    assert gone(plan) == set() and "TokenRefused" not in reasons(plan)


@pytest.mark.parametrize("problem", ["younger", "ending", "of another account", "token renewed"])
def test_others_are_left_alone(problem: str) -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    age = TOKEN_LIFE + MINUTE if problem == "token renewed" else MINUTE
    aged(world, world.child(), world.pods(), account_age=age)
    for pod in world.pods():
        ready(pod, "False")
        if problem == "younger":
            created(pod, world.now)
        elif problem == "ending":
            pod["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
        elif problem == "of another account":
            pod["spec"]["serviceAccountName"] = "the-users-own"
    assert gone(world.plan(WORKER, NAME)) == set()


def test_times_that_cannot_be_read_delete_nothing() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    aged(world, world.child(), world.pods(), account_age=MINUTE)
    for pod in world.pods():
        ready(pod, "False")
        pod["metadata"]["creationTimestamp"] = "yesterday"
    assert gone(world.plan(WORKER, NAME)) == set()


# balancers

BALANCERS = ("radio-balancer-0", "radio-balancer-1")


@pytest.fixture
def pair() -> World:
    world = serving_pair()
    aged(world, "radio-balancer", [world.get("Pod", name) for name in BALANCERS],
         account_age=MINUTE)  # fmt: skip
    return world


def test_balancers_are_replaced_one_after_the_other_the_routed_one_last(pair: World) -> None:
    plan = pair.plan(KIND, "radio")
    assert gone(plan) == {BALANCERS[1]}, "the other one is routed"
    assert "TokenRefused" in reasons(plan)

    pair.get("Pod", BALANCERS[1])["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    assert gone(pair.plan(KIND, "radio")) == set(), "its successor is not there yet"

    successor = pair.get("Pod", BALANCERS[1])
    del successor["metadata"]["deletionTimestamp"]
    created(successor, pair.now)
    ready(successor, "False")
    assert gone(pair.plan(KIND, "radio")) == set(), "its successor is not ready yet"
    ready(successor, "True")
    assert gone(pair.plan(KIND, "radio")) == {BALANCERS[0]}


@pytest.mark.parametrize("unwell", [BALANCERS[:1], BALANCERS[1:], BALANCERS])
def test_the_routed_one_stays_though_former_ones_are_not_ready(
    pair: World, unwell: tuple[str, ...]
) -> None:
    """Nobody could take over from it before the other one is new."""
    for name in unwell:
        ready(pair.get("Pod", name), "False")
    assert gone(pair.plan(KIND, "radio")) == {BALANCERS[1]}


def test_the_last_balancer_is_not_deleted(pair: World) -> None:
    pair.remove("Pod", BALANCERS[1])
    assert gone(pair.plan(KIND, "radio")) == set()


def test_balancers_of_the_account_that_is_there_stay(pair: World) -> None:
    for name in BALANCERS:
        created(pair.get("Pod", name), pair.now)
    plan = pair.plan(KIND, "radio")
    assert gone(plan) == set() and "TokenRefused" not in reasons(plan)


def test_a_balancer_that_was_evicted_meanwhile_holds_nothing_up(pair: World) -> None:
    first = BALANCERS[0]
    evicted = pair.get("Pod", first)
    created(evicted, pair.now)
    evicted["status"]["phase"] = "Failed"
    ready(evicted, "False")
    pair.put({**evicted, "metadata": {**evicted["metadata"], "name": "radio-balancer-new"},
              "status": pair.get("Pod", BALANCERS[1])["status"]})  # fmt: skip
    assert gone(pair.plan(KIND, "radio")) == {BALANCERS[1]}
