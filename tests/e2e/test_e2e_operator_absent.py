# SPDX-License-Identifier: Apache-2.0
"""Promise: with no operator pod running, every unplanned fail-over goes on all the same."""

import json
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from tests.e2e.operator_release import OperatorRelease
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e


@pytest.fixture
def no_operator(operator: OperatorRelease, shared_site: Site) -> Iterator[None]:
    shared_site.kube.wait_ready("dpe", shared_site.name)
    with operator.absent():
        yield
    shared_site.kube.wait_ready("dpe", shared_site.name)


def test_server_and_balancer_fail_over_without_operator(
    shared_site: Site, no_operator: None
) -> None:
    before, struck = shared_site.recorded_active(), time.time()
    with shared_site.load(seconds=20) as load:
        shared_site.kube.delete(
            "pod", shared_site.member_pod(before), "--grace-period=0", "--force"
        )
        seen = load.summary()
    assert seen["failedAfterRetries"] == 0, shared_site.account(load)
    assert load.gap_seconds() < 10, shared_site.account(load)
    after = shared_site.recorded_active()
    assert after != before
    notes = shared_site.record()["metadata"]["annotations"]
    last = json.loads(notes["dpe.dev/last-switch"])
    assert (last["from"], last["to"]) == (before, after)
    assert last["cause"] in ("MemberDown", "Terminating")
    assert 0 < last["gapMs"] < 10_000, "as the routed HAProxy saw it"
    assert datetime.fromisoformat(notes["dpe.dev/active-since"]).timestamp() > struck - 1

    routed = shared_site.routed_balancer()
    with shared_site.following(routed) as words, shared_site.load(seconds=20) as load:
        shared_site.kube.delete("pod", routed, "--wait=false")
        seen = load.summary()
    assert seen["failedAfterRetries"] == 0, shared_site.account(load, words)
    assert shared_site.routed_balancer() != routed, shared_site.account(load, words)
    assert shared_site.recorded_active() == after


def test_operator_leader_is_followed(operator: OperatorRelease, shared_site: Site) -> None:
    leader = operator.leader_pod()
    operator.kube.delete("pod", leader, "--wait=false")
    operator.wait_leader_is_not(leader, timeout=90)
    shared_site.kube.delete("pdb", f"{shared_site.name}-members")
    shared_site.wait_exists("pdb", f"{shared_site.name}-members", timeout=90)
