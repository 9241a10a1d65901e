# SPDX-License-Identifier: Apache-2.0
"""Two volumes at one path: refused in each kind, before the API server refuses its Deployment."""

from __future__ import annotations

import copy

import pytest
from tests.support.planning_world import PAIR, World, cluster, farm, server
from tests.support.workflow_world import NAME, WORKER, WorkflowWorld, concurrent, standby

from dpe_operator.planning.objects import Obj

TWICE: list[Obj] = [{"name": name, "mountPath": "/data", "emptyDir": {}} for name in ("one", "two")]
MEMBERS: list[Obj] = [{"name": "a", "volumes": TWICE}, {"name": "b"}]


def refused(world: World, kind: str, name: str) -> None:
    plan = world.carry_out(kind, name)
    assert plan.children == ()
    accepted = world.condition(kind, name, "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "InvalidSpec")
    assert "volumes one and two are both mounted at /data" in accepted["message"]


@pytest.mark.parametrize(
    "spec", [{"volumes": TWICE}, {"sharedVolumes": TWICE}, {"members": MEMBERS}]
)
def test_in_a_pair(spec: Obj) -> None:
    world = World(server(**copy.deepcopy({**PAIR, **spec})))
    refused(world, "DpeServer", "radio")


def test_in_a_farm() -> None:
    world = World(cluster(), farm(volumes=TWICE))
    world.settle("DpeCluster", "radio")
    refused(world, "ProcessorFarm", "video")


@pytest.mark.parametrize("make", [standby, concurrent])
def test_in_a_workflow_component(make: object) -> None:
    assert callable(make)
    refused(WorkflowWorld(make(WORKER, volumes=TWICE)), WORKER, NAME)


def test_what_runs_stays() -> None:
    world = World(cluster(), farm())
    world.settle("DpeCluster", "radio")
    world.settle("ProcessorFarm", "video")
    before = copy.deepcopy(world.get("Deployment", "video-processor"))
    world.edit("ProcessorFarm", "video", volumes=TWICE)
    world.settle("ProcessorFarm", "video")
    assert world.condition("ProcessorFarm", "video", "Accepted")["reason"] == "InvalidSpec"
    assert world.get("Deployment", "video-processor") == before
