# SPDX-License-Identifier: Apache-2.0
"""A ProcessorFarm: number of replicas, its DpeCluster, conditions, refusals."""

import pytest
from tests.support.planning_world import World, cluster, farm

from dpe_operator.api import constants
from dpe_operator.planning.farm import plan_farm
from dpe_operator.planning.objects import Ref

DEPLOYMENT = "video-processor"


@pytest.fixture
def world() -> World:
    made = World(cluster(), farm())
    made.carry_out("DpeCluster", "radio")
    return made


def farm_condition(world: World, kind: str) -> tuple[str, str, str]:
    found = world.condition("ProcessorFarm", "video", kind)
    return found["status"], found["reason"], found["message"]


def test_deployment_and_budget(world: World) -> None:
    plan = world.settle("ProcessorFarm", "video")
    assert {child.ref.kind for child in plan.children} == {"Deployment", "PodDisruptionBudget"}
    assert world.get("Deployment", DEPLOYMENT)["spec"]["replicas"] == 2
    assert plan.complete and plan.deletions == () and plan.requeue_after is None


def test_a_number_nobody_named_is_written_once_under_its_own_manager(world: World) -> None:
    (handover,) = world.plan("ProcessorFarm", "video").handovers
    assert handover.manager == constants.MANAGER_REPLICAS and not handover.force
    assert handover.manifest["spec"] == {"replicas": 2}
    world.edit("ProcessorFarm", "video", replicas=5)
    plan = world.settle("ProcessorFarm", "video")
    assert plan.handovers == ()
    assert world.get("Deployment", DEPLOYMENT)["spec"]["replicas"] == 5


def test_ready_when_all_are(world: World) -> None:
    world.settle("ProcessorFarm", "video")
    assert farm_condition(world, "Ready")[:2] == ("False", "ProcessorsMissing")
    assert farm_condition(world, "Progressing")[0] == "True"
    world.run(DEPLOYMENT)
    world.settle("ProcessorFarm", "video")
    assert farm_condition(world, "Ready") == ("True", "AllReady", "2 of 2 processors are ready")
    assert farm_condition(world, "Degraded")[0] == "False"
    status = world.get("ProcessorFarm", "video")["status"]
    assert status["readyReplicas"] == status["replicas"] == 2
    assert "app.kubernetes.io/instance=video" in status["selector"]


def test_degraded_when_it_was_ready_before(world: World) -> None:
    world.settle("ProcessorFarm", "video")
    world.run(DEPLOYMENT)
    world.settle("ProcessorFarm", "video")
    world.run(DEPLOYMENT, ready=False)
    plan = world.settle("ProcessorFarm", "video")
    assert farm_condition(world, "Degraded")[:2] == ("True", "ProcessorsMissing")
    assert plan.notices == ()  # told once, when it happened


def test_waived_single_replica_has_no_budget(world: World) -> None:
    world.edit("ProcessorFarm", "video", replicas=1, allowSingleReplica=True)
    plan = world.settle("ProcessorFarm", "video")
    assert [child.ref.kind for child in plan.children] == ["Deployment"]


def test_scaled_down_to_one_removes_the_budget(world: World) -> None:
    world.settle("ProcessorFarm", "video")
    world.edit("ProcessorFarm", "video", replicas=1, allowSingleReplica=True)
    world.settle("ProcessorFarm", "video")
    assert not world.has("PodDisruptionBudget", DEPLOYMENT)


def test_stopped_farm_is_ready(world: World) -> None:
    world.edit("ProcessorFarm", "video", replicas=0, allowSingleReplica=True)
    world.settle("ProcessorFarm", "video")
    world.run(DEPLOYMENT)
    world.settle("ProcessorFarm", "video")
    assert farm_condition(world, "Ready")[0] == "True"


def test_below_two_without_waiver_is_refused_and_changes_nothing(world: World) -> None:
    world.settle("ProcessorFarm", "video")
    world.edit("ProcessorFarm", "video", replicas=1)
    world.settle("ProcessorFarm", "video")
    status, _, message = farm_condition(world, "Accepted")
    assert status == "False" and "allowSingleReplica" in message
    assert world.get("Deployment", DEPLOYMENT)["spec"]["replicas"] == 2


def test_no_cluster_nothing_is_made() -> None:
    world = World(farm())
    plan = world.settle("ProcessorFarm", "video")
    assert plan.children == () and not plan.complete and plan.deletions == ()
    assert farm_condition(world, "ClusterRefMissing")[0] == "True"
    status, reason, message = farm_condition(world, "Accepted")
    assert (status, reason) == ("Unknown", "ClusterNotKnown")
    assert "DpeCluster radio of clusterRef does not exist" in message


def test_a_cluster_that_goes_away_leaves_the_farm_as_it_is(world: World) -> None:
    world.settle("ProcessorFarm", "video")
    before = world.get("Deployment", DEPLOYMENT)["spec"]
    world.remove("DpeCluster", "radio")
    world.edit("ProcessorFarm", "video", image="another:1")
    plan = world.settle("ProcessorFarm", "video")
    assert farm_condition(world, "ClusterRefMissing")[0] == "True"
    assert world.get("Deployment", DEPLOYMENT)["spec"] == before
    assert [child.ref.kind for child in plan.children] == ["Deployment", "PodDisruptionBudget"]


def test_a_cluster_without_accepted_spec_is_waited_for() -> None:
    world = World(cluster(), farm())
    world.settle("ProcessorFarm", "video")
    assert farm_condition(world, "ClusterRefMissing")[0] == "False"
    assert "no accepted spec yet" in farm_condition(world, "Accepted")[2]


@pytest.mark.parametrize(
    "text",
    [
        "https://radio-member-a.studio.svc/DpeWebApplication",
        "RADIO-MEMBER-B",
        "tcp:radio-member-a:443",
    ],
)
def test_a_members_address_is_refused(world: World, text: str) -> None:
    world.edit("ProcessorFarm", "video", env=[{"name": "URL", "value": text}])
    world.settle("ProcessorFarm", "video")
    status, reason, message = farm_condition(world, "Accepted")
    assert (status, reason) == ("False", "NotAllowed")
    assert " names " in message and "https://radio-balancer.studio.svc" in message


@pytest.mark.parametrize("text", ["my-radio-member-a", "radio-member-abc", "radio-balancer"])
def test_other_names_are_fine(world: World, text: str) -> None:
    world.edit("ProcessorFarm", "video", args=[text])
    world.settle("ProcessorFarm", "video")
    assert farm_condition(world, "Accepted")[0] == "True"


def test_a_members_address_in_a_pod_template_is_found(world: World) -> None:
    patch = {"spec": {"containers": [{"name": "dpe", "args": ["--to", "radio-member-a"]}]}}
    world.edit("ProcessorFarm", "video", podTemplate=patch)
    world.settle("ProcessorFarm", "video")
    assert "podTemplate.spec.containers[dpe].args[1]" in farm_condition(world, "Accepted")[2]


def test_the_reserved_variable_configured_in_the_cluster_is_refused(world: World) -> None:
    world.edit("DpeCluster", "radio", clients={"serviceRootEnv": "DPE_URL"})
    world.settle("DpeCluster", "radio")
    world.edit("ProcessorFarm", "video", env=[{"name": "DPE_URL", "value": "x"}])
    world.settle("ProcessorFarm", "video")
    assert "spec.env sets DPE_URL" in farm_condition(world, "Accepted")[2]


def test_a_name_that_is_taken_is_left_alone(world: World) -> None:
    taken = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": DEPLOYMENT},
        "spec": {"replicas": 7},
    }
    world.put(taken)
    plan = world.settle("ProcessorFarm", "video")
    assert farm_condition(world, "Accepted")[:2] == ("False", "NameConflict")
    assert "Deployment video-processor is there already" in farm_condition(world, "Accepted")[2]
    assert plan.children == () and plan.deletions == ()
    assert world.get("Deployment", DEPLOYMENT)["spec"] == {"replicas": 7}


def test_children_of_a_deleted_farm_of_the_same_name_are_waited_for(world: World) -> None:
    world.settle("ProcessorFarm", "video")
    world.remove("ProcessorFarm", "video")
    world.memories.clear()
    world.carry_out("DpeCluster", "radio")
    world.put(farm())
    plan = world.settle("ProcessorFarm", "video")
    assert farm_condition(world, "Accepted")[0] == "True"
    assert plan.children == () and plan.requeue_after == 2.0 and plan.deletions == ()


def test_refusal_is_told_once_and_its_end_too(world: World) -> None:
    world.settle("ProcessorFarm", "video")
    world.edit("ProcessorFarm", "video", args=["radio-member-a"])
    first = world.carry_out("ProcessorFarm", "video")
    assert [notice.reason for notice in first.notices] == ["SpecRefused"]
    assert world.carry_out("ProcessorFarm", "video").notices == ()
    world.edit("ProcessorFarm", "video", args=["x"])
    again = world.carry_out("ProcessorFarm", "video")
    assert [notice.reason for notice in again.notices] == ["SpecAccepted"]


def test_unparsable_spec_names_field_and_value(world: World) -> None:
    world.edit("ProcessorFarm", "video", image=["not text"])
    world.settle("ProcessorFarm", "video")
    status, reason, message = farm_condition(world, "Accepted")
    assert (status, reason) == ("False", "InvalidSpec") and "spec.image" in message


def test_held_objects_are_looked_up_before_the_first_apply(world: World) -> None:
    plan = plan_farm(world.situation("ProcessorFarm", "video"))
    assert Ref("Deployment", "studio", DEPLOYMENT) in plan.unseen


OUTSIDE = [
    {"name": "a", "external": {"host": "dpe"}},
    {"name": "b", "external": {"host": "dpe2.studio.example"}},
]


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("https://dpe/DpeWebApplication", True),
        ("--server=DPE:443", True),
        ("\\\\dpe\\temp", True),
        ("https:\\/\\/dpe2.studio.example\\/", True),
        ("dpe2.studio.example", True),
        ("/opt/dpe/x", False),
        ("C:\\DPE\\bin", False),
        ("/etc/certs/dpe2.studio.example.pem", False),
        ("DPE_HOME", False),
    ],
)
def test_a_folder_called_like_a_server_is_no_address(text: str, refused: bool) -> None:
    world = World(cluster(server={"members": OUTSIDE}), farm(args=[text], command=["dpe"]))
    world.carry_out("DpeCluster", "radio")
    world.carry_out("ProcessorFarm", "video")
    status, _, message = farm_condition(world, "Accepted")
    assert (status == "False") == refused
    assert message.startswith("spec.args[0] names ") == refused


def test_the_cure_for_the_reserved_variable_is_no_way_into_the_next_refusal() -> None:
    env = [{"name": constants.DEFAULT_SERVICE_ROOT_ENV, "value": "https://dpe.example"}]
    audio = {"type": "audio", "image": "registry.example.com/dpe-audio:2.15", "env": env}
    for clients in ({}, {"serviceRootEnv": "DPE_URL"}):
        world = World(cluster(processors=[audio], clients=clients))
        world.carry_out("DpeCluster", "radio")
        message = world.condition("DpeCluster", "radio", "Accepted")["message"]
        assert ": remove it (" in message and "clients.serviceRootEnv" not in message
