# SPDX-License-Identifier: Apache-2.0
"""Promise: the balancer can stand before two DPE Servers that run outside the cluster."""

import pytest
from tests.e2e.outside import OutsideServers
from tests.e2e.site import SiteFactory

pytestmark = pytest.mark.e2e


def test_two_servers_outside_the_cluster(
    sites: SiteFactory, outside_servers: OutsideServers
) -> None:
    site = sites.create(
        "outside",
        farms=("audio",),
        external=outside_servers.addresses,
        certificates=outside_servers.certificates,
    )
    active = site.active()
    with site.load(seconds=15) as load:
        outside_servers.kill(active)
        seen = load.summary()
    assert seen["failedAfterRetries"] == 0, load.story()
    assert load.gap_seconds() < 10, load.story()
    assert site.active() != active

    outside_servers.start(active)
    site.wait_member_state(active, "Up", timeout=90)
    with site.load(seconds=4) as load:
        assert active not in load.summary()["members"], "no traffic back without being asked"
