# SPDX-License-Identifier: Apache-2.0
"""The account of the balancer pods and the least rights they need.

All functions return None where ``loadBalancer.type`` is External.
"""

from __future__ import annotations

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_name
from dpe_operator.api.server import ServerSpec
from dpe_operator.builders.balancer_ports import has_balancer
from dpe_operator.builders.context import ComponentContext, Manifest, Owner
from dpe_operator.builders.labels import metadata

_RBAC = "rbac.authorization.k8s.io"


def service_account(context: ComponentContext, server: ServerSpec) -> Manifest | None:
    """Build the account; its token is mounted by the Deployment and by nothing else."""
    if not has_balancer(server):
        return None
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": _metadata(context.owner),
        "automountServiceAccountToken": False,
    }


def role(context: ComponentContext, server: ServerSpec) -> Manifest | None:
    """Build the Role: the own Lease and slice by name, no create, no delete.

    ``watch`` by name works for a watch with ``fieldSelector=metadata.name=NAME`` only. The slices
    of the member Services have generated names, so all slices of the namespace can be read.
    """
    if not has_balancer(server):
        return None
    name = balancer_name(context.owner.name)
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": _metadata(context.owner),
        "rules": [
            _own("coordination.k8s.io", "leases", name),
            _own("discovery.k8s.io", "endpointslices", name),
            {
                "apiGroups": ["discovery.k8s.io"],
                "resources": ["endpointslices"],
                "verbs": ["list", "watch"],
            },
        ],
    }


def _own(group: str, resource: str, name: str) -> Manifest:
    return {
        "apiGroups": [group],
        "resources": [resource],
        "resourceNames": [name],
        "verbs": ["get", "watch", "update"],
    }


def role_binding(context: ComponentContext, server: ServerSpec) -> Manifest | None:
    """Build the RoleBinding of ``role`` to ``service_account``."""
    if not has_balancer(server):
        return None
    owner = context.owner
    name = balancer_name(owner.name)
    return {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": _metadata(owner),
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": owner.namespace}],
    }


def _metadata(owner: Owner) -> Manifest:
    return metadata(owner, balancer_name(owner.name), constants.COMPONENT_BALANCER)
