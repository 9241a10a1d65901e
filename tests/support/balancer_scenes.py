# SPDX-License-Identifier: Apache-2.0
"""Scenes that several fail-over tests play: something breaks under load, and is mended."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable

import pytest
from tests.support.balancer_kit import Balancer, Site
from tests.support.balancer_load import Figures, load
from tests.support.balancer_parts import Member, until

# A busy machine may need as long for its TLS handshakes; these tests ask for order, not for speed.
PATIENT_CONNECT_MS = 500


_DETACH_FILTER = 27  # SO_DETACH_FILTER


def need_socket_filters() -> None:
    """Skip the test where the kernel has no socket filters: nothing else here loses packets."""
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
        except FileNotFoundError:
            return  # it knows them, and none is attached
        except OSError as problem:
            pytest.skip(f"this kernel has no socket filters (SO_ATTACH_FILTER): {problem}")


def wait_state(site: Site, member: Member, state: str, *, seconds: float = 15) -> None:
    """Wait until the record calls a member UP or DOWN."""

    def recorded() -> bool:
        return bool(json.loads(site.notes()["member-states"])[member.name] == state)

    until(recorded, seconds, f"{member.name} is {state}")


def counted(balancer: Balancer, member: str, column: str) -> int:
    """A figure of HAProxy's about a member, over all its backends: `scur`, `chkfail`, `wretr`."""
    rows = [line.split(",") for line in balancer.ask("show stat -1 4 -1").splitlines() if line]
    place = rows[0].index(column)
    return sum(int(row[place] or 0) for row in rows[1:] if row[1] == member)


def replaced(site: Site, what: str, breaks: Callable[[Member], None]) -> Figures:
    """Break the active member under load: the other one serves, and goes on when it is mended.

    Returns what clients saw of the fault. That nothing reaches the mended member, and that one
    fault made one switch, is asserted here.
    """
    count, old, new = site.count(), site.active(), site.standby()
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        breaks(old)
        switch = site.switched(count, seconds=15)
        time.sleep(0.7)
        down = clients.between(begin)
        print(f"\n{site.mode:11} {what:34} {down}")
        old.start()
        back = time.monotonic()
        wait_state(site, old, "UP")
        time.sleep(0.5)
        after = clients.after(back)
        print(f"{site.mode:11} {'mended':34} {after}")
    assert (switch["from"], switch["to"], switch["cause"]) == (old.name, new.name, "MemberDown")
    assert set(after.answered) == {new.name}, "nothing goes back to the mended member"
    assert after.failed == 0
    assert site.count() == count + 1, "one fault is one switch"
    return down
