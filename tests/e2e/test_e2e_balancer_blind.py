# SPDX-License-Identifier: Apache-2.0
"""Promise: a routed balancer whose machine has lost the way to both servers gives way to the other one."""

import time

import pytest
from tests.e2e.kubectl import condition, eventually
from tests.e2e.processes import Processes
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.level2]

# It keeps clients for so long, so that two such balancers do not hand them to and fro.
PAUSE_SECONDS = 30.0


def test_the_other_one_serves_with_the_same_active_member(
    shared_site: Site, processes: Processes
) -> None:
    active, epoch, count = shared_site.active(), shared_site.epoch(), shared_site.switch_count()
    blind = shared_site.routed_balancer()
    members = [shared_site.member_pod(member) for member in (active, shared_site.standby())]

    def told() -> bool:
        found = shared_site.kube.get("dpeserver", shared_site.name)
        return condition(found, "Ready").get("reason") == "BalancerMissing"

    time.sleep(PAUSE_SECONDS)
    with shared_site.load(seconds=120) as load:
        processes.block(blind, members)
        shared_site.wait_epoch_above(epoch, timeout=60)
        successor = shared_site.routed_balancer()
        load.stop(after=5)
        seen = load.summary()
    assert successor != blind
    assert list(seen["members"]) == [active], load.story()
    assert seen["failedAfterRetries"] == 0, load.story()
    assert load.gap_seconds() < 20, load.story()
    assert shared_site.switch_count() == count, "that is no switch of servers"

    eventually(told, timeout=60, what="the blind one is told", describe=shared_site.describe)
    processes.go_on()
    shared_site.kube.wait_ready("dpe", shared_site.name)
    assert shared_site.routed_balancer() == successor, "it takes nothing back"
