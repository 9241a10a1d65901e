# SPDX-License-Identifier: Apache-2.0
"""Promise: a routed balancer whose pod stands still is replaced, and changes nothing when it goes on."""

import pytest
from tests.e2e.processes import Processes
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.level2]


def test_hung_pod_is_replaced_with_the_same_active_member(
    shared_site: Site, processes: Processes
) -> None:
    active, epoch = shared_site.active(), shared_site.epoch()
    hung = shared_site.routed_balancer()
    switches = shared_site.switch_count()
    with shared_site.load(seconds=45) as load:
        processes.hang(hung)
        shared_site.wait_epoch_above(epoch, timeout=30)
        successor = shared_site.routed_balancer()
        processes.go_on()
        seen = load.summary()

    assert successor != hung
    assert seen["failedAfterRetries"] == 0, load.story()
    assert list(seen["members"]) == [active], load.story()
    assert load.gap_seconds() < 14, load.story()
    assert shared_site.routed_balancer() == successor, "the one that stood still takes nothing back"
    assert shared_site.switch_count() == switches
