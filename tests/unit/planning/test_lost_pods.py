# SPDX-License-Identifier: Apache-2.0
"""Pods whose machine is lost stay, told to end, until it is back; and Deployments that stand still
because of somebody's hand. What can go on goes on, and the rest says what it waits for."""

from datetime import timedelta

import pytest
from tests.support.pair_world import KIND, image, request, serving_pair, state
from tests.support.planning_world import World
from tests.support.workflow_world import NAME, SCHEDULER, WorkflowWorld, concurrent

from dpe_operator.planning.objects import Obj

NEWER = "dpe:2"


def image_of(world: World, deployment: str) -> str:
    template = world.get("Deployment", deployment)["spec"]["template"]
    return str(template["spec"]["containers"][0]["image"])


def told_to_end(world: World, name: str, *, seconds_ago: float) -> Obj:
    """A pod like `name` on a machine that is away: its time to stop is over since then."""
    pod = world.get("Pod", name)
    gone = (world.now - timedelta(seconds=seconds_ago)).isoformat().replace("+00:00", "Z")
    former = {
        **pod,
        "metadata": {**pod["metadata"], "name": f"{name}-former", "deletionTimestamp": gone},
        "spec": {**pod["spec"], "nodeName": "worker-3"},
    }
    return world.put(former)


def update_of_the_active_one(world: World) -> None:
    world.edit(KIND, "radio", members=[{"name": "a", "image": NEWER}, {"name": "b"}])
    world.carry_out(KIND, "radio")


def test_an_update_goes_on_past_the_pod_of_a_machine_that_is_lost() -> None:
    world = serving_pair()
    told_to_end(world, "radio-member-b-0", seconds_ago=61)
    update_of_the_active_one(world)
    assert request(world) == "b@0", "b has a new pod, which is ready and up"


def test_a_pod_that_may_still_end_is_waited_for() -> None:
    world = serving_pair()
    told_to_end(world, "radio-member-b-0", seconds_ago=59)
    update_of_the_active_one(world)
    assert request(world) is None and state(world, "Ready")[0] == "False"


def recreated(world: World, *, seconds_ago: float) -> None:
    """The standby is updated, and its former pod is all there is."""
    world.edit(KIND, "radio", image=NEWER)
    world.carry_out(KIND, "radio")
    assert image(world, "b") == NEWER
    told_to_end(world, "radio-member-b-0", seconds_ago=seconds_ago)
    world.remove("Pod", "radio-member-b-0")
    live = world.get("Deployment", "radio-member-b")
    live["status"] = {"observedGeneration": live["metadata"]["generation"]}
    world.carry_out(KIND, "radio")


@pytest.mark.parametrize(("seconds_ago", "hard"), [(0, False), (61, True)])
def test_a_member_whose_former_pod_does_not_go_says_so(seconds_ago: float, hard: bool) -> None:
    world = serving_pair()
    recreated(world, seconds_ago=seconds_ago)
    text = state(world, "MembersReady")[2]
    assert "pod radio-member-b-0-former on worker-3" in text and "not gone" in text
    assert ("kubectl delete pod radio-member-b-0-former --force" in text) == hard
    assert state(world, "Degraded")[0] == str(hard)


def test_a_deployment_that_somebody_paused_is_named_with_the_cure() -> None:
    world = serving_pair()
    world.edit(KIND, "radio", image=NEWER)
    world.carry_out(KIND, "radio")
    live = world.get("Deployment", "radio-member-b")
    live["spec"]["paused"] = True
    live["status"]["observedGeneration"] = live["metadata"]["generation"]
    live["status"]["updatedReplicas"] = 0
    plan = world.carry_out(KIND, "radio")
    assert "kubectl rollout resume deployment radio-member-b" in state(world, "Ready")[2]
    assert state(world, "Degraded")[0] == "True"
    assert plan.requeue_after == 30.0, "to resume it is an event"


def test_a_deployment_that_is_kept_from_going_is_named_with_what_keeps_it() -> None:
    world = serving_pair()
    meta = world.get("Deployment", "radio-member-b")["metadata"]
    meta["deletionTimestamp"] = "2026-11-22T11:00:00Z"
    meta["finalizers"] = ["example.com/audit"]
    world.edit(KIND, "radio", image=NEWER)
    world.get("Deployment", "radio-member-b")["status"] = {}
    world.carry_out(KIND, "radio")
    text = state(world, "MembersReady")[2]
    assert "Deployment radio-member-b is being deleted" in text and "example.com/audit" in text


def test_concurrent_members_are_updated_past_such_a_pod() -> None:
    world = WorkflowWorld(concurrent(SCHEDULER))
    world.well()
    told_to_end(world, world.child("-1-0"), seconds_ago=61)
    world.change(image=NEWER)
    world.carry_out(SCHEDULER, NAME)
    changed = {image_of(world, world.child(f"-{number}")) for number in (1, 2)}
    assert len(changed) == 2, "one at a time, and the other is well"


# --- pods that have ended: evicted, or of a machine that was shut down; Kubernetes keeps them


def evicted(world: World, name: str) -> Obj:
    """A pod that has ended before `name` was made in its stead."""
    made = (world.now - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
    world.get("Pod", name)["metadata"]["creationTimestamp"] = made
    pod = world.get("Pod", name)
    former = (world.now - timedelta(hours=2)).isoformat().replace("+00:00", "Z")
    meta = {**pod["metadata"], "name": f"{name}-evicted", "creationTimestamp": former}
    status = {"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}
    return world.put({**pod, "metadata": meta, "status": status})


def test_an_evicted_pod_of_last_week_holds_up_no_update() -> None:
    world = serving_pair()
    evicted(world, "radio-member-b-0")
    update_of_the_active_one(world)
    assert request(world) == "b@0"


def test_an_evicted_pod_that_was_replaced_is_no_trouble_in_an_update() -> None:
    world = serving_pair()
    evicted(world, "radio-member-b-0")
    world.edit(KIND, "radio", image=NEWER)
    world.carry_out(KIND, "radio")
    world.run("radio-member-b", ready=False)
    world.carry_out(KIND, "radio")
    assert "low on memory" not in state(world, "Ready")[2]
    assert state(world, "Degraded")[0] == "False"


def test_a_pod_that_ended_and_has_no_successor_is_told_of() -> None:
    world = serving_pair()
    evicted(world, "radio-member-b-0")
    world.remove("Pod", "radio-member-b-0")
    world.get("Deployment", "radio-member-b")["status"]["readyReplicas"] = 0
    world.carry_out(KIND, "radio")
    assert "low on memory" in state(world, "Ready")[2]
