# SPDX-License-Identifier: Apache-2.0
"""A whole fail-over site on loopback: two members, balancers with real HAProxy, clients, record.

The record lies in a real API server. Only the elector is played by the tests (`Balancer.role`
writes role.json), and kube-proxy by `Site.routed_port`, which new client connections ask for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.api_server import ApiServer
from tests.support.balancer_parts import ROOT, Member, Pki, until
from tests.support.log_pipe import kept_in
from tests.support.ports import free_port

from dpe_operator.builders.haproxy import (
    AgentMember,
    AgentSettings,
    HaproxySettings,
    HealthCheck,
    MemberAddress,
    MemberTls,
    Timings,
    TlsMode,
    late_seconds,
    render_agent_config,
    render_haproxy,
)

# For tests that ask for no figures: on a busy machine a TLS handshake of a check may take its time.
CALM = Timings(connect_ms=500, check_interval_ms=500)


class Balancer:
    """One balancer pod: agent and HAProxy as processes, the elector played by `role`."""

    def __init__(self, site: Site, name: str) -> None:
        self.site = site
        self.name = name
        self.uid = f"uid-{name}"
        self.run = site.folder / name
        self.run.mkdir()
        self.port, self.stats_port, self.metrics_port = free_port(), free_port(), free_port()
        self.identity = f"{self.uid}_1"
        self.process: subprocess.Popen[bytes] | None = None
        self.log = self.run / "agent.log"
        self._write_config()

    def _write_config(self) -> None:
        site = self.site
        settings = dataclasses.replace(
            site.settings,
            members=self.way_to(site.settings.members),
            listen_port=self.port,
            stats_port=self.stats_port,
            run_directory=str(self.run),
            listen_address="127.0.0.1",
        )
        (self.run / "haproxy.cfg").write_text(render_haproxy(settings))
        tls = settings.member_tls
        agent = AgentSettings(
            service="radio-balancer",
            slice_name="radio-balancer",
            lease="radio-balancer",
            tls_mode=settings.tls_mode,
            listen_port=self.port,
            port_name="https",
            members=tuple(
                AgentMember(m.name, m.id, None if m.dns else f"radio-member-{m.name}")
                for m in settings.members
            ),
            drain_seconds=settings.drain_seconds,
            certificate_file=settings.certificate_file,
            member_ca_file=None if tls is None else tls.ca_file,
            haproxy_config=str(self.run / "haproxy.cfg"),
            run_directory=str(self.run),
            listen_address="127.0.0.1",
            metrics_port=self.metrics_port,
            stats_port=self.stats_port,
            late_seconds=late_seconds(settings.health, settings.timings),
            **site.agent,
        )
        (self.run / "agent.json").write_text(render_agent_config(agent))

    def way_to(self, members: tuple[MemberAddress, ...]) -> tuple[MemberAddress, ...]:
        """Where this balancer finds the members."""
        return members

    @property
    def address(self) -> str:
        """The address that the record has for it; nobody can reach that."""
        return f"10.1.0.{self.name.rpartition('-')[2]}"

    def command(self) -> list[str]:
        """The agent's command line."""
        words = [sys.executable, "-P", "-m", "dpe_balancer"]
        return [*words, "--config", str(self.run / "agent.json")]

    def environment(self) -> dict[str, str]:
        """The agent's variables."""
        index = int(self.name.rpartition("-")[2])
        return {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "operator"),
            "POD_NAME": self.name,
            "POD_NAMESPACE": self.site.namespace,
            "POD_UID": self.uid,
            "POD_IP": self.address,
            "NODE_NAME": f"node-{index}",
            "NODE_ZONE": "zone-1",
            "DPE_API_SERVER": self.site.api.url,
            "DPE_API_TOKEN_FILE": str(self.site.api.token_file),
            "DPE_API_CA_FILE": str(self.site.api.ca_file),
        }

    def start(self) -> None:
        """Start the agent, which starts HAProxy."""
        with kept_in(self.log) as output:
            self.process = subprocess.Popen(
                self.command(), env=self.environment(), stdout=output, stderr=output
            )

    def role(self, *, holder: bool, epoch: int, seconds: float = 3600.0) -> None:
        """What the elector would say from now on, for `seconds`."""
        valid = time.clock_gettime(time.CLOCK_BOOTTIME) + seconds
        role = {
            "role": "holder" if holder else "standby",
            "epoch": epoch,
            "identity": self.identity,
            "holder": self.identity if holder else "someone",
            "validUntil": valid,
            "lease": "radio-balancer",
        }
        written = self.run / "role.new"
        written.write_text(json.dumps(role))
        written.replace(self.run / "role.json")

    def ask(self, command: str) -> str:
        """One command to its HAProxy."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(2)
            connection.connect(str(self.run / "haproxy.sock"))
            connection.sendall(command.encode() + b"\n")
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode()

    def haproxy_pid(self) -> int:
        """Process id of its HAProxy."""
        lines = self.ask("show info").splitlines()
        return int(next(line for line in lines if line.startswith("Pid:")).split()[1])

    def metrics(self) -> str:
        """The agent's metrics page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics") as answer:
            text: str = answer.read().decode()
        return text

    def ready(self) -> bool:
        """Whether it says "ready", as the elector's probe would see it."""
        with contextlib.suppress(FileNotFoundError):
            return time.time() - (self.run / "ready").stat().st_mtime < 5
        return False

    def stop(self, *, seconds: float = 40) -> int:
        """SIGTERM; the exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL of the agent; HAProxy goes with it."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        (self.run / "ready").unlink(missing_ok=True)


class Site:
    """Members, record and balancers, in a namespace of its own."""

    def __init__(
        self,
        api: ApiServer,
        folder: Path,
        mode: TlsMode,
        *,
        agent: dict[str, Any] | None = None,
        **changes: Any,
    ) -> None:
        self.api = api
        self.agent = agent or {}
        # not below `folder`: the path of a Unix socket may have 108 characters and no more
        self.folder = Path(tempfile.mkdtemp(prefix="dpe-"))
        self.namespace = api.create_namespace()
        self.pki = Pki(folder / "pki")
        self.mode = mode
        certificate = None if mode == "None" else self.pki.member
        self.members = {name: Member(name, self.folder, certificate) for name in ("a", "b")}
        addresses = (
            MemberAddress("a", 1, "127.0.0.1", self.members["a"].port),
            MemberAddress("b", 2, "127.0.0.1", self.members["b"].port),
        )
        settings = HaproxySettings(
            tls_mode=mode,
            listen_port=1,
            members=addresses,
            health=HealthCheck("/status", body_contains="all is ok"),
            member_tls=None
            if mode == "None"
            else MemberTls(ca_file=str(self.pki.ca), server_name="dpe.test"),
            certificate_file=str(self.pki.site) if mode == "Terminate" else None,
            drain_seconds=5,
        )
        self.settings = dataclasses.replace(settings, **changes)
        self.balancers: list[Balancer] = []
        self._routed_port = 0
        self._closed = threading.Event()
        self._slices = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"
        self.create_slice()
        self.create_lease()

    # --- the record

    def create_slice(self) -> None:
        """As the operator creates it: no endpoint, nothing recorded."""
        self.post_slice("radio-balancer", "radio-balancer", [])

    def post_slice(self, name: str, service: str, endpoints: list[dict[str, Any]]) -> None:
        """Make an EndpointSlice of a Service."""
        labels = {"kubernetes.io/service-name": service}
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}],
            "endpoints": endpoints,
        }
        status, answer = self.api.request("POST", self._slices, body)
        assert status == 201, answer

    def delete_slice(self, name: str) -> None:
        """Delete an EndpointSlice."""
        status, answer = self.api.request("DELETE", f"{self._slices}/{name}")
        assert status == 200, answer

    def create_lease(self) -> None:
        """A Lease nobody holds."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases"
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "radio-balancer"},
            "spec": {"leaseTransitions": 0},
        }
        status, answer = self.api.request("POST", path, body)
        assert status == 201, answer

    def lease(self) -> dict[str, Any]:
        """The Lease."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/radio-balancer"
        return self.api.request("GET", path)[1]

    def patch_lease(self, spec: dict[str, Any]) -> None:
        """Edit the Lease's spec."""
        path = f"/apis/coordination.k8s.io/v1/namespaces/{self.namespace}/leases/radio-balancer"
        kind = "application/merge-patch+json"
        status, answer = self.api.request("PATCH", path, {"spec": spec}, content_type=kind)
        assert status == 200, answer

    def slice(self) -> dict[str, Any]:
        """The EndpointSlice with the record."""
        status, found = self.api.request("GET", f"{self._slices}/radio-balancer")
        assert status == 200, found
        return found

    def notes(self) -> dict[str, str]:
        """The record's annotations, without the prefix."""
        notes = self.slice()["metadata"].get("annotations") or {}
        return {key.removeprefix("dpe.dev/"): value for key, value in notes.items()}

    def annotate(self, **notes: str | None) -> None:
        """Edit annotations of the record (`_` stands for `-`)."""
        changed = {f"dpe.dev/{key.replace('_', '-')}": value for key, value in notes.items()}
        kind = "application/merge-patch+json"
        body = {"metadata": {"annotations": changed}}
        path = f"{self._slices}/radio-balancer"
        status, answer = self.api.request("PATCH", path, body, content_type=kind)
        assert status == 200, answer

    def routed(self) -> Balancer | None:
        """The balancer clients are sent to."""
        endpoints = self.slice().get("endpoints") or []
        uid = endpoints[0]["targetRef"]["uid"] if endpoints else ""
        return next((found for found in self.balancers if found.uid == uid), None)

    def routed_port(self) -> int:
        """The port that new connections go to: what kube-proxy has made of the record so far."""
        return self._routed_port

    def route(self) -> None:
        """Follow the record as kube-proxy does, until `close`."""
        while not self._closed.wait(0.05):
            with contextlib.suppress(OSError, AssertionError):
                routed = self.routed()
                if routed is not None:
                    self._routed_port = routed.port

    # --- the whole

    def add_balancer(self, *, holder: bool, epoch: int) -> Balancer:
        """One more balancer pod."""
        balancer = Balancer(self, f"balancer-{len(self.balancers) + 1}")
        self.balancers.append(balancer)
        balancer.role(holder=holder, epoch=epoch)
        balancer.start()
        return balancer

    def active(self) -> Member:
        """The recorded active member."""
        return self.members[self.notes()["active-member"]]

    def standby(self) -> Member:
        """The other one."""
        active = self.active()
        return next(member for member in self.members.values() if member is not active)

    def settle(self) -> None:
        """Both members up, as the record says too: where every scenario begins."""
        for member in self.members.values():
            member.start()
        up = '{"a":"UP","b":"UP"}'
        until(lambda: self.notes().get("member-states") == up, 15, "both members recorded UP")

    def switched(self, before: int, seconds: float = 8) -> dict[str, Any]:
        """The recorded switch that follows count `before`."""
        count = str(before + 1)
        until(lambda: self.notes()["switch-count"] == count, seconds, f"switch number {count}")
        found: dict[str, Any] = json.loads(self.notes()["last-switch"])
        return found

    def count(self) -> int:
        """How often the active member changed."""
        return int(self.notes()["switch-count"])

    def tell(self) -> None:
        """Print the end of each balancer's log: its folder goes with the site."""
        for balancer in self.balancers:
            lines = balancer.log.read_text(errors="replace").splitlines()
            print(f"--- {balancer.name}, {len(lines)} lines", *lines[-25:], sep="\n")

    def close(self) -> None:
        """End every process."""
        self._closed.set()
        for balancer in self.balancers:
            balancer.kill()
        for member in self.members.values():
            member.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextlib.contextmanager
def running_site(
    api: ApiServer, folder: Path, mode: TlsMode, *, balancers: int = 1, **changes: Any
) -> Iterator[Site]:
    """A site with both members up and `balancers` balancers, of which the first one is routed."""
    site = Site(api, folder, mode, **changes)
    try:
        for member in site.members.values():
            member.start()
        for index in range(balancers):
            site.add_balancer(holder=index == 0, epoch=1)
        until(site.routed, 15, "the first balancer publishes itself")
        for balancer in site.balancers:
            until(balancer.ready, 15, f"{balancer.name} is ready")
        threading.Thread(target=site.route, daemon=True).start()
        until(site.routed_port, 5, "clients are routed")
    except BaseException:
        site.tell()
        site.close()
        raise
    try:
        yield site
    finally:
        site.close()
