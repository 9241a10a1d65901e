# SPDX-License-Identifier: Apache-2.0
"""When an object must be applied again. The forms of live objects are those of a real API server."""

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_operator.api.pods import QUANTITY_PATTERN
from dpe_operator.kube.drift import (
    decide,
    differences,
    service_surplus,
    stamped,
    status_differs,
)
from dpe_operator.planning.quantities import quantity

US = "dpe-operator"

INTENT: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {
        "name": "w",
        "namespace": "ns",
        "labels": {"app": "w"},
        "ownerReferences": [{"kind": "DpeServer", "name": "radio", "uid": "u", "controller": True}],
    },
    "spec": {
        "replicas": 2,
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "dpe",
                        "image": "x:1",
                        "args": ["a", "b"],
                        "env": [{"name": "A", "value": "1"}],
                        "ports": [{"name": "dpe", "containerPort": 443}],
                        "resources": {"requests": {"cpu": "0.5", "memory": "1Gi"}},
                        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
                    }
                ],
                "tolerations": [{"key": "k", "operator": "Exists"}],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
                "nodeSelector": {},
                "imagePullSecrets": [],
            }
        },
    },
}

FIELDS: dict[str, Any] = {
    "f:metadata": {
        "f:annotations": {"f:dpe.dev/intent-hash": {}},
        "f:labels": {"f:app": {}},
        "f:ownerReferences": {'k:{"uid":"u"}': {}},
    },
    "f:spec": {
        "f:replicas": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"dpe"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:args": {},
                        "f:env": {'k:{"name":"A"}': {".": {}, "f:name": {}, "f:value": {}}},
                        "f:ports": {
                            'k:{"containerPort":443,"protocol":"TCP"}': {
                                ".": {},
                                "f:containerPort": {},
                                "f:name": {},
                            }
                        },
                        "f:resources": {"f:requests": {"f:cpu": {}, "f:memory": {}}},
                        "f:volumeMounts": {
                            'k:{"mountPath":"/tmp"}': {".": {}, "f:mountPath": {}, "f:name": {}}
                        },
                    }
                },
                "f:tolerations": {},
                "f:volumes": {'k:{"name":"tmp"}': {".": {}, "f:name": {}, "f:emptyDir": {}}},
                "f:nodeSelector": {},
            }
        },
    },
}


def live_object() -> dict[str, Any]:
    """The object as the server keeps it: defaults filled in, quantities in its own spelling."""
    obj = copy.deepcopy(stamped(INTENT))
    spec = obj["spec"]["template"]["spec"]
    container = spec["containers"][0]
    container["ports"][0]["protocol"] = "TCP"
    container["resources"]["requests"]["cpu"] = "500m"
    container["imagePullPolicy"] = "IfNotPresent"
    container["env"].append({"name": "INJECTED", "value": "by a webhook"})
    del spec["imagePullSecrets"]
    del spec["nodeSelector"]
    obj["spec"]["strategy"] = {"type": "RollingUpdate"}
    obj["metadata"] |= {"uid": "live", "generation": 3, "resourceVersion": "7"}
    obj["metadata"]["managedFields"] = [
        {"manager": US, "operation": "Apply", "fieldsV1": copy.deepcopy(FIELDS)},
        {"manager": "kube-controller-manager", "operation": "Update", "subresource": "status"},
    ]
    return obj


def fields(live: dict[str, Any]) -> Any:
    return live["metadata"]["managedFields"][0]["fieldsV1"]


def container(live: dict[str, Any]) -> Any:
    return live["spec"]["template"]["spec"]["containers"][0]


def own_container(live: dict[str, Any]) -> Any:
    spec = fields(live)["f:spec"]["f:template"]["f:spec"]
    return spec["f:containers"]['k:{"name":"dpe"}']


def decided(live: dict[str, Any] | None, intent: dict[str, Any] = INTENT) -> tuple[str, list[str]]:
    found = decide(stamped(intent), live, manager=US)
    return found.action, [difference.path for difference in found.drift]


def test_unchanged_is_skipped_with_all_defaults_and_injections() -> None:
    assert decided(live_object()) == ("skip", [])


def test_absent_is_created_and_terminating_waited_for() -> None:
    assert decided(None)[0] == "create"
    live = live_object()
    live["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    assert decided(live)[0] == "wait"


def test_a_new_intent_is_applied_and_is_no_drift() -> None:
    intent = copy.deepcopy(INTENT)
    intent["spec"]["replicas"] = 3
    assert decided(live_object(), intent) == ("apply", [])


def test_a_field_given_up_is_noticed_by_the_digest() -> None:
    intent = copy.deepcopy(INTENT)
    del intent["spec"]["template"]["spec"]["tolerations"]
    assert decided(live_object(), intent)[0] == "apply"


def test_nulls_are_no_intent() -> None:
    intent = copy.deepcopy(INTENT)
    intent["spec"]["paused"] = None
    assert stamped(intent) == stamped(INTENT)


def test_the_digest_does_not_depend_on_the_order_of_keys() -> None:
    reverse = {key: INTENT[key] for key in reversed(INTENT)}
    assert stamped(reverse)["metadata"]["annotations"] == stamped(INTENT)["metadata"]["annotations"]


def lose_image(live: dict[str, Any]) -> None:
    container(live)["image"] = "y"
    del own_container(live)["f:image"]


def lose_env_value(live: dict[str, Any]) -> None:
    del own_container(live)["f:env"]['k:{"name":"A"}']["f:value"]


def lose_env_entry(live: dict[str, Any]) -> None:
    container(live)["env"] = []
    del own_container(live)["f:env"]


def lose_port(live: dict[str, Any]) -> None:
    container(live)["ports"] = [{"containerPort": 444, "protocol": "TCP"}]
    own_container(live)["f:ports"] = {'k:{"containerPort":80,"protocol":"TCP"}': {".": {}}}


def lose_label(live: dict[str, Any]) -> None:
    live["metadata"]["labels"] = {}
    del fields(live)["f:metadata"]["f:labels"]


def lose_owner(live: dict[str, Any]) -> None:
    live["metadata"]["ownerReferences"] = []
    fields(live)["f:metadata"]["f:ownerReferences"] = {'k:{"uid":"other"}': {}}


def lose_volume_source(live: dict[str, Any]) -> None:
    live["spec"]["template"]["spec"]["volumes"][0] = {"name": "tmp", "hostPath": {"path": "/"}}
    volumes = fields(live)["f:spec"]["f:template"]["f:spec"]["f:volumes"]
    del volumes['k:{"name":"tmp"}']["f:emptyDir"]


def lose_everything(live: dict[str, Any]) -> None:
    live["metadata"]["managedFields"] = []


C = "spec.template.spec.containers[dpe]"


@pytest.mark.parametrize(
    ("edit", "path"),
    [
        (lose_image, f"{C}.image"),
        (lose_env_value, f"{C}.env[A].value"),
        (lose_env_entry, f"{C}.env"),
        (lose_port, f"{C}.ports[dpe]"),
        (lose_label, "metadata.labels"),
        (lose_owner, "metadata.ownerReferences[radio]"),
        (lose_volume_source, "spec.template.spec.volumes[tmp].emptyDir"),
        (lose_everything, "spec"),
    ],
)
def test_what_is_no_longer_ours_is_applied_again(edit: Any, path: str) -> None:
    live = live_object()
    edit(live)
    action, paths = decided(live)
    assert action == "apply" and path in paths


def other_value(live: dict[str, Any]) -> None:
    live["spec"]["replicas"] = 5


def other_args(live: dict[str, Any]) -> None:
    container(live)["args"] = ["a"]


def other_toleration(live: dict[str, Any]) -> None:
    live["spec"]["template"]["spec"]["tolerations"] = [{"key": "other", "operator": "Exists"}]


def other_quantity(live: dict[str, Any]) -> None:
    container(live)["resources"]["requests"]["cpu"] = "501m"


def other_type(live: dict[str, Any]) -> None:
    live["spec"]["replicas"] = "2"


@pytest.mark.parametrize(
    "edit", [other_value, other_args, other_toleration, other_quantity, other_type]
)
def test_other_values_count_even_if_managed_fields_say_ours(edit: Any) -> None:
    """Tools can restore or empty managedFields."""
    live = live_object()
    edit(live)
    assert decided(live)[0] == "apply"


EMPTY: dict[str, Any] = {
    "env": [{"name": "A", "value": ""}],
    "ports": [{"name": "dpe", "containerPort": 443, "hostPort": 0}],
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp", "readOnly": False}],
    "tolerations": [{"key": "k", "value": ""}],
}


@pytest.mark.parametrize("still_ours", [True, False])
def test_values_that_the_server_leaves_out_as_empty_are_there_while_they_are_ours(
    still_ours: bool,
) -> None:
    """It writes no empty text, no 0 and no false, and keeps whose they are."""
    intent = copy.deepcopy(INTENT)
    spec = intent["spec"]["template"]["spec"]
    spec["containers"][0] |= {key: EMPTY[key] for key in ("env", "ports", "volumeMounts")}
    spec["tolerations"] = EMPTY["tolerations"]
    live = live_object()
    live["metadata"]["annotations"] = stamped(intent)["metadata"]["annotations"]
    del container(live)["env"][0]["value"]
    live["spec"]["template"]["spec"]["tolerations"] = [{"key": "k"}]
    owned = own_container(live)
    owned["f:volumeMounts"]['k:{"mountPath":"/tmp"}']["f:readOnly"] = {}
    owned["f:ports"]['k:{"containerPort":443,"protocol":"TCP"}']["f:hostPort"] = {}
    if not still_ours:
        del owned["f:env"]['k:{"name":"A"}']["f:value"]
    expected = ("skip", []) if still_ours else ("apply", [f"{C}.env[A].value"])
    assert decided(live, intent) == expected


def test_an_empty_value_that_was_filled_is_noticed() -> None:
    intent = copy.deepcopy(INTENT)
    intent["spec"]["template"]["spec"]["containers"][0]["env"] = EMPTY["env"]
    live = live_object()
    live["metadata"]["annotations"] = stamped(intent)["metadata"]["annotations"]
    assert decided(live, intent) == ("apply", [f"{C}.env[A].value"])


def test_the_divisor_of_a_variable_is_a_quantity() -> None:
    found = {"valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}
    asked = {"valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1024Ki"}}}
    intent = copy.deepcopy(INTENT)
    spec = intent["spec"]["template"]["spec"]
    spec["containers"][0]["env"] = [{"name": "A", **asked}]
    live = live_object()
    live["metadata"]["annotations"] = stamped(intent)["metadata"]["annotations"]
    container(live)["env"] = [{"name": "A", **found}]
    below = own_container(live)["f:env"]['k:{"name":"A"}']
    below["f:valueFrom"] = {"f:resourceFieldRef": {}}
    assert decided(live, intent) == ("skip", [])


def test_what_the_server_changes_in_our_own_request_can_be_tolerated() -> None:
    live = live_object()
    container(live)["image"] = "mirror.example.com/x:1"
    left = frozenset(d.path for d in differences(stamped(INTENT), live, manager=US))
    assert left == {f"{C}.image"}
    assert decide(stamped(INTENT), live, manager=US, tolerated=left).action == "skip"


def test_what_is_tolerated_is_repaired_when_somebody_takes_it() -> None:
    live = live_object()
    lose_image(live)
    container(live)["image"] = "other:1"
    found = decide(stamped(INTENT), live, manager=US, tolerated=frozenset({f"{C}.image"}))
    assert found.action == "apply" and found.drift[0].lost


def test_annotations_of_others_are_left_alone() -> None:
    live = live_object()
    live["metadata"]["annotations"]["deployment.kubernetes.io/revision"] = "4"
    assert decided(live)[0] == "skip"


SERVICE: dict[str, Any] = {
    "kind": "Service",
    "spec": {"selector": {"app": "w"}, "ports": [{"name": "https", "port": 443}]},
}


@pytest.mark.parametrize(
    ("changes", "patch"),
    [
        ({}, {}),
        ({"clusterIP": "10.0.0.1"}, {}),
        ({"selector": {"app": "w", "x": "y"}}, {"selector": {"x": None}}),
        (
            {"ports": [{"port": 443, "protocol": "TCP"}, {"port": 444, "protocol": "TCP"}]},
            {"ports": [{"name": "https", "port": 443}]},
        ),
        ({"ports": [{"port": 443, "protocol": "TCP", "nodePort": 30000}]}, {}),
    ],
)
def test_foreign_parts_of_a_service(changes: dict[str, Any], patch: dict[str, Any]) -> None:
    live = {"kind": "Service", "spec": {**SERVICE["spec"], **changes}}
    assert service_surplus(SERVICE, live) == ({"spec": patch} if patch else {})


def test_a_selector_on_a_service_without_one() -> None:
    wanted = {"kind": "Service", "spec": {"ports": []}}
    live = {"kind": "Service", "spec": {"selector": {"x": "y"}}}
    assert service_surplus(wanted, live) == {"spec": {"selector": {"x": None}}}
    assert service_surplus(INTENT, live) == {}


STATUS = {"status": {"active": "a", "conditions": [{"type": "Ready", "status": "True"}]}}
STATUS_FIELDS: dict[str, Any] = {
    "f:status": {
        "f:active": {},
        "f:conditions": {'k:{"type":"Ready"}': {".": {}, "f:type": {}, "f:status": {}}},
    }
}


def status_object(body: dict[str, Any], owned: dict[str, Any]) -> dict[str, Any]:
    entry = {"manager": "s", "operation": "Apply", "subresource": "status", "fieldsV1": owned}
    return {"metadata": {"managedFields": [entry]}, "status": body}


def test_status_equal_is_not_written() -> None:
    live = status_object({**STATUS["status"], "others": 1}, STATUS_FIELDS)
    assert not status_differs(STATUS, live, manager="s")


def test_status_with_another_value_or_without_any_is_written() -> None:
    live = status_object({**STATUS["status"], "active": "b"}, STATUS_FIELDS)
    assert status_differs(STATUS, live, manager="s")
    assert status_differs(STATUS, {"metadata": {}}, manager="s")


def test_status_field_that_is_to_go_is_written() -> None:
    owned = copy.deepcopy(STATUS_FIELDS)
    owned["f:status"]["f:standby"] = {}
    live = status_object({**STATUS["status"], "standby": "b"}, owned)
    assert status_differs(STATUS, live, manager="s")


def test_status_entry_that_leaves_a_set_is_written() -> None:
    owned = {"f:status": {"f:outdated": {'v:"a"': {}, 'v:"b"': {}}}}
    live = status_object({"outdated": ["a", "b"]}, owned)
    assert status_differs({"status": {"outdated": ["b"]}}, live, manager="s")
    assert not status_differs({"status": {"outdated": ["a", "b"]}}, live, manager="s")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("500m", "0.5"),
        ("1Gi", "1024Mi"),
        ("1", "1000m"),
        ("1e3", "1k"),
        ("0", "0m"),
        ("2.0", "2"),
        ("1Mi", "1024Ki"),
        ("1M", "1000k"),
    ],
)
def test_equal_quantities(left: str, right: str) -> None:
    assert quantity(left) == quantity(right)


@given(st.from_regex(re.compile(QUANTITY_PATTERN, re.ASCII), fullmatch=True))
def test_every_quantity_that_the_api_server_lets_through_can_be_read(text: str) -> None:
    """One that could not be read would stop all care for its resource."""
    assert quantity(text).is_finite()


@pytest.mark.parametrize("text", ["", "abc", "1Xi", "1.2.3", "Gi"])
def test_no_quantities(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity(text)


@given(st.integers(min_value=0, max_value=10**6))
def test_quantities_of_any_size(number: int) -> None:
    assert quantity(f"{number}m") * 1000 == number == quantity(str(number))
