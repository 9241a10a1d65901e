# SPDX-License-Identifier: Apache-2.0
"""The user's patch: merged as promised, and refused with a sentence that helps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.builders.builder_samples import pair_objects, pair_spec
from tests.unit.builders.par_samples import par_objects, par_spec

from dpe_operator.builders.context import Manifest
from dpe_operator.builders.pod_template import (
    PodTemplateError,
    merge_pod_template,
    pod_template_problems,
)

OWN = "app.kubernetes.io/component"
PORT = {"name": "dpe", "containerPort": 443, "protocol": "TCP"}


def template() -> Manifest:
    return {
        "metadata": {"labels": {OWN: "member"}},
        "spec": {
            "containers": [
                {
                    "name": "dpe",
                    "image": "dpe:1",
                    "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                    "resources": {"requests": {"cpu": "1"}},
                    "securityContext": {"readOnlyRootFilesystem": True, "capabilities": {}},
                    "args": ["--one", "--two"],
                    "ports": [dict(PORT)],
                }
            ],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
            "tolerations": [{"key": "a"}],
            "securityContext": {"runAsNonRoot": True},
        },
    }


def merged(spec: Manifest | None = None, **container: Any) -> Manifest:
    patch = {"spec": {**(spec or {}), **({} if not container else _container(container))}}
    return merge_pod_template(template(), patch)


def _container(fields: Manifest) -> Manifest:
    return {"containers": [{"name": "dpe", **fields}]}


def own(found: Manifest) -> Manifest:
    container: Manifest = found["spec"]["containers"][0]
    return container


@pytest.mark.parametrize("patch", [None, {}, {"spec": {}}, {"metadata": {"labels": {}}}])
def test_nothing_said_changes_nothing(patch: Manifest | None) -> None:
    assert merge_pod_template(template(), patch) == template()


def test_neither_side_is_changed() -> None:
    base, patch = template(), {"spec": {"volumes": [{"name": "x", "emptyDir": {"a": {}}}]}}
    kept = copy.deepcopy((base, patch))
    found = merge_pod_template(base, patch)
    found["spec"]["volumes"][1]["emptyDir"]["a"]["b"] = 1
    assert (base, patch) == kept


def test_objects_are_merged_and_null_removes() -> None:
    found = merged({"securityContext": {"fsGroup": 5, "runAsNonRoot": None}, "hostname": "x"})
    assert found["spec"]["securityContext"] == {"fsGroup": 5}
    assert found["spec"]["hostname"] == "x"


def test_the_own_container_is_merged_field_by_field() -> None:
    found = own(merged(securityContext={"readOnlyRootFilesystem": False}, image="dpe:2"))
    assert found["image"] == "dpe:2"
    assert found["securityContext"] == {"readOnlyRootFilesystem": False, "capabilities": {}}
    assert found["args"] == ["--one", "--two"]


def test_a_side_car_is_added_behind() -> None:
    found = merged({"containers": [{"name": "log", "image": "log:1", "tty": None}]})
    assert [entry["name"] for entry in found["spec"]["containers"]] == ["dpe", "log"]
    assert found["spec"]["containers"][1] == {"name": "log", "image": "log:1"}


def test_variables_are_replaced_whole_and_in_place() -> None:
    source = {"secretKeyRef": {"name": "s", "key": "k"}}
    found = own(merged(env=[{"name": "A", "valueFrom": source}, {"name": "C", "value": "3"}]))
    assert found["env"] == [
        {"name": "A", "valueFrom": source},
        {"name": "B", "value": "2"},
        {"name": "C", "value": "3"},
    ]


def test_a_volume_never_ends_up_with_two_sources() -> None:
    claim = {"name": "tmp", "persistentVolumeClaim": {"claimName": "c"}}
    assert merged({"volumes": [claim]})["spec"]["volumes"] == [claim]


def test_entries_are_removed_by_name() -> None:
    found = merged(
        {"volumes": [{"name": "tmp", "$patch": "delete"}, {"name": "no", "$patch": "delete"}]},
        env=[{"name": "A", "$patch": "delete"}],
    )
    assert found["spec"]["volumes"] == []
    assert [entry["name"] for entry in own(found)["env"]] == ["B"]


def test_lists_without_names_are_replaced() -> None:
    found = merged({"tolerations": [{"key": "b"}]}, args=["--three"])
    assert found["spec"]["tolerations"] == [{"key": "b"}]
    assert own(found)["args"] == ["--three"]


CALLED_LIKE_LISTS: Manifest = {
    "metadata": {"labels": {"env": "production"}, "annotations": {"ports": "443"}},
    "spec": {"nodeSelector": {"env": "production", "volumes": "fast"}},
}


def pods_of(component: str) -> list[Manifest]:
    """The pod templates of a component, with the patch `CALLED_LIKE_LISTS`."""
    if component == "par-sync":
        sync = {"schedule": "0 3 * * *", "timeZone": "UTC", "podTemplate": CALLED_LIKE_LISTS}
        made = par_objects(par_spec(sync=sync))
    elif component == "balancer":
        made = pair_objects(pair_spec(loadBalancer={"podTemplate": CALLED_LIKE_LISTS})).applied
    else:
        made = pair_objects(pair_spec(podTemplate=CALLED_LIKE_LISTS)).applied
    found = []
    for manifest in made:
        spec = manifest.get("spec", {})
        pod = spec.get("jobTemplate", {}).get("spec", spec).get("template")
        if pod and pod["metadata"]["labels"][OWN] == component:
            found.append(pod)
    return found


@pytest.mark.parametrize("component", ["member", "balancer", "par-sync"])
def test_labels_may_be_called_like_lists_of_pods(component: str) -> None:
    pods = pods_of(component)
    assert pods
    for pod in pods:
        assert pod["metadata"]["labels"]["env"] == "production"
        assert pod["metadata"]["annotations"]["ports"] == "443"
        chosen = pod["spec"]["nodeSelector"]
        assert (chosen["env"], chosen["volumes"]) == ("production", "fast")
        assert chosen["kubernetes.io/os"] == "linux"


@pytest.mark.parametrize("container", ["dpe", "balancer", "par-sync"])
def test_labels_called_like_lists_of_pods_are_no_problem(container: str) -> None:
    assert pod_template_problems(CALLED_LIKE_LISTS, container=container) == ()


@pytest.mark.parametrize(
    ("ports", "wanted"),
    [
        ([{"containerPort": 443, "hostPort": 443}], [{**PORT, "hostPort": 443}]),
        ([{"containerPort": 443, "protocol": "TCP", "hostPort": 1}], [{**PORT, "hostPort": 1}]),
        ([{"containerPort": 443, "name": "https"}], [PORT]),
        ([{"containerPort": 443, "$patch": "delete"}], [PORT]),
        (None, [PORT]),
        ([], [PORT]),
    ],
)
def test_the_operator_s_ports_keep_their_names(ports: Any, wanted: Any) -> None:
    """The probes and the Service ask for them by name."""
    assert own(merged(ports=ports))["ports"] == wanted


def test_a_port_is_there_once_for_each_protocol() -> None:
    dns = [{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 53, "name": "dns"}]
    assert own(merged(ports=dns))["ports"] == [PORT, *dns]
    more = {"containerPort": 443, "protocol": "UDP"}
    assert own(merged(ports=[more]))["ports"] == [PORT, more]


def test_ports_of_other_containers_are_as_they_are_written() -> None:
    side_car = {"name": "log", "image": "log:1", "ports": [{"containerPort": 443, "name": "x"}]}
    assert merged({"containers": [side_car]})["spec"]["containers"][1] == side_car


@pytest.mark.parametrize("value", [None, "processor"])
def test_the_operator_s_labels_stay(value: str | None) -> None:
    patch = {"metadata": {"labels": {OWN: value, "team": "x"}}}
    labels = merge_pod_template(template(), patch)["metadata"]["labels"]
    assert labels == {OWN: "member", "team": "x"}


@pytest.mark.parametrize("patch", [{"metadata": None}, {"metadata": {"labels": None}}])
def test_the_operator_s_labels_stay_when_all_are_removed(patch: Manifest) -> None:
    assert merge_pod_template(template(), patch)["metadata"]["labels"] == {OWN: "member"}


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"spec": "x"}, "podTemplate.spec is text: write an object there"),
        (
            {"spec": {"containers": {"name": "dpe"}}},
            "podTemplate.spec.containers is an object: write a list there",
        ),
        ({"spec": {"containers": ["dpe"]}}, "podTemplate.spec.containers[0] is text"),
        ({"spec": {"containers": [{"image": "x"}]}}, "podTemplate.spec.containers[0] has no name"),
        (
            {"spec": {"containers": [{"name": "dpe", "env": [{"value": "x"}]}]}},
            "podTemplate.spec.containers[dpe].env[0] has no name",
        ),
        (
            {"spec": {"containers": [{"name": "dpe", "resources": 5}]}},
            "podTemplate.spec.containers[dpe].resources is a number: write an object there",
        ),
        (
            {"spec": {"containers": [{"name": "dpe", "ports": [{"hostPort": 443}]}]}},
            "podTemplate.spec.containers[dpe].ports[0] has no containerPort",
        ),
        ({"spec": {"containers": [None]}}, "podTemplate.spec.containers[0] is null"),
        ({"metadata": {"labels": ["a"]}}, "podTemplate.metadata.labels is a list"),
        ({"spec": {"$patch": "replace"}}, "podTemplate.spec.$patch is not known"),
        (
            {"spec": {"volumes": [{"name": "x", "$patch": "merge"}]}},
            "podTemplate.spec.volumes[x].$patch is not known",
        ),
        ({"status": {}}, "podTemplate.status is not part of a pod template"),
        ({"metadata": {"name": "x"}}, "podTemplate.metadata.name cannot be set"),
        ({"metadata": {"labels": {OWN: "x"}}}, f"{OWN} is the operator's own"),
        ({"spec": None}, "would remove the whole pod"),
        ({"spec": {"containers": None}}, "would remove the pod"),
        (
            {"spec": {"containers": [{"name": "dpe", "$patch": "delete"}]}},
            "podTemplate.spec.containers[dpe] is the container of DPE and cannot be removed",
        ),
        (
            {"spec": {"containers": [{"name": "dpe", "env": [{"name": "ROOT", "value": "x"}]}]}},
            "podTemplate.spec.containers[dpe].env sets ROOT",
        ),
        (
            {"spec": {"initContainers": [{"name": "i", "env": [{"name": "ROOT"}]}]}},
            "podTemplate.spec.initContainers[i].env sets ROOT",
        ),
    ],
)
def test_bad_patches_are_refused_with_path_and_cure(patch: Manifest, said: str) -> None:
    problems = pod_template_problems(patch, reserved_env="ROOT")
    assert len(problems) == 1
    assert said in problems[0]


@pytest.mark.parametrize(
    ("env", "said"),
    [
        ({"DB_PASSWORD": "Zq9Secret"}, " is an object: write a list there"),
        ("DB_PASSWORD=Zq9Secret", " is text: write a list there"),
        (["DB_PASSWORD=Zq9Secret"], "[0] is text: write an object there"),
        ([["DB_PASSWORD", "Zq9Secret"]], "[0] is a list: write an object there"),
        ([{"DB_PASSWORD": "Zq9Secret"}], "[0] has no name: write the name to merge by"),
        (
            [{"name": "DB_PASSWORD=Zq9Secret"}],
            "[0].name has an equals sign in it: write what stands behind it as value",
        ),
        (
            [{"name": "DB_PASSWORD", "value": 735551}],
            "[DB_PASSWORD].value is a number: write text there, in quotes",
        ),
        (
            [{"name": "DB_PASSWORD", "value": True}],
            "[DB_PASSWORD].value is a boolean: write text there, in quotes",
        ),
        (
            [{"name": "DB_PASSWORD", "value": {"Zq9Secret": 735551}}],
            "[DB_PASSWORD].value is an object: write text there, in quotes",
        ),
    ],
)
@pytest.mark.parametrize("where", ["containers", "initContainers"])
def test_what_a_variable_holds_is_in_no_problem(env: Any, said: str, where: str) -> None:
    """Conditions and events are read by many; Kubernetes itself would quote the value there."""
    [problem] = pod_template_problems({"spec": {where: [{"name": "dpe", "env": env}]}})
    assert problem == f"podTemplate.spec.{where}[dpe].env{said}"
    assert "Zq9Secret" not in problem and "735551" not in problem


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"shareProcessNamespace": True}, "podTemplate.spec.shareProcessNamespace is true"),
        ({"hostPID": True}, "podTemplate.spec.hostPID is true"),
        (
            {"containers": [{"name": "balancer", "resources": {"limits": {"cpu": "1"}}}]},
            "limits.cpu is 1",
        ),
    ],
)
def test_what_breaks_the_elector_is_refused_where_one_runs(spec: Manifest, said: str) -> None:
    patch = {"spec": spec}
    [problem] = pod_template_problems(patch, container="balancer", elector=True)
    assert said in problem
    assert pod_template_problems(patch, container="balancer") == ()


@pytest.mark.parametrize(
    "patch",
    [
        None,
        {},
        {"spec": {"shareProcessNamespace": False, "priorityClassName": "x"}},
        {"spec": {"containers": [{"name": "dpe", "resources": {"limits": {"memory": "1Gi"}}}]}},
        {"spec": {"containers": [{"name": "log", "resources": {"limits": {"cpu": "1"}}}]}},
        {"metadata": {"labels": {"team": "x"}, "annotations": {"a": "b"}}},
        {"spec": _container({"env": [{"name": "A", "value": "5"}, {"name": "B", "value": ""}]})},
        {"spec": _container({"env": [{"name": "A", "value": None}, {"name": "B"}]})},
        {"spec": _container({"env": [{"name": "A", "value": 5, "$patch": "delete"}]})},
    ],
)
def test_good_patches_pass(patch: Manifest | None) -> None:
    assert pod_template_problems(patch, reserved_env="ROOT", elector=True) == ()


_KEYS = st.sampled_from(
    [
        *("metadata", "spec", "labels", OWN, "containers", "name", "dpe", "env", "volumes"),
        *("resources", "ports", "containerPort", "protocol"),
    ]
)
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=12,
)


def _nulls(value: Any) -> bool:
    if isinstance(value, dict):
        return any(entry is None or _nulls(entry) for entry in value.values())
    return isinstance(value, list) and any(_nulls(entry) for entry in value)


@given(st.dictionaries(_KEYS, _VALUES, max_size=3))
def test_any_patch_is_either_refused_or_harmless(patch: Manifest) -> None:
    problems = pod_template_problems(patch)
    try:
        found = merge_pod_template(template(), patch)
    except PodTemplateError:
        assert problems, "a patch that cannot be merged must be refused beforehand"
        return
    assert found["metadata"]["labels"][OWN] == "member"
    assert not _nulls(found)
    if not problems:
        assert own(found)["name"] == "dpe"
        assert own(found)["image"] == "dpe:1" or "image" in str(patch)
