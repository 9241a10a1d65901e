# SPDX-License-Identifier: Apache-2.0
"""Promise: an agent that is started anew while the API server is away knows that clients are sent
to it, and fails over, whether it was routed from the first moment or has taken over."""

from __future__ import annotations

import http.client
import ssl
import time
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import CALM, Balancer, Site, running_site
from tests.support.balancer_parts import until
from tests.support.elector_pods import Proxy

pytestmark = pytest.mark.integration


def served_by(site: Site, balancer: Balancer) -> str:
    """The member that answers a client, or what goes wrong."""
    context: ssl.SSLContext = site.pki.client_context()
    connection = http.client.HTTPSConnection("localhost", balancer.port, timeout=5, context=context)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        return answer.read().decode() if answer.status == 200 else str(answer.status)
    except OSError as wrong:
        return str(wrong)
    finally:
        connection.close()


def taken_over(site: Site) -> Balancer:
    """The second balancer, once it has taken over."""
    first, second = site.balancers
    first.role(holder=False, epoch=0)
    second.role(holder=True, epoch=2)
    until(lambda: site.routed() is second, 10, "the second one is routed")
    return second


@pytest.mark.parametrize("has_taken_over", [False, True])
def test_an_agent_started_anew_without_the_api_server_fails_over(
    has_taken_over: bool, own_api: ApiServer, tmp_path: Path
) -> None:
    with running_site(own_api, tmp_path, "Terminate", balancers=2, timings=CALM) as site:
        site.settle()
        balancer = taken_over(site) if has_taken_over else site.balancers[0]
        active, standby = site.active(), site.standby()
        time.sleep(0.5)
        with own_api.pause():
            # the elector cannot renew, so the role runs out; clients are routed here all the same
            balancer.role(holder=True, epoch=2, seconds=0.0)
            balancer.kill()
            balancer.start()
            until(balancer.ready, 8, "ready with what was kept")
            assert served_by(site, balancer) == active.name
            assert "\ndpe_balancer_routed 1\n" in balancer.metrics()
            active.kill()
            until(lambda: served_by(site, balancer) == standby.name, 5, "failed over")
            active.start()
            time.sleep(2)
            assert served_by(site, balancer) == standby.name


def test_a_former_holder_learns_who_is_routed_though_its_watch_is_dead(
    api_server: ApiServer, tmp_path: Path
) -> None:
    """Cut off without a word: a watch that only listens takes 13 s to notice."""
    with running_site(api_server, tmp_path, "Terminate", balancers=2, timings=CALM) as site:
        site.settle()
        first = site.balancers[0]
        proxy = Proxy(int(api_server.url.rpartition(":")[2]))
        try:
            first.kill()
            first.environment = lambda: {  # type: ignore[method-assign]
                **Balancer.environment(first),
                "DPE_API_SERVER": f"https://127.0.0.1:{proxy.port}",
            }
            first.start()
            until(first.ready, 10, "ready again")
            until(lambda: "\ndpe_balancer_routed 1\n" in first.metrics(), 5, "it knows it")
            time.sleep(1.5)
            proxy.cut()
            taken_over(site)
            proxy.heal()
            begin = time.monotonic()
            until(lambda: "\ndpe_balancer_routed 0\n" in first.metrics(), 20, "it heard of it")
            assert time.monotonic() - begin < 5
        finally:
            proxy.close()
