# SPDX-License-Identifier: Apache-2.0
"""The stated rights fit what the code does; the paths are those of the API server."""

import pytest
from tests.support.planning_world import World, server

from dpe_operator.kube import errors
from dpe_operator.kube.apply import WAVES
from dpe_operator.kube.kinds import KINDS, collection_path, object_path, typed
from dpe_operator.kube.rbac import OPERATOR_RULES
from dpe_operator.planning.objects import Ref
from dpe_operator.runtime.informer import CHILD_KINDS, OUR_KINDS
from dpe_operator.runtime.observe import OBSERVED_KINDS


def verbs(kind: str, subresource: str = "") -> set[str]:
    info = KINDS[kind]
    plural = f"{info.plural}/{subresource}" if subresource else info.plural
    found: set[str] = set()
    for rule in OPERATOR_RULES:
        if info.group in rule["apiGroups"] and plural in rule["resources"]:
            found |= set(rule["verbs"])
    return found


@pytest.mark.parametrize("kind", [*OUR_KINDS, *CHILD_KINDS])
def test_what_is_watched_may_be_watched(kind: str) -> None:
    assert {"get", "list", "watch"} <= verbs(kind)


@pytest.mark.parametrize("kind", sorted({kind for wave in WAVES for kind in wave}))
def test_what_is_applied_may_be_applied(kind: str) -> None:
    assert {"create", "patch"} <= verbs(kind)


@pytest.mark.parametrize("owner", OBSERVED_KINDS)
def test_what_is_read_may_be_listed(owner: str) -> None:
    for kind in OBSERVED_KINDS[owner]:
        assert "list" in verbs(kind)


@pytest.mark.parametrize("kind", OUR_KINDS)
def test_status_and_annotations_of_our_kinds(kind: str) -> None:
    assert verbs(kind, "status") == {"patch"} and "patch" in verbs(kind)


def test_no_secrets_no_wildcards_no_nodes() -> None:
    for rule in OPERATOR_RULES:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        assert not {"secrets", "nodes", "pods/exec"} & set(rule["resources"])


def test_the_operator_holds_what_it_grants() -> None:
    world = World(server())
    world.settle("DpeServer", "radio")
    for rule in world.get("Role", "radio-balancer")["rules"]:
        for resource in rule["resources"]:
            kind = next(kind for kind, info in KINDS.items() if info.plural == resource)
            assert set(rule["verbs"]) <= verbs(kind), resource


@pytest.mark.parametrize(
    ("ref", "path"),
    [
        (Ref("Service", "ns", "x"), "/api/v1/namespaces/ns/services/x"),
        (Ref("Deployment", "ns", "x"), "/apis/apps/v1/namespaces/ns/deployments/x"),
        (Ref("DpeCluster", "ns", "x"), "/apis/dpe.dev/v1alpha1/namespaces/ns/dpeclusters/x"),
    ],
)
def test_paths(ref: Ref, path: str) -> None:
    assert object_path(ref) == path
    assert object_path(ref, subresource="status") == f"{path}/status"
    assert path.startswith(collection_path(ref.kind, "ns"))


def test_list_items_get_their_kind() -> None:
    assert typed("Lease", {"spec": {}}) == {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "spec": {},
    }


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, errors.Invalid),
        (403, errors.Forbidden),
        (404, errors.NotFound),
        (409, errors.Conflict),
        (410, errors.Gone),
        (422, errors.Invalid),
        (500, errors.ApiError),
    ],
)
def test_errors_by_status(status: int, kind: type[errors.ApiError]) -> None:
    body = {"reason": "Because", "message": "of that"}
    error = errors.error_for(status, body, what="GET /x")
    assert type(error) is kind
    assert (error.status, error.reason, error.message) == (status, "Because", "GET /x: of that")


def test_an_error_that_is_no_status_object() -> None:
    assert "oops" in str(errors.error_for(502, "oops", what="GET /x"))


def test_a_field_that_the_server_does_not_know_stays_unknown() -> None:
    """It says 500 to it, as to what may pass by itself."""
    body = {
        "message": "failed to create typed patch object: .status.new: field not declared in schema"
    }
    pod = errors.error_for(500, body, what="PATCH /apis/apps/v1/namespaces/a/deployments/b")
    assert isinstance(pod, errors.UnknownField) and "CRDs" not in str(pod)
    own = errors.error_for(500, body, what="PATCH /apis/dpe.dev/v1alpha1/namespaces/a/dpeservers/b")
    assert isinstance(own, errors.UnknownField) and "apply those in crds/" in str(own)
    assert not isinstance(errors.error_for(500, {"message": "etcd"}, what="x"), errors.Invalid)


def test_a_namespace_on_its_way_out_is_told_from_other_refusals() -> None:
    body = {"reason": "Forbidden", "message": "because it is being terminated"}
    going = {**body, "details": {"causes": [{"reason": "NamespaceTerminating"}]}}
    assert isinstance(errors.error_for(403, going, what="x"), errors.NamespaceGoing)
    assert not isinstance(errors.error_for(403, body, what="x"), errors.NamespaceGoing)
