# SPDX-License-Identifier: Apache-2.0
"""One balancer's files, for tests that need neither record nor API server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.support.balancer_parts import Member
from tests.support.ports import free_port

from dpe_balancer.config import AgentConfig, load_config
from dpe_operator.builders.haproxy import (
    AgentMember,
    AgentSettings,
    HaproxySettings,
    HealthCheck,
    MemberAddress,
    render_agent_config,
    render_haproxy,
)


def configured(folder: Path, members: Sequence[Member], port: int, **changes: Any) -> AgentConfig:
    """The files as the operator writes them, for plain HTTP; `changes` of HAProxy's settings."""
    settings = HaproxySettings(
        tls_mode="None",
        listen_port=port,
        stats_port=free_port(),
        listen_address="127.0.0.1",
        run_directory=str(folder),
        members=tuple(
            MemberAddress(member.name, number, "127.0.0.1", member.port)
            for number, member in enumerate(members, start=1)
        ),
        health=HealthCheck("/status", body_contains="all is ok"),
        member_tls=None,
        **changes,
    )
    (folder / "haproxy.cfg").write_text(render_haproxy(settings))
    agent = AgentSettings(
        service="dpe", slice_name="dpe", lease="dpe", tls_mode="None", listen_port=port,
        port_name="http", haproxy_config=str(folder / "haproxy.cfg"), run_directory=str(folder),
        members=tuple(AgentMember(m.name, m.id, None) for m in settings.members),
        listen_address="127.0.0.1", stats_port=settings.stats_port, metrics_port=free_port(),
    )  # fmt: skip
    (folder / "agent.json").write_text(render_agent_config(agent))
    return load_config(folder / "agent.json")
