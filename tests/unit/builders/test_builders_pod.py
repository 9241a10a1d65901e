# SPDX-License-Identifier: Apache-2.0
"""What all DPE pods have in common: security, environment, volumes, resources, Windows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.builders.builder_samples import (
    container,
    env,
    farm_context,
    farm_spec,
    pair_objects,
    pair_spec,
    pod_spec,
)

from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.pods import Volume
from dpe_operator.api.processor_farm import ProcessorFarmSpec
from dpe_operator.builders import farm
from dpe_operator.builders.context import Manifest

# Fields the API server refuses in a pod with os.name windows.
LINUX_ONLY_POD = {"seccompProfile", "runAsUser", "runAsGroup", "fsGroup", "sysctls"}
LINUX_ONLY_CONTAINER = {"capabilities", "readOnlyRootFilesystem", "allowPrivilegeEscalation"}


def deployment(spec: ProcessorFarmSpec, **context: Any) -> Manifest:
    return farm.farm_deployment(replace(farm_context(spec), **context), spec, replicas=2)


def test_linux_pods_are_restricted() -> None:
    made = deployment(farm_spec())
    assert pod_spec(made)["securityContext"] == {
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(made)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert {"name": "dpe-tmp", "mountPath": "/tmp"} in container(made)["volumeMounts"]


def test_a_user_number_is_set_only_where_the_image_is_ours() -> None:
    users = {
        manifest["metadata"]["name"]: pod_spec(manifest)["securityContext"].get("runAsUser")
        for manifest in pair_objects(pair_spec()).applied
        if manifest["kind"] == "Deployment"
    }
    assert users == {"radio-member-a": None, "radio-member-b": None, "radio-balancer": 65532}


def test_no_pod_gets_a_token_or_variables_of_services() -> None:
    made = pod_spec(deployment(farm_spec(serviceAccountName="dpe")))
    assert made["automountServiceAccountToken"] is False
    assert made["enableServiceLinks"] is False
    assert made["serviceAccountName"] == "dpe"


@pytest.mark.parametrize("name", ["pair", "farm"])
def test_windows_pods_have_nothing_that_only_linux_knows(name: str) -> None:
    if name == "farm":
        made = deployment(farm_spec(os="windows"))
    else:
        made = next(
            manifest
            for manifest in pair_objects(pair_spec(os="windows")).applied
            if manifest["kind"] == "Deployment"
        )
    spec = pod_spec(made)
    assert (spec["os"], spec["nodeSelector"]) == (
        {"name": "windows"},
        {"kubernetes.io/os": "windows"},
    )
    assert spec["securityContext"]["windowsOptions"] == {"runAsUserName": "ContainerUser"}
    assert not LINUX_ONLY_POD & set(spec["securityContext"])
    assert not LINUX_ONLY_CONTAINER & set(container(made).get("securityContext", {}))
    assert "volumes" not in spec


def test_the_balancer_of_a_windows_pair_runs_on_linux() -> None:
    made = next(
        manifest
        for manifest in pair_objects(pair_spec(os="windows")).applied
        if manifest["metadata"]["name"] == "radio-balancer" and manifest["kind"] == "Deployment"
    )
    assert pod_spec(made)["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_windows_taints_are_tolerated_only_if_asked() -> None:
    taint = {"key": "os", "operator": "Equal", "value": "windows", "effect": "NoSchedule"}
    asked = pod_spec(deployment(farm_spec(os="windows", tolerations=[taint])))["tolerations"]
    silent = pod_spec(deployment(farm_spec(os="windows")))["tolerations"]
    assert taint in asked
    assert all(entry["effect"] == "NoExecute" for entry in silent)


def test_the_operating_system_cannot_be_selected_away() -> None:
    made = deployment(farm_spec(nodeSelector={"kubernetes.io/os": "windows"}))
    assert pod_spec(made)["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_every_component_is_given_the_balancer_and_the_profile() -> None:
    clients = ClientProfile.model_validate(
        {"serviceRootEnv": "DpeUrl", "retryEnvPrefix": "RETRY_", "attempts": 3}
    )
    made = env(deployment(farm_spec(), clients=clients))
    assert made["DpeUrl"]["value"] == "https://radio-balancer.dpe.svc/DpeWebApplication"
    assert made["RETRY_ATTEMPTS"]["value"] == "3"
    assert set(made) == {"DpeUrl", *clients.retry_environment()}


def test_no_address_is_given_while_none_is_known() -> None:
    made = env(deployment(farm_spec(), service_root=None))
    assert "DPE_SERVICE_ROOT" not in made
    assert made["DPE_RETRY_ATTEMPTS"]["value"] == "25"


def test_the_user_s_environment_wins_except_for_the_address() -> None:
    made = env(
        deployment(
            farm_spec(
                env=[
                    {"name": "DPE_RETRY_ATTEMPTS", "value": "20"},
                    {"name": "DPE_SERVICE_ROOT", "value": "https://one-server"},
                ]
            )
        )
    )
    assert made["DPE_RETRY_ATTEMPTS"]["value"] == "20"
    assert made["DPE_SERVICE_ROOT"]["value"].startswith("https://radio-balancer.")


def test_the_address_can_be_referred_to() -> None:
    """Kubernetes resolves $(NAME) only for names that stand before it."""
    made = deployment(farm_spec(env=[{"name": "URL", "value": "$(DPE_SERVICE_ROOT)/jobs"}]))
    names = [entry["name"] for entry in container(made)["env"]]
    assert names.index("DPE_SERVICE_ROOT") < names.index("URL")


@pytest.mark.parametrize("value", ["", "Größe 🎙", "a\nb", " $x ${y} $(z)", '"quoted"\\', "true"])
def test_values_reach_the_container_as_they_were_written(value: str) -> None:
    made = deployment(farm_spec(env=[{"name": "ODD", "value": value}], args=[value]))
    assert env(made)["ODD"]["value"] == value
    assert container(made)["args"] == [value]


@pytest.mark.parametrize(
    ("source", "made"),
    [
        ({"claimName": "c"}, {"persistentVolumeClaim": {"claimName": "c"}}),
        ({"nfs": {"server": "s", "path": "/p"}}, {"nfs": {"server": "s", "path": "/p"}}),
        ({"secretName": "s"}, {"secret": {"secretName": "s"}}),
        ({"configMapName": "m"}, {"configMap": {"name": "m"}}),
        ({"emptyDir": {}}, {"emptyDir": {}}),
        (
            {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
            {"emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"}},
        ),
    ],
)
def test_each_source_of_a_volume(source: Manifest, made: Manifest) -> None:
    spec = pod_spec(deployment(farm_spec(volumes=[{"name": "v", "mountPath": "/v", **source}])))
    assert {"name": "v", **made} in spec["volumes"]


def test_two_volumes_at_one_path_are_refused_as_the_api_server_would() -> None:
    twice = [{"name": name, "mountPath": "/data", "emptyDir": {}} for name in ("cache", "licence")]
    with pytest.raises(ValueError, match=r"volumes cache and licence .* at /data, .*: write"):
        deployment(farm_spec(volumes=twice))


def test_a_later_layer_settles_it() -> None:
    """What is replaced anyway is no mistake of the one who replaces it."""
    twice = tuple(
        Volume.model_validate({"name": name, "mountPath": "/data", "emptyDir": {}})
        for name in ("one", "two")
    )
    own = [{"name": "own", "mountPath": "/data", "emptyDir": {}}]
    made = deployment(farm_spec(volumes=own), shared_volumes=twice)
    assert [m["name"] for m in container(made)["volumeMounts"] if m["mountPath"] == "/data"] == [
        "own"
    ]


def test_mounts_may_be_read_only_and_part_of_a_volume() -> None:
    volume = {"name": "v", "mountPath": "/v", "claimName": "c", "subPath": "x", "readOnly": True}
    mounts = container(deployment(farm_spec(volumes=[volume])))["volumeMounts"]
    assert {"name": "v", "mountPath": "/v", "subPath": "x", "readOnly": True} in mounts


@pytest.mark.parametrize("path", ["/tmp", "/tmp/"])
def test_a_volume_of_the_user_s_at_tmp_replaces_ours(path: str) -> None:
    volume = {"name": "scratch", "mountPath": path, "claimName": "scratch"}
    spec = pod_spec(deployment(farm_spec(volumes=[volume])))
    assert [entry["name"] for entry in spec["volumes"]] == ["scratch"]


@pytest.mark.parametrize(
    ("wanted", "made"),
    [
        (None, {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "1Gi"}}),
        (
            {"requests": {"cpu": "2"}},
            {"requests": {"cpu": "2", "memory": "256Mi"}, "limits": {"memory": "1Gi"}},
        ),
        ({"requests": {"memory": "4Gi"}}, {"requests": {"memory": "4Gi", "cpu": "100m"}}),
        (
            {"limits": {"memory": "64Mi"}},
            {"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"}},
        ),
        (
            {"limits": {"cpu": "1", "example.com/gpu": 1}},
            {
                "requests": {"memory": "256Mi"},
                "limits": {"cpu": "1", "example.com/gpu": "1", "memory": "1Gi"},
            },
        ),
    ],
)
def test_defaults_never_contradict_what_the_user_wrote(
    wanted: Manifest | None, made: Manifest
) -> None:
    assert container(deployment(farm_spec(resources=wanted)))["resources"] == made


def test_pull_policy_and_log_ins() -> None:
    made = deployment(farm_spec(), image_pull_policy="Never", image_pull_secrets=("one", "two"))
    assert container(made)["imagePullPolicy"] == "Never"
    assert pod_spec(made)["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]


def test_labels_of_the_operator_cannot_be_overwritten() -> None:
    made = deployment(
        farm_spec(
            podLabels={"app.kubernetes.io/component": "member", "team": "x"},
            podTemplate={"metadata": {"labels": {"app.kubernetes.io/instance": None, "a": "b"}}},
        )
    )
    template, spec = made["spec"]["template"]["metadata"]["labels"], made["spec"]
    assert spec["selector"]["matchLabels"].items() <= template.items()
    assert (template["team"], template["a"]) == ("x", "b")


@pytest.mark.parametrize("word", ["version", "helm", "chart", "time", "generation", "hash"])
def test_nothing_in_a_template_changes_with_a_release(word: str) -> None:
    labels = deployment(farm_spec())["spec"]["template"]["metadata"]["labels"]
    assert not [key for key in labels if word in key]
