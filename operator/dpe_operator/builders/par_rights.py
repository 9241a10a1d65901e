# SPDX-License-Identifier: Apache-2.0
"""The account of the copy's pods, its rights, and the Lease that is its lock and its memory."""

from __future__ import annotations

import json

from dpe_operator.api import constants
from dpe_operator.api.addresses import par_sync_name
from dpe_operator.builders.context import Manifest, Owner
from dpe_operator.builders.labels import metadata

_RBAC = "rbac.authorization.k8s.io"


def par_rights(owner: Owner) -> list[Manifest]:
    """Build account, Role and RoleBinding: get, watch and update on the one Lease, by name."""
    name = par_sync_name(owner.name)
    rule = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": [name],
        "verbs": ["get", "watch", "update"],
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": _metadata(owner),
            "automountServiceAccountToken": False,
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "Role",
            "metadata": _metadata(owner),
            "rules": [rule],
        },
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "RoleBinding",
            "metadata": _metadata(owner),
            "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": owner.namespace}],
        },
    ]


def par_lease(owner: Owner) -> Manifest:
    """Build the part of the Lease that is applied: holder and results belong to the runs."""
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": _metadata(owner),
    }


def initial_par_lease(owner: Owner) -> Manifest:
    """Build the Lease for the one POST: the first run may take it at once."""
    found = par_lease(owner)
    record = json.dumps({"state": "released", "epoch": 0}, separators=(",", ":"))
    meta = {**found["metadata"], "annotations": {constants.ANNOTATION_ELECTOR_RECORD: record}}
    return {**found, "metadata": meta, "spec": {"holderIdentity": "", "leaseTransitions": 0}}


def _metadata(owner: Owner) -> Manifest:
    return metadata(owner, par_sync_name(owner.name), constants.COMPONENT_PAR_SYNC)
