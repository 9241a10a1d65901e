# SPDX-License-Identifier: Apache-2.0
"""Promise: in TLS mode Terminate a renewed certificate is served without a restart and without a lost request."""

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.site import SiteFactory

pytestmark = pytest.mark.e2e


def test_renewed_certificate_is_served_without_a_lost_request(sites: SiteFactory) -> None:
    site = sites.create("term", farms=(), tls="Terminate")
    balancers = site.balancer_uids()
    first = site.served_serial()
    with site.load(seconds=300) as load:
        site.renew_certificate()
        eventually(
            lambda: site.served_serial() != first,
            timeout=200,  # kubelet brings a changed Secret to the pod within about a minute
            every=2,
            what="another certificate is served",
            describe=site.describe,
        )
        load.stop()
        seen = load.summary()

    assert (seen["failedAfterRetries"], load.lost()) == (0, 0), load.story()
    assert site.balancer_uids() == balancers


def test_planned_switch_loses_no_request_in_terminate_mode(sites: SiteFactory) -> None:
    site = sites.get("term")
    target = site.standby()
    with site.load(seconds=120) as load:
        site.kube.annotate("dpe", site.name, switch_to=target)
        site.wait_active(target, timeout=60)
        load.stop(after=3)
        seen = load.summary()
    assert (seen["failedAfterRetries"], load.lost()) == (0, 0), load.story()
    assert load.gap_seconds() < 6, load.story()
