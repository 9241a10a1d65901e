# SPDX-License-Identifier: Apache-2.0
"""Another service account: candidates keep the rights of the one they run under until they go."""

from __future__ import annotations

import copy

import pytest
from tests.support.workflow_world import KINDS, NAME, TABLE, WorkflowWorld, standby

from dpe_operator.planning.objects import Obj


@pytest.fixture
def candidates() -> WorkflowWorld:
    """Two of a watcher under the account that the operator made."""
    return well()


def well(account: str | None = None) -> WorkflowWorld:
    world = WorkflowWorld(standby(TABLE, **({"serviceAccountName": account} if account else {})))
    world.well()
    return world


def subjects(world: WorkflowWorld) -> list[str]:
    found = world.get("RoleBinding", world.child())["subjects"]
    assert {entry["namespace"] for entry in found} == {"studio"}
    return [entry["name"] for entry in found]


def live(world: WorkflowWorld) -> Obj:
    return world.get("Deployment", world.child())


def replace(world: WorkflowWorld, pod: str, *, updated: int) -> None:
    """Let the Deployment replace one pod; `updated` of the two are new by then."""
    found = live(world)
    world.get("Pod", pod)["spec"] = copy.deepcopy(found["spec"]["template"]["spec"])
    generation = found["metadata"]["generation"]
    found["status"] |= {"observedGeneration": generation, "updatedReplicas": updated}


@pytest.mark.parametrize("kind", KINDS)
def test_another_account_takes_no_right_from_those_that_run(kind: str) -> None:
    world = WorkflowWorld(standby(kind))
    world.well()
    world.change(serviceAccountName="runtime")
    plan = world.carry_out(kind, NAME)
    assert not plan.deletions and world.has("ServiceAccount", world.child())
    assert subjects(world) == ["runtime", world.child()]
    world.work()
    assert subjects(world) == ["runtime", world.child()]


def test_the_former_rights_go_with_the_last_that_has_them(candidates: WorkflowWorld) -> None:
    candidates.change(serviceAccountName="runtime")
    candidates.work()
    replace(candidates, candidates.child("-1"), updated=1)
    candidates.work()
    assert subjects(candidates) == ["runtime", candidates.child()]
    assert candidates.has("ServiceAccount", candidates.child())
    replace(candidates, candidates.child("-0"), updated=2)
    candidates.work()
    assert subjects(candidates) == ["runtime"]
    assert not candidates.has("ServiceAccount", candidates.child())
    assert candidates.has("Lease", candidates.child())


def test_one_that_still_ends_keeps_its_rights(candidates: WorkflowWorld) -> None:
    """The last thing it does is to give the Lease back."""
    candidates.change(serviceAccountName="runtime")
    candidates.work()
    ending = copy.deepcopy(candidates.get("Pod", candidates.child("-0")))
    ending["metadata"] |= {"name": "ending", "deletionTimestamp": "2026-11-22T12:00:00Z"}
    candidates.put(ending)
    candidates.start()
    candidates.work()
    assert subjects(candidates) == ["runtime", candidates.child()]
    candidates.remove("Pod", "ending")
    candidates.work()
    assert subjects(candidates) == ["runtime"]


def test_one_that_has_ended_keeps_none(candidates: WorkflowWorld) -> None:
    candidates.change(serviceAccountName="runtime")
    candidates.work()
    ended = copy.deepcopy(candidates.get("Pod", candidates.child("-0")))
    ended["metadata"]["name"] = "ended"
    ended["status"]["phase"] = "Failed"
    candidates.put(ended)
    candidates.start()
    candidates.work()
    assert subjects(candidates) == ["runtime"]


def test_a_mistyped_account_leaves_the_former_one_to_make_pods_with(
    candidates: WorkflowWorld,
) -> None:
    """The Deployment cannot make new pods, and makes one of the former kind if that is lost."""
    candidates.change(serviceAccountName="runtime-typo")
    candidates.work()
    found = live(candidates)
    found["status"] |= {
        "observedGeneration": found["metadata"]["generation"],
        "replicas": 1,
        "updatedReplicas": 0,
    }
    for number in (0, 1):
        candidates.remove("Pod", candidates.child(f"-{number}"))
    candidates.work()
    assert candidates.has("ServiceAccount", candidates.child())
    candidates.change(serviceAccountName=None)
    candidates.work()
    assert subjects(candidates) == [candidates.child()]


@pytest.mark.parametrize("wanted", [None, "other"])
def test_from_an_account_of_the_user(wanted: str | None) -> None:
    world = well("runtime")
    assert subjects(world) == ["runtime"]
    world.change(serviceAccountName=wanted)
    world.work()
    new = wanted or world.child()
    assert subjects(world) == [new, "runtime"]
    assert world.has("ServiceAccount", world.child()) is (wanted is None)
    world.start()
    world.work()
    assert subjects(world) == [new]


def test_a_pod_that_is_no_candidate_is_given_no_right(candidates: WorkflowWorld) -> None:
    """Somebody has copied labels of ours."""
    stray = copy.deepcopy(candidates.get("Pod", candidates.child("-0")))
    stray["metadata"]["name"] = "stray"
    del stray["metadata"]["labels"]["dpe.dev/mode"]
    stray["spec"]["serviceAccountName"] = "default"
    candidates.put(stray)
    candidates.work()
    assert subjects(candidates) == [candidates.child()]
