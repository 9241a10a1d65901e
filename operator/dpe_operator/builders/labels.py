# SPDX-License-Identifier: Apache-2.0
"""Labels, selectors and metadata of every child.

No version, chart or time stands in a label: labels are part of pod templates, and an upgrade of
the operator is no reason to restart a pod.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from dpe_operator.api import constants
from dpe_operator.builders.context import Manifest, Owner

Component: TypeAlias = Literal[
    "member",
    "balancer",
    "processor",
    "client-profile",
    "server",
    "farm",
    "worker",
    "scheduler",
    "table-watcher",
    "folder-watcher",
    "workflow",
    "database-check",
    "par-store",
    "par-sync",
    "par-master",
    "par-redundant",
    "par-registry",
]


_SELECTED = (
    constants.LABEL_COMPONENT,
    constants.LABEL_INSTANCE,
    constants.LABEL_OWNER_KIND,
    constants.LABEL_MEMBER,
)


def labels(owner: Owner, component: Component, *, member: str | None = None) -> dict[str, str]:
    """Labels of a child of ``owner``; ``member`` names the one member that the child serves."""
    found = {
        constants.LABEL_MANAGED_BY: constants.MANAGED_BY,
        constants.LABEL_NAME: constants.APP_NAME,
        constants.LABEL_COMPONENT: component,
        constants.LABEL_INSTANCE: owner.name,
        constants.LABEL_PART_OF: owner.part_of,
        constants.LABEL_OWNER_KIND: owner.kind,
    }
    if member is not None:
        found[constants.LABEL_MEMBER] = member
    return found


def selector(owner: Owner, component: Component, *, member: str | None = None) -> dict[str, str]:
    """Labels that find the pods of a component, and no pod of another resource.

    Left out is ``part-of``: it may change (a clusterRef is set anew with a new resource), and the
    selector of a Deployment may not.
    """
    found = labels(owner, component, member=member)
    return {key: found[key] for key in _SELECTED if key in found}


def owner_reference(owner: Owner) -> Manifest:
    """The controller reference by which the garbage collector removes children with their owner.

    ``blockOwnerDeletion`` is left out: setting it needs a right on the owner's finalizers on some
    distributions, and nobody here waits for children to be gone.
    """
    return {
        "apiVersion": owner.api_version,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
    }


def metadata(
    owner: Owner,
    name: str,
    component: Component,
    *,
    member: str | None = None,
    annotations: Mapping[str, str] | None = None,
) -> Manifest:
    """Metadata of a child: name, namespace, labels, controller reference, annotations if any."""
    found: Manifest = {
        "name": name,
        "namespace": owner.namespace,
        "labels": labels(owner, component, member=member),
        "ownerReferences": [owner_reference(owner)],
    }
    if annotations:
        found["annotations"] = dict(annotations)
    return found
