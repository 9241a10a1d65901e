# SPDX-License-Identifier: Apache-2.0
"""The agent's settings: agent.json, written by the operator, and the pod's own environment."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpe_balancer.record import Pod, Port

# From this address the agent asks its own data port; haproxy.cfg closes such connections at once.
PROBE_SOURCE = "127.0.0.254"


@dataclass(frozen=True)
class MemberConfig:
    """One member: its number in HAProxy and, inside the cluster, its Service."""

    name: str
    id: int
    service_name: str | None


@dataclass(frozen=True)
class AgentConfig:
    """agent.json. `certificate_file` has its key beside it (`tls.crt`, `tls.key`). `stats_port` is
    HAProxy's port for metrics, the same in every balancer pod: by it they ask each other.

    `failback_seconds`, `flap_switches`, `flap_seconds`, `late_seconds`: as in `Site`.
    """

    service: str
    slice_name: str
    lease: str
    haproxy_config: Path
    backend: str
    tls_mode: str
    listen_address: str
    listen_port: int
    metrics_port: int
    stats_port: int
    port_name: str
    members: tuple[MemberConfig, MemberConfig]
    drain_seconds: float
    certificate_file: Path | None
    member_ca_file: Path | None
    run_directory: Path
    failback_seconds: float | None
    flap_switches: int
    flap_seconds: float
    late_seconds: float

    @property
    def tcp(self) -> bool:
        """Whether HAProxy passes connections through and sees no requests."""
        return self.tls_mode == "Passthrough"

    @property
    def names(self) -> tuple[str, str]:
        """The members' names in listed order."""
        return self.members[0].name, self.members[1].name

    @property
    def port(self) -> Port:
        """The port of the EndpointSlice."""
        return Port(self.port_name, self.listen_port)


def load_config(path: Path) -> AgentConfig:
    """Read agent.json; raises ValueError that names the file and the field."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return _parse(found)
    except (OSError, ValueError, TypeError, AttributeError) as wrong:
        raise ValueError(f"{path}: {wrong}") from wrong
    except KeyError as missing:
        raise ValueError(f"{path}: the field {missing} is missing") from missing


def pod_from_environment(environment: Mapping[str, str]) -> tuple[Pod, str]:
    """This pod and its namespace, from the variables set by the downward API.

    Raises ValueError naming those that are not set, and for an address that is not IPv4: Service
    and EndpointSlice are, and probes ask the first address of a pod.
    """
    needed = ("POD_NAME", "POD_NAMESPACE", "POD_UID", "POD_IP")
    missing = [name for name in needed if not environment.get(name)]
    if missing:
        raise ValueError(
            f"{', '.join(missing)} not set: the pod template must give them by the downward API"
        )
    if ":" in environment["POD_IP"]:
        raise ValueError(
            f"the pod's first address, {environment['POD_IP']}, is IPv6: the cluster must give pods"
            " an IPv4 address, as the first one where they have two"
        )
    pod = Pod(
        name=environment["POD_NAME"],
        uid=environment["POD_UID"],
        namespace=environment["POD_NAMESPACE"],
        ip=environment["POD_IP"],
        node=environment.get("NODE_NAME", ""),
        zone=environment.get("NODE_ZONE", ""),
    )
    return pod, pod.namespace


def peers_from_environment(environment: Mapping[str, str]) -> dict[str, tuple[str, int, int]]:
    """Where to find other balancers (host, HAProxy's port for metrics, the agent's), by the address
    that the record has for them.

    For tests only, in which all run on one machine: `10.1.0.1=127.0.0.1:4711:4712,...`.
    """
    found = {}
    for pair in environment.get("DPE_BALANCER_TEST_PEERS", "").split(","):
        address, _, place = pair.partition("=")
        host, *ports = place.split(":")
        if len(ports) == 2:
            found[address] = (host, int(ports[0]), int(ports[1]))
    return found


def _parse(found: dict[str, Any]) -> AgentConfig:
    members = [
        MemberConfig(str(member["name"]), int(member["id"]), member.get("serviceName"))
        for member in found["members"]
    ]
    if len(members) != 2:
        raise ValueError(f"members: exactly 2 are needed, not {len(members)}")
    if sorted(member.id for member in members) != [1, 2]:
        raise ValueError("members: their ids must be 1 and 2")
    mode = found["tlsMode"]
    if mode not in ("Passthrough", "Terminate", "None"):
        raise ValueError(f"tlsMode {mode!r}: write Passthrough, Terminate or None")
    return AgentConfig(
        service=found["service"],
        slice_name=found["slice"],
        lease=found["lease"],
        haproxy_config=Path(found["haproxyConfig"]),
        backend=found["backend"],
        tls_mode=mode,
        listen_address=found.get("listenAddress", "0.0.0.0"),  # noqa: S104 - the pod's own
        listen_port=int(found["listenPort"]),
        metrics_port=int(found.get("metricsPort", 8405)),
        stats_port=int(found.get("statsPort", 8404)),
        port_name=found["portName"],
        members=(members[0], members[1]),
        drain_seconds=float(found["drainSeconds"]),
        certificate_file=_path(found.get("certificateFile")),
        member_ca_file=_path(found.get("memberCaFile")),
        run_directory=Path(found.get("runDirectory", "/run/dpe")),
        failback_seconds=_seconds(found["failbackSeconds"]),
        flap_switches=int(found["flapSwitches"]),
        flap_seconds=float(found["flapSeconds"]),
        late_seconds=float(found["lateSeconds"]),
    )


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


def _seconds(value: float | None) -> float | None:
    return None if value is None else float(value)
