# SPDX-License-Identifier: Apache-2.0
"""Promise: a DPE Server that hangs, its connections open, is replaced like one that died."""

import pytest
from tests.e2e.processes import Processes
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.level2]


def test_hung_server_is_replaced_and_takes_nothing_back(
    shared_site: Site, processes: Processes
) -> None:
    before, after = shared_site.active(), shared_site.standby()
    with shared_site.load(seconds=40) as load:
        processes.hang(shared_site.member_pod(before))
        shared_site.wait_active(after, timeout=20)
        processes.go_on()
        shared_site.wait_member_state(before, "Up", timeout=90)
        seen = load.summary()

    assert seen["failedAfterRetries"] == 0, load.story()
    assert load.gap_seconds() < 8, load.story()
    assert [(each["from"], each["to"]) for each in seen["switches"]] == [(before, after)], (
        load.story()
    )
    assert shared_site.active() == after
