# SPDX-License-Identifier: Apache-2.0
"""Whole balancer pods on loopback: real elector as PID 1, real agent, real HAProxy.

Each pod has its own way to the API server and its own way to the other pod, and both can be cut.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Balancer, Site
from tests.support.balancer_parts import until
from tests.support.elector_pods import Pod, Proxy, ask
from tests.support.ports import free_port

from dpe_operator.builders.haproxy import MemberAddress, TlsMode

# Twice the times of the profile Hot: a process that waits a second for its turn on a busy machine
# is not to be taken for one that does not renew.
SLOW = ("--lease-duration", "12", "--renew-deadline", "8", "--retry-period", "1")


class BalancerPod(Balancer):
    """A balancer whose role is the elector's word."""

    def __init__(self, site: Site, name: str) -> None:
        # only where they are wanted: what goes through them is slower
        self.to_members: list[Proxy] = []
        super().__init__(site, name)
        self.to_api = Proxy(int(site.api.url.rpartition(":")[2]))
        # by these the others reach this pod's HAProxy and its agent
        self.asked, self.told = Proxy(self.stats_port), Proxy(self.metrics_port)
        self.probe_port = free_port()
        self.pod: Pod | None = None

    def start(self) -> None:
        """Start the container."""
        others = [other for other in self.site.balancers if isinstance(other, BalancerPod)]
        peers = ",".join(
            f"{other.address}=127.0.0.1:{other.asked.port}:{other.told.port}" for other in others
        )
        changes = {
            "DPE_API_SERVER": f"https://127.0.0.1:{self.to_api.port}",
            "DPE_BALANCER_TEST_PEERS": peers,
        }
        files = {"ready": self.run / "ready", "peer": self.run / "peer.json"}
        flags = [f"--{kind}-file={path}" for kind, path in files.items()]
        self.pod = Pod(
            self.name,
            self.run,
            environment=self.environment() | changes,
            flags=[
                *("--lease", "radio-balancer", "--mode", "hot", *flags, *SLOW),
                *("--probe-port", str(self.probe_port)),
            ],
            bare={},
            command=self.command(),
            piped=True,
        )
        (self.run / "role.json").unlink(missing_ok=True)
        (self.run / "role.json").symlink_to(self.pod.state_file)
        self.log = self.pod.log
        self.pod.start()

    def early(self) -> int:
        """How often it has taken the Lease before it had run out."""
        text = until(lambda: ask(self.probe_port, "/metrics")[1], 20, "the elector's metrics")
        name = "dpe_elector_early_takeovers_total{"
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith(name))

    def signal(self, number: int) -> None:
        """Send a signal to every process of the pod."""
        assert self.pod is not None
        for pid in self.pod.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def freeze(self) -> None:
        """Like a lost node: the kernel's connections stay, nothing answers."""
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """All goes on."""
        self.signal(signal.SIGCONT)

    def cut_off(self) -> None:
        """Nothing passes between this pod and the API server or the other pod."""
        self.to_api.cut()
        self.asked.cut()
        self.told.cut()

    def kill(self) -> None:
        """End all of it."""
        if self.pod is not None:
            self.pod.close()
        for way in self.to_members:
            way.close()
        self.to_api.close()
        self.asked.close()
        self.told.close()


class BalancerWithWays(BalancerPod):
    """One with its own way to each member, which can be cut."""

    def way_to(self, members: tuple[MemberAddress, ...]) -> tuple[MemberAddress, ...]:
        """Through proxies on this machine."""
        self.to_members = [Proxy(member.port) for member in members]
        return tuple(
            dataclasses.replace(member, port=way.port)
            for member, way in zip(members, self.to_members, strict=True)
        )


@contextlib.contextmanager
def running_pods(
    api: ApiServer,
    folder: Path,
    mode: TlsMode,
    *,
    kind: type[BalancerPod] = BalancerPod,
    **changes: Any,
) -> Iterator[Site]:
    """A site with both members up and two whole balancers; clients follow the record."""
    site = Site(api, folder, mode, **changes)
    try:
        for member in site.members.values():
            member.start()
        pods = [kind(site, f"balancer-{number}") for number in (1, 2)]
        site.balancers += pods
        for pod in pods:
            pod.start()
        until(site.routed, 30, "one of them publishes itself")
        for pod in pods:
            until(pod.ready, 30, f"{pod.name} is ready")
        threading.Thread(target=site.route, daemon=True).start()
        until(site.routed_port, 5, "clients are routed")
        yield site
    finally:
        site.close()
