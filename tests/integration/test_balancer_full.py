# SPDX-License-Identifier: Apache-2.0
"""Promise: more clients than a balancer takes cost those that are served nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.balancer_alone import configured
from tests.support.balancer_parts import ROOT, Member, until
from tests.support.log_pipe import kept_in
from tests.support.ports import free_port

from dpe_balancer.config import AgentConfig
from dpe_balancer.haproxy import Runtime
from dpe_balancer.haproxy_text import Names
from dpe_balancer.local_files import boot_time, save_choice
from dpe_balancer.model import Choice
from dpe_balancer.peer import answers

pytestmark = pytest.mark.integration

LIMIT = 10
UID = "uid-1"
# An agent gives a HAProxy up that takes no connection for 3 s.
LONGER_THAN_A_HANG = 5.0


@dataclass(frozen=True)
class Balancer:
    """An agent that holds the Lease, cannot reach the API server and knows from before who is
    active."""

    config: AgentConfig
    process: subprocess.Popen[bytes]
    log: Path

    def client(self, *, patience: float = 5.0) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.config.listen_port, timeout=patience)

    def figures(self) -> str:
        page = f"http://127.0.0.1:{self.config.metrics_port}/metrics"
        with urllib.request.urlopen(page, timeout=5) as answer:
            text: str = answer.read().decode()
        return text


@pytest.fixture
def balancer(tmp_path: Path) -> Iterator[Balancer]:
    members = [Member(name, tmp_path, None) for name in ("a", "b")]
    config = configured(tmp_path, members, free_port(), max_connections=LIMIT)
    save_choice(tmp_path / "choice.json", Choice("a"), UID)
    role = {"role": "holder", "epoch": 1, "identity": "me", "validUntil": boot_time() + 3600}
    (tmp_path / "role.json").write_text(json.dumps(role))
    environment = {
        "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "operator"), "POD_NAME": "balancer-1",
        "POD_NAMESPACE": "studio", "POD_UID": UID, "POD_IP": "10.1.0.1",
        "DPE_API_SERVER": f"http://127.0.0.1:{free_port()}",
    }  # fmt: skip
    command = [sys.executable, "-P", "-m", "dpe_balancer", "--config", str(tmp_path / "agent.json")]
    log = tmp_path / "agent.log"
    with contextlib.ExitStack() as ends, kept_in(log) as output:
        for member in members:
            ends.callback(member.kill)
            member.start()
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        ends.callback(process.wait)
        ends.callback(process.kill)
        ends.callback(lambda: print(log.read_text(errors="replace")))
        made = Balancer(config, process, log)
        until((tmp_path / "ready").exists, 15, "the balancer is ready")
        yield made


def ask(client: http.client.HTTPConnection) -> str:
    client.request("GET", "/")
    return client.getresponse().read().decode()


def test_who_is_served_is_served_on_and_the_rest_waits(balancer: Balancer) -> None:
    runtime = Runtime(balancer.config.run_directory / "haproxy.sock", Names("dpe", {}))
    with contextlib.ExitStack() as ends:
        until(lambda: runtime.clients() == 0, 5, "the agent's own question is over")
        clients = [ends.enter_context(contextlib.closing(balancer.client())) for _ in range(LIMIT)]
        assert [ask(client) for client in clients] == ["a"] * LIMIT
        late = ends.enter_context(contextlib.closing(balancer.client(patience=20)))
        late.request("GET", "/")

        full_until = time.monotonic() + LONGER_THAN_A_HANG
        while time.monotonic() < full_until:
            assert [ask(client) for client in clients] == ["a"] * LIMIT
            assert answers("127.0.0.1", balancer.config.stats_port), "the other balancer is told"
            time.sleep(0.3)
        assert balancer.process.poll() is None
        assert runtime.clients() == LIMIT
        assert "\ndpe_balancer_full 1\n" in balancer.figures()
        assert balancer.log.read_text().count("as many clients as it may") == 1

        clients.pop().close()
        assert late.getresponse().read() == b"a", "who waited is served now"
