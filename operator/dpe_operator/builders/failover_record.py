# SPDX-License-Identifier: Apache-2.0
"""Lease and EndpointSlice of the balancer: who is routed, and which member is active.

Each of the two exists in two forms: the *initial* one is created once by POST; afterwards the
operator applies the *metadata* form only, since spec, endpoints and ports belong to the holder of
the Lease. Applying those here would cut the service off at each reconcile.

All functions return None where ``loadBalancer.type`` is External.
"""

from __future__ import annotations

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_name
from dpe_operator.api.server import ServerSpec
from dpe_operator.builders.balancer_ports import has_balancer, listen_port, port_name
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.labels import metadata


def initial_slice(
    context: ComponentContext, server: ServerSpec, *, service_uid: str
) -> Manifest | None:
    """Build the slice for the one POST: no endpoints yet, ports as in the Service.

    ``service_uid`` is the uid of the fail-over Service, its owner: a Service that was deleted and
    made anew takes its old slice with it.
    """
    found = slice_metadata(context, server, service_uid=service_uid)
    if found is None:
        return None
    return {
        **found,
        "addressType": "IPv4",
        "endpoints": [],
        "ports": [{"name": port_name(server), "port": listen_port(server), "protocol": "TCP"}],
    }


def slice_metadata(
    context: ComponentContext,
    server: ServerSpec,
    *,
    service_uid: str,
    switch_request: str | None = None,
) -> Manifest | None:
    """Build the part of the slice that is applied at each reconcile: labels, owner, request.

    ``switch_request`` is ``member@switch-count``; None takes a former request away.
    """
    if not has_balancer(server):
        return None
    owner = context.owner
    name = balancer_name(owner.name)
    annotations = {constants.ANNOTATION_SWITCH_REQUEST: switch_request} if switch_request else None
    meta = metadata(owner, name, constants.COMPONENT_BALANCER, annotations=annotations)
    meta["labels"] |= {
        constants.LABEL_SERVICE_NAME: name,
        constants.LABEL_SLICE_MANAGED_BY: constants.SLICE_MANAGED_BY,
    }
    meta["ownerReferences"] = [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "name": name,
            "uid": service_uid,
            "controller": True,
        }
    ]
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta}


def initial_lease(context: ComponentContext, server: ServerSpec) -> Manifest | None:
    """Build the Lease for the one POST: nobody holds it, the first balancer takes it at once."""
    found = lease_metadata(context, server)
    if found is None:
        return None
    return {**found, "spec": {"holderIdentity": "", "leaseTransitions": 0}}


def lease_metadata(context: ComponentContext, server: ServerSpec) -> Manifest | None:
    """Build the part of the Lease that is applied at each reconcile."""
    if not has_balancer(server):
        return None
    owner = context.owner
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": metadata(owner, balancer_name(owner.name), constants.COMPONENT_BALANCER),
    }
