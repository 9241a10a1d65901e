# SPDX-License-Identifier: Apache-2.0
"""Promise: a routed balancer that alone has lost the way to both servers gives way to the other one."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import CALM, Site
from tests.support.balancer_load import load
from tests.support.balancer_parts import until
from tests.support.balancer_pods import BalancerWithWays, running_pods

from dpe_balancer.blind import BLIND_SECONDS, PAUSE_SECONDS

pytestmark = pytest.mark.integration


def pair(site: Site) -> tuple[BalancerWithWays, BalancerWithWays]:
    """The routed balancer and the other one."""
    routed = site.routed()
    other = next(pod for pod in site.balancers if pod is not routed)
    assert isinstance(routed, BalancerWithWays) and isinstance(other, BalancerWithWays)
    return routed, other


def sees(balancer: BalancerWithWays, state: int) -> bool:
    figures = balancer.metrics()
    return all(f'dpe_balancer_member_up{{member="{name}"}} {state}' in figures for name in "ab")


def is_blind(balancer: BalancerWithWays) -> bool:
    with contextlib.suppress(OSError):  # not started yet
        return "\ndpe_balancer_blind 1\n" in balancer.metrics()
    return False


@pytest.mark.timeout(240)
def test_it_gives_way_only_to_one_that_reaches_a_server(
    api_server: ApiServer, tmp_path: Path
) -> None:
    kind = BalancerWithWays
    with running_pods(api_server, tmp_path, "Passthrough", kind=kind, timings=CALM) as site:
        site.settle()
        blind, other = pair(site)
        active, count = site.active(), site.count()
        time.sleep(PAUSE_SECONDS)

        for member in site.members.values():
            member.freeze()
        until(lambda: sees(blind, 0) and sees(other, 0), 30, "both balancers see both DOWN")
        time.sleep(BLIND_SECONDS + 2)
        assert site.routed() is blind, "the other one could do no better"
        assert "giving way" not in blind.log.read_text()
        site.settle()
        until(lambda: sees(blind, 1) and sees(other, 1), 30, "both balancers see both UP")

        with load(site.routed_port, site.pki.client_context()) as clients:
            for way in blind.to_members:
                way.cut()
            until(lambda: site.routed() is other, 40, "the other one takes over")
            until(lambda: not blind.ready(), 10, "the agent has ended")
            begin = time.monotonic()
            until(lambda: clients.after(begin).answered[active.name] > 0, 10, "clients are served")
        assert (site.active(), site.count()) == (active, count), "that is no switch of servers"
        assert "giving way" in blind.log.read_text()

        until(lambda: blind.ready() or is_blind(blind), 40, "it knows that it is of no use")
        assert not blind.ready(), "nor was it ready until it knew"
        for way in blind.to_members:
            way.heal()
        until(blind.ready, 30, "it stands by")
        assert not is_blind(blind)
        assert site.routed() is other
