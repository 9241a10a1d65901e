# SPDX-License-Identifier: Apache-2.0
"""What each scenario breaks, and its repair at the end, whatever happened."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from tests.e2e import processes
from tests.e2e.kubectl import Object
from tests.e2e.nodes import Nodes

from dpe_bench import machines
from dpe_bench.cases import (
    API_DOWN_SECONDS,
    API_DOWN_WITH_NODE_SECONDS,
    BALANCER_NODE_CUTS,
    DATABASE_FROZEN_SECONDS,
    LOSS_SECONDS,
)
from dpe_bench.subjects import Subject


@dataclass(frozen=True)
class Target:
    """Who is hit; found before clients start, since an API server that is down tells nothing."""

    server: Object
    balancer: Object | None
    node: str  # that is lost or drained, else empty

    @classmethod
    def of(cls, subject: Subject, scenario: str) -> Target:
        """Find the target of a scenario, after `Subject.aim`."""
        balancer = subject.balancer() if "balancer" in subject.case.has else None
        server = subject.server()
        node = ""
        if scenario in BALANCER_NODE_CUTS and balancer:
            node = balancer["spec"]["nodeName"]
        elif scenario.endswith("-node-cut") or scenario == "drain":
            node = server["spec"]["nodeName"]
        return cls(server, balancer, node)


@dataclass(frozen=True)
class Strike:
    """What a fault works with; repairs go onto `repair` before anything is broken."""

    subject: Subject
    target: Target
    nodes: Nodes
    repair: ExitStack


def server_crash(strike: Strike) -> None:
    strike.repair.callback(strike.subject.replace, strike.target.server, at_once=True)
    processes.signal_pod(strike.target.server, "KILL")


def server_hang(strike: Strike) -> None:
    # a new pod rather than SIGCONT: a probe may have begun to kill it meanwhile; at once, since a
    # stopped process never answers SIGTERM
    strike.repair.callback(strike.subject.replace, strike.target.server, at_once=True)
    processes.signal_pod(strike.target.server, "STOP")


def node_cut(strike: Strike) -> None:
    strike.repair.callback(strike.nodes.repair_all)
    strike.nodes.cut(strike.target.node)


def balancer_delete(strike: Strike) -> None:
    strike.subject.kube.run("delete", "pod", _balancer(strike)["metadata"]["name"], "--wait=false")


def standby_balancer_delete(strike: Strike) -> None:
    name = strike.subject.standby_balancer()["metadata"]["name"]
    strike.subject.kube.run("delete", "pod", name, "--wait=false")


def balancer_kill(strike: Strike) -> None:
    strike.repair.callback(strike.subject.replace_restarted, _balancer(strike))
    processes.signal_pod(_balancer(strike), "KILL", program="haproxy")


def planned_switch(strike: Strike) -> None:
    strike.subject.switch()


def drain(strike: Strike) -> None:
    strike.repair.callback(strike.nodes.repair_all)
    strike.nodes.drain(strike.target.node)


def rolling_update(strike: Strike) -> None:
    strike.subject.roll()


def packet_loss(strike: Strike) -> None:
    node = strike.target.server["spec"]["nodeName"]
    strike.repair.callback(processes.lose_no_packets, node)
    processes.lose_packets(strike.target.server, 0.01)
    time.sleep(LOSS_SECONDS)
    processes.lose_no_packets(node)


def database_freeze(strike: Strike) -> None:
    pod = strike.subject.database()
    strike.repair.callback(processes.signal_pod, pod, "CONT")
    processes.signal_pod(pod, "STOP")
    time.sleep(DATABASE_FROZEN_SECONDS)
    processes.signal_pod(pod, "CONT")


def api_outage(strike: Strike) -> None:
    node = machines.control_plane(strike.subject.cluster)
    strike.repair.callback(strike.subject.replace, strike.target.server, at_once=True)
    strike.repair.callback(machines.wait_api_server, strike.subject.cluster)
    strike.repair.callback(machines.start_api_server, node)
    end = time.monotonic() + API_DOWN_SECONDS
    machines.stop_api_server(node)
    time.sleep(max(0, end - API_DOWN_SECONDS * 2 / 3 - time.monotonic()))
    processes.signal_pod(strike.target.server, "KILL")
    time.sleep(max(0, end - time.monotonic()))
    machines.start_api_server(node)
    machines.wait_api_server(strike.subject.cluster)


def api_outage_and_node_cut(strike: Strike) -> None:
    node = machines.control_plane(strike.subject.cluster)
    strike.repair.callback(strike.nodes.repair_all)
    strike.repair.callback(machines.wait_api_server, strike.subject.cluster)
    strike.repair.callback(machines.start_api_server, node)
    end = time.monotonic() + API_DOWN_WITH_NODE_SECONDS
    machines.stop_api_server(node)
    strike.nodes.cut(strike.target.node)
    time.sleep(max(0, end - time.monotonic()))
    machines.start_api_server(node)
    machines.wait_api_server(strike.subject.cluster)


def _balancer(strike: Strike) -> Object:
    assert strike.target.balancer is not None
    return strike.target.balancer


FAULTS: dict[str, Callable[[Strike], None]] = {
    "server-crash": server_crash,
    "server-hang": server_hang,
    "server-node-cut": node_cut,
    "balancer-delete": balancer_delete,
    "standby-balancer-delete": standby_balancer_delete,
    "balancer-kill": balancer_kill,
    "balancer-node-cut": node_cut,
    "balancer-and-server-node-cut": node_cut,
    "planned-switch": planned_switch,
    "drain": drain,
    "rolling-update": rolling_update,
    "packet-loss": packet_loss,
    "database-freeze": database_freeze,
    "api-outage": api_outage,
    "api-outage-and-balancer-node-cut": api_outage_and_node_cut,
}
