# SPDX-License-Identifier: Apache-2.0
"""A switch that could not be recorded survives a take-over: the standby was told of it.

Met on kind: the API server was away, the active member died, and when the API server came back the
standby reached it 10 s before the routed balancer did. It took the Lease over, went by the record
of before, and for two seconds clients had answers of both members.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Balancer
from tests.support.balancer_load import load
from tests.support.balancer_parts import until
from tests.support.balancer_pods import BalancerPod, running_pods

from dpe_operator.builders.haproxy import Timings

pytestmark = pytest.mark.integration

# no figures are asked for: on a busy machine a TLS handshake of a check may take its time
CALM = Timings(connect_ms=1000, check_interval_ms=1000, fall=6)


def sees_both_up(balancer: Balancer) -> bool:
    figures = balancer.metrics()
    return all(f'dpe_balancer_member_up{{member="{name}"}} 1' in figures for name in ("a", "b"))


@pytest.mark.timeout(120)
def test_take_over_after_a_switch_that_only_the_old_balancer_knows(
    api_server: ApiServer, tmp_path: Path
) -> None:
    with running_pods(api_server, tmp_path, "Passthrough", timings=CALM, drain_seconds=30) as site:
        site.settle()
        old = site.routed()
        new = next(pod for pod in site.balancers if pod is not old)
        assert isinstance(old, BalancerPod) and isinstance(new, BalancerPod)
        count, dead, stand_in = site.count(), site.active(), site.standby()

        for pod in (old, new):
            pod.to_api.cut()
        with load(site.routed_port, site.pki.client_context()) as clients:
            killed = time.monotonic()
            dead.kill()
            until(lambda: clients.between(killed).answered[stand_in.name] > 0, 30, "the other one")
            dead.start()
            until(lambda: sees_both_up(old), 30, "the dead one is back")
            assert site.count() == count, "nobody can write that down"

            back = time.monotonic()
            new.to_api.heal()
            until(lambda: site.routed() is new, 40, "the standby takes over")
            time.sleep(3)
            after = clients.after(back)
            assert set(after.answered) == {stand_in.name}, "no client is sent back"
        assert (site.active(), site.count()) == (stand_in, count + 1)
        assert site.switched(count)["cause"] == "MemberDown", "and it is recorded as it was"
        old.to_api.heal()
        until(lambda: "dpe_balancer_routed 0" in old.metrics(), 30, "the old one learns of it")
        time.sleep(1)
        assert (site.active(), site.count()) == (stand_in, count + 1)
