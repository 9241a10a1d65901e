# SPDX-License-Identifier: Apache-2.0
"""Promise: a core database that stands still for 20 s, as in its own fail-over, moves no active server."""

import time

import pytest
from tests.e2e.processes import Processes
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.level2]

FROZEN_SECONDS = 20


def test_nothing_is_switched_and_the_site_serves_again(
    shared_site: Site, processes: Processes
) -> None:
    active, switches = shared_site.active(), shared_site.switch_count()
    (database,) = (
        pod["metadata"]["name"] for pod in shared_site.kube.list("pod", {"app": "dpe-postgres"})
    )
    processes.hang(database)
    time.sleep(FROZEN_SECONDS)
    processes.go_on()
    shared_site.wait_member_state(active, "Up", timeout=60)
    shared_site.kube.wait_ready("dpe", shared_site.name)
    with shared_site.load(seconds=6) as load:
        seen = load.summary()

    assert seen["failedAfterRetries"] == 0, load.story()
    assert list(seen["members"]) == [active], load.story()
    assert shared_site.switch_count() == switches, shared_site.describe()
