# SPDX-License-Identifier: Apache-2.0
"""PAR files in a DpeCluster: the ParStore made of them, and what servers and processors see."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from tests.support.par_world import CLAIM
from tests.support.planning_world import World, cluster, farm
from tests.unit.builders.par_samples import KEY

from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.planning.objects import Obj, dig

CLUSTER, STORE, SERVER, FARM = "DpeCluster", "ParStore", "DpeServer", "ProcessorFarm"
PAR: Obj = {
    "master": {"size": "1Gi"},
    "redundant": [{"name": "nightly", "claimName": "r"}],
    "sync": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin"},
}
REGISTRY: Obj = {
    "keys": [
        {"path": KEY, "values": [{"name": "M", "value": "P:\\par", "env": "PAR", "file": "m"}]}
    ],
    "mountPath": "/reg",
}


def made(**par: Any) -> World:
    """A site with PAR files, everything reconciled."""
    world = World(cluster(parFiles={**copy.deepcopy(PAR), **par}))
    world.environment = replace(world.environment, par_sync_image="x")
    reconcile(world)
    return world


def reconcile(world: World) -> None:
    for _ in range(3):
        world.settle(CLUSTER, "radio")
        for kind, name in ((STORE, "radio"), (SERVER, "radio"), (FARM, "radio-audio")):
            if world.has(kind, name):
                world.settle(kind, name)


def mounts(world: World, deployment: str) -> dict[str, Obj]:
    pod = world.get("Deployment", deployment)["spec"]["template"]["spec"]
    return {mount["name"]: mount for mount in pod["containers"][0]["volumeMounts"]}


def env(world: World, deployment: str) -> dict[str, str]:
    pod = world.get("Deployment", deployment)["spec"]["template"]["spec"]
    return {entry["name"]: entry.get("value", "") for entry in pod["containers"][0]["env"]}


def test_the_store_holds_what_was_written_but_what_is_said_about_pods() -> None:
    world = made(
        master={"size": "1Gi", "mountPath": "/m"},
        redundant=[{"name": "nightly", "claimName": "r", "mountPath": "/r"}],
        registry=copy.deepcopy(REGISTRY),
        deliverTo=["Servers"],
        readOnlyFor=["Servers"],
    )
    assert world.get(STORE, "radio")["spec"] == {
        "clusterRef": {"name": "radio"},
        "master": {"size": "1Gi"},
        "redundant": [{"name": "nightly", "claimName": "r"}],
        "sync": PAR["sync"],
        "registry": {"keys": [{"path": KEY, "values": [
            {"name": "M", "value": "P:\\par", "file": "m"}]}]},
    }  # fmt: skip
    assert world.has("CronJob", "radio-par-sync") and world.has(CLAIM, "radio-par-master")


@pytest.mark.parametrize("deployment", ["radio-member-a", "radio-audio-processor"])
def test_servers_and_processors_see_them(deployment: str) -> None:
    world = made(registry=copy.deepcopy(REGISTRY))
    found = mounts(world, deployment)
    assert found["dpe-par-master"]["mountPath"] == "/par/master"
    assert found["dpe-par-redundant-nightly"]["subPath"] == "current"
    assert found["dpe-par-registry"] == {
        "name": "dpe-par-registry",
        "mountPath": "/reg",
        "readOnly": True,
    }
    assert env(world, deployment)["PAR"] == "P:\\par"


def test_a_farm_of_its_own_sees_them_too() -> None:
    world = made()
    world.put(farm())
    world.settle(FARM, "video")
    assert "dpe-par-master" in mounts(world, "video-processor")


@pytest.mark.parametrize("mode", ["Standby", "Concurrent"])
def test_workflow_components_see_them(mode: str) -> None:
    worker = {"name": "w", "mode": mode, "image": "x", "command": ["/bin/dpe"]}
    par = {**copy.deepcopy(PAR), "readOnlyFor": ["Workflow"], "registry": copy.deepcopy(REGISTRY)}
    world = World(cluster(parFiles=par, workflow={"workers": [worker]}))
    reconcile(world)
    world.settle("WorkflowWorker", "radio-w")
    (name,) = [
        ref.name
        for ref in world.objects
        if ref.kind == "Deployment" and ref.name.startswith("radio-w-worker")
    ]
    found = mounts(world, name)
    assert found["dpe-par-master"] == {
        "name": "dpe-par-master",
        "mountPath": "/par/master",
        "readOnly": True,
    }
    assert found["dpe-par-redundant-nightly"]["readOnly"] is True
    assert env(world, name)["PAR"] == "P:\\par"


def test_only_those_they_are_delivered_to() -> None:
    world = made(deliverTo=["Processors"], readOnlyFor=["Processors"])
    assert "dpe-par-master" not in mounts(world, "radio-member-a")
    assert mounts(world, "radio-audio-processor")["dpe-par-master"]["readOnly"] is True


def test_a_component_s_own_variable_wins() -> None:
    spec = {**copy.deepcopy(PAR), "registry": copy.deepcopy(REGISTRY)}
    own = [{"name": "PAR", "value": "mine"}]
    world = World(cluster(parFiles=spec, server={"env": own}))
    reconcile(world)
    assert env(world, "radio-member-a")["PAR"] == "mine"
    assert env(world, "radio-audio-processor")["PAR"] == "P:\\par"


def test_another_schedule_restarts_nothing_and_is_remembered_in_no_farm() -> None:
    world = made()
    before = {
        name: copy.deepcopy(world.get("Deployment", name)["spec"])
        for name in ("radio-member-a", "radio-audio-processor")
    }
    memories = {ref: memory for ref, memory in world.memories.items() if ref.kind == FARM}
    sync = {"schedule": "0 4 * * *", "timeZone": "Europe/Berlin"}
    world.edit(CLUSTER, "radio", parFiles={**copy.deepcopy(PAR), "sync": sync})
    reconcile(world)
    assert world.get("CronJob", "radio-par-sync")["spec"]["schedule"] == "0 4 * * *"
    for name, spec in before.items():
        assert world.get("Deployment", name)["spec"] == spec
    for ref, memory in memories.items():
        assert world.memories[ref].to_data() == memory.to_data()


def test_a_site_without_them_is_as_it_was() -> None:
    world = World(cluster())
    reconcile(world)
    assert not world.has(STORE, "radio")
    assert "sharedVolumes" not in world.get(SERVER, "radio")["spec"]
    for ref, memory in world.memories.items():
        assert "'par'" not in str(memory.to_data()), ref


def test_orders_are_passed_on_and_taken_back() -> None:
    world = made()
    world.annotate(CLUSTER, "radio", sync_now="now", adopt_par="yes")
    reconcile(world)
    notes = world.get(STORE, "radio")["metadata"]["annotations"]
    assert (notes["dpe.dev/sync-now"], notes["dpe.dev/adopt-par"]) == ("now", "yes")
    assert [ref.name for ref in world.objects if ref.kind == "Job"]


def test_the_site_says_what_its_store_says() -> None:
    world = made()
    assert world.condition(CLUSTER, "radio", "ParFilesReady")["status"] == "False"
    store = world.get(STORE, "radio")
    for entry in store["status"]["conditions"]:
        if entry["type"] == "Ready":
            entry.update(status="True", message="copied")
    store["status"] |= {
        "lastRun": {"result": "Succeeded"},
        "lastSuccess": {"finishedAt": "2026-11-22T02:00:00Z"},
        "nextRun": "2026-11-23T02:00:00Z",
    }
    world.carry_out(CLUSTER, "radio")
    assert world.condition(CLUSTER, "radio", "ParFilesReady")["status"] == "True"
    assert world.get(CLUSTER, "radio")["status"]["parFiles"] == {
        "result": "Succeeded",
        "lastSuccess": "2026-11-22T02:00:00Z",
        "nextRun": "2026-11-23T02:00:00Z",
    }


def test_taken_away_with_everything_but_the_files() -> None:
    world = made()
    spec = world.get(CLUSTER, "radio")["spec"]
    del spec["parFiles"]
    world.edit(CLUSTER, "radio")
    reconcile(world)
    assert not world.has(STORE, "radio")
    assert world.has(CLAIM, "radio-par-master")
    assert "dpe-par-master" not in mounts(world, "radio-audio-processor")
    assert dig(world.get(CLUSTER, "radio"), "status", "parFiles") is None


_SHARED = {"name": "own", "mountPath": "/par/master", "claimName": "m"}


@pytest.mark.parametrize(
    ("par", "shared", "said"),
    [
        (
            {
                "master": {"size": "1Gi", "mountPath": "/par"},
                "redundant": [{"name": "nightly", "claimName": "r", "mountPath": "/par"}],
            },
            [],
            "spec.parFiles.redundant[nightly].mountPath is /par, and so is"
            " spec.parFiles.master.mountPath: write another path for one of them",
        ),
        (
            {"registry": {**REGISTRY, "mountPath": "/par/redundant-nightly"}},
            [],
            "spec.parFiles.registry.mountPath is /par/redundant-nightly, and so is"
            " spec.parFiles.redundant[nightly].mountPath: write another path for one of them",
        ),
        (
            {},
            [_SHARED],
            "spec.parFiles.master.mountPath is /par/master, and so is that of"
            " spec.sharedVolumes[own]: write another path for one of them, or remove that shared"
            " volume",
        ),
        (
            {},
            [{**_SHARED, "name": "dpe-par-master", "mountPath": "/own"}],
            "spec.sharedVolumes[dpe-par-master] has the name of a volume that is made of"
            " spec.parFiles: write another name",
        ),
    ],
)
def test_what_would_be_mounted_twice_is_refused_on_the_site(
    par: Obj, shared: list[Obj], said: str
) -> None:
    site = cluster(parFiles={**copy.deepcopy(PAR), **par}, sharedVolumes=shared)
    world = World(site)
    world.carry_out(CLUSTER, "radio")
    accepted = world.condition(CLUSTER, "radio", "Accepted")
    assert (accepted["status"], accepted["reason"]) == ("False", "NotAllowed")
    assert accepted["message"] == f"{said} (nothing is made until then)"


def test_a_shared_volume_at_a_path_of_others_is_theirs_only() -> None:
    """As ever: processors see the PAR files there, the servers what the site shares."""
    par = {**copy.deepcopy(PAR), "deliverTo": ["Processors"]}
    world = World(cluster(parFiles=par, sharedVolumes=[_SHARED]))
    reconcile(world)
    assert world.condition(CLUSTER, "radio", "Accepted")["status"] == "True"
    assert "own" in mounts(world, "radio-member-a")
    assert "own" not in mounts(world, "radio-audio-processor")


def test_as_many_shared_volumes_as_ever() -> None:
    volumes = [{"name": f"v{n}", "mountPath": f"/v{n}", "emptyDir": {}} for n in range(10)]
    site = cluster(parFiles={**PAR, "registry": REGISTRY}, sharedVolumes=volumes)
    assert DpeClusterSpec.model_validate(site["spec"])
    world = World(site)
    reconcile(world)
    assert world.condition(SERVER, "radio", "Accepted")["status"] == "True"
    assert len(world.get(SERVER, "radio")["spec"]["sharedVolumes"]) == 13
