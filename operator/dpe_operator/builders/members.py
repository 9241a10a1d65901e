# SPDX-License-Identifier: Apache-2.0
"""The in-cluster DPE Servers of a pair: a Deployment and a Service each, one PDB over both.

A Deployment for each member, and not one with two pods: the members differ (host name, licence,
environment), and each needs an address of its own for HAProxy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from dpe_operator.api import constants
from dpe_operator.api.addresses import member_name, members_name
from dpe_operator.api.server import Health, Member, ServerSpec
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.labels import metadata, selector
from dpe_operator.builders.pdb import keep_one
from dpe_operator.builders.placement import apart, tolerations
from dpe_operator.builders.pod import (
    DEFAULT_GRACE_SECONDS,
    Workload,
    dpe_pod_template,
    pod_security,
)

PORT_NAME = "dpe"
PRE_STOP_SECONDS = 10
_STARTUP_PERIOD_SECONDS = 2
_HIGHEST_PRIVILEGED_PORT = 1023
# Lets a program that is not root listen on 443, DPE's port; one of the "safe" settings that level
# "restricted" allows. Newer container engines set it by themselves, older ones do not.
_LOW_PORTS = {"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}
# Windows images of many GB take their time to be pulled.
_PROGRESS_DEADLINE_SECONDS = 3600


def member_deployment(
    context: ComponentContext, server: ServerSpec, member: Member
) -> Manifest | None:
    """Build the Deployment for the one pod of ``member``; None for an external member.

    Recreate: two pods of one member never run at once, as both would have the same host name.
    """
    if member.is_external:
        return None
    owner = context.owner
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(
            owner,
            member_name(owner.name, member.name),
            constants.COMPONENT_MEMBER,
            member=member.name,
        ),
        "spec": {
            "replicas": 1,
            "revisionHistoryLimit": 3,
            "progressDeadlineSeconds": max(
                _PROGRESS_DEADLINE_SECONDS, math.ceil(server.health.startup_timeout.seconds) + 600
            ),
            "strategy": {"type": "Recreate"},
            "selector": {
                "matchLabels": selector(owner, constants.COMPONENT_MEMBER, member=member.name)
            },
            "template": dpe_pod_template(context, server, _workload(context, server, member)),
        },
    }


def _workload(context: ComponentContext, server: ServerSpec, member: Member) -> Workload:
    owner = context.owner
    host_name = member.host_name or member_name(owner.name, member.name)
    pod: Manifest = {
        "hostname": host_name,
        "affinity": apart(owner, constants.COMPONENT_MEMBER, context.placement, member=member.name),
        "tolerations": tolerations(server.tolerations, short_stay=False),
        "terminationGracePeriodSeconds": _grace_seconds(server),
    }
    if server.os == "linux" and server.pod_port <= _HIGHEST_PRIVILEGED_PORT:
        pod["securityContext"] = {**pod_security("linux"), "sysctls": [_LOW_PORTS]}
    return Workload(
        component=constants.COMPONENT_MEMBER,
        image=member.image or server.image or "",
        member=member.name,
        env=tuple(member.env),
        env_from=tuple(member.env_from),
        volumes=tuple(member.volumes),
        node_selector=dict(member.node_selector),
        container={
            "ports": [{"name": PORT_NAME, "containerPort": server.pod_port, "protocol": "TCP"}],
            "startupProbe": _startup_probe(server.health, host_name),
            "readinessProbe": _readiness_probe(),
            # It goes on serving while the balancer moves clients to the other member. Kubelet
            # does the sleeping, so the image needs no shell.
            "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        },
        pod=pod,
    )


def _grace_seconds(server: ServerSpec) -> int:
    """The program's own time to stop, after the sleep that kubelet counts too."""
    wanted = server.termination_grace_period_seconds
    return PRE_STOP_SECONDS + (DEFAULT_GRACE_SECONDS if wanted is None else wanted)


def _startup_probe(health: Health, host_name: str) -> Manifest:
    """The health URL, until it first answers. Afterwards only the balancer judges health.

    Kubelet cannot match bodies and takes any status from 200 to 399 for good. Where a healthy
    answer may lie outside of that (401 with Windows authentication), the port has to do.
    """
    if _kubelet_accepts(health.status):
        host_header = health.host_header or host_name
        check: Manifest = {
            "httpGet": {
                "path": health.path,
                "port": PORT_NAME,
                "scheme": health.scheme,
                "httpHeaders": [{"name": "Host", "value": host_header}],
            }
        }
    else:
        check = {"tcpSocket": {"port": PORT_NAME}}
    return {
        **check,
        "periodSeconds": _STARTUP_PERIOD_SECONDS,
        "timeoutSeconds": max(1, math.ceil(health.timeout.seconds)),
        "failureThreshold": math.ceil(health.startup_timeout.seconds / _STARTUP_PERIOD_SECONDS),
    }


def _kubelet_accepts(status: str) -> bool:
    """Whether every status of ``200`` or ``200-299`` is one that kubelet takes for good."""
    first, _, last = status.partition("-")
    return int(first) >= 200 and int(last or first) < 400


def _readiness_probe() -> Manifest:
    """The port only: a kubelet that judged health would be a second decider beside HAProxy."""
    return {
        "tcpSocket": {"port": PORT_NAME},
        "periodSeconds": 5,
        "timeoutSeconds": 2,
        "failureThreshold": 3,
    }


def member_service(
    context: ComponentContext,
    server: ServerSpec,
    member: Member,
    *,
    ports: Mapping[int, str] | None = None,
) -> Manifest | None:
    """Build the Service whose ClusterIP HAProxy talks to; None for an external member.

    ``ports``: number and name of each port, where that is not the spec's port alone. All of them
    lead to the program, at whatever number it listens in the pod that is there.
    """
    if member.is_external:
        return None
    owner = context.owner
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(
            owner,
            member_name(owner.name, member.name),
            constants.COMPONENT_MEMBER,
            member=member.name,
        ),
        "spec": {
            "type": "ClusterIP",
            # as the fail-over Service: HAProxy is given IPv4 addresses
            "ipFamilyPolicy": "SingleStack",
            "ipFamilies": ["IPv4"],
            "selector": selector(owner, constants.COMPONENT_MEMBER, member=member.name),
            "ports": [
                {"name": name, "port": number, "targetPort": PORT_NAME, "protocol": "TCP"}
                for number, name in (ports or {server.port: PORT_NAME}).items()
            ],
        },
    }


def second_port_name(number: int) -> str:
    """Name of a port of a member's Service while another one has the usual name."""
    return f"{PORT_NAME}-{number}"


def is_member_port(port: Mapping[str, Any]) -> bool:
    """Whether a port of a live Service is one that ``member_service`` makes."""
    return (
        port.get("name") in (PORT_NAME, second_port_name(port.get("port", 0)))
        and port.get("targetPort") == PORT_NAME
        and port.get("protocol", "TCP") == "TCP"
    )


def members_pdb(context: ComponentContext, server: ServerSpec) -> Manifest | None:
    """Build the PDB over both members; None with fewer than two of them in the cluster.

    A budget over a single pod would hold up every drain of its node for ever.
    """
    if len(server.in_cluster_members) < 2:
        return None
    return keep_one(context.owner, members_name(context.owner.name), constants.COMPONENT_MEMBER)
