# SPDX-License-Identifier: Apache-2.0
"""A DpeServer from nothing to serving, faults, members that change, refusals and strangers."""

import pytest
from tests.support.pair_world import KIND, image, reasons, request, serving_pair, state
from tests.support.planning_world import World, cluster, server

from dpe_operator.api import constants
from dpe_operator.planning.objects import dig

EXTERNAL_B = [{"name": "a"}, {"name": "b", "external": {"host": "dpe2.studio.example"}}]


@pytest.fixture
def world() -> World:
    return serving_pair()


# --- from nothing to serving


def test_made_in_rounds_since_parts_need_each_other() -> None:
    world = World(server())
    first = world.carry_out(KIND, "radio")
    assert not first.complete and first.requeue_after == 2.0
    assert not world.has("EndpointSlice", "radio-balancer")
    second = world.carry_out(KIND, "radio")
    assert second.complete
    made = {(child.ref.kind, child.ref.name) for child in second.children}
    assert {kind for kind, name in made if name.startswith("radio-balancer")} == {
        "ConfigMap", "Deployment", "EndpointSlice", "Lease", "PodDisruptionBudget", "Role",
        "RoleBinding", "Service", "ServiceAccount",
    }  # fmt: skip


def test_serving(world: World) -> None:
    status = world.get(KIND, "radio")["status"]
    assert state(world, "Ready") == ("True", "AllReady", "a serves, b is ready to take over.")
    assert (status["active"], status["standby"]) == ("a", "b")
    assert status["activeSince"] == "2026-11-22T11:00:00Z"
    assert status["serviceRoot"] == "https://radio-balancer.studio.svc"
    assert [member["state"] for member in status["members"]] == ["Up", "Up"]
    assert status["routedBalancer"] == "radio-balancer-0" and status["switchCount"] == 0
    assert "outdated" not in status


def test_idle_plan_is_the_same_again(world: World) -> None:
    first, second = world.plan(KIND, "radio"), world.plan(KIND, "radio")
    assert first == second
    assert first.notices == () and first.requeue_after is None and first.deletions == ()


def test_starting_is_progress_and_no_degradation() -> None:
    world = World(server())
    world.settle(KIND, "radio")
    assert state(world, "Ready")[0] == "False" and state(world, "Degraded")[0] == "False"
    assert state(world, "Progressing")[0] == "True"


def test_the_lease_and_slice_are_created_whole_and_then_only_their_metadata_is_applied(
    world: World,
) -> None:
    for child in world.plan(KIND, "radio").children:
        if child.ref.kind in ("Lease", "EndpointSlice"):
            assert set(child.manifest) == {"apiVersion", "kind", "metadata"}
            assert child.initial and len(child.initial) > 3


# --- faults


def test_a_standby_that_is_down_is_degraded(world: World) -> None:
    world.record("radio", b="DOWN")
    plan = world.settle(KIND, "radio")
    assert state(world, "Ready")[:2] == ("False", "MemberMissing")
    assert state(world, "Degraded")[0] == "True"
    assert "b is down in the balancer's health check" in state(world, "Ready")[2]
    assert "standby" not in world.get(KIND, "radio")["status"]
    assert plan.notices == ()


def test_both_down_says_that_nobody_serves_and_ends_by_itself(world: World) -> None:
    world.record("radio", a="DOWN", b="DOWN")
    world.settle(KIND, "radio")
    assert state(world, "Ready")[:2] == ("False", "NoServerUp")
    assert "clients are not served" in state(world, "Ready")[2]
    assert state(world, "Degraded")[0] == "True"
    assert world.get(KIND, "radio")["status"]["active"] == "a", "who serves when both are back"
    world.record("radio")
    world.settle(KIND, "radio")
    assert state(world, "Ready")[0] == "True"


def test_readiness_changes_are_events(world: World) -> None:
    world.record("radio", b="DOWN")
    assert reasons(world.carry_out(KIND, "radio")) == ["NotReady"]
    world.record("radio")
    assert reasons(world.carry_out(KIND, "radio")) == ["Ready"]


def test_a_switch_is_told_once(world: World) -> None:
    last = {"from": "a", "to": "b", "cause": "MemberDown", "at": "2026-11-22T12:00:00Z"}
    world.record("radio", active="b", count=1, last=last)
    plan = world.carry_out(KIND, "radio")
    (notice,) = plan.notices
    assert (notice.type, notice.reason) == ("Warning", "Switched")
    assert notice.note == "b serves instead of a (MemberDown)"
    assert world.carry_out(KIND, "radio").notices == ()
    assert world.get(KIND, "radio")["status"]["lastSwitch"] == last


def test_a_gap_that_is_known_later_is_no_other_switch(world: World) -> None:
    last = {"from": "a", "to": "b", "cause": "Failback", "at": "2026-11-22T12:00:00Z"}
    world.record("radio", active="b", count=1, last=last)
    (notice,) = world.carry_out(KIND, "radio").notices
    assert (notice.type, notice.note) == ("Normal", "b serves instead of a (Failback)")
    world.record("radio", active="b", count=1, last={**last, "gapMs": 310})
    assert world.carry_out(KIND, "radio").notices == ()
    assert world.get(KIND, "radio")["status"]["lastSwitch"]["gap"] == "310ms"
    later = {**last, "at": "2026-11-22T13:00:00Z", "gapMs": 40}
    world.record("radio", active="b", count=2, last=later)
    (notice,) = world.carry_out(KIND, "radio").notices
    assert notice.note.endswith("; gap 40ms as the balancer saw it")


def test_nobody_routed(world: World) -> None:
    world.record("radio", held=False)
    world.settle(KIND, "radio")
    assert state(world, "BalancerReady")[:2] == ("False", "NotRouted")
    states = {member["state"] for member in world.get(KIND, "radio")["status"]["members"]}
    assert states == {"Unknown"}


def test_a_standby_balancer_that_is_lost_is_told_and_the_pair_serves(world: World) -> None:
    world.settle(KIND, "radio")
    assert state(world, "Ready")[0] == "True"
    live = world.get("Deployment", "radio-balancer")
    live["status"] |= {"readyReplicas": 1, "availableReplicas": 1, "unavailableReplicas": 1}
    world.remove("Pod", "radio-balancer-1")
    world.settle(KIND, "radio")
    status, reason, text = state(world, "Ready")
    assert (status, reason) == ("False", "BalancerMissing") and "1 of 2" in text
    assert state(world, "Degraded")[:2] == ("True", "BalancerMissing")
    assert state(world, "MembersReady")[0] == "True"
    told = world.get(KIND, "radio")["status"]
    assert (told["active"], told["routedBalancer"]) == ("a", "radio-balancer-0")


def test_servers_that_nobody_checks_are_not_said_to_be_up(world: World) -> None:
    world.record("radio", held=False)
    world.settle(KIND, "radio")
    assert state(world, "MembersReady")[:2] == ("Unknown", "NotChecked")


def test_no_server_has_ever_been_healthy() -> None:
    """All pods are ready, as a server's port is open; and its health page is wrong."""
    world = World(server())
    world.settle(KIND, "radio")
    world.run_all()
    world.settle(KIND, "radio")
    status, reason, text = state(world, "Ready")
    assert (status, reason) == ("False", "NoActiveMember") and "health.path" in text
    assert state(world, "MembersReady")[:2] == ("Unknown", "NotChecked")


def test_why_a_member_does_not_start_is_in_the_message() -> None:
    world = World(server())
    world.settle(KIND, "radio")
    world.run("radio-member-a", ready=False)
    pod = world.get("Pod", "radio-member-a-0")
    pod["status"]["containerStatuses"] = [
        {"name": "dpe", "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}
    ]
    world.settle(KIND, "radio")
    assert state(world, "Degraded")[0] == "True"
    assert "a: container dpe of pod radio-member-a-0 does not start" in state(world, "Ready")[2]


# --- members that change


def test_external_members_are_only_checked() -> None:
    world = World(server(members=EXTERNAL_B))
    world.settle(KIND, "radio")
    assert not world.has("Deployment", "radio-member-b")
    assert not world.has("PodDisruptionBudget", "radio-members")
    world.run_all()
    world.record("radio", b="DOWN")
    world.settle(KIND, "radio")
    assert (
        "b is down in the balancer's health check of dpe2.studio.example:443"
        in (state(world, "Ready")[2])
    )


def test_an_external_standby_lets_the_active_be_updated() -> None:
    world = World(server(members=EXTERNAL_B))
    world.settle(KIND, "radio")
    world.run_all()
    world.record("radio")
    world.settle(KIND, "radio")
    world.edit(KIND, "radio", image="dpe:2")
    world.carry_out(KIND, "radio")
    assert request(world) == "b@0" and image(world, "a") != "dpe:2"


def test_a_member_that_left_the_spec_stays_while_it_serves(world: World) -> None:
    world.edit(KIND, "radio", members=[{"name": "b"}, {"name": "c"}])
    world.settle(KIND, "radio")
    assert world.has("Deployment", "radio-member-a") and world.has("Service", "radio-member-a")
    world.run_all()
    world.record("radio", active="b", count=1)
    world.settle(KIND, "radio")
    assert not world.has("Deployment", "radio-member-a")
    assert not world.has("Service", "radio-member-a")


def test_a_deleted_member_service_comes_back_with_its_address(world: World) -> None:
    address = world.get("Service", "radio-member-a")["spec"]["clusterIP"]
    template = world.get("Deployment", "radio-balancer")["spec"]["template"]
    world.remove("Service", "radio-member-a")
    plan = world.settle(KIND, "radio")
    assert world.get("Service", "radio-member-a")["spec"]["clusterIP"] == address
    (child,) = [
        child
        for child in world.plan(KIND, "radio").children
        if str(child.ref) == "Service radio-member-a"
    ]
    assert child.whole, "it is made with another address where the former one is taken"
    assert world.get("Deployment", "radio-balancer")["spec"]["template"] == template
    service = next(c for c in plan.children if c.ref.name == "radio-member-a")
    assert "clusterIP" not in service.manifest["spec"]


def test_balancer_of_the_site(world: World) -> None:
    external = {"type": "External", "externalAddress": {"host": "dpe.studio.example"}}
    world.edit(KIND, "radio", loadBalancer=external)
    for _ in range(3):  # the members are given another address, one after the other
        world.settle(KIND, "radio")
        world.run_all()
    assert not world.has("Deployment", "radio-balancer")
    assert not world.has("Service", "radio-balancer")
    status = world.get(KIND, "radio")["status"]
    assert status["serviceRoot"] == "https://dpe.studio.example" and "active" not in status
    world.settle(KIND, "radio")
    assert state(world, "BalancerReady")[:2] == ("Unknown", "External")
    assert state(world, "Ready")[0] == "True"


# --- refusals and strangers


def test_a_refused_change_keeps_what_was_accepted(world: World) -> None:
    before = image(world, "a")
    patch = {"spec": {"hostPID": True}}
    world.edit(KIND, "radio", image="dpe:2", loadBalancer={"podTemplate": patch})
    plan = world.settle(KIND, "radio")
    assert state(world, "Accepted")[:2] == ("False", "NotAllowed")
    assert "spec.loadBalancer.podTemplate.spec.hostPID is true" in state(world, "Accepted")[2]
    assert "stays in force" in state(world, "Accepted")[2]
    assert image(world, "a") == image(world, "b") == before and plan.complete
    assert state(world, "Ready")[:2] == ("False", "NotAccepted")
    assert world.get(KIND, "radio")["status"]["active"] == "a"


def test_refused_from_the_start_makes_nothing() -> None:
    world = World(server(loadBalancer={"podTemplate": {"spec": {"hostPID": True}}}))
    plan = world.settle(KIND, "radio")
    assert plan.children == () and plan.memory is None and plan.deletions == ()
    assert "nothing is made" in state(world, "Accepted")[2]


def test_clashing_names_of_two_resources_name_the_owner() -> None:
    world = World(server())
    owner = {"apiVersion": "dpe.dev/v1alpha1", "kind": "ProcessorFarm", "name": "radio-member",
             "uid": "f", "controller": True}  # fmt: skip
    meta = {"name": "radio-member-a", "ownerReferences": [owner]}
    world.put({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {}})
    plan = world.settle(KIND, "radio")
    assert state(world, "Accepted")[:2] == ("False", "NameConflict")
    assert (
        "Deployment radio-member-a belongs to ProcessorFarm radio-member"
        in (state(world, "Accepted")[2])
    )
    assert plan.children == ()


@pytest.mark.parametrize(
    ("manager", "gone"),
    [
        ("endpointslicemirroring-controller.k8s.io", "Endpoints radio-balancer"),
        ("endpointslice-controller.k8s.io", "EndpointSlice radio-balancer-x7k"),
    ],
)
def test_foreign_endpoints_are_removed(world: World, manager: str, gone: str) -> None:
    labels = {
        "kubernetes.io/service-name": "radio-balancer",
        "endpointslice.kubernetes.io/managed-by": manager,
    }
    owner = {"apiVersion": "v1", "kind": "Endpoints", "name": "radio-balancer", "uid": "e",
             "controller": True}  # fmt: skip
    meta = {"name": "radio-balancer-x7k", "labels": labels, "ownerReferences": [owner]}
    world.put({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta})
    plan = world.carry_out(KIND, "radio")
    assert gone in [str(deletion.ref) for deletion in plan.deletions if deletion.urgent]
    assert state(world, "Degraded")[:2] == ("True", "ForeignEndpoints")
    assert "ForeignEndpoints" in reasons(plan)


# --- a DpeCluster beside it


def test_shared_settings_of_a_referenced_cluster() -> None:
    shared = [{"name": "temp", "mountPath": "/temp", "claimName": "temp"}]
    world = World(
        cluster(sharedVolumes=shared, placement="Preferred"),
        server("archive", clusterRef={"name": "radio"}),
    )
    world.carry_out("DpeCluster", "radio")
    world.settle(KIND, "archive")
    pod = world.get("Deployment", "archive-member-a")["spec"]["template"]
    assert "temp" in [volume["name"] for volume in pod["spec"]["volumes"]]
    assert dig(pod, "metadata", "labels", constants.LABEL_PART_OF) == "radio"
    assert world.condition(KIND, "archive", "ClusterRefMissing")["status"] == "False"


def test_missing_cluster_of_a_new_pair() -> None:
    world = World(server("archive", clusterRef={"name": "radio"}))
    plan = world.settle(KIND, "archive")
    assert plan.children == ()
    assert world.condition(KIND, "archive", "ClusterRefMissing")["status"] == "True"
