# SPDX-License-Identifier: Apache-2.0
"""Every pod of the chart is "restricted", and nobody gets more rights than needed."""

from __future__ import annotations

from typing import Any

import pytest

EVERYTHING = {
    "watch": {"namespaces": ["studio", "news"]},
    "metrics": {"serviceMonitor": {"enabled": True}},
    "image": {"pullSecrets": [{"name": "pull"}]},
}
ALL_NAMESPACES = {"watch": {"allNamespaces": True}}
READS = {**EVERYTHING, "rbac": {"clusterReads": True}}


def pod_specs(documents: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    specs = {}
    for document in documents:
        if document["kind"] == "Pod":
            specs[document["metadata"]["name"]] = document["spec"]
        elif document["kind"] in ("Deployment", "Job"):
            specs[document["metadata"]["name"]] = document["spec"]["template"]["spec"]
    return specs


def test_every_pod_is_restricted(render):
    specs = pod_specs(render(EVERYTHING))
    assert set(specs) == {"dpe-operator", "dpe-operator-crds", "dpe-operator-test"}
    for spec in specs.values():
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in spec["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}
        for volume in spec["volumes"]:
            assert not set(volume) & {"hostPath", "nfs"}


def test_every_pod_has_its_token_as_a_projected_volume_only(render):
    for spec in pod_specs(render(EVERYTHING)).values():
        assert spec["automountServiceAccountToken"] is False
        projected = [volume for volume in spec["volumes"] if "projected" in volume]
        assert len(projected) == 1
        sources = {key for source in projected[0]["projected"]["sources"] for key in source}
        assert sources == {"serviceAccountToken", "configMap", "downwardAPI"}


def test_every_pod_uses_the_pull_secrets(render):
    for spec in pod_specs(render(EVERYTHING)).values():
        assert spec["imagePullSecrets"] == [{"name": "pull"}]


def test_no_rule_holds_a_wildcard_or_reaches_secrets(render):
    roles = [
        document
        for values in (EVERYTHING, ALL_NAMESPACES)
        for document in render(values)
        if document["kind"] in ("Role", "ClusterRole")
    ]
    assert roles
    for role in roles:
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert "secrets" not in rule["resources"]
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_rights_are_roles_in_the_watched_namespaces(render):
    documents = render(EVERYTHING)
    roles = [
        d for d in documents if d["kind"] == "Role" and d["metadata"]["name"] == "dpe-operator"
    ]
    assert {role["metadata"]["namespace"] for role in roles} == {"studio", "news"}
    cluster_wide = {d["metadata"]["name"] for d in documents if d["kind"] == "ClusterRole"}
    assert cluster_wide == {
        "dpe-system:dpe-operator:view",
        "dpe-system:dpe-operator:edit",
        "dpe-system:dpe-operator-crds",
    }


@pytest.mark.parametrize("values", [EVERYTHING, ALL_NAMESPACES])
def test_the_rights_to_look_after_a_namespace_have_one_name_in_all_releases(render, values):
    """So a second operator there is refused by Helm, or gets the rights in the first one's place."""

    def names(**release):
        return {
            (d["kind"], d["metadata"].get("namespace"), d["metadata"]["name"])
            for d in render(values, **release)
            if d["kind"] in ("RoleBinding", "ClusterRoleBinding")
            and not d["metadata"]["name"].endswith(("-lease", "-crds", "-test"))
        }

    found = names()
    assert found
    assert found == names(release="radio", namespace="radio-system")


def test_without_a_list_only_the_release_namespace_is_watched(one):
    assert one("Role", "dpe-operator")["metadata"]["namespace"] == "dpe-system"


def test_all_namespaces_means_one_cluster_role_with_the_same_rules(one, render):
    wide = one("ClusterRole", "dpe-operator:all-namespaces", values=ALL_NAMESPACES)
    assert wide["rules"] == one("Role", "dpe-operator")["rules"]
    assert not [
        document
        for document in render(ALL_NAMESPACES)
        if document["kind"] == "Role" and document["metadata"]["name"] == "dpe-operator"
    ]


def test_what_belongs_to_no_namespace_is_read_only_where_it_was_allowed(one, render):
    name = "dpe-system:dpe-operator:reads"
    assert name not in {document["metadata"]["name"] for document in render(EVERYTHING)}
    role = one("ClusterRole", name, values=READS)
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get"}
    assert {resource for rule in role["rules"] for resource in rule["resources"]} == {
        "persistentvolumes",
        "storageclasses",
    }


@pytest.mark.parametrize("values", [EVERYTHING, ALL_NAMESPACES, READS])
def test_each_binding_names_a_role_that_is_there_and_an_account_that_is_there(render, values):
    documents = render(values)
    by_kind = {
        kind: {
            (d["metadata"].get("namespace"), d["metadata"]["name"])
            for d in documents
            if d["kind"] == kind
        }
        for kind in ("Role", "ClusterRole", "ServiceAccount")
    }
    bindings = [d for d in documents if d["kind"] in ("RoleBinding", "ClusterRoleBinding")]
    assert bindings
    for binding in bindings:
        reference = binding["roleRef"]
        namespace = binding["metadata"].get("namespace")
        assert (namespace, reference["name"]) in by_kind[reference["kind"]]
        for subject in binding["subjects"]:
            assert (subject["namespace"], subject["name"]) in by_kind["ServiceAccount"]


def test_the_operator_may_only_write_its_own_lease_in_its_own_namespace(one):
    role = one("Role", "dpe-operator-lease", values=EVERYTHING)
    assert role["metadata"]["namespace"] == "dpe-system"
    named = [rule for rule in role["rules"] if "resourceNames" in rule]
    assert named == [
        {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": ["dpe-operator"],
            "verbs": ["get", "watch", "update"],
        }
    ]
    assert [rule["verbs"] for rule in role["rules"] if "resourceNames" not in rule] == [["create"]]


def test_no_rights_are_made_when_they_are_switched_off(render):
    off = {"rbac": {"create": False, "userRoles": False}, "crds": {"install": False}}
    kinds = {document["kind"] for document in render(off)}
    assert not kinds & {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
