# SPDX-License-Identifier: Apache-2.0
"""Promise: when the routed balancer goes, its partner takes over and the active DPE Server stays the same."""

import pytest
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(("--wait=false",), id="graceful"),
        pytest.param(("--grace-period=0", "--force"), id="forced", marks=pytest.mark.level2),
    ],
)
def test_routed_balancer_pod_is_deleted_under_load(shared_site: Site, how: tuple[str, ...]) -> None:
    active, routed = shared_site.active(), shared_site.routed_balancer()
    with shared_site.following(routed) as words, shared_site.load(seconds=30) as load:
        shared_site.kube.delete("pod", routed, *how)
        seen = load.summary()

    assert seen["failedAfterRetries"] == 0, shared_site.account(load, words)
    assert list(seen["members"]) == [active], (
        f"a take-over must not move the active member: {shared_site.account(load, words)}"
    )
    assert shared_site.routed_balancer() != routed
    assert shared_site.active() == active
    # a forced deletion is found by the Lease (6 s), a graceful one is announced
    assert load.gap_seconds() < (10 if how == ("--wait=false",) else 20), shared_site.account(
        load, words
    )
