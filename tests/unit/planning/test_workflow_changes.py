# SPDX-License-Identifier: Apache-2.0
"""Changes of mode, number, schedule and title: never two acting where one must act."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.workflow_world import (
    FOLDER,
    KINDS,
    NAME,
    SCHEDULER,
    TITLES,
    WORKER,
    WorkflowWorld,
    concurrent,
    standby,
)

from dpe_operator.api import constants
from dpe_operator.planning.objects import Obj, dig, is_terminating
from dpe_operator.planning.workflow_change import Declared, declared_in, kept_apart

MEMORY = {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}
BERLIN = {"timeZone": "Europe/Berlin"}


def mode(obj: Obj) -> str:
    labels = dig(obj, "spec", "template", "metadata", "labels") or obj["metadata"]["labels"]
    return str(labels[constants.LABEL_MODE])


def modes(world: WorkflowWorld) -> set[str]:
    """The modes of all that is there and may act."""
    return {mode(obj) for obj in (*world.deployments(), *world.pods())}


def other(kind: str, wanted: str) -> dict[str, Any]:
    """Changes that bring a component into the other mode."""
    if wanted == "Standby":
        return {"mode": "Standby"}
    title = {"titleTemplate": TITLES[kind]} if kind in TITLES else {}
    return {"mode": "Concurrent", **title}


# --- mode


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wanted", ["Concurrent", "Standby"])
def test_a_change_of_mode_waits_for_the_last_pod_of_the_other(kind: str, wanted: str) -> None:
    world = WorkflowWorld(standby(kind) if wanted == "Concurrent" else concurrent(kind))
    world.well()
    former = modes(world)
    world.change(**other(kind, wanted))
    plan = world.carry_out(kind, NAME)
    assert plan.deletions and all(deletion.foreground for deletion in plan.deletions)
    assert not plan.complete and plan.requeue_after is not None
    world.work()
    assert modes(world) == former
    part = "MembersReady" if wanted == "Concurrent" else "CandidatesReady"
    assert world.said(part)[:2] == ("False", "ChangingMode")
    assert world.said("Progressing")[0] == "True" and world.said("Degraded")[0] == "False"
    (one, *_) = world.deployments()  # its object may be gone before its pods are
    world.remove("Deployment", one["metadata"]["name"])
    world.work()
    assert modes(world) == former
    for pod in world.pods():
        world.remove("Pod", pod["metadata"]["name"])
    world.end()
    world.well(epoch=2)
    assert modes(world) == {wanted.lower()}
    assert world.said("Ready")[0] == "True"


def test_the_rights_of_candidates_stay_until_they_have_given_the_lease_back() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.change(mode="Concurrent")
    world.work()
    for kind in ("Role", "RoleBinding", "ServiceAccount", "Lease"):
        assert world.has(kind, world.child())
    world.end()
    world.work()
    for kind in ("Role", "RoleBinding", "ServiceAccount"):
        assert not world.has(kind, world.child())


def test_the_lease_outlives_a_change_of_mode_and_its_epoch_counts_on() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well(epoch=7)
    for wanted in ("Concurrent", "Standby"):
        world.change(mode=wanted)
        world.work()
        world.end()
        world.work()
    assert world.lease()["spec"]["leaseTransitions"] == 7


def test_a_mode_that_is_set_back_half_way_comes_back_when_the_pods_are_gone() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.change(mode="Concurrent")
    world.work()
    world.change(mode="Standby")
    world.work()
    assert modes(world) == {"standby"} and is_terminating(world.deployments()[0])
    world.end()
    world.well(epoch=2)
    assert world.said("Ready")[0] == "True"


def test_a_pod_that_has_ended_is_not_waited_for() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    for pod in world.pods():
        pod["status"]["phase"] = "Failed"
    world.remove("Deployment", world.child())
    world.change(mode="Concurrent")
    world.work()
    assert world.has("Deployment", world.child("-concurrent"))


def test_claims_of_the_other_mode_stay() -> None:
    world = WorkflowWorld(standby(FOLDER, memory=MEMORY))
    world.well()
    world.change(**other(FOLDER, "Concurrent"))
    world.work()
    world.end()
    world.work()
    assert world.has("PersistentVolumeClaim", world.child("-memory"))
    assert world.has("PersistentVolumeClaim", world.child("-memory-2"))


# --- members


def acting(world: WorkflowWorld) -> dict[str, set[Declared]]:
    """What each member's pods are declared to do."""
    found: dict[str, set[Declared]] = {}
    for pod in world.pods():
        number = pod["metadata"]["labels"][constants.LABEL_MEMBER]
        found.setdefault(number, set()).add(declared_in(pod["spec"]))
    return found


def doubles(world: WorkflowWorld) -> list[tuple[Declared, Declared]]:
    """Pairs of pods of different members that would do the same work twice."""
    found = acting(world)
    return [
        (one, two)
        for first, second in combinations(sorted(found), 2)
        for one in found[first]
        for two in found[second]
        if not kept_apart(one, two)
    ]


def step(world: WorkflowWorld) -> None:
    """One step of the controllers: Recreate ends the old pod, then makes the new one."""
    world.end()
    for deployment in world.deployments():
        if is_terminating(deployment):
            continue
        name = deployment["metadata"]["name"]
        wanted = declared_in(deployment["spec"]["template"]["spec"])
        old = [pod for pod in world.pods_of(deployment) if declared_in(pod["spec"]) != wanted]
        if old:
            for pod in old:
                world.remove("Pod", pod["metadata"]["name"])
        else:
            world.run(name)


def roll(world: WorkflowWorld, kind: str, *, most: int = 60) -> int:
    """Reconcile and let controllers work, checking each step; return the steps it took."""
    for count in range(most):
        world.carry_out(kind, NAME)
        assert doubles(world) == []
        step(world)
        assert doubles(world) == []
        world.work()
        if world.said("Ready")[0] == "True":
            return count
    raise AssertionError(f"not done: {world.status}")


def schedules(world: WorkflowWorld) -> list[str | None]:
    return [entry.get("schedule") for entry in world.status["members"]]


def test_members_are_given_their_own_schedules() -> None:
    world = WorkflowWorld(concurrent(SCHEDULER, schedule="0 2 * * *", replicas=3, **BERLIN))
    world.well()
    assert schedules(world) == ["0 2 * * *", "30 2 * * *", "0 3 * * *"]
    assert doubles(world) == []


def test_one_member_at_a_time_is_updated_and_the_next_when_it_is_well() -> None:
    world = WorkflowWorld(concurrent(SCHEDULER))
    world.well()
    world.change(image="registry.example.com/dpe:2.16")
    plan = world.carry_out(SCHEDULER, NAME)
    assert "updating member 2, one member at a time" in world.said("MembersReady")[2]
    assert plan.requeue_after == 3.0
    world.work()
    images = [
        deployment["spec"]["template"]["spec"]["containers"][0]["image"][-4:]
        for deployment in world.deployments()
    ]
    assert images == ["2.15", "2.16"]
    world.run(world.child("-2"), ready=False)
    world.work()
    assert "waiting for member 2" in world.said("MembersReady")[2]
    roll(world, SCHEDULER)
    assert world.said("Ready")[0] == "True"


def test_a_member_that_does_not_come_up_stops_the_update() -> None:
    world = WorkflowWorld(concurrent(SCHEDULER))
    world.well()
    world.change(image="wrong")
    world.work()
    world.run(world.child("-2"), ready=False)
    pod = world.get("Pod", world.child("-2-0"))
    pod["status"]["containerStatuses"] = [
        {"name": "dpe", "state": {"waiting": {"reason": "ImagePullBackOff"}}}
    ]
    world.work()
    assert world.said("Degraded")[0] == "True"
    assert "correct the spec or set it back" in world.said("MembersReady")[2]
    world.change(image="registry.example.com/dpe:2.15")
    roll(world, SCHEDULER)


def test_a_schedule_that_moves_onto_its_neighbours_waits_for_it() -> None:
    world = WorkflowWorld(concurrent(SCHEDULER, schedule="0 2 * * *", **BERLIN))
    world.well()
    world.change(schedule="30 1 * * *")  # member 2 would fire at 2:00, as member 1 still does
    world.work()
    assert declared_of(world) == ["30 1 * * *", "30 2 * * *"]
    roll(world, SCHEDULER)
    assert declared_of(world) == ["30 1 * * *", "0 2 * * *"]


def declared_of(world: WorkflowWorld) -> list[str | None]:
    return [
        declared_in(deployment["spec"]["template"]["spec"]).schedule
        for deployment in world.deployments()
    ]


def test_two_that_swap_their_schedules_are_never_both_there_with_one() -> None:
    own = [{"schedule": "0 2 * * *"}, {"schedule": "0 4 * * *"}]
    world = WorkflowWorld(concurrent(SCHEDULER, schedules=own, **BERLIN))
    world.well()
    world.change(schedules=own[::-1])
    plan = world.carry_out(SCHEDULER, NAME)
    assert [deletion.ref.name for deletion in plan.deletions] == [world.child("-2")]
    assert "taken away for a moment" in world.said("MembersReady")[2]
    roll(world, SCHEDULER)
    assert schedules(world) == ["0 4 * * *", "0 2 * * *"]


def test_another_title_never_acts_beside_the_former_one() -> None:
    world = WorkflowWorld(concurrent(FOLDER, replicas=3))
    world.well()
    world.change(titleTemplate="new-%filename%")
    roll(world, FOLDER)
    assert {found.title for entry in acting(world).values() for found in entry} == {
        "new-%filename%"
    }


def test_fewer_members_their_claims_stay() -> None:
    world = WorkflowWorld(concurrent(FOLDER, replicas=3, memory=MEMORY))
    world.well()
    world.change(replicas=2)
    world.work()
    world.end()
    world.well()
    assert not world.has("Deployment", world.child("-3"))
    assert world.has("PersistentVolumeClaim", world.child("-memory-3"))
    assert len(world.status["members"]) == 2


def test_a_deployment_somebody_deleted_comes_back_when_its_pod_is_gone() -> None:
    world = WorkflowWorld(concurrent(SCHEDULER))
    world.well()
    world.remove("Deployment", world.child("-1"))
    world.work()
    assert not world.has("Deployment", world.child("-1"))
    assert (
        f"member 1 is made when pod {world.child('-1-0')} is gone"
        in (world.said("MembersReady")[2])
    )
    world.remove("Pod", world.child("-1-0"))
    world.work()
    assert world.has("Deployment", world.child("-1"))


TIMES = st.sampled_from(["0 1 * * *", "0 2 * * *", "0 3 * * *", "0 4 * * *"])
LISTS = st.lists(TIMES, min_size=2, max_size=4, unique=True)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=st.lists(LISTS, min_size=2, max_size=4), patience=st.integers(0, 3))
def test_whatever_schedules_follow_each_other_no_two_members_meet(
    changes: list[list[str]], patience: int
) -> None:
    def written(times: list[str]) -> dict[str, Any]:
        return {"schedules": [{"schedule": time} for time in times], "replicas": len(times)}

    world = WorkflowWorld(concurrent(SCHEDULER, **written(changes[0]), **BERLIN))
    world.well()
    for times in changes[1:]:
        world.change(**written(times))
        for _ in range(patience):  # the next change comes before this one is through
            world.carry_out(SCHEDULER, NAME)
            assert doubles(world) == []
            step(world)
            assert doubles(world) == []
    roll(world, SCHEDULER)
    assert schedules(world) == changes[-1]


KIND = st.sampled_from(KINDS)
ACTS = st.lists(
    st.sampled_from(["switch", "reconcile", "start", "end", "lose a pod", "delete", "restart"]),
    max_size=14,
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(kind=KIND, begin=st.booleans(), acts=ACTS)
def test_whatever_happens_the_two_modes_never_meet(kind: str, begin: bool, acts: list[str]) -> None:
    world = WorkflowWorld(standby(kind) if begin else concurrent(kind))
    for act in acts:
        happen(world, kind, act)
        assert len(modes(world)) <= 1, act
    for _ in range(4):
        world.work()
        assert len(modes(world)) <= 1
        world.end()
        world.start()
    if world.get(kind, NAME)["spec"]["mode"] == "Standby":
        world.hold(world.child("-0"), epoch=99)
    world.work()
    assert world.said("Ready")[0] == "True"


def happen(world: WorkflowWorld, kind: str, act: str) -> None:
    if act == "switch":
        now = world.get(kind, NAME)["spec"]["mode"]
        world.change(**other(kind, "Standby" if now == "Concurrent" else "Concurrent"))
    elif act == "reconcile":
        world.carry_out(kind, NAME)
    elif act == "start":
        world.start()
    elif act == "end":
        world.end()
    elif act == "lose a pod" and world.pods():
        world.remove("Pod", world.pods()[0]["metadata"]["name"])
    elif act == "delete" and world.deployments():
        world.remove("Deployment", world.deployments()[0]["metadata"]["name"])
    elif act == "restart":
        world.memories.pop(next(ref for ref in world.objects if ref.kind == kind), None)
