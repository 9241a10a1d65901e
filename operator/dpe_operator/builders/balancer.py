# SPDX-License-Identifier: Apache-2.0
"""The redundant balancer: two HAProxy pods, their PDB and the fail-over Service.

All functions return None where ``loadBalancer.type`` is External: the site has its own balancer.
"""

from __future__ import annotations

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_name
from dpe_operator.api.server import ServerSpec
from dpe_operator.builders.balancer_pod import balancer_pod_template
from dpe_operator.builders.balancer_ports import has_balancer, listen_port, port_name
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.labels import metadata, selector
from dpe_operator.builders.pdb import keep_one


def balancer_deployment(
    context: ComponentContext, server: ServerSpec, *, image: str, config_hash: str
) -> Manifest | None:
    """Build the Deployment of the two HAProxy pods.

    ``image``: the dpe-balancer image; the caller passes on what already runs, since an upgrade of
    the operator restarts nothing by itself. ``config_hash``: from ``config_hash()``; HAProxy is
    never reloaded, so a new config is a new pod. One after the other, none on top: two pods on two
    hosts have no host for a third.
    """
    if not has_balancer(server):
        return None
    owner = context.owner
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(owner, balancer_name(owner.name), constants.COMPONENT_BALANCER),
        "spec": {
            "replicas": 2,
            "revisionHistoryLimit": 3,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
            },
            "selector": {"matchLabels": selector(owner, constants.COMPONENT_BALANCER)},
            "template": balancer_pod_template(
                context, server, image=image, config_hash=config_hash
            ),
        },
    }


def balancer_service(context: ComponentContext, server: ServerSpec) -> Manifest | None:
    """Build the fail-over Service: the one address of all clients.

    It has no selector: its EndpointSlice names the routed balancer and is written by the holder of
    the Lease. IPv4 as that slice is. ``targetPort`` is for the reader; the slice's port counts.
    """
    if not has_balancer(server):
        return None
    owner = context.owner
    wanted = server.load_balancer.service
    port: Manifest = {
        "name": port_name(server),
        "port": server.port,
        "targetPort": listen_port(server),
        "protocol": "TCP",
    }
    if wanted.node_port is not None:
        port["nodePort"] = wanted.node_port
    spec: Manifest = {
        "type": wanted.type,
        "ipFamilyPolicy": "SingleStack",
        "ipFamilies": ["IPv4"],
        "ports": [port],
    }
    if wanted.load_balancer_class is not None:
        spec["loadBalancerClass"] = wanted.load_balancer_class
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(
            owner,
            balancer_name(owner.name),
            constants.COMPONENT_BALANCER,
            annotations=wanted.annotations,
        ),
        "spec": spec,
    }


def balancer_pdb(context: ComponentContext, server: ServerSpec) -> Manifest | None:
    """Build the PDB that lets a drain through while the other balancer pod is there."""
    if not has_balancer(server):
        return None
    owner = context.owner
    return keep_one(owner, balancer_name(owner.name), constants.COMPONENT_BALANCER)
