# SPDX-License-Identifier: Apache-2.0
"""Promise: when the active DPE Server dies, the standby serves within a second or so, and retrying clients lose nothing."""

import pytest
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e


def test_active_server_pod_is_deleted_under_load(shared_site: Site) -> None:
    before = shared_site.active()
    with shared_site.load(seconds=25) as load:
        shared_site.kube.delete(
            "pod", shared_site.member_pod(before), "--grace-period=0", "--force"
        )
        seen = load.summary()

    assert seen["failedAfterRetries"] == 0, load.story()
    assert load.gap_seconds() < 10, load.story()
    assert shared_site.active() != before
    assert [switch["from"] for switch in seen["switches"]] == [before], load.story()


def test_recovered_server_takes_no_traffic_back(shared_site: Site) -> None:
    before = shared_site.active()
    shared_site.kube.delete("pod", shared_site.member_pod(before), "--grace-period=0", "--force")
    shared_site.wait_active_is_not(before)
    shared_site.kube.wait_ready("dpe", shared_site.name)

    with shared_site.load(seconds=6) as load:
        seen = load.summary()

    assert list(seen["members"]) == [shared_site.active()], load.story()
    assert (seen["failedAfterRetries"], load.lost()) == (0, 0), load.story()


def test_graceful_deletion_switches_before_the_server_stops(shared_site: Site) -> None:
    before = shared_site.active()
    with shared_site.load(seconds=25) as load:
        shared_site.kube.delete("pod", shared_site.member_pod(before), "--wait=false")
        seen = load.summary()

    assert seen["failedAfterRetries"] == 0, load.story()
    assert load.gap_seconds() < 6, load.story()
    assert shared_site.status()["lastSwitch"]["cause"] in ("Terminating", "MemberDown")
    assert shared_site.active() != before
