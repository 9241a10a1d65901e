# SPDX-License-Identifier: Apache-2.0
"""Claims that outlive what they were made for: PAR files, watchers' memory.

Nothing is lost by a mistake: such a claim has no owner, so deleting the resource (or the whole
DpeCluster) leaves it, and a resource of the same kind, name and namespace finds it again by its
labels. The operator has no right to delete claims at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

from dpe_operator.api import constants
from dpe_operator.builders.context import Manifest, Owner
from dpe_operator.builders.labels import Component, labels

AccessMode: TypeAlias = Literal[
    "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod", "ReadOnlyMany"
]
CLAIM: Final = "PersistentVolumeClaim"


def retained_claim(
    owner: Owner,
    name: str,
    component: Component,
    *,
    size: str,
    storage_class: str | None = None,
    access_modes: Sequence[AccessMode] = ("ReadWriteMany",),
    member: str | None = None,
) -> Manifest:
    """Build the claim as it is created; what is applied later is `claim_update`.

    Args:
        owner: the resource it is made for, named in its labels and not as its owner.
        name: name of the claim.
        component: what the claim belongs to.
        size: a quantity such as ``10Gi``.
        storage_class: None leaves the choice to the cluster's default class; an empty text is a
            choice too: only volumes without a class.
        access_modes: how pods may mount it.
        member: the one member it belongs to, where members have claims of their own.
    """
    spec: Manifest = {
        "accessModes": list(access_modes),
        "resources": {"requests": {"storage": size}},
    }
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    found = labels(owner, component, member=member)
    found[constants.LABEL_OWNER_NAMESPACE] = owner.namespace
    return {
        "apiVersion": "v1",
        "kind": CLAIM,
        "metadata": {"name": name, "namespace": owner.namespace, "labels": found},
        "spec": spec,
    }


def claim_update(claim: Manifest, *, size: str) -> Manifest:
    """Build what is applied to a claim that is there: labels and the size to have now.

    All else of a claim's spec is immutable, and a wish that differs from it would make every apply
    fail. The size stays in it even when it is the present one: a field that an applier gives up is
    removed when nobody else holds it.
    """
    return {
        **{key: claim[key] for key in ("apiVersion", "kind", "metadata")},
        "spec": {"resources": {"requests": {"storage": size}}},
    }
