# SPDX-License-Identifier: Apache-2.0
"""The balancer's ConfigMap: turns the pair's spec into the settings of haproxy.cfg and agent.json.

The text itself is rendered by ``haproxy``; here is decided what goes in.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_config_name, balancer_name, member_name
from dpe_operator.api.server import Member, ServerSpec
from dpe_operator.builders import haproxy
from dpe_operator.builders.balancer_pod import CERTIFICATE_DIR, MEMBER_CA_FILE, has_member_ca
from dpe_operator.builders.balancer_ports import (
    AGENT_METRICS_PORT,
    METRICS_PORT,
    has_balancer,
    listen_port,
    port_name,
)
from dpe_operator.builders.context import ComponentContext, Manifest, Owner
from dpe_operator.builders.labels import metadata
from dpe_operator.builders.values import is_ip_address

CERTIFICATE_FILE = f"{CERTIFICATE_DIR}/tls.crt"
HAPROXY_KEY = "haproxy.cfg"
AGENT_KEY = "agent.json"


def balancer_config_map(
    context: ComponentContext, server: ServerSpec, *, cluster_ips: Mapping[str, str]
) -> Manifest | None:
    """Build the ConfigMap with haproxy.cfg and agent.json; None with a balancer of the site's own.

    ``cluster_ips``: name of each in-cluster member to the ClusterIP of its Service (addresses and
    not names, so that fail-over does not hang on cluster DNS). None as well while one of them is
    missing: the caller applies the member Services first and then tries again. Its name follows
    its content: a pod of the rollout before, made anew at the wrong moment, must not read a config
    that nobody has tried yet.
    Raises ValueError, naming the field, for text that HAProxy could read as syntax.
    """
    if not has_balancer(server):
        return None
    if any(not cluster_ips.get(member.name) for member in server.in_cluster_members):
        return None
    owner = context.owner
    data = {
        HAPROXY_KEY: haproxy.render_haproxy(_haproxy(owner, server, cluster_ips)),
        AGENT_KEY: haproxy.render_agent_config(_agent(owner, server)),
    }
    return named_config_map(owner, balancer_config_name(owner.name, config_hash(data)), data)


def named_config_map(owner: Owner, name: str, data: Mapping[str, str]) -> Manifest:
    """Build a ConfigMap of the balancer's; immutable, as its name stands for its content."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(owner, name, constants.COMPONENT_BALANCER),
        "immutable": True,
        "data": dict(data),
    }


def config_hash(data: Mapping[str, str]) -> str:
    """Return 16 hex digits that change with the data of the ConfigMap."""
    text = json.dumps(data, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _haproxy(
    owner: Owner, server: ServerSpec, cluster_ips: Mapping[str, str]
) -> haproxy.HaproxySettings:
    return haproxy.HaproxySettings(
        tls_mode=server.load_balancer.tls.mode,
        listen_port=listen_port(server),
        stats_port=METRICS_PORT,
        members=tuple(
            _address(owner, server, member, number, cluster_ips)
            for number, member in enumerate(server.members, start=1)
        ),
        health=_health(server),
        member_tls=_member_tls(server),
        certificate_file=_certificate_file(server),
        timings=_timings(server),
    )


def _health(server: ServerSpec) -> haproxy.HealthCheck:
    health = server.health
    return haproxy.HealthCheck(
        path=health.path,
        status=health.status,
        body_contains=health.body_contains,
        host_header=health.host_header,
        timeout_ms=health.timeout.milliseconds,
    )


def _timings(server: ServerSpec) -> haproxy.Timings:
    timings = server.load_balancer.timings
    return haproxy.Timings(
        check_interval_ms=timings.check_interval.milliseconds,
        fast_interval_ms=timings.fast_interval.milliseconds,
        fall=timings.fall,
        rise=timings.rise,
        connect_ms=timings.connect_timeout.milliseconds,
        client_ms=timings.client_timeout.milliseconds,
        server_ms=timings.server_timeout.milliseconds,
    )


def _address(
    owner: Owner, server: ServerSpec, member: Member, number: int, cluster_ips: Mapping[str, str]
) -> haproxy.MemberAddress:
    if member.external is None:
        return haproxy.MemberAddress(
            name=member.name,
            id=number,
            address=cluster_ips[member.name],
            port=server.port,
            host_name=member.host_name or member_name(owner.name, member.name),
        )
    host = member.external.host
    dns = not is_ip_address(host)
    return haproxy.MemberAddress(
        name=member.name,
        id=number,
        address=host,
        port=member.external.port or server.port,
        dns=dns,
        host_name=host if dns else None,
    )


def _member_tls(server: ServerSpec) -> haproxy.MemberTls | None:
    if server.health.scheme == "HTTP":
        return None
    tls = server.health.tls_or_default
    return haproxy.MemberTls(
        verify=tls.verify == "Required",
        ca_file=MEMBER_CA_FILE if has_member_ca(server) else None,
        server_name=tls.server_name,
    )


def _certificate_file(server: ServerSpec) -> str | None:
    return CERTIFICATE_FILE if server.load_balancer.tls.mode == "Terminate" else None


def _agent(owner: Owner, server: ServerSpec) -> haproxy.AgentSettings:
    name = balancer_name(owner.name)
    failback, limit = server.load_balancer.failback, server.load_balancer.flap_limit
    return haproxy.AgentSettings(
        service=name,
        slice_name=name,
        lease=name,
        tls_mode=server.load_balancer.tls.mode,
        listen_port=listen_port(server),
        port_name=port_name(server),
        members=tuple(
            haproxy.AgentMember(
                name=member.name,
                id=number,
                service_name=None if member.is_external else member_name(owner.name, member.name),
            )
            for number, member in enumerate(server.members, start=1)
        ),
        certificate_file=_certificate_file(server),
        member_ca_file=MEMBER_CA_FILE if has_member_ca(server) else None,
        metrics_port=AGENT_METRICS_PORT,
        failback_seconds=failback.quiet_seconds,
        flap_switches=limit.switches,
        flap_seconds=limit.period.seconds,
        late_seconds=haproxy.late_seconds(_health(server), _timings(server)),
        stats_port=METRICS_PORT,
    )
