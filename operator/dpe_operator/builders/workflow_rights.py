# SPDX-License-Identifier: Apache-2.0
"""The Lease that candidates compete for, their account, and the least rights on the Lease.

All of Standby mode only: Concurrent members talk to no API server.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.workflow import WorkflowTemplate
from dpe_operator.builders.context import ComponentContext, Manifest, Owner
from dpe_operator.builders.labels import metadata
from dpe_operator.builders.workflow_parts import component_of, is_standby, name_of

_RBAC: Final = "rbac.authorization.k8s.io"
_RELEASED: Final = json.dumps({"state": "released", "epoch": 0}, separators=(",", ":"))


def account_of(owner: Owner, spec: WorkflowTemplate) -> str:
    """Return the service account of the candidates: the user's if there is one, else our own."""
    return spec.service_account_name or name_of(owner)


def workflow_rights(
    context: ComponentContext, kind: str, spec: WorkflowTemplate, *, former: Collection[str] = ()
) -> list[Manifest]:
    """Build ServiceAccount, Role and RoleBinding of the candidates; nothing in Concurrent mode.

    No account is made where the user names one; that one is given the Role instead. ``watch`` by
    name works for a watch with ``fieldSelector=metadata.name=NAME`` only. No create: a Lease that
    somebody deleted is made again by the operator, with what it knows of the former one.

    ``former``: further accounts that candidates still run under. They keep the Role, or the one
    that acts would have to stop before another can.
    """
    if not is_standby(spec):
        return []
    owner = context.owner
    name = name_of(owner)
    meta = metadata(owner, name, component_of(kind))
    account: Manifest = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": meta,
        "automountServiceAccountToken": False,
    }
    role: Manifest = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": meta,
        "rules": [
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "resourceNames": [name],
                "verbs": ["get", "watch", "update"],
            }
        ],
    }
    wanted = account_of(owner, spec)
    accounts = [wanted, *sorted(set(former) - {wanted})]
    binding: Manifest = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
        "subjects": [
            {"kind": "ServiceAccount", "name": account, "namespace": owner.namespace}
            for account in accounts
        ],
    }
    return [role, binding] if spec.service_account_name else [account, role, binding]


def workflow_lease(
    context: ComponentContext,
    kind: str,
    *,
    annotations: Mapping[str, str] | None = None,
    first: bool = False,
) -> tuple[Manifest, Manifest]:
    """Build the Lease as it is created, and what is applied to it afterwards.

    Applied is metadata only: spec and record belong to the holder.

    Args:
        context: whose Lease it is.
        kind: the kind of the resource.
        annotations: what is passed on from the resource, such as an accepted loss of memory.
        first: no pod of this component exists, not even one that is ending. Only then the new
            Lease says that nobody can be acting, and the first candidate takes it at once;
            otherwise all wait until a holder of the former Lease must have stopped.
    """
    owner = context.owner
    meta = metadata(owner, name_of(owner), component_of(kind), annotations=annotations)
    applied: Manifest = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": meta,
    }
    initial_meta = meta
    if first:
        record = {constants.ANNOTATION_ELECTOR_RECORD: _RELEASED}
        initial_meta = {**meta, "annotations": {**meta.get("annotations", {}), **record}}
    spec = {"holderIdentity": "", "leaseTransitions": 0}
    return {**applied, "metadata": initial_meta, "spec": spec}, applied
