# SPDX-License-Identifier: Apache-2.0
"""Promise: when the routed balancer goes, its partner takes over and the active DPE Server stays the same."""

import pytest
from tests.e2e import processes
from tests.e2e.placement import balancer_nodes
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


@pytest.mark.level2
def test_both_balancers_are_killed_at_once(shared_site: Site) -> None:
    """No way in until Kubernetes has started one again; then as before, by itself."""
    active, epoch = shared_site.active(), shared_site.epoch()
    pods = [shared_site.kube.get("pod", name) for name in balancer_nodes(shared_site).values()]
    assert len(pods) == 2
    with shared_site.load(seconds=60) as load:
        for pod in pods:
            processes.signal_pod(pod, "KILL")
        seen = load.summary()
    assert list(seen["members"]) == [active], shared_site.account(load)
    assert shared_site.active() == active
    assert shared_site.epoch() > epoch
    gap = load.gap_seconds()
    print(f"both balancers killed: no answer for {gap:.1f} s")
    # a start of the containers, and a Lease of 6 s that nobody gave back
    assert 0.5 < gap < 45, shared_site.account(load)
