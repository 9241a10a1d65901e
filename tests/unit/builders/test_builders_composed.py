# SPDX-License-Identifier: Apache-2.0
"""What a DpeCluster makes: children that the API server and the models take as they are."""

from __future__ import annotations

from typing import Any

from tests.unit.builders.builder_samples import owner

from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.processor_farm import ProcessorFarmSpec
from dpe_operator.api.server import DpeServerSpec
from dpe_operator.builders import client_profile, composed
from dpe_operator.builders.context import Manifest

FARM = {"type": "audio", "image": "audio:1"}


def cluster(**changes: Any) -> DpeClusterSpec:
    spec = {
        "server": {
            "image": "dpe:1",
            "health": {"path": "/status"},
            "members": [{"name": "a"}, {"name": "b"}],
        },
        "processors": [FARM],
    }
    return DpeClusterSpec.model_validate(spec | changes)


def server(spec: DpeClusterSpec, **arguments: Any) -> Manifest:
    return composed.composed_server(owner("DpeCluster"), spec, **arguments)


def farm(spec: DpeClusterSpec) -> Manifest:
    return composed.composed_farm(owner("DpeCluster"), spec.processors[0])


def test_the_pair_has_the_cluster_s_name_and_shared_values() -> None:
    made = server(
        cluster(
            placement="Preferred",
            clients={"attempts": 3},
            sharedVolumes=[{"name": "t", "mountPath": "/t", "claimName": "t"}],
            imagePullSecrets=[{"name": "registry"}],
        )
    )
    assert made["metadata"]["name"] == "radio"
    spec = DpeServerSpec.model_validate(made["spec"])
    assert spec.placement == "Preferred"
    assert spec.clients is not None and spec.clients.attempts == 3
    assert [volume.name for volume in spec.shared_volumes] == ["t"]
    assert [secret.name for secret in spec.image_pull_secrets] == ["registry"]
    assert spec.cluster_ref is None


def test_the_pair_s_own_placement_wins() -> None:
    spec = cluster(
        server={"health": {"path": "/"}, "members": [{"name": "a"}], "placement": "Preferred"}
    )
    assert server(spec)["spec"]["placement"] == "Preferred"


def test_only_what_was_written_is_passed_on() -> None:
    """Our defaults are those of the code of the day, not of the day the cluster was made."""
    assert set(server(cluster())["spec"]) == {
        "image",
        "health",
        "members",
        "placement",
        "clients",
    }


def test_a_requested_switch_is_passed_on() -> None:
    made = server(cluster(), annotations={"dpe.dev/switch-to": "b"})
    assert made["metadata"]["annotations"] == {"dpe.dev/switch-to": "b"}
    assert "annotations" not in server(cluster())["metadata"]


def test_a_farm_without_a_number_is_given_none() -> None:
    """A number set by `kubectl scale` or an autoscaler is nothing to be applied over."""
    made = farm(cluster())
    assert "replicas" not in made["spec"]
    assert ProcessorFarmSpec.model_validate(made["spec"]).wanted_replicas() == 2


def test_a_farm_with_a_number_is_given_it() -> None:
    made = farm(cluster(processors=[{**FARM, "replicas": 0, "allowSingleReplica": True}]))
    assert made["spec"]["replicas"] == 0


def test_a_farm_works_for_its_cluster() -> None:
    made = farm(cluster())
    assert made["metadata"]["name"] == "radio-audio"
    assert made["spec"]["clusterRef"] == {"name": "radio"}
    [reference] = made["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["controller"]) == ("DpeCluster", True)


def test_a_patch_keeps_its_nulls() -> None:
    """Null removes a field from the template; losing it would undo the user's wish."""
    patch = {"spec": {"containers": [{"name": "dpe", "readinessProbe": None}]}}
    made = farm(cluster(processors=[{**FARM, "podTemplate": patch}]))
    assert made["spec"]["podTemplate"] == patch


def test_the_profile_can_be_taken_as_a_whole() -> None:
    profile = ClientProfile.model_validate({"serviceRootEnv": "URL", "retryEnvPrefix": "R_"})
    made = client_profile.client_profile_config_map(
        owner("DpeCluster"), profile, service_root="https://x/App"
    )
    assert made["metadata"]["name"] == "radio-client-profile"
    assert made["data"] == {"URL": "https://x/App", **profile.retry_environment()}


def test_the_profile_without_an_address() -> None:
    made = client_profile.client_profile_config_map(
        owner("DpeCluster"), ClientProfile(), service_root=None
    )
    assert made["data"] == ClientProfile().retry_environment()
