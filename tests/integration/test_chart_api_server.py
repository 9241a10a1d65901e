# SPDX-License-Identifier: Apache-2.0
"""The chart before a real API server: accepted as it is, restricted, and with the rights it says."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.api_server import ApiServer

from dpe_operator.api.server import ServerSpec
from dpe_operator.builders import balancer_rights
from dpe_operator.builders.context import ComponentContext, Owner

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
STUDIO = "chart-studio"
SYSTEM = "dpe-system"


def helm(*arguments: str) -> str:
    folder = subprocess.run(
        [ROOT / "hack/tools/build", "helm"], check=True, capture_output=True, text=True
    ).stdout.strip()
    command = [f"{folder}/helm", *arguments, "--kube-version", "1.34.0", "--namespace", SYSTEM]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def rendered() -> list[dict[str, Any]]:
    text = helm(
        *("template", "dpe-operator", str(ROOT / "charts/dpe-operator")),
        *("--set", f"watch.namespaces={{{STUDIO}}}"),
    )
    return [document for document in yaml.safe_load_all(text) if document]


@pytest.fixture(scope="module")
def cluster(rendered: list[dict[str, Any]]) -> Iterator[ApiServer]:
    """An API server with the chart's objects; its hooks too, as plain objects."""
    with ApiServer() as server:
        server.install_crds()
        for name in (SYSTEM, STUDIO, "elsewhere"):
            labels = {"pod-security.kubernetes.io/enforce": "restricted"}
            body = {"metadata": {"name": name, "labels": labels}}
            assert server.request("POST", "/api/v1/namespaces", body)[0] == 201
        objects = [document for document in rendered if document["kind"] not in ("Pod", "Job")]
        server.kubectl("apply", "--server-side", "-f", "-", text=json.dumps(as_list(objects)))
        yield server


def as_list(objects: list[dict[str, Any]]) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "List", "items": objects}


def token(cluster: ApiServer, name: str) -> str:
    return cluster.service_account_token(SYSTEM, name)


def allowed(cluster: ApiServer, account: str, **attributes: str) -> bool:
    """Ask the API server, as the account itself, whether it may."""
    status, answer = cluster.request(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"spec": {"resourceAttributes": attributes}},
        token=token(cluster, account),
    )
    assert status == 201, answer
    return bool(answer["status"]["allowed"])


def test_install_yaml_is_accepted_without_a_warning(cluster: ApiServer) -> None:
    done = cluster.kubectl(
        *("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--validate=strict"),
        *("-f", str(ROOT / "manifests/install.yaml")),
    )
    assert done.stderr == ""


def test_the_job_and_the_test_pod_are_accepted(
    cluster: ApiServer, rendered: list[dict[str, Any]]
) -> None:
    objects = [document for document in rendered if document["kind"] in ("Pod", "Job")]
    assert len(objects) == 2
    done = cluster.kubectl(
        *("apply", "--server-side", "--dry-run=server", "--validate=strict", "-f", "-"),
        text=json.dumps(as_list(objects)),
    )
    assert done.stderr == ""


def test_every_pod_passes_pod_security_restricted(
    cluster: ApiServer, rendered: list[dict[str, Any]]
) -> None:
    templates = [d["spec"]["template"] for d in rendered if d["kind"] in ("Deployment", "Job")]
    templates += [document for document in rendered if document["kind"] == "Pod"]
    assert len(templates) == 3
    for number, template in enumerate(templates):
        pod = {"metadata": {"name": f"pod-{number}"}, "spec": template["spec"]}
        path = f"/api/v1/namespaces/{SYSTEM}/pods?dryRun=All"
        status, answer = cluster.request("POST", path, pod)
        assert status == 201, answer
        spoiled = {**pod, "spec": {**pod["spec"], "hostPID": True}}
        assert cluster.request("POST", path, spoiled)[0] == 403, "pod security is not in force"


@pytest.mark.parametrize(
    ("expected", "attributes"),
    [
        (True, {"group": "dpe.dev", "resource": "dpeclusters", "verb": "watch"}),
        (True, {"group": "apps", "resource": "deployments", "verb": "patch"}),
        (False, {"group": "", "resource": "secrets", "verb": "get"}),
        (False, {"group": "", "resource": "pods", "subresource": "exec", "verb": "create"}),
        (False, {"group": "dpe.dev", "resource": "dpeclusters", "verb": "delete"}),
        (False, {"group": "", "resource": "nodes", "verb": "list"}),
    ],
)
def test_the_operators_rights_in_a_watched_namespace(
    cluster: ApiServer, expected: bool, attributes: dict[str, str]
) -> None:
    assert allowed(cluster, "dpe-operator", namespace=STUDIO, **attributes) is expected


def test_the_operator_has_no_rights_elsewhere(cluster: ApiServer) -> None:
    wish = {"group": "dpe.dev", "resource": "dpeclusters", "verb": "list"}
    assert not allowed(cluster, "dpe-operator", namespace="elsewhere", **wish)
    assert not allowed(cluster, "dpe-operator", **wish)
    assert not allowed(cluster, "dpe-operator", namespace=SYSTEM, **wish)


def test_the_operator_may_write_its_own_lease_only(cluster: ApiServer) -> None:
    lease = {"group": "coordination.k8s.io", "resource": "leases", "namespace": SYSTEM}
    assert allowed(cluster, "dpe-operator", verb="update", name="dpe-operator", **lease)
    assert not allowed(cluster, "dpe-operator", verb="update", name="another", **lease)
    assert not allowed(cluster, "dpe-operator", verb="delete", name="dpe-operator", **lease)


def test_the_operator_holds_what_it_grants_to_a_balancer(cluster: ApiServer) -> None:
    """The API server refuses a Role with a right that its maker lacks."""
    owner = Owner("DpeServer", "radio", STUDIO, uid="1", part_of="radio")
    members = [{"name": "a"}, {"name": "b"}]
    server = ServerSpec.model_validate(
        {"image": "dpe-server", "health": {"path": "/status"}, "members": members}
    )
    role = balancer_rights.role(ComponentContext(owner), server)
    assert role
    body = {"metadata": {"name": "radio-balancer"}, "rules": role["rules"]}
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{STUDIO}/roles?dryRun=All"
    operator = token(cluster, "dpe-operator")
    status, answer = cluster.request("POST", path, body, token=operator)
    assert status == 201, answer
    body["rules"] = [
        *role["rules"],
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]},
    ]
    assert cluster.request("POST", path, body, token=operator)[0] == 403


def test_the_crd_job_may_apply_our_crds_and_no_others(cluster: ApiServer) -> None:
    crd = {"group": "apiextensions.k8s.io", "resource": "customresourcedefinitions"}
    account = "dpe-operator-crds"
    assert allowed(cluster, account, verb="patch", name="dpeclusters.dpe.dev", **crd)
    assert not allowed(cluster, account, verb="patch", name="certificates.cert-manager.io", **crd)
    assert not allowed(cluster, account, verb="delete", name="dpeclusters.dpe.dev", **crd)
    assert not allowed(cluster, account, verb="list", group="", resource="secrets")


def test_the_test_pod_may_ask_which_kinds_are_served_and_nothing_more(cluster: ApiServer) -> None:
    served = cluster.request(
        "GET", "/apis/dpe.dev/v1alpha1", token=token(cluster, "dpe-operator-test")
    )
    assert served[0] == 200
    wish = {"group": "dpe.dev", "resource": "dpeclusters", "verb": "list", "namespace": STUDIO}
    assert not allowed(cluster, "dpe-operator-test", **wish)


@pytest.mark.parametrize(("role", "may_write"), [("view", False), ("edit", True), ("admin", True)])
def test_people_get_the_dpe_resources_with_kubernetes_own_roles(
    rendered: list[dict[str, Any]], role: str, may_write: bool
) -> None:
    """Aggregation is done by a controller; here the labels it goes by are looked at."""
    aggregated = {
        key.rsplit("-", 1)[-1]
        for document in rendered
        if document["kind"] == "ClusterRole"
        and any("create" in rule["verbs"] for rule in document["rules"])
        for key in document["metadata"]["labels"]
        if key.startswith("rbac.authorization.k8s.io/aggregate-to-")
    }
    assert (role in aggregated) is may_write
