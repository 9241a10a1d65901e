# SPDX-License-Identifier: Apache-2.0
"""The API server of the tests itself: outage, users, audit, and nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.api_server import ROOT, ApiServer

pytestmark = pytest.mark.integration

_KILLED_RUN = """
import sys, time
from tests.support.api_server import ApiServer
server = ApiServer().start()
print(server.pid, server._etcd.pid, server.folder, flush=True)
time.sleep(60)
"""


def test_data_and_address_survive_an_outage() -> None:
    with ApiServer() as server:
        url, namespace = server.url, server.create_namespace()
        server.stop()
        with pytest.raises(OSError):
            server.request("GET", "/readyz")

        server.start()

        assert server.url == url
        assert server.request("GET", f"/api/v1/namespaces/{namespace}")[0] == 200


def test_a_frozen_server_answers_again_when_it_thaws(api_server: ApiServer) -> None:
    with api_server.pause():
        state = Path(f"/proc/{api_server.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    assert state == "T"
    assert api_server.request("GET", "/readyz")[0] == 200


def test_users_have_the_rights_of_their_groups_only_and_writes_are_audited() -> None:
    with ApiServer(audit=True, users={"guest": ["visitors"]}) as server:
        namespace = server.create_namespace()
        token = server.service_account_token(namespace, "robot")
        path = f"/api/v1/namespaces/{namespace}/configmaps"

        assert server.request("GET", path, token=server.tokens["guest"])[0] == 403
        assert server.request("GET", path, token=token)[0] == 403
        assert server.request("GET", path, token="nonsense")[0] == 401
        before = len(server.audited_writes())
        assert server.request("POST", path, {"metadata": {"name": "a"}})[0] == 201
        server.request("GET", path)

        written = server.audited_writes()[before:]
    mine = [entry["verb"] for entry in written if entry["user"]["username"] == "admin"]
    assert mine == ["create"]


def _gone(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


def test_a_killed_run_leaves_nothing_behind() -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}"}
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED_RUN],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        assert run.stdout is not None
        *pids, folder = run.stdout.readline().split()
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while not all(_gone(int(pid)) for pid in pids):
        assert time.monotonic() < deadline, "a process outlived its parent"
        time.sleep(0.02)

    assert Path(folder).exists()
    ApiServer().close()
    assert not Path(folder).exists()
