# SPDX-License-Identifier: Apache-2.0
"""A DpeCluster composes, keeps numbers, passes orders on, and summarises."""

import pytest
from tests.support.planning_world import World, cluster

from dpe_operator.api import constants
from dpe_operator.planning.objects import Obj, annotations
from dpe_operator.planning.plan import Plan

KIND = "DpeCluster"
AUDIO = {"type": "audio", "image": "registry.example.com/dpe-audio:2.15"}


def settle_all(world: World) -> None:
    """Reconcile the site and its children until all agree."""
    for _ in range(4):
        world.settle(KIND, "radio")
        for ref in [ref for ref in world.objects if ref.kind in ("DpeServer", "ProcessorFarm")]:
            world.settle(ref.kind, ref.name)


@pytest.fixture
def world() -> World:
    """A site that serves."""
    made = World(cluster())
    settle_all(made)
    made.run_all()
    made.record("radio")
    settle_all(made)
    return made


def state(world: World, kind: str) -> tuple[str, str, str]:
    found = world.condition(KIND, "radio", kind)
    return found["status"], found["reason"], found["message"]


def refused(world: World, **changes: Obj) -> str:
    world.edit(KIND, "radio", **changes)
    before = {ref: obj["spec"] for ref, obj in world.objects.items() if "spec" in obj
              and ref.kind != KIND}  # fmt: skip
    world.settle(KIND, "radio")
    after = {ref: obj["spec"] for ref, obj in world.objects.items() if "spec" in obj
             and ref.kind != KIND}  # fmt: skip
    assert before == after, "what runs was changed"
    assert state(world, "Accepted")[0] == "False"
    return state(world, "Accepted")[2]


def test_children() -> None:
    plan = World(cluster()).plan(KIND, "radio")
    assert [str(child.ref) for child in plan.children] == [
        "DpeServer radio",
        "ProcessorFarm radio-audio",
        "ConfigMap radio-client-profile",
    ]


def test_ready_summarises_the_children(world: World) -> None:
    status, reason, message = state(world, "Ready")
    assert (status, reason) == ("True", "AllReady")
    assert message == "a serves, b is ready to take over. 2 processors in 1 farms are ready."
    body = world.get(KIND, "radio")["status"]
    assert (body["active"], body["standby"]) == ("a", "b")
    assert body["serviceRoot"] == "https://radio-balancer.studio.svc"
    assert body["farms"] == [{"type": "audio", "replicas": 2, "readyReplicas": 2}]
    assert state(world, "ServerReady")[0] == state(world, "ProcessorsReady")[0] == "True"


def test_a_degraded_child_degrades_the_site(world: World) -> None:
    world.record("radio", b="DOWN")
    settle_all(world)
    assert state(world, "Degraded")[0] == "True"
    assert "DpeServer radio: b is down" in state(world, "Ready")[2]


def test_a_child_that_has_not_been_looked_at_is_pending(world: World) -> None:
    world.edit(KIND, "radio", processors=[{**AUDIO, "replicas": 4}])
    world.settle(KIND, "radio")
    assert state(world, "ProcessorsReady")[:2] == ("False", "Pending")
    assert state(world, "Progressing")[0] == "True" and state(world, "Degraded")[0] == "False"


def test_a_farm_that_left_the_spec_is_pruned(world: World) -> None:
    world.edit(KIND, "radio", processors=[])
    world.settle(KIND, "radio")
    assert not world.has("ProcessorFarm", "radio-audio")


def test_from_present_to_absent_keeps_the_number(world: World) -> None:
    world.edit(KIND, "radio", processors=[{**AUDIO, "replicas": 4}])
    world.settle(KIND, "radio")
    farm = world.get("ProcessorFarm", "radio-audio")
    assert farm["spec"]["replicas"] == 4
    farm["metadata"]["managedFields"] = [
        {"manager": constants.MANAGER, "operation": "Apply",
         "fieldsV1": {"f:spec": {"f:replicas": {}}}}
    ]  # fmt: skip
    world.edit(KIND, "radio", processors=[AUDIO])
    (handover,) = world.plan(KIND, "radio").handovers
    assert handover.force and handover.manager == constants.MANAGER_REPLICAS
    assert handover.manifest["spec"] == {"replicas": 4}
    farm["metadata"]["managedFields"] = []
    assert world.plan(KIND, "radio").handovers == ()


def test_the_order_to_switch_is_passed_on(world: World) -> None:
    world.annotate(KIND, "radio", switch_to="b")
    plan = world.carry_out(KIND, "radio")
    assert annotations(world.get("DpeServer", "radio"))[constants.ANNOTATION_SWITCH_TO] == "b"
    assert constants.ANNOTATION_SWITCH_TO not in annotations(world.get(KIND, "radio"))
    assert [notice.reason for notice in plan.notices] == ["SwitchRequested"]


@pytest.mark.parametrize("wanted", ["nobody", "a"])
def test_orders_that_are_not_passed_on(world: World, wanted: str) -> None:
    world.annotate(KIND, "radio", switch_to=wanted)
    plan = world.carry_out(KIND, "radio")
    assert constants.ANNOTATION_SWITCH_TO not in annotations(world.get("DpeServer", "radio"))
    assert constants.ANNOTATION_SWITCH_TO not in annotations(world.get(KIND, "radio"))
    (notice,) = plan.notices
    assert wanted in notice.note


def test_an_order_for_a_pair_that_is_paused_is_refused_and_not_kept_for_later(world: World) -> None:
    world.annotate("DpeServer", "radio", reconcile="disabled")
    world.annotate(KIND, "radio", switch_to="b")
    plan = world.carry_out(KIND, "radio")
    assert constants.ANNOTATION_SWITCH_TO not in annotations(world.get("DpeServer", "radio"))
    assert constants.ANNOTATION_SWITCH_TO not in annotations(world.get(KIND, "radio"))
    refused = [notice.note for notice in plan.notices if notice.reason == "SwitchRefused"]
    assert len(refused) == 1 and "paused" in refused[0]


def test_a_child_that_is_being_deleted_is_not_well_however_long_it_stays(world: World) -> None:
    meta = world.get("DpeServer", "radio")["metadata"]
    meta["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    meta["finalizers"] = ["example.com/audit"]
    world.carry_out(KIND, "radio")
    status, reason, message = state(world, "ServerReady")
    assert (status, reason) == ("False", "BeingDeleted") and "example.com/audit" in message
    assert state(world, "Degraded")[0] == "True"


def test_an_approval_holds_for_all_children(world: World) -> None:
    world.annotate(KIND, "radio", approve_upgrade="true")
    world.settle(KIND, "radio")
    for kind, name in (("DpeServer", "radio"), ("ProcessorFarm", "radio-audio")):
        assert annotations(world.get(kind, name))[constants.ANNOTATION_APPROVE_UPGRADE] == "true"


@pytest.mark.parametrize("address", ["https://radio-member-b/x", "dpe2.studio.example:443"])
def test_a_component_told_a_single_server_is_refused(address: str) -> None:
    members = [{"name": "b"}, {"name": "out", "external": {"host": "dpe2.studio.example"}}]
    world = World(cluster(server={"members": members}))
    settle_all(world)
    farm = {**AUDIO, "env": [{"name": "URL", "value": address}]}
    message = refused(world, processors=[farm])  # type: ignore[arg-type]
    assert "spec.processors[audio].env[URL].value names " in message
    assert address not in message, "a value may hold a password"
    assert "https://radio-balancer.studio.svc" in message


def test_pod_templates_are_checked_everywhere(world: World) -> None:
    assert "spec.server.podTemplate.metadata" in refused(
        world, server={**world.get(KIND, "radio")["spec"]["server"],
                       "podTemplate": {"metadata": {"name": "x"}}}
    )  # fmt: skip


@pytest.mark.parametrize(
    "env",
    [
        {"DB_PASSWORD": "Zq9Secret"},
        ["DB_PASSWORD=Zq9Secret"],
        [{"name": "DB_PASSWORD=Zq9Secret"}],
        [{"name": "DB_PASSWORD", "value": ["Zq9Secret"]}],
    ],
)
def test_what_a_variable_holds_is_in_no_condition_and_no_event(world: World, env: object) -> None:
    patch = {"spec": {"containers": [{"name": "dpe", "env": env}]}}
    server = {**world.get(KIND, "radio")["spec"]["server"], "podTemplate": patch}
    assert "spec.server.podTemplate.spec.containers[dpe].env" in refused(world, server=server)
    world = World(world.get(KIND, "radio"))
    plan = world.carry_out(KIND, "radio")
    assert plan.notices
    assert "Zq9Secret" not in str(plan.notices) + str(world.get(KIND, "radio")["status"])


def test_a_farm_name_that_is_taken(world: World) -> None:
    world.put(
        {
            "apiVersion": "dpe.dev/v1alpha1",
            "kind": "ProcessorFarm",
            "metadata": {"name": "radio-video"},
            "spec": {**AUDIO, "type": "video", "clusterRef": {"name": "radio"}},
        }
    )
    farms = [AUDIO, {**AUDIO, "type": "video"}]
    message = refused(world, processors=farms)  # type: ignore[arg-type]
    assert "ProcessorFarm radio-video is there already" in message
    assert state(world, "Accepted")[1] == "NameConflict"


def test_notices_of_the_first_reconcile() -> None:
    plan: Plan = World(cluster()).carry_out(KIND, "radio")
    assert plan.notices == ()


def test_a_paused_child_does_not_count(world: World) -> None:
    world.annotate("DpeServer", "radio", reconcile="disabled")
    world.settle(KIND, "radio")
    assert state(world, "ServerReady")[:2] == ("Unknown", "Paused")
