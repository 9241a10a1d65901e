# SPDX-License-Identifier: Apache-2.0
"""Promise: other settings of the balancer reach it without losing a request or moving the active server."""

import copy
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.level2]


@pytest.fixture
def set_back(shared_site: Site) -> Iterator[None]:
    """The settings as they were, and balancers that have them."""
    yield
    old = shared_site.balancer_uids()
    shared_site.kube.apply(shared_site.manifest)
    wait_replaced(shared_site, old)


def wait_replaced(site: Site, old: set[str]) -> None:
    def replaced() -> bool:
        uids = site.balancer_uids()
        return len(uids) == 2 and not uids & old

    eventually(replaced, timeout=150, what="both balancers are new", describe=site.describe)
    site.kube.wait_ready("dpe", site.name)


def test_changed_under_load(shared_site: Site, set_back: None) -> None:
    active, old = shared_site.active(), shared_site.balancer_uids()
    changed = copy.deepcopy(shared_site.manifest)
    changed["spec"]["server"]["loadBalancer"]["timings"]["checkInterval"] = "600ms"
    with shared_site.load(seconds=90) as load:
        shared_site.kube.apply(changed)
        wait_replaced(shared_site, old)
        seen = load.summary()

    assert seen["failedAfterRetries"] == 0, load.story()
    assert list(seen["members"]) == [active], load.story()
    assert load.gap_seconds() < 6, load.story()
