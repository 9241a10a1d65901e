# SPDX-License-Identifier: Apache-2.0
"""Promise: a server that answers too late, wrongly or not at all is left for the other one.

Its process runs and its connections are open in all these cases: nothing but the checks can tell.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Site, running_site
from tests.support.balancer_load import load
from tests.support.balancer_parts import Member
from tests.support.balancer_scenes import PATIENT_CONNECT_MS, need_socket_filters, replaced

from dpe_operator.builders.haproxy import Timings, TlsMode

pytestmark = pytest.mark.integration

# Longer than health.timeout (800 ms): the check gives up before the answer is there.
TOO_LATE = 2.0
# The servers of one site fail again and again here, which is no flapping that is to be tested.
MANY = {"flap_switches": 50}
Breaks = Callable[[Member], None]


@pytest.fixture(scope="module", params=["Passthrough", "Terminate"])
def site(
    request: pytest.FixtureRequest, api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    mode: TlsMode = request.param
    folder, timings = (
        tmp_path_factory.mktemp(mode),
        Timings(connect_ms=PATIENT_CONNECT_MS, check_interval_ms=PATIENT_CONNECT_MS),
    )
    with running_site(api_server, folder, mode, timings=timings, agent=MANY) as made:
        yield made


@pytest.fixture
def settled(site: Site) -> Site:
    site.settle()
    return site


def slow_down(member: Member) -> None:
    member.be_late(TOO_LATE)


def swallow(member: Member) -> None:
    need_socket_filters()
    member.lose_packets(1)


@pytest.mark.parametrize(
    ("what", "breaks"),
    [
        ("too slow", slow_down),
        ("wrong text with status 200", Member.sicken),
        ("all packets to it vanish", swallow),
        ("its port refuses, what is open goes on", Member.refuse),
    ],
    ids=["slow", "wrong-text", "black-hole", "refused"],
)
def test_it_is_replaced_and_stays_out(settled: Site, what: str, breaks: Breaks) -> None:
    down = replaced(settled, what, breaks)
    # Clients stay on it until the balancer cuts their sessions: one failure each, and no second.
    assert down.worst <= 1
    assert down.lost == 0


def test_late_once_is_no_reason(settled: Site) -> None:
    site, count, active = settled, settled.count(), settled.active()
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        active.be_late(TOO_LATE, times=1)
        time.sleep(3)
        figures = clients.between(begin)
    print(f"\n{site.mode:11} {'late once':34} {figures}")
    assert set(figures.answered) == {active.name}
    assert figures.failed == 0
    assert site.count() == count
