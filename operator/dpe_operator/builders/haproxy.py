# SPDX-License-Identifier: Apache-2.0
"""Text of haproxy.cfg and agent.json: what the two balancer pods are told.

The only place that knows HAProxy's syntax. HAProxy is never reloaded: another text is another pod.
Every string of a user is checked here a second time, whatever the API let through, because one
line break in a health path would be a line of configuration.
"""

from __future__ import annotations

import functools
import ipaddress
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from jinja2 import Environment, PackageLoader, StrictUndefined

TlsMode = Literal["Passthrough", "Terminate", "None"]

SYSTEM_CA: Final = "@system-ca"

# The agent asks its own data port from this address, and HAProxy closes that at once: an answer
# proves that connections are accepted, and no member sees anything of it.
PROBE_SOURCE: Final = "127.0.0.254"

# Two members that go DOWN within TOGETHER_MS share an outage (the agent's rule, docs/adr/0012); the
# agent looks every LOOK_MS. For longer than MOST_LATE_MS no server is kept that is late.
TOGETHER_MS: Final = 5000
LOOK_MS: Final = 100
MOST_LATE_MS: Final = 2000

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_HOST_PORT: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?(:[0-9]{1,5})?")
_PATH: Final = re.compile(r"/[A-Za-z0-9._~%/?&=:@,;+-]*")
_STATUS: Final = re.compile(r"[1-5][0-9][0-9](-[1-5][0-9][0-9])?")
_BODY: Final = re.compile(r"[ -~]+")
_BODY_REFUSED: Final = re.compile(r"['\"\\]")
_FILE: Final = re.compile(r"/[A-Za-z0-9._/-]+")


@dataclass(frozen=True)
class MemberAddress:
    """Where one DPE Server is found.

    ``id``: 1 or 2, its fixed number in HAProxy (position in the spec). ``address``: an IP address
    (a Service's ClusterIP for a member in the cluster) or, with ``dns`` true, a host name that
    HAProxy looks up again and again. ``host_name``: what the member is called, the default for
    Host header and SNI; without it the address.
    """

    name: str
    id: int
    address: str
    port: int
    dns: bool = False
    host_name: str | None = None


@dataclass(frozen=True)
class HealthCheck:
    """The health page: ``status`` is ``200`` or a range ``200-299``; ``body_contains`` None lets
    the status alone decide; ``host_header`` None sends each member's own name."""

    path: str
    status: str = "200"
    body_contains: str | None = None
    host_header: str | None = None
    timeout_ms: int = 800


@dataclass(frozen=True)
class MemberTls:
    """How members' certificates are checked, in health checks and (Terminate) in traffic.

    ``verify`` False takes any certificate. ``ca_file``: path inside the pod, None the system's
    authorities. ``server_name``: SNI and expected name; None: ``host_header`` without its port,
    else each member's own name.
    """

    verify: bool = True
    ca_file: str | None = None
    server_name: str | None = None


@dataclass(frozen=True)
class Timings:
    """Times of the checks and of connections, in milliseconds."""

    check_interval_ms: int = 250
    fast_interval_ms: int = 25
    fall: int = 3
    rise: int = 2
    connect_ms: int = 250
    client_ms: int = 30_000
    server_ms: int = 30_000


@dataclass(frozen=True)
class HaproxySettings:
    """Everything that haproxy.cfg depends on.

    ``member_tls`` None: members speak plain HTTP. ``certificate_file``: path of ``tls.crt`` with
    ``tls.key`` beside it; needed for Terminate, refused otherwise. ``drain_seconds``: how long a
    stopping HAProxy lets open connections finish. ``name_servers``: address and port of DNS
    servers; empty uses the pod's resolv.conf (host names must then be complete: HAProxy knows no
    search domains). ``max_connections``: so many clients at once, the rest waits.
    """

    tls_mode: TlsMode
    listen_port: int
    members: tuple[MemberAddress, ...]
    health: HealthCheck
    member_tls: MemberTls | None
    certificate_file: str | None = None
    timings: Timings = field(default_factory=Timings)
    drain_seconds: int = 30
    backend: str = "dpe"
    run_directory: str = "/run/dpe"
    listen_address: str = "0.0.0.0"  # noqa: S104 - a pod's own address is not known here
    stats_port: int = 8404
    threads: int = 2
    max_connections: int = 4000
    max_metrics_connections: int = 100
    name_servers: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class AgentMember:
    """One member for the agent; ``service_name`` None for a server outside the cluster."""

    name: str
    id: int
    service_name: str | None


@dataclass(frozen=True)
class AgentSettings:
    """Everything that agent.json depends on; names are those of objects in the namespace.

    ``port_name`` is that of the Service and of the slice (``https`` or ``http``). The files are
    None where there is nothing to renew. ``failback_seconds``: quiet period before the first member
    is active again, None for never; more than ``flap_switches`` unplanned switches in
    ``flap_seconds`` count as flapping. ``late_seconds``: what the function of that name returns.
    """

    service: str
    slice_name: str
    lease: str
    tls_mode: TlsMode
    listen_port: int
    port_name: str
    members: tuple[AgentMember, ...]
    drain_seconds: int = 30
    certificate_file: str | None = None
    member_ca_file: str | None = None
    backend: str = "dpe"
    haproxy_config: str = "/etc/dpe-balancer/haproxy.cfg"
    run_directory: str = "/run/dpe"
    listen_address: str = "0.0.0.0"  # noqa: S104 - as in HaproxySettings
    metrics_port: int = 8405
    failback_seconds: float | None = None
    flap_switches: int = 3
    flap_seconds: float = 600.0
    late_seconds: float = 2.0
    stats_port: int = 8404


def render_haproxy(settings: HaproxySettings) -> str:
    """The text of haproxy.cfg for ``settings``.

    Raises ValueError, naming the field, for anything HAProxy could read as syntax or not use.
    """
    _check_haproxy(settings)
    template = _environment().get_template("haproxy.cfg.j2")
    members = [_member_view(settings, member) for member in settings.members]
    return template.render(
        s=settings,
        t=settings.timings,
        members=members,
        http=settings.tls_mode != "Passthrough",
        uses_dns=any(member.dns for member in settings.members),
        probe_source=PROBE_SOURCE,
    )


def render_agent_config(settings: AgentSettings) -> str:
    """The text of agent.json for ``settings``, the same for the same settings.

    Raises ValueError, naming the field, for settings that the agent would refuse.
    """
    if len(settings.members) != 2:
        raise ValueError(f"members: exactly 2 are needed, not {len(settings.members)}")
    config = {
        "service": settings.service,
        "slice": settings.slice_name,
        "lease": settings.lease,
        "haproxyConfig": settings.haproxy_config,
        "backend": settings.backend,
        "tlsMode": settings.tls_mode,
        "listenAddress": settings.listen_address,
        "listenPort": settings.listen_port,
        "metricsPort": settings.metrics_port,
        "statsPort": settings.stats_port,
        "portName": settings.port_name,
        "members": [
            {"name": member.name, "id": member.id, "serviceName": member.service_name}
            for member in settings.members
        ],
        "drainSeconds": settings.drain_seconds,
        "certificateFile": settings.certificate_file,
        "memberCaFile": settings.member_ca_file,
        "runDirectory": settings.run_directory,
        "failbackSeconds": settings.failback_seconds,
        "flapSwitches": settings.flap_switches,
        "flapSeconds": settings.flap_seconds,
        "lateSeconds": settings.late_seconds,
    }
    return json.dumps(config, indent=2) + "\n"


def late_seconds(health: HealthCheck, timings: Timings) -> float:
    """How long after its last good check the only server is kept UP though it is late, in seconds.

    After that three checks (``fall``) must fail, and all of it must take less than the 5 s within
    which two that go DOWN share an outage. 0 where there is no time left (docs/adr/0020).
    """
    handshake_ms = min(timings.connect_ms, timings.check_interval_ms)
    check_ms = max(health.timeout_ms, handshake_ms) + timings.fast_interval_ms
    left_ms = TOGETHER_MS - LOOK_MS - timings.check_interval_ms - timings.fall * check_ms
    return max(0, min(MOST_LATE_MS, left_ms)) / 1000


@functools.cache
def _environment() -> Environment:
    # Kept, because it keeps the compiled template: compiling takes longer than all else in a plan.
    # Autoescape is for HTML; here the checks below keep foreign syntax out.
    return Environment(  # noqa: S701
        loader=PackageLoader("dpe_operator", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _member_view(settings: HaproxySettings, member: MemberAddress) -> dict[str, Any]:
    """What the template needs of one member: its lines, all defaults filled in."""
    health, tls = settings.health, settings.member_tls
    own_name = member.host_name or member.address
    default_port = 80 if tls is None else 443
    own_host = own_name if member.port == default_port else f"{own_name}:{member.port}"
    sni = None
    if tls is not None:
        wanted = tls.server_name or (health.host_header or "").partition(":")[0] or own_name
        sni = None if _is_address(wanted) else wanted
    return {
        "name": member.name,
        "id": member.id,
        "endpoint": f"{member.address}:{member.port}",
        "host": health.host_header or own_host,
        "options": "".join(f" {option}" for option in _server_options(settings, member, sni)),
    }


def _server_options(settings: HaproxySettings, member: MemberAddress, sni: str | None) -> list[str]:
    tls = settings.member_tls
    options = []
    if member.dns:
        # HAProxy gives an address to one server of a backend only, unless told: two servers on
        # one machine, by the same name and on two ports, would have a backup without an address
        options.append("resolvers dns init-addr none resolve-prefer ipv4")
        options.append("resolve-opts allow-dup-ip")
    if tls is None:
        return options
    options.append("check-ssl" if settings.tls_mode == "Passthrough" else "ssl")
    trust = f"required ca-file {tls.ca_file or SYSTEM_CA}" if tls.verify else "none"
    options.append(f"verify {trust}")
    if sni is not None:
        options.append(f"check-sni {sni}")
        if settings.tls_mode != "Passthrough":
            options.append(f"sni str({sni})")
    return options


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _check_haproxy(settings: HaproxySettings) -> None:
    _check_members(settings.members)
    _check_tls(settings)
    health = settings.health
    _match("health.path", health.path, _PATH)
    _match("health.status", health.status, _STATUS)
    if health.body_contains is not None:
        _match("health.bodyContains", health.body_contains, _BODY)
        if _BODY_REFUSED.search(health.body_contains):
            raise ValueError(
                f"health.bodyContains {health.body_contains!r}: leave out quotes and backslashes"
            )
    if health.host_header is not None:
        _match("health.hostHeader", health.host_header, _HOST_PORT)
    _match("backend", settings.backend, _NAME)
    _match("runDirectory", settings.run_directory, _FILE)
    for address in (settings.listen_address, *(server for server, _ in settings.name_servers)):
        if not _is_address(address):
            raise ValueError(f"address {address!r}: write an IP address")
    ports = [settings.listen_port, settings.stats_port]
    for port in [*ports, *(port for _, port in settings.name_servers)]:
        _positive("port", port, limit=65535)
    for name, value in vars(settings.timings).items():
        _positive(f"timings.{name}", value)
    _positive("health.timeout", health.timeout_ms)
    _positive("drainSeconds", settings.drain_seconds)
    _positive("threads", settings.threads)
    _positive("maxConnections", settings.max_connections)
    _positive("maxMetricsConnections", settings.max_metrics_connections)


def _check_members(members: tuple[MemberAddress, ...]) -> None:
    if len(members) != 2 or len({member.name for member in members}) != 2:
        raise ValueError("members: exactly 2 with different names are needed")
    if sorted(member.id for member in members) != [1, 2]:
        raise ValueError("members: their ids must be 1 and 2")
    for member in members:
        where = f"members[{member.name!r}]"
        _match(f"{where}.name", member.name, _NAME)
        _positive(f"{where}.port", member.port, limit=65535)
        if member.dns:
            _match(f"{where}.address", member.address, _HOST)
        elif not _is_address(member.address):
            raise ValueError(
                f"{where}.address {member.address!r}: write an IP address, or mark it as a name"
            )
        if member.host_name is not None:
            _match(f"{where}.hostName", member.host_name, _HOST)


def _check_tls(settings: HaproxySettings) -> None:
    if settings.tls_mode not in ("Passthrough", "Terminate", "None"):
        raise ValueError(
            f"tls.mode {settings.tls_mode!r}: write one of Passthrough, Terminate, None"
        )
    if (settings.certificate_file is None) == (settings.tls_mode == "Terminate"):
        raise ValueError(
            f"certificateFile {settings.certificate_file!r}: needed with tls.mode Terminate, and "
            f"with no other; the mode is {settings.tls_mode}"
        )
    tls = settings.member_tls
    files = {
        "certificateFile": settings.certificate_file,
        "health.tls.caFile": None if tls is None else tls.ca_file,
    }
    for name, path in files.items():
        if path is not None:
            _match(name, path, _FILE)
    if tls is not None and tls.server_name is not None:
        _match("health.tls.serverName", tls.server_name, _HOST)


def _match(name: str, value: str, pattern: re.Pattern[str]) -> None:
    if not pattern.fullmatch(value):
        raise ValueError(
            f"{name} {value!r}: HAProxy would not read this as one plain value; it must match "
            f"{pattern.pattern}"
        )


def _positive(name: str, value: int, *, limit: int = 86_400_000) -> None:
    if not 1 <= value <= limit:
        raise ValueError(f"{name} {value}: write a number from 1 to {limit}")
