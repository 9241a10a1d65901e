# SPDX-License-Identifier: Apache-2.0
"""Promise: what reaches a HAProxy that was just started, before its agent has looked, goes to the active member."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.balancer_alone import configured
from tests.support.balancer_parts import Member, until
from tests.support.ports import free_port

from dpe_balancer.haproxy import Child, Runtime
from dpe_balancer.haproxy_text import HaproxyFailure, Names
from dpe_balancer.model import Enable, HoldBack, SetActive

pytestmark = pytest.mark.integration
NAMES = Names("dpe", {"a": 1, "b": 2})


@pytest.fixture
def members(tmp_path: Path) -> Iterator[tuple[Member, Member]]:
    first, second = (Member(name, tmp_path, None) for name in ("a", "b"))
    yield first, second
    first.kill()
    second.kill()


def request(port: int) -> socket.socket:
    """A client that has asked and waits."""
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    client.sendall(b"GET / HTTP/1.1\r\nHost: dpe\r\nConnection: close\r\n\r\n")
    return client


def answer(client: socket.socket) -> bytes:
    with client:
        return b"".join(iter(lambda: client.recv(65536), b""))


def looks(runtime: Runtime) -> bool:
    try:
        runtime.look()
    except HaproxyFailure:
        return False
    return True


def test_who_waited_for_it_is_not_answered_by_the_member_that_is_held_back(
    members: tuple[Member, Member], tmp_path: Path
) -> None:
    """The active member is down; the other one is up, and must wait, as while the pair flaps."""
    first, second = members
    first.start()
    port = free_port()
    with ExitStack() as ends, socket.create_server(("127.0.0.1", port)) as listener:
        config = configured(tmp_path, members, port)
        child, runtime = Child(config, listener), Runtime(tmp_path / "haproxy.sock", NAMES)
        ends.callback(child.kill)
        waiting = [request(port) for _ in range(5)]
        child.start(second.name)
        until(lambda: looks(runtime), 5, "HAProxy answers")
        runtime.act([HoldBack(first.name), Enable(first.name)])
        for client in waiting:
            assert b" 503 " in answer(client)

        second.start()
        runtime.act([SetActive(second.name)])
        until(lambda: answer(request(port)).endswith(b"\r\n\r\nb"), 10, "the active one serves")
