# SPDX-License-Identifier: Apache-2.0
"""The workflow system of a DpeCluster: composed, summarised, pruned, refused."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.planning_world import World, cluster
from tests.support.workflow_world import FOLDER, SCHEDULER, TABLE, WORKER

from dpe_operator.api import constants
from dpe_operator.planning.objects import Obj, annotations

KIND = "DpeCluster"
IMAGE = "registry.example.com/dpe:2.15"
MEMORY = {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}
WORK = {"name": "work", "mode": "Concurrent", "image": IMAGE}
MORE_WORK = {**WORK, "name": "more-work"}
ENTRIES = {
    "name": "entries",
    "mode": "Standby",
    "image": IMAGE,
    "command": ["/bin/dpe"],
    "memory": MEMORY,
}
WORKFLOW = {
    "workers": [WORK, MORE_WORK],
    "schedulers": [{**WORK, "name": "night"}],
    "tableWatchers": [ENTRIES],
    "folderWatchers": [{**WORK, "name": "ingest", "titleTemplate": "%filename%"}],
}


def settle_all(world: World) -> None:
    """Reconcile the site and its children until all agree."""
    kinds = ("DpeServer", *constants.WORKFLOW_KINDS)
    for _ in range(3):
        world.settle(KIND, "radio")
        for ref in [ref for ref in world.objects if ref.kind in kinds]:
            world.settle(ref.kind, ref.name)


def hold(world: World, name: str) -> None:
    """Let the first pod hold its component's Lease."""
    now = world.now.isoformat().replace("+00:00", "Z")
    world.get("Lease", name)["spec"] = {
        "holderIdentity": f"{world.get('Pod', f'{name}-0')['metadata']['uid']}_1",
        "renewTime": now,
        "acquireTime": now,
        "leaseTransitions": 1,
    }


@pytest.fixture
def world() -> World:
    """A site whose workflow system works."""
    made = World(cluster(processors=[], workflow=WORKFLOW))
    settle_all(made)
    made.run_all()
    made.record("radio")
    hold(made, "radio-entries-table-watcher")
    settle_all(made)
    return made


def state(world: World, kind: str) -> tuple[str, str, str]:
    found = world.condition(KIND, "radio", kind)
    return found["status"], found["reason"], found["message"]


def test_each_entry_becomes_a_resource_that_refers_to_the_site() -> None:
    world = World(cluster(processors=[], workflow=WORKFLOW))
    world.settle(KIND, "radio")
    made = world.get(TABLE, "radio-entries")
    spec = {key: value for key, value in ENTRIES.items() if key != "name"}
    assert made["spec"] == {**spec, "clusterRef": {"name": "radio"}}
    for kind, name in ((WORKER, "work"), (SCHEDULER, "night"), (FOLDER, "ingest")):
        assert world.has(kind, f"radio-{name}")


def test_the_site_says_how_its_components_are(world: World) -> None:
    assert state(world, "Ready")[0] == "True"
    assert state(world, "Ready")[2].endswith("5 workflow components work.")
    assert state(world, "WorkersReady")[2] == "2 WorkflowWorker resources are ready."
    for part in ("SchedulersReady", "TableWatchersReady", "FolderWatchersReady"):
        assert state(world, part)[0] == "True"
    assert world.get(KIND, "radio")["status"]["workflow"][3] == {
        "name": "entries",
        "kind": TABLE,
        "mode": "Standby",
        "replicas": 2,
        "readyReplicas": 2,
        "holder": "radio-entries-table-watcher-0",
    }


def test_what_is_wrong_with_one_is_wrong_with_the_site(world: World) -> None:
    world.run("radio-work-worker-concurrent", ready=False)
    settle_all(world)
    status, reason, message = state(world, "WorkersReady")
    assert (status, reason) == ("False", "MembersMissing")
    assert message.startswith("WorkflowWorker radio-work: 0 of 2 members are ready")
    assert state(world, "Ready")[0] == "False" and state(world, "Degraded")[0] == "True"
    assert state(world, "SchedulersReady")[0] == "True"


def test_an_entry_that_is_gone_is_pruned_and_its_claim_stays(world: World) -> None:
    world.edit(KIND, "radio", workflow={**WORKFLOW, "tableWatchers": []})
    world.settle(KIND, "radio")
    assert not world.has(TABLE, "radio-entries") and world.has(WORKER, "radio-work")
    assert world.has("PersistentVolumeClaim", "radio-entries-table-watcher-memory")
    names = [part["name"] for part in world.get(KIND, "radio")["status"]["workflow"]]
    assert names == ["work", "more-work", "night", "ingest"]


def test_without_a_workflow_system_nothing_is_said_about_it() -> None:
    world = World(cluster())
    world.settle(KIND, "radio")
    status = world.get(KIND, "radio")["status"]
    kinds = {entry["type"] for entry in status["conditions"]}
    assert "workflow" not in status and "WorkersReady" not in kinds


def test_an_approval_holds_for_components_too(world: World) -> None:
    world.annotate(KIND, "radio", approve_upgrade="true")
    world.settle(KIND, "radio")
    found = annotations(world.get(WORKER, "radio-work"))
    assert found[constants.ANNOTATION_APPROVE_UPGRADE] == "true"


def test_outdated_components_are_listed_with_the_site(world: World) -> None:
    world.environment = type(world.environment)(
        balancer_image=world.environment.balancer_image, elector_image="newer:1"
    )
    settle_all(world)
    assert world.get(KIND, "radio")["status"]["outdated"] == ["radio-entries-table-watcher"]


@pytest.mark.parametrize(
    ("workflow", "said"),
    [
        (
            {"workers": [{**WORK, "env": [{"name": "U", "value": "radio-member-a"}]}]},
            "spec.workflow.workers[work].env[U].value names radio-member-a",
        ),
        (
            {"workers": [WORK], "schedulers": [WORK]},
            "spec.workflow.schedulers[work]: spec.workflow.workers[work] has that name too",
        ),
        (
            {"schedulers": [{**WORK, "schedule": "0 25 * * *", "timeZone": "UTC"}]},
            "spec.workflow.schedulers[work].schedule: '0 25 * * *' is no schedule",
        ),
        (
            {"tableWatchers": [{**ENTRIES, "memory": {**MEMORY, "mountPath": "/usr/x"}}]},
            "spec.workflow.tableWatchers[entries].memory.mountPath is /usr/x",
        ),
    ],
)
def test_refused_and_nothing_changes(world: World, workflow: Obj, said: str) -> None:
    before = {ref: obj.get("spec") for ref, obj in world.objects.items() if ref.kind != KIND}
    world.edit(KIND, "radio", workflow=workflow)
    settle_all(world)
    status, reason, message = state(world, "Accepted")
    assert (status, reason) == ("False", "NotAllowed") and said in message
    after = {ref: obj.get("spec") for ref, obj in world.objects.items() if ref.kind != KIND}
    assert after == before


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"parFiles": {"master": {"claimName": "par", "mountPath": "/var/lib/dpe"}}}, "master"),
        (
            {
                "databases": {
                    "core": {
                        "engine": "Other",
                        "secretRef": {"name": "core"},
                        "mountPath": "/var/lib/dpe",
                        "deliverTo": ["Workflow"],
                    }
                }
            },
            "core",
        ),
    ],
)
def test_what_the_site_mounts_counts_for_memories(changes: dict[str, Any], name: str) -> None:
    world = World(cluster(processors=[], workflow={"tableWatchers": [ENTRIES]}, **changes))
    world.settle(KIND, "radio")
    assert state(world, "Accepted")[0] == "False", state(world, "Accepted")
    assert f"{name} is mounted at /var/lib/dpe" in state(world, "Accepted")[2]


def test_two_components_of_one_kind_do_not_see_each_other_s_pods(world: World) -> None:
    for name in ("work", "more-work"):
        assert world.get(WORKER, f"radio-{name}")["status"]["replicas"] == 2
