# SPDX-License-Identifier: Apache-2.0
"""Promise: the only server that is left is not given up for being late with its health checks.

After a fail-over all clients come to one server at once. While it answers them it is better than
none.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Site, running_site
from tests.support.balancer_load import load
from tests.support.balancer_parts import Member, until
from tests.support.balancer_scenes import counted

from dpe_operator.builders.haproxy import HealthCheck, Timings, TlsMode

pytestmark = pytest.mark.integration

# Three late checks take some 0.7 s, so a server that is late for longer than that would be DOWN.
QUICK = HealthCheck("/status", body_contains="all is ok", timeout_ms=200)
TIMINGS = Timings(connect_ms=500, check_interval_ms=250)


@pytest.fixture(params=["Passthrough", "Terminate"])
def site(request: pytest.FixtureRequest, api_server: ApiServer, tmp_path: Path) -> Iterator[Site]:
    mode: TlsMode = request.param
    with running_site(api_server, tmp_path, mode, health=QUICK, timings=TIMINGS) as made:
        yield made


def kept(site: Site, server: Member) -> bool:
    """Whether the balancer has said that it keeps this server."""
    return f"{server.name} is late with its checks" in site.balancers[0].log.read_text()


def state(site: Site, server: Member) -> str:
    """The server's state as HAProxy has it: `UP`, `UP 2/3`, `DOWN`."""
    rows = [row.split(",") for row in site.balancers[0].ask("show stat -1 4 -1").splitlines()]
    name, column = server.name, rows[0].index("status")
    return next(row[column] for row in rows if row[:2] == [f"dpe-{name}", name])


def is_down(site: Site, server: Member) -> bool:
    return state(site, server).startswith("DOWN")


def only_one(site: Site) -> Member:
    """The one server that is left, the other one is DOWN."""
    site.settle()
    only, gone = site.active(), site.standby()
    gone.kill()
    until(lambda: is_down(site, gone), 10, "the other one is DOWN")
    return only


def test_late_for_a_moment_with_no_other_it_goes_on_serving(site: Site) -> None:
    only = only_one(site)
    with load(site.routed_port, site.pki.client_context()) as clients:
        before = counted(site.balancers[0], only.name, "chkdown")
        begin = time.monotonic()
        only.be_late(1.0)
        time.sleep(1.5)
        only.heal()
        time.sleep(0.7)
        figures = clients.after(begin)
    assert figures.failed == 0, figures
    assert counted(site.balancers[0], only.name, "chkdown") == before, "it was UP all the time"
    assert kept(site, only)


def test_late_for_longer_it_is_given_up(site: Site) -> None:
    only = only_one(site)
    with load(site.routed_port, site.pki.client_context()):
        begin = time.monotonic()
        only.be_late(1.0)
        until(lambda: is_down(site, only), 10, "it is DOWN in the end")
        took = time.monotonic() - begin
    assert took > 1.5, "three late checks alone take 0.7 s to 0.9 s"
    assert kept(site, only)


def test_late_while_another_one_is_up_it_is_left(site: Site) -> None:
    site.settle()
    count, active = site.count(), site.active()
    with load(site.routed_port, site.pki.client_context()):
        active.be_late(1.0)
        switch = site.switched(count)
    assert switch["from"] == active.name
    assert not kept(site, active)


@pytest.mark.parametrize("fault", ["kill", "sicken"])
def test_refusals_and_wrong_answers_count_as_ever(site: Site, fault: str) -> None:
    only = only_one(site)
    getattr(only, fault)()
    until(lambda: is_down(site, only), 10, "it is DOWN")
    assert not kept(site, only)
