# SPDX-License-Identifier: Apache-2.0
"""Promise: two DpeClusters in one namespace do not get into each other's way."""

import pytest
from tests.e2e.site import Site, SiteFactory

pytestmark = pytest.mark.e2e


def test_a_second_cluster_beside_the_first(shared_site: Site, sites: SiteFactory) -> None:
    first_active = shared_site.recorded_active()
    name = "a-second-site-with-a-long-name"  # 30 characters
    try:
        second = sites.beside(shared_site, name, farms=("audio",))
        with second.load(seconds=6) as load:
            seen = load.summary()
        assert seen["failedAfterRetries"] == 0, load.story()
        second.kube.annotate("dpe", second.name, switch_to=second.standby())
        second.wait_switch_count(1)
        assert shared_site.recorded_active() == first_active
    finally:
        shared_site.kube.delete("dpe", name, "--ignore-not-found")
    shared_site.kube.wait_ready("dpe", shared_site.name)
    assert shared_site.recorded_active() == first_active
