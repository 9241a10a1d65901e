# SPDX-License-Identifier: Apache-2.0
"""Promise: a server that dies, is too slow, answers wrongly or cannot be reached is left, and takes nothing back."""

from collections.abc import Callable

import pytest
from tests.e2e.processes import Processes
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.level2]

Breaks = Callable[[Site, Processes, str], None]
# Longer than the health check of the tests' site waits (1.5 s).
TOO_SLOW = 4.0


def kill(site: Site, processes: Processes, member: str) -> None:
    processes.kill(site.member_pod(member))


def slow_down(site: Site, processes: Processes, member: str) -> None:
    site.misbehave(member, path="/status", slowSeconds=TOO_SLOW)


def answer_wrongly(site: Site, processes: Processes, member: str) -> None:
    site.misbehave(member, path="/status", body="all is lost")


def swallow(site: Site, processes: Processes, member: str) -> None:
    processes.lose_packets(site.member_pod(member), 1)


@pytest.mark.parametrize("breaks", [kill, slow_down, answer_wrongly, swallow])
def test_it_is_replaced_and_takes_nothing_back(
    shared_site: Site, processes: Processes, breaks: Breaks
) -> None:
    before, after = shared_site.active(), shared_site.standby()
    try:
        with shared_site.load(seconds=200) as load:
            breaks(shared_site, processes, before)
            shared_site.wait_active(after)
            processes.go_on()
            if breaks in (slow_down, answer_wrongly):
                shared_site.misbehave(before)
            shared_site.wait_member_state(before, "Up", timeout=120)
            load.stop(after=3)
            seen = load.summary()
    finally:
        if breaks in (slow_down, answer_wrongly):
            shared_site.misbehave(before)
    assert seen["failedAfterRetries"] == 0, load.story()
    assert load.gap_seconds() < 10, load.story()
    switches = [(each["from"], each["to"]) for each in seen["switches"]]
    assert switches == [(before, after)], load.story()
    assert shared_site.active() == after


@pytest.mark.timeout(900)
def test_one_percent_of_lost_packets_for_five_minutes_switches_nothing(
    shared_site: Site, processes: Processes
) -> None:
    active, count = shared_site.active(), shared_site.switch_count()
    with shared_site.load(seconds=300) as load:
        processes.lose_packets(shared_site.member_pod(active), 0.01)
        seen = load.summary()
    assert shared_site.switch_count() == count, shared_site.describe()
    assert list(seen["members"]) == [active], load.story()
    assert seen["failedAfterRetries"] == 0, load.story()
