# SPDX-License-Identifier: Apache-2.0
"""Which ports the balancer has; Service, slice, pod and HAProxy config must agree on them."""

from __future__ import annotations

from typing import Final

from dpe_operator.api.server import ServerSpec

PROBE_PORT: Final = 8081
METRICS_PORT: Final = 8404
AGENT_METRICS_PORT: Final = 8405
_HTTPS_PORT: Final = 8443
_HTTP_PORT: Final = 8080


def has_balancer(server: ServerSpec) -> bool:
    """Whether the operator runs a balancer for this pair (the site may have its own)."""
    return server.load_balancer.type == "HAProxy"


def port_name(server: ServerSpec) -> str:
    """Name of the clients' port in the Service, ``https`` or ``http``; the slice has both."""
    return "http" if server.load_balancer.tls.mode == "None" else "https"


def listen_port(server: ServerSpec) -> int:
    """Port HAProxy listens on inside its pod; above 1023, since it does not run as root."""
    return _HTTP_PORT if port_name(server) == "http" else _HTTPS_PORT
