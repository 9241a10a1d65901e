# SPDX-License-Identifier: Apache-2.0
"""Promise: a balancer that was replaced while it slept sends nobody to the server that was left meanwhile."""

import pytest
from tests.e2e.processes import Processes
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.level2]


def test_planned_switch_reaches_clients_of_the_former_balancer(
    shared_site: Site, processes: Processes
) -> None:
    """Connections stay on the former holder for as long as it drains; kube-proxy moves new ones only."""
    before, after = shared_site.active(), shared_site.standby()
    former, epoch = shared_site.routed_balancer(), shared_site.epoch()
    with shared_site.load(seconds=200) as load:
        processes.hang(former)
        shared_site.wait_epoch_above(epoch, timeout=60)
        processes.go_on()
        shared_site.kube.annotate("dpe", shared_site.name, switch_to=after)
        shared_site.wait_active(after)
        load.stop(after=8)
        seen = load.summary()
    assert seen["failedAfterRetries"] == 0, load.story()
    switches = [(each["from"], each["to"]) for each in seen["switches"]]
    assert switches == [(before, after)], "nobody comes back to the server that was left"
    assert shared_site.routed_balancer() != former
