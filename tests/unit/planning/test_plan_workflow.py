# SPDX-License-Identifier: Apache-2.0
"""A workflow component of each kind in both modes: what is made, and what its status says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.workflow_world import (
    FOLDER,
    KINDS,
    NAME,
    SCHEDULER,
    TABLE,
    WORKER,
    WorkflowWorld,
    concurrent,
    standby,
)

from dpe_operator.api import constants
from dpe_operator.planning.objects import Obj

MEMORY = {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}


def kinds_of(plan: Any) -> list[str]:
    return sorted(child.ref.kind for child in plan.children)


@pytest.mark.parametrize("kind", KINDS)
def test_standby_is_one_deployment_over_one_lease(kind: str) -> None:
    world = WorkflowWorld(standby(kind))
    plan = world.work()
    assert kinds_of(plan) == [
        *("Deployment", "Lease", "PodDisruptionBudget", "Role", "RoleBinding", "ServiceAccount"),
    ]
    assert {child.ref.name for child in plan.children} == {world.child()}
    assert plan.complete and plan.deletions == () and plan.requeue_after is None
    assert world.status["mode"] == "Standby"


@pytest.mark.parametrize("kind", KINDS)
def test_concurrent_is_one_deployment_a_member_or_one_of_workers(kind: str) -> None:
    world = WorkflowWorld(concurrent(kind))
    plan = world.work()
    names = [child.ref.name for child in plan.children if child.ref.kind == "Deployment"]
    if kind == WORKER:
        assert names == [world.child("-concurrent")]
    else:
        assert names == [world.child("-1"), world.child("-2")]
    assert not {"Lease", "Role", "ServiceAccount"} & set(kinds_of(plan))


@pytest.mark.parametrize("kind", KINDS)
def test_standby_becomes_ready_when_one_acts(kind: str) -> None:
    world = WorkflowWorld(standby(kind))
    world.work()
    assert world.said("Ready")[:2] == ("False", "NotMade") or world.said("Ready")[0] == "False"
    assert world.said("Progressing")[0] == "True"
    world.start()
    world.work()
    assert world.said("CandidatesReady")[0] == "True"
    assert world.said("HolderActive")[:2] == ("False", "NotTakenYet")
    world.hold(world.child("-1"), epoch=1)
    world.work()
    assert world.said("Ready") == (
        *("True", "AllReady"),
        f"{world.child('-1')} acts, 1 more stands by.",
    )
    status = world.status
    assert (status["holder"], status["epoch"]) == (world.child("-1"), 1)
    assert status["replicas"] == status["readyReplicas"] == 2 and "since" in status


@pytest.mark.parametrize("kind", KINDS)
def test_concurrent_becomes_ready_when_all_are(kind: str) -> None:
    world = WorkflowWorld(concurrent(kind))
    world.well()
    assert world.said("Ready")[:2] == ("True", "AllReady")
    assert not world.states("HolderActive") and "holder" not in world.status
    members = world.status.get("members", [])
    assert members == ([] if kind == WORKER else [{"name": n, "ready": True} for n in ("1", "2")])


def test_a_standby_pod_that_is_missing_is_degraded_though_one_acts() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.run(world.child(), ready=False)
    world.work()
    assert world.said("HolderActive")[0] == "True"
    assert world.said("Degraded")[:2] == ("True", "CandidatesMissing")


# --- the Lease


def record_of(world: WorkflowWorld) -> str | None:
    notes = world.lease()["metadata"].get("annotations", {})
    found: str | None = notes.get(constants.ANNOTATION_ELECTOR_RECORD)
    return found


def test_only_the_first_lease_says_that_nobody_can_be_acting() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.work()
    assert json.loads(record_of(world) or "") == {"state": "released", "epoch": 0}
    assert world.lease()["spec"]["holderIdentity"] == ""


def test_a_deleted_lease_is_made_again_and_says_nothing() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.remove("Lease", world.child())
    world.work()
    assert record_of(world) is None


def test_a_deleted_lease_says_nothing_even_when_deployment_and_pods_are_gone_too() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.remove("Lease", world.child())
    world.remove("Deployment", world.child())
    for pod in world.pods():
        world.remove("Pod", pod["metadata"]["name"])
    world.work()
    assert record_of(world) is None


def test_pods_of_a_deleted_component_of_that_name_make_the_new_lease_wait() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    resource = world.get(WORKER, NAME)
    world.remove(WORKER, NAME)
    for kind in ("Lease", "Deployment", "PodDisruptionBudget", "Role", "RoleBinding"):
        world.remove(kind, world.child())
    world.remove("ServiceAccount", world.child())
    world.memories.clear()
    world.carry_out("DpeCluster", "radio")
    world.put({**resource, "metadata": {"name": NAME}})
    world.work()
    assert record_of(world) is None


def test_the_spec_of_the_lease_is_never_applied() -> None:
    world = WorkflowWorld(standby(WORKER))
    plan = world.work()
    (lease,) = [child for child in plan.children if child.ref.kind == "Lease"]
    assert "spec" not in lease.manifest and lease.initial is not None


def test_what_the_user_accepts_is_passed_on_to_the_lease_and_taken_back() -> None:
    world = WorkflowWorld(standby(TABLE, memory=MEMORY))
    world.well()
    world.annotate(TABLE, NAME, accept_memory_loss="7-abc", adopt_memory="x/y/z")
    plan = world.work()
    (lease,) = [child for child in plan.children if child.ref.kind == "Lease"]
    assert lease.manifest["metadata"]["annotations"] == {
        constants.ANNOTATION_ACCEPT_MEMORY_LOSS: "7-abc",
        constants.ANNOTATION_ADOPT_MEMORY: "x/y/z",
    }
    world.annotate(TABLE, NAME, accept_memory_loss=None, adopt_memory=None)
    plan = world.work()
    (lease,) = [child for child in plan.children if child.ref.kind == "Lease"]
    assert "annotations" not in lease.manifest["metadata"]


# --- who acts


def test_a_take_over_is_told_and_counted() -> None:
    world = WorkflowWorld(standby(SCHEDULER))
    world.well()
    world.hold(world.child("-1"), epoch=2)
    plan = world.carry_out(SCHEDULER, NAME)
    assert [(notice.reason, notice.note) for notice in plan.notices] == [
        ("TakenOver", "news-scheduler-1 acts instead of news-scheduler-0 (epoch 2)")
    ]
    assert world.carry_out(SCHEDULER, NAME).notices == ()


def test_between_two_holders_a_take_over_is_under_way() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.hold(None, epoch=1, ago=2)
    plan = world.work()
    assert world.said("HolderActive")[:2] == ("False", "TakingOver")
    assert world.said("Degraded")[0] == "False" and world.said("Progressing")[0] == "True"
    assert plan.requeue_after is not None and 25 < plan.requeue_after < 35


@pytest.mark.parametrize(
    ("resource", "needs"),
    [
        (standby(WORKER), "each needs the program /bin/dpe; kubectl logs"),
        (
            standby(TABLE, memory={"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}),
            "each needs the program /bin/dpe and the volume of its memory; kubectl logs",
        ),
    ],
    ids=["worker", "watcher with a memory"],
)
def test_candidates_of_which_none_is_ready_say_what_they_need(resource: Obj, needs: str) -> None:
    world = WorkflowWorld(resource)
    world.work()
    world.start(ready=False)
    world.work()
    status, reason, message = world.said("HolderActive")
    assert (status, reason) == ("False", "NotTakenYet")
    assert message.startswith("no candidate has begun to act yet: no candidate is ready")
    assert needs in message


def test_nobody_for_too_long_says_since_when_and_why() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.run(world.child(), ready=False)
    world.hold(None, epoch=1, ago=100)
    world.work()
    status, reason, message = world.said("HolderActive")
    assert (status, reason) == ("False", "NobodyActs")
    assert "nobody has acted since 2026-11-22T11:58:20Z: no candidate is ready" in message
    assert world.said("Degraded")[0] == "True" and "holder" not in world.status


def test_a_silent_holder_is_none() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.hold(world.child("-0"), epoch=1, ago=61)
    world.work()
    assert world.said("HolderActive")[1] == "HolderSilent"
    assert (
        "news-worker-0 holds the Lease and has been silent for 61 s"
        in (world.said("HolderActive")[2])
    )


def test_a_silent_holder_that_is_heard_again_is_noticed() -> None:
    """Nothing but the time of its Lease changes when the API server is back."""
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.hold(world.child("-0"), epoch=1, ago=61)
    assert world.work().requeue_after == 10.0
    world.hold(world.child("-0"), epoch=1, ago=1)
    assert world.work().requeue_after is None
    assert world.said("HolderActive")[0] == "True"


@pytest.mark.parametrize("ago", [-30, 0, 30, 59])
def test_clocks_of_nodes_may_differ(ago: float) -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.hold(world.child("-0"), epoch=1, ago=ago)
    world.work()
    assert world.said("HolderActive")[0] == "True"


def test_a_holder_that_may_fall_silent_is_looked_at_again() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    world.run(world.child(), ready=False)
    world.hold(world.child("-0"), epoch=1, ago=20)
    plan = world.work()
    assert plan.requeue_after == pytest.approx(41)


# --- memory


def test_one_claim_for_all_candidates_or_one_for_each_member() -> None:
    world = WorkflowWorld(standby(TABLE, memory=MEMORY))
    world.work()
    assert world.has("PersistentVolumeClaim", world.child("-memory"))
    other = WorkflowWorld(concurrent(FOLDER, memory=MEMORY))
    other.well()
    claims = [entry["claim"] for entry in other.status["members"]]
    assert claims == [other.child("-memory-1"), other.child("-memory-2")]


def test_memory_that_was_carried_over_is_shown() -> None:
    world = WorkflowWorld(standby(TABLE, memory=MEMORY))
    world.well()
    assert world.said("MemoryKept")[:2] == ("Unknown", "NotUsedYet")
    world.remember(
        state="Ready", reason="Carried", message="Epoch 7 started with the 3 files of epoch 6.",
        epoch=7, files=3, bytes=99, digest="d", at="2026-11-22T11:00:00Z", **{"from": 6},
    )  # fmt: skip
    world.work()
    assert world.said("MemoryKept") == (
        *("True", "Carried"),
        "Epoch 7 started with the 3 files of epoch 6.",
    )
    assert world.status["memory"] == {
        "epoch": 7, "from": 6, "files": 3, "bytes": 99, "at": "2026-11-22T11:00:00Z",
    }  # fmt: skip


def test_a_lost_memory_stops_everything_and_says_how_to_go_on() -> None:
    world = WorkflowWorld(standby(TABLE, memory=MEMORY))
    world.well()
    world.remember(state="Lost", reason="Gone", message="There was a memory ... To accept: x")
    world.hold(None, epoch=2, ago=60)
    plan = world.carry_out(TABLE, NAME)
    assert "MemoryNotKept" in [notice.reason for notice in plan.notices]
    world.work()
    assert world.said("MemoryKept") == (
        *("False", "MemoryLost"),
        "There was a memory ... To accept: x",
    )
    assert "see MemoryKept" in world.said("HolderActive")[2]
    assert world.said("Degraded")[0] == "True"
    world.remember(state="Ready", reason="LossAccepted", message="Accepted.", epoch=3)
    plan = world.carry_out(TABLE, NAME)
    assert ("Normal", "MemoryKept") in [(n.type, n.reason) for n in plan.notices]


@pytest.mark.parametrize(
    "memory", [{"epoch": "7", "files": -1}, {"epoch": True}, {"at": "x"}, {"from": 1.5}]
)
def test_what_somebody_wrote_into_the_annotation_breaks_no_status(memory: dict[str, Any]) -> None:
    world = WorkflowWorld(standby(TABLE, memory=MEMORY))
    world.well()
    world.remember(state="Ready", **memory)
    world.work()
    assert "memory" not in world.status
    world.lease()["metadata"]["annotations"][constants.ANNOTATION_MEMORY] = "[1"
    world.work()
    assert world.said("MemoryKept")[0] == "Unknown"


def test_a_claim_of_the_user_is_looked_up_by_name() -> None:
    memory = {"mountPath": "/var/lib/dpe/memory", "claimName": "mine"}
    world = WorkflowWorld(standby(FOLDER, memory=memory))
    world.work()
    assert "PersistentVolumeClaim mine is not there" in world.said("CandidatesReady")[2]
    assert not any(ref.kind == "PersistentVolumeClaim" for ref in world.objects)


# --- the operator's own upgrades


def test_an_upgrade_of_the_operator_restarts_nothing_until_it_is_approved() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    before = world.get("Deployment", world.child())["spec"]
    world.environment = type(world.environment)(
        balancer_image="x", elector_image="localhost/dpe/dpe-elector:newer"
    )
    world.work()
    assert world.get("Deployment", world.child())["spec"] == before
    assert world.status["outdated"] == [world.child()]
    world.annotate(WORKER, NAME, approve_upgrade="true")
    world.work()
    assert "newer" in json.dumps(world.get("Deployment", world.child())["spec"])
    assert "outdated" not in world.status


# --- its DpeCluster


def test_without_its_cluster_nothing_is_made() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.remove("DpeCluster", "radio")
    plan = world.work()
    assert plan.children == () and world.said("ClusterRefMissing")[0] == "True"
    assert world.said("Accepted")[:2] == ("Unknown", "ClusterNotKnown")


def test_a_cluster_that_goes_away_changes_nothing() -> None:
    world = WorkflowWorld(standby(WORKER))
    world.well()
    before = world.get("Deployment", world.child())["spec"]
    world.remove("DpeCluster", "radio")
    world.change(image="another:1")
    world.work()
    assert world.said("ClusterRefMissing")[0] == "True"
    assert world.get("Deployment", world.child())["spec"] == before


def test_a_name_that_is_taken_is_left_alone() -> None:
    world = WorkflowWorld(standby(WORKER))
    taken = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}
    world.put({**taken, "metadata": {"name": world.child()}, "spec": {}})
    plan = world.work()
    assert world.said("Accepted")[:2] == ("False", "NameConflict")
    assert plan.children == () and world.lease()["spec"] == {}
