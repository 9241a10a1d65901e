# SPDX-License-Identifier: Apache-2.0
"""Promise: fail-back and flap limit of the spec are what the balancer does."""

from typing import Any

import pytest
from tests.e2e.kubectl import Object, condition, eventually
from tests.e2e.processes import Processes
from tests.e2e.site import Site, SiteFactory
from tests.e2e.site_manifests import dpe_cluster

pytestmark = [pytest.mark.e2e, pytest.mark.level2]

QUIET_SECONDS = 15


def balanced(manifest: Object, **settings: Any) -> Object:
    """The manifest with settings of its load balancer."""
    manifest["spec"]["server"]["loadBalancer"] |= settings
    return manifest


def test_automatic_brings_the_first_member_back_after_its_quiet_period(
    sites: SiteFactory, images: dict[str, str]
) -> None:
    failback = {"policy": "Automatic", "quietPeriod": f"{QUIET_SECONDS}s"}
    manifest = balanced(dpe_cluster("back", images, farms=()), failback=failback)
    site = sites.create("back", farms=(), more={"server": manifest["spec"]["server"]})
    first, second = site.active(), site.standby()
    assert first == "a", "the first one of the list"
    Processes(site.kube).kill(site.member_pod(first))
    site.wait_active(second)
    site.wait_member_state(first, "Up", timeout=120)
    site.wait_active(first, timeout=QUIET_SECONDS + 60)
    last = eventually(
        lambda: found if (found := site.status()["lastSwitch"])["to"] == first else None,
        timeout=60, what="the status tells of the fail-back",
    )  # fmt: skip
    assert last["cause"] == "Failback"


def test_more_switches_than_the_limit_are_flapping(
    sites: SiteFactory, images: dict[str, str]
) -> None:
    limit = {"switches": 1, "period": "2m"}
    manifest = balanced(dpe_cluster("flaps", images, farms=()), flapLimit=limit)
    site = sites.create("flaps", farms=(), more={"server": manifest["spec"]["server"]})
    for _ in range(2):
        fail_over(site)

    def flapping(status: str) -> bool:
        return condition(site.kube.get("dpe", site.name), "Flapping").get("status") == status

    eventually(lambda: flapping("True"), timeout=60, what="Flapping=True", describe=site.describe)
    eventually(lambda: flapping("False"), timeout=200, what="calm again", describe=site.describe)


def fail_over(site: Site) -> None:
    before, count = site.active(), site.switch_count()
    Processes(site.kube).kill(site.member_pod(before))
    site.wait_switch_count(count + 1)
    site.wait_member_state(before, "Up", timeout=120)
