# SPDX-License-Identifier: Apache-2.0
"""The servers of the site and what stands before them: two balancers with HAProxy, and a route."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.chaos.candidates import Candidate, Component, Place
from tests.chaos.moves import Recorded, Said, said
from tests.chaos.restarted import Server
from tests.support import balancer_kit
from tests.support.api_server import ApiServer
from tests.support.elector_pods import ROOT, Pod
from tests.support.simulator import BASE, FailoverAddress

from dpe_operator.builders.haproxy import HaproxySettings, HealthCheck, MemberAddress

SERVERS, BALANCER = "servers", "radio-balancer"
# what a question to the API server may end with while that is stopped, frozen or started
_NO_ANSWER = (OSError, http.client.HTTPException, KeyError, IndexError, TypeError)


class Balancer(Candidate):
    """A balancer's pod: guard and elector in hot mode, agent, HAProxy."""

    _piped = True

    def __init__(
        self, letter: str, place: Place, run_root: Path, settings: HaproxySettings
    ) -> None:
        site: Any = SimpleNamespace(folder=run_root, settings=settings, agent={})
        self.kit = balancer_kit.Balancer(site, f"{BALANCER}-{letter}")
        self.port = self.kit.port
        self.address = f"10.1.0.{'ab'.index(letter) + 1}"
        self._peers = ""
        config = self.kit.run / "haproxy.cfg"
        if place.haproxy[0]:
            config.write_text(config.read_text().replace(*place.haproxy))
        super().__init__(Component(BALANCER, "balancer"), letter, place)

    def meet(self, balancers: Sequence[Balancer]) -> None:
        """Tell it, before its first start, where the others are asked whether they answer."""
        self._peers = ",".join(
            f"{one.address}=127.0.0.1:{one.kit.stats_port}:{one.kit.metrics_port}"
            for one in balancers
        )
        self.pod = self._new_pod()

    def haproxy(self) -> list[int]:
        """PIDs of HAProxy."""
        return [pid for pid in self.commands() if _name(pid) == "haproxy"]

    def agent(self) -> list[int]:
        """PID of the agent."""
        return [pid for pid in self.commands() if _name(pid) != "haproxy"][:1]

    def _new_pod(self) -> Pod:
        pod = super()._new_pod()
        # the elector's file of a former pod would be another one's word
        role = self.kit.run / "role.json"
        role.unlink(missing_ok=True)
        pod.state_file.unlink(missing_ok=True)
        role.symlink_to(pod.state_file)
        return pod

    def _flags(self) -> tuple[str, ...]:
        files = {"ready": self.kit.run / "ready", "peer": self.kit.run / "peer.json"}
        flags = [f"--{kind}-file={path}" for kind, path in files.items()]
        return ("--mode", "hot", "--profile", "Hot", "--grace", "2", *flags)

    def _more_environment(self, uid: str) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT / "operator"),
            "POD_NAME": self.name,
            "POD_NAMESPACE": self._place.namespace,
            "POD_UID": uid,
            "POD_IP": self.address,
            "DPE_BALANCER_TEST_PEERS": self._peers,
            "NODE_NAME": f"node-{self.name}",
        }

    def _command(self) -> list[str]:
        config = str(self.kit.run / "agent.json")
        return [self.python, "-P", "-m", "dpe_balancer", "--config", config]


def _name(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


class Routed(FailoverAddress):
    """The fail-over Service: each new connection goes to the balancer that is routed by then."""

    def __init__(self, port: Callable[[], int]) -> None:
        super().__init__()
        self._routed = port

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self._routed())


class Frontend:
    """Servers, balancers, and the address that everybody uses."""

    def __init__(self, api: ApiServer, place: Place, dsn: str) -> None:
        self._api = api
        self._root = Path(tempfile.mkdtemp(prefix="dpe-"))  # a Unix socket's path must be short
        path = f"/apis/discovery.k8s.io/v1/namespaces/{place.namespace}/endpointslices"
        self._slice = f"{path}/{BALANCER}"
        self.servers = [Server(name, place.folder, dsn) for name in "ab"]
        addresses = tuple(
            MemberAddress(server.name, number, "127.0.0.1", server.port)
            for number, server in enumerate(self.servers, start=1)
        )
        settings = HaproxySettings(
            tls_mode="None",
            listen_port=1,
            members=addresses,
            member_tls=None,
            health=HealthCheck(f"{BASE}/status", body_contains="ok"),
            drain_seconds=5,
        )
        self._make_slice(path)
        self.balancers = [Balancer(letter, place, self._root, settings) for letter in "ab"]
        for balancer in self.balancers:
            balancer.meet(self.balancers)
        # nobody is routed yet: connections are refused
        self._port = 0
        # what was first seen in the record, and when
        self.recorded: list[Recorded] = []
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        self._address = Routed(lambda: self._port)
        self._address.__enter__()
        place.url = f"http://127.0.0.1:{self._address.port}"

    def _make_slice(self, path: str) -> None:
        labels = {"kubernetes.io/service-name": BALANCER}
        body = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": BALANCER, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "https", "port": 8443, "protocol": "TCP"}],
            "endpoints": [],
        }
        status, answer = self._api.request("POST", path, body)
        if status != 201:
            raise RuntimeError(f"EndpointSlice {BALANCER}: {answer}")

    def record(self) -> dict[str, str]:
        """What the balancers have recorded, without the prefix of the annotations."""
        _, found = self._api.request("GET", self._slice)
        notes = found["metadata"].get("annotations") or {}
        return {key.removeprefix("dpe.dev/"): value for key, value in notes.items()}

    def routed(self) -> Balancer | None:
        """The balancer that the record names."""
        _, found = self._api.request("GET", self._slice)
        endpoints = found.get("endpoints") or []
        name = endpoints[0]["targetRef"]["name"] if endpoints else ""
        return next((one for one in self.balancers if one.name == name), None)

    def _follow(self) -> None:
        """What kube-proxy does; and remember which server was recorded as the active one."""
        while not self._closed.wait(0.25):
            with contextlib.suppress(*_NO_ANSWER):
                routed = self.routed()
                if routed is not None:
                    self._port = routed.port
                self._note(self.record())

    def _note(self, record: Mapping[str, str]) -> None:
        active, count = record.get("active-member", ""), int(record.get("switch-count", 0))
        last = self.recorded[-1] if self.recorded else None
        if active and (last is None or (active, count) != (last.member, last.count)):
            self.recorded.append(Recorded(time.time(), active, count))

    def said(self) -> Said:
        """What both balancers have recorded, and moved without recording it."""
        found = Said(list(self.recorded))
        for balancer in self.balancers:
            with balancer.pod.log.open(encoding="utf-8", errors="replace") as lines:
                found.add(said(balancer.name, lines))
        return found

    def acting(self, where: str) -> str:
        """Name of the active server, or of the routed balancer; "": nobody knows."""
        with contextlib.suppress(*_NO_ANSWER):
            if where == SERVERS:
                return self.record().get("active-member", "")
            routed = self.routed()
            return routed.name if routed else ""
        return ""

    def close(self) -> None:
        """End everything."""
        self._closed.set()
        self._thread.join(5)
        self._address.__exit__()
        for server in self.servers:
            server.close()
        for balancer in self.balancers:
            balancer.close()
        shutil.rmtree(self._root, ignore_errors=True)
