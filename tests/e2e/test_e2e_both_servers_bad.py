# SPDX-License-Identifier: Apache-2.0
"""Promise: with both servers bad everybody is told so, and the site comes back by itself."""

import pytest
from tests.e2e.kubectl import condition, eventually
from tests.e2e.processes import Processes
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.level2]


def test_both_hang_and_go_on(shared_site: Site, processes: Processes) -> None:
    active, count = shared_site.active(), shared_site.switch_count()
    pods = [shared_site.member_pod(member) for member in (shared_site.standby(), active)]
    for pod in pods:
        processes.hang(pod)

    def told() -> bool:
        found = shared_site.kube.get("dpeserver", shared_site.name)
        return condition(found, "Ready").get("reason") == "NoServerUp"

    eventually(told, timeout=60, what="Ready=False/NoServerUp", describe=shared_site.describe)
    assert shared_site.status()["active"] == active, "who serves when both are back"
    processes.go_on()
    shared_site.kube.wait_ready("dpe", shared_site.name)
    with shared_site.load(seconds=6) as load:
        assert load.summary()["failedAfterRetries"] == 0, load.story()
    assert shared_site.switch_count() == count, "an outage of both is no switch"
    assert shared_site.active() == active
