# SPDX-License-Identifier: Apache-2.0
"""Promise: a HAProxy that dies is started again beside its agent; nobody takes over, nothing is switched."""

import pytest
from tests.e2e.processes import Processes
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.level2]


def test_routed_haproxy_is_killed(shared_site: Site, processes: Processes) -> None:
    routed, active = shared_site.routed_balancer(), shared_site.active()
    epoch, count = shared_site.epoch(), shared_site.switch_count()
    with shared_site.load(seconds=15) as load:
        processes.kill(routed, program="haproxy")
        seen = load.summary()
    assert seen["failedAfterRetries"] == 0, load.story()
    assert load.gap_seconds() < 10, load.story()
    assert list(seen["members"]) == [active], load.story()
    assert (shared_site.routed_balancer(), shared_site.epoch()) == (routed, epoch)
    assert shared_site.switch_count() == count
