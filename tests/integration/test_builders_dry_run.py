# SPDX-License-Identifier: Apache-2.0
"""A real API server takes everything that the builders make, at Pod Security level restricted.

Server-side apply with `dryRun=All` runs defaulting, the schema (unknown fields are errors) and
validation, and stores nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.unit.builders.builder_samples import (
    LONG_NAME,
    LONG_PART,
    cluster_objects,
    farm_objects,
    farm_spec,
    pair_context,
    pair_objects,
    pair_spec,
)
from tests.unit.builders.test_builders_golden import CASES

from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.constants import WORKFLOW_KINDS
from dpe_operator.api.kinds import kind_named
from dpe_operator.builders import failover_record
from dpe_operator.builders.context import Manifest
from dpe_operator.kube.drift import Decision, decide, stamped

pytestmark = pytest.mark.integration

_PLURALS = {
    "ConfigMap": "configmaps",
    "CronJob": "cronjobs",
    "Deployment": "deployments",
    "DpeServer": "dpeservers",
    "EndpointSlice": "endpointslices",
    "Job": "jobs",
    "Lease": "leases",
    "ParStore": "parstores",
    "PersistentVolumeClaim": "persistentvolumeclaims",
    "Pod": "pods",
    "PodDisruptionBudget": "poddisruptionbudgets",
    "ProcessorFarm": "processorfarms",
    "Role": "roles",
    "RoleBinding": "rolebindings",
    "Service": "services",
    "ServiceAccount": "serviceaccounts",
    **{kind: kind_named(kind).plural for kind in WORKFLOW_KINDS},
}
_OPTIONS = "fieldManager=dpe-operator&fieldValidation=Strict"


def _path(manifest: Manifest, *, name: bool = True) -> str:
    group = manifest["apiVersion"]
    root = f"/apis/{group}" if "/" in group else f"/api/{group}"
    meta = manifest["metadata"]
    path = f"{root}/namespaces/{meta['namespace']}/{_PLURALS[manifest['kind']]}"
    return f"{path}/{meta['name']}" if name else path


def apply(server: ApiServer, manifest: Manifest, *, dry_run: bool = True) -> Manifest:
    """Apply on the server and return what it made of it; fails with the server's own words."""
    options = f"{_OPTIONS}&force=true" + ("&dryRun=All" if dry_run else "")
    status, answer = server.request(
        "PATCH",
        f"{_path(manifest)}?{options}",
        manifest,
        content_type="application/apply-patch+yaml",
    )
    name = f"{manifest['kind']} {manifest['metadata']['name']}"
    assert status in (200, 201), f"{name}: {answer.get('message')}"
    return answer


def create(server: ApiServer, manifest: Manifest, *, dry_run: bool = True) -> Manifest:
    """Create on the server, as `apply`."""
    options = _OPTIONS + ("&dryRun=All" if dry_run else "")
    path = _path(manifest, name=False)
    status, answer = server.request("POST", f"{path}?{options}", manifest)
    name = f"{manifest['kind']} {manifest['metadata']['name']}"
    assert status == 201, f"{name}: {answer.get('message')}"
    return answer


@pytest.fixture(scope="module")
def restricted(dpe_api_server: ApiServer) -> str:
    """A namespace where pods that are not restricted are refused."""
    name = dpe_api_server.create_namespace()
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    status, answer = dpe_api_server.request(
        "PATCH",
        f"/api/v1/namespaces/{name}",
        {"metadata": {"labels": labels}},
        content_type="application/merge-patch+json",
    )
    assert status == 200, answer
    return name


def _in(namespace: str, manifests: list[Manifest]) -> list[Manifest]:
    for manifest in manifests:
        manifest["metadata"]["namespace"] = namespace
        for subject in manifest.get("subjects", ()):
            subject["namespace"] = namespace
    return manifests


@pytest.mark.parametrize("case", CASES)
def test_every_object_of_every_site_is_valid(
    dpe_api_server: ApiServer, restricted: str, case: str
) -> None:
    for manifest in _in(restricted, CASES[case]()):
        if manifest["kind"] in ("Lease", "EndpointSlice"):
            create(dpe_api_server, manifest)
        else:
            apply(dpe_api_server, manifest)


# they show side-cars of the user's own, which are not restricted
_WITH_SIDECARS = {"pair-full", "table-watcher-full"}
# a folder of an NFS server that nodes mount is not for level "restricted", and the docs say so
_WITH_NFS = {"par-store-nfs"}


@pytest.mark.parametrize("case", sorted(CASES.keys() - _WITH_SIDECARS - _WITH_NFS))
def test_every_pod_is_restricted(dpe_api_server: ApiServer, restricted: str, case: str) -> None:
    """Deployments are only warned about; their pods would be refused."""
    for manifest in _in(restricted, CASES[case]()):
        if manifest["kind"] in ("Deployment", "Job"):
            create(dpe_api_server, _pod(manifest))


def _pod(deployment: Manifest) -> Manifest:
    template = deployment["spec"]["template"]
    metadata = {
        **template["metadata"],
        "name": deployment["metadata"]["name"],
        "namespace": deployment["metadata"]["namespace"],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def test_the_config_map_is_valid(dpe_api_server: ApiServer, restricted: str) -> None:
    made = pair_objects(pair_spec(), namespace=restricted).applied
    [config] = [manifest for manifest in made if manifest["kind"] == "ConfigMap"]
    assert apply(dpe_api_server, config)["data"] == config["data"]


def test_longest_names_are_accepted_as_labels_and_host_names(
    dpe_api_server: ApiServer, restricted: str
) -> None:
    spec = pair_spec(members=[{"name": LONG_PART}, {"name": f"{LONG_PART[:-1]}y"}])
    pair = pair_objects(spec, name=LONG_NAME, namespace=restricted)
    farm = farm_objects(
        farm_spec(type=LONG_PART),
        replicas=2,
        name=f"{LONG_NAME}-{LONG_PART}"[:52],
        namespace=restricted,
    )
    for manifest in [*pair.applied, *farm]:
        apply(dpe_api_server, manifest)


@pytest.fixture
def record(api_server: ApiServer, namespace: str) -> Callable[[str | None], list[Manifest]]:
    """Lease and slice created for good; a function that applies their metadata."""
    spec = pair_spec()
    context = pair_context(spec, namespace=namespace)
    service = next(
        manifest
        for manifest in pair_objects(spec, namespace=namespace).applied
        if (manifest["kind"], manifest["metadata"]["name"]) == ("Service", "radio-balancer")
    )
    uid = apply(api_server, service, dry_run=False)["metadata"]["uid"]
    lease = failover_record.initial_lease(context, spec)
    first = failover_record.initial_slice(context, spec, service_uid=uid)
    assert lease is not None and first is not None
    for manifest in (lease, first):
        create(api_server, manifest, dry_run=False)

    def apply_metadata(request: str | None) -> list[Manifest]:
        applied = [
            failover_record.lease_metadata(context, spec),
            failover_record.slice_metadata(context, spec, service_uid=uid, switch_request=request),
        ]
        return [apply(api_server, m, dry_run=False) for m in applied if m is not None]

    return apply_metadata


def _write_as_holder(server: ApiServer, live: Manifest, **changes: Any) -> None:
    path = _path(live)
    status, answer = server.request("PUT", f"{path}?fieldManager=holder", live | changes)
    assert status == 200, answer


def test_applied_metadata_leaves_the_holder_s_fields_alone(
    api_server: ApiServer, record: Callable[[str | None], list[Manifest]]
) -> None:
    lease, routed = record(None)
    spec = {"holderIdentity": "me", "leaseTransitions": 7, "leaseDurationSeconds": 6}
    endpoints = [{"addresses": ["10.1.2.3"], "conditions": {"ready": True}}]
    annotations = {"dpe.dev/epoch": "7", "dpe.dev/active-member": "a"}
    _write_as_holder(api_server, lease, spec=spec)
    routed["metadata"]["annotations"] = annotations
    _write_as_holder(api_server, routed, endpoints=endpoints)

    lease, routed = record("b@1")

    assert lease["spec"] == spec
    assert routed["endpoints"] == endpoints
    assert routed["ports"][0]["port"] == 8443
    assert routed["metadata"]["annotations"] == {**annotations, "dpe.dev/switch-request": "b@1"}


def test_a_request_is_taken_away_without_touching_the_record(
    api_server: ApiServer, record: Callable[[str | None], list[Manifest]]
) -> None:
    _, routed = record("b@1")
    routed["metadata"]["annotations"]["dpe.dev/epoch"] = "3"
    _write_as_holder(api_server, routed)

    _, routed = record(None)

    assert routed["metadata"]["annotations"] == {"dpe.dev/epoch": "3"}


def test_applying_twice_changes_nothing(
    api_server: ApiServer, record: Callable[[str | None], list[Manifest]]
) -> None:
    versions = [
        [manifest["metadata"]["resourceVersion"] for manifest in record("b@1")] for _ in range(2)
    ]
    assert versions[0] == versions[1]


def test_metadata_alone_creates_no_slice(api_server: ApiServer, namespace: str) -> None:
    """A slice deleted in between is made by the next POST, not half made by an apply."""
    spec = pair_spec()
    made = failover_record.slice_metadata(
        pair_context(spec, namespace=namespace), spec, service_uid="x"
    )
    assert made is not None
    status, _ = api_server.request(
        "PATCH",
        f"{_path(made)}?{_OPTIONS}&force=true",
        made,
        content_type="application/apply-patch+yaml",
    )
    assert status == 422


def _with_patch(namespace: str, patch: Manifest) -> Manifest:
    server = {
        "image": "dpe:1",
        "health": {"path": "/status"},
        "members": [{"name": "a"}, {"name": "b"}],
        "podTemplate": patch,
    }
    spec = DpeClusterSpec.model_validate({"server": server})
    return stamped(cluster_objects(spec, namespace=namespace)[1])


def test_a_patch_s_null_survives_in_a_composed_child(
    dpe_api_server: ApiServer, namespace: str
) -> None:
    """As it is sent, where a value was before and where one comes after; and once is enough."""
    probe = {"httpGet": {"path": "/", "port": 80}, "periodSeconds": 1}
    terms = [{"topologyKey": "zone"}]
    rules = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}

    def patch(probe: Manifest | None, rules: Manifest | None) -> Manifest:
        containers = [{"name": "dpe", "readinessProbe": probe, "lifecycle": None}]
        return {
            "metadata": {"annotations": rules and {"x": "y"}},
            "spec": {"containers": containers, "affinity": rules},
        }

    for wanted in (patch(None, None), patch(probe, rules), patch(None, None), patch(probe, rules)):
        child = _with_patch(namespace, wanted)
        live = apply(dpe_api_server, child, dry_run=False)
        assert live["spec"]["podTemplate"] == wanted
        assert decide(child, live, manager="dpe-operator") == Decision("skip")


def test_the_balancer_s_rights_are_enough_and_no_more(
    api_server: ApiServer, namespace: str
) -> None:
    made = pair_objects(pair_spec(), namespace=namespace).applied
    for manifest in made:
        if manifest["kind"] in ("ServiceAccount", "Role", "RoleBinding"):
            apply(api_server, manifest, dry_run=False)
    token = api_server.service_account_token(namespace, "radio-balancer")
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"

    def status(method: str, path: str) -> int:
        return api_server.request(method, path, {} if method == "POST" else None, token=token)[0]

    assert status("GET", f"{leases}/radio-balancer") == 404, "allowed, and not there yet"
    assert status("GET", f"{slices}/radio-balancer") == 404
    assert status("GET", slices) == 200
    watch = "watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3Dradio-balancer"
    assert status("GET", f"{leases}?{watch}") == 200
    for method, path in [
        ("GET", leases),
        ("POST", leases),
        ("GET", f"{leases}/other"),
        ("DELETE", f"{leases}/radio-balancer"),
        ("POST", slices),
        ("DELETE", f"{slices}/radio-balancer"),
        ("GET", f"/api/v1/namespaces/{namespace}/secrets"),
    ]:
        assert status(method, path) == 403, f"{method} {path}"
