# SPDX-License-Identifier: Apache-2.0
"""Whose an object is; strangers and copies are never touched."""

from typing import Any

import pytest

from dpe_operator.planning.objects import Ref
from dpe_operator.planning.ownership import prunable, sort_children, whose
from dpe_operator.planning.plan import Child, Observed

RESOURCE = {
    "apiVersion": "dpe.dev/v1alpha1",
    "kind": "DpeServer",
    "metadata": {"name": "radio", "namespace": "ns", "uid": "me"},
}
OURS = {"app.kubernetes.io/managed-by": "dpe-operator", "app.kubernetes.io/instance": "radio"}


def obj(
    kind: str = "ConfigMap",
    name: str = "x",
    *,
    uid: str = "u",
    owner: dict[str, Any] | None = None,
    labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    meta: dict[str, Any] = {"name": name, "namespace": "ns", "uid": uid, "labels": labels or {}}
    if owner:
        meta["ownerReferences"] = [owner]
    return {"apiVersion": "v1", "kind": kind, "metadata": meta}


def owned(
    uid: str = "me", kind: str = "DpeServer", name: str = "radio", *, controller: bool = True
) -> dict[str, Any]:
    version = "v1" if kind == "Service" else "dpe.dev/v1alpha1"
    return {
        "apiVersion": version, "kind": kind, "name": name, "uid": uid, "controller": controller,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (obj(owner=owned()), "ours"),
        (obj(owner=owned("other")), "leftover"),
        (obj(owner=owned("other", name="tv")), "stranger"),
        (obj(owner=owned("other", kind="ProcessorFarm")), "stranger"),
        (obj(owner=owned(controller=False)), "stranger"),
        (obj(labels=OURS), "stranger"),
        (obj(), "stranger"),
    ],
)
def test_whose(live: dict[str, Any], expected: str) -> None:
    assert whose(live, resource=RESOURCE, observed=Observed()) == expected


def test_a_slice_is_ours_through_our_service() -> None:
    service = obj("Service", "radio-balancer", uid="svc", owner=owned())
    theirs = obj("Service", "radio-balancer", uid="svc")
    live = obj("EndpointSlice", "radio-balancer", owner=owned("svc", "Service", "radio-balancer"))
    assert whose(live, resource=RESOURCE, observed=Observed([service])) == "ours"
    assert whose(live, resource=RESOURCE, observed=Observed([theirs])) == "stranger"


def test_a_slice_of_the_service_before_is_a_leftover() -> None:
    service = obj("Service", "radio-balancer", uid="new", owner=owned())
    labels = OURS | {"endpointslice.kubernetes.io/managed-by": "elector.dpe.dev"}
    owner = owned("old", "Service", "radio-balancer")
    live = obj("EndpointSlice", "radio-balancer", owner=owner, labels=labels)
    assert whose(live, resource=RESOURCE, observed=Observed([service])) == "leftover"
    foreign = obj("EndpointSlice", "radio-balancer", owner=owner)
    assert whose(foreign, resource=RESOURCE, observed=Observed([service])) == "stranger"


def test_children_are_sorted_by_their_live_objects() -> None:
    names = ["free", "unseen", "mine", "theirs", "old"]
    live = [
        obj(name="mine", owner=owned()),
        obj(name="theirs"),
        obj(name="old", owner=owned("other")),
    ]
    observed = Observed(live, asked=[Ref("ConfigMap", "ns", "free")])
    found = sort_children(
        [Child(obj(name=name)) for name in names], resource=RESOURCE, observed=observed
    )
    assert [child.ref.name for child in found.usable] == ["free", "unseen", "mine"]
    assert [ref.name for ref in found.unseen] == ["unseen"]
    assert [o["metadata"]["name"] for o in found.conflicts] == ["theirs"]
    assert [o["metadata"]["name"] for o in found.leftovers] == ["old"]


def test_pruned_is_only_what_is_ours_by_label_and_owner() -> None:
    going = obj(name="going", uid="u1", owner=owned(), labels=OURS)
    going_too = obj(name="deleting", owner=owned(), labels=OURS)
    going_too["metadata"]["deletionTimestamp"] = "2026-11-22T12:00:00Z"
    observed = Observed(
        [
            going,
            going_too,
            obj(name="kept", owner=owned(), labels=OURS),
            obj(name="copy", labels=OURS),
            obj(name="bare", owner=owned()),
            obj("Secret", "other-kind", owner=owned(), labels=OURS),
            obj(name="other", owner=owned("other"), labels=OURS),
        ]
    )
    found = list(
        prunable(
            ["ConfigMap"],
            resource=RESOURCE,
            observed=observed,
            keep=[Ref("ConfigMap", "ns", "kept")],
        )
    )
    assert [(deletion.ref.name, deletion.uid) for deletion in found] == [("going", "u1")]


CLAIM_LABELS = {
    "app.kubernetes.io/managed-by": "dpe-operator",
    "app.kubernetes.io/instance": "radio",
    "dpe.dev/owner-kind": "DpeServer",
    "dpe.dev/owner-namespace": "ns",
}


def claim(owner: dict[str, Any] | None = None, **changed: str) -> dict[str, Any]:
    return obj("PersistentVolumeClaim", owner=owner, labels={**CLAIM_LABELS, **changed})


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (claim(), "ours"),
        (claim(**{"app.kubernetes.io/instance": "tv"}), "stranger"),
        (claim(**{"app.kubernetes.io/managed-by": "somebody"}), "stranger"),
        (claim(**{"dpe.dev/owner-kind": "ParStore"}), "stranger"),
        # a copy that a backup tool made in another namespace
        (claim(**{"dpe.dev/owner-namespace": "other"}), "stranger"),
        # with an owner it would be deleted with that one, even with us
        (claim(owned()), "stranger"),
        (claim(owned("x", "StatefulSet", "y", controller=False)), "stranger"),
        (obj("PersistentVolumeClaim", labels=OURS), "stranger"),
        (obj("PersistentVolumeClaim"), "stranger"),
    ],
)
def test_a_claim_that_outlives_its_resource_is_known_by_its_labels(
    live: dict[str, Any], expected: str
) -> None:
    assert whose(live, resource=RESOURCE, observed=Observed()) == expected


def test_a_claim_is_never_pruned_even_where_its_kind_is_asked_for() -> None:
    observed = Observed([claim()])
    found = prunable(["PersistentVolumeClaim"], resource=RESOURCE, observed=observed, keep=[])
    assert list(found) == []
