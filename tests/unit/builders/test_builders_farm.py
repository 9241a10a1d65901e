# SPDX-License-Identifier: Apache-2.0
"""Farms: spread, short tolerations, updates and budgets for 0, 1, 2 and n processors."""

from __future__ import annotations

import math

import pytest
from tests.unit.builders.builder_samples import farm_context, farm_objects, farm_spec, pod_spec

from dpe_operator.builders import farm
from dpe_operator.builders.context import Manifest

SHORT = {
    "key": "node.kubernetes.io/unreachable",
    "operator": "Exists",
    "effect": "NoExecute",
    "tolerationSeconds": 30,
}

GPU = {"nvidia.com/gpu": "1"}


def deployment(replicas: int = 2, **changes: object) -> Manifest:
    spec = farm_spec(**changes)
    return farm.farm_deployment(farm_context(spec), spec, replicas=replicas)


@pytest.mark.parametrize(
    ("replicas", "kinds"),
    [
        (0, ["Deployment"]),
        (1, ["Deployment"]),
        (2, ["Deployment", "PodDisruptionBudget"]),
        (1000, ["Deployment", "PodDisruptionBudget"]),
    ],
)
def test_a_budget_only_where_one_can_be_spared(replicas: int, kinds: list[str]) -> None:
    made = farm_objects(farm_spec(), replicas=replicas)
    assert [manifest["kind"] for manifest in made] == kinds
    assert made[0]["spec"]["replicas"] == replicas


@pytest.mark.parametrize("replicas", [2, 3, 100])
def test_a_drain_is_never_held_up_by_pods_that_find_no_host(replicas: int) -> None:
    """minAvailable is 1 and not n - 1: see `pdb.keep_one`."""
    budget = farm_objects(farm_spec(), replicas=replicas)[1]["spec"]
    assert budget["minAvailable"] == 1
    assert "maxUnavailable" not in budget


def test_scaling_changes_no_template() -> None:
    templates = [deployment(replicas)["spec"]["template"] for replicas in (0, 1, 2, 50)]
    assert all(template == templates[0] for template in templates)


def test_required_spread_over_hosts() -> None:
    hosts, zones = pod_spec(deployment())["topologySpreadConstraints"]
    assert (hosts["topologyKey"], zones["topologyKey"]) == (
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    )
    assert (hosts["whenUnsatisfiable"], zones["whenUnsatisfiable"]) == (
        "DoNotSchedule",
        "ScheduleAnyway",
    )
    assert hosts["minDomains"] == 2, "two processors on the only host are no redundancy"
    for constraint in (hosts, zones):
        assert constraint["nodeTaintsPolicy"] == "Honor"
        assert constraint["matchLabelKeys"] == ["pod-template-hash"]


def test_preferred_spread_never_keeps_a_pod_waiting() -> None:
    constraints = pod_spec(deployment(placement="Preferred"))["topologySpreadConstraints"]
    assert {entry["whenUnsatisfiable"] for entry in constraints} == {"ScheduleAnyway"}
    assert not any("minDomains" in entry for entry in constraints), "refused by the API server"


@pytest.mark.parametrize(("replicas", "missing"), [(1, 0), (2, 0), (3, 0), (4, 1), (10, 2)])
def test_an_update_keeps_small_farms_whole(replicas: int, missing: int) -> None:
    update = deployment(replicas)["spec"]["strategy"]["rollingUpdate"]
    share = int(update["maxUnavailable"].removesuffix("%")) / 100
    assert math.floor(replicas * share) == missing
    assert update["maxSurge"] == 1


@pytest.mark.parametrize(
    ("changes", "surge"),
    [
        ({"resources": {"requests": GPU, "limits": GPU}}, 0),
        ({"resources": {"limits": GPU}}, 0),
        ({"podTemplate": {"spec": {"containers": [{"name": "dpe", "resources": {"limits": GPU}}]}}}, 0),
        ({"resources": {"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}}}, 1),
        ({}, 1),
    ],
)  # fmt: skip
def test_an_update_waits_for_no_second_device(changes: Manifest, surge: int) -> None:
    """With one GPU per node, and all in use, one more pod finds none: nothing ever moved."""
    update = deployment(2, **changes)["spec"]["strategy"]["rollingUpdate"]
    assert update == {"maxSurge": surge, "maxUnavailable": "25%"}


@pytest.mark.parametrize("resources", [7, {"limits": 7}, {"limits": [7]}])
def test_resources_of_any_form_in_a_side_car_are_the_api_server_s_matter(resources: object) -> None:
    side_car = {"name": "log", "image": "x", "resources": resources}
    made = deployment(podTemplate={"spec": {"containers": [side_car]}})
    assert made["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 1


def test_lost_nodes_are_left_soon() -> None:
    tolerations = pod_spec(deployment())["tolerations"]
    assert SHORT in tolerations
    assert {**SHORT, "key": "node.kubernetes.io/not-ready"} in tolerations


@pytest.mark.parametrize(
    "own",
    [
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "tolerationSeconds": 900},
        {"operator": "Exists"},
        {"operator": "Exists", "effect": "NoExecute"},
    ],
)
def test_the_user_s_patience_wins(own: Manifest) -> None:
    tolerations = pod_spec(deployment(tolerations=[own]))["tolerations"]
    assert own in tolerations
    assert SHORT not in tolerations


def test_a_toleration_of_another_effect_is_something_else() -> None:
    own = {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoSchedule"}
    assert SHORT in pod_spec(deployment(tolerations=[own]))["tolerations"]


@pytest.mark.parametrize(("wanted", "made"), [(None, 60), (7200, 7200)])
def test_long_jobs_are_given_their_time(wanted: int | None, made: int) -> None:
    spec = pod_spec(deployment(terminationGracePeriodSeconds=wanted))
    assert spec["terminationGracePeriodSeconds"] == made


def test_an_image_that_crashes_stops_the_update() -> None:
    assert deployment()["spec"]["minReadySeconds"] > 0
