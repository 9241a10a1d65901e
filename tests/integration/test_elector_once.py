# SPDX-License-Identifier: Apache-2.0
"""A single run under the Lease on real processes and a real API server."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.elector_pods import Pod, Site, boot, until

pytestmark = pytest.mark.integration

QUICK = ("--lease-duration", "3", "--renew-deadline", "1.9", "--retry-period", "0.5")
ONCE = (*QUICK, "--once", "--once-deadline")


@pytest.fixture
def site(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(api_server, namespace, tmp_path)
    made.create_lease()
    yield made
    made.close()


def running(site: Site, name: str, deadline: str = "30", **more: Any) -> Pod:
    pod = site.pod(name, *ONCE, deadline, **more).start()
    until(lambda: pod.acting, why=f"{name} acts")
    return pod


def test_it_ends_with_the_status_of_the_command_and_the_lease_given_back(site: Site) -> None:
    pod = running(site, "a", daemon=True)
    assert site.lease()["holderIdentity"].startswith("uid-a_")
    pod.end_command()
    ended = boot()
    assert pod.wait() == 3
    assert site.lease()["holderIdentity"] == ""
    assert [act.epoch for act in pod.acts("start")] == [1]
    # nothing is left: what the command had started behind its back was killed before the release
    assert max(act.at for act in pod.acts()) < ended + 1


def test_the_second_run_waits_for_the_first_and_starts_at_its_end(site: Site) -> None:
    first = running(site, "a")
    second = site.pod("b", *ONCE, "30").start()
    until(lambda: second.role()["role"] == "standby")
    first.end_command()
    assert first.wait() == 3
    until(lambda: second.acting)
    started = second.acts("start")[0]
    assert started.epoch == 2
    assert max(act.at for act in first.acts()) < started.at
    second.end_command()
    assert second.wait() == 3
    assert site.overlap() <= 0


def test_a_lease_that_is_not_free_in_time_is_given_up_with_a_status_of_its_own(site: Site) -> None:
    first = running(site, "a")
    began = boot()
    second = site.pod("b", *ONCE, "2").start()
    assert second.wait() == 69
    assert 1.9 < boot() - began < 8
    assert second.acts() == []
    assert "gave up: the Lease x was not free in time" in second.log.read_text()
    until(lambda: first.acting)
    assert site.lease()["holderIdentity"].startswith("uid-a_")


def test_without_an_api_server_it_gives_up_too(site: Site) -> None:
    pod = site.pod("a", *ONCE, "2")
    site.proxies["a"].cut()
    assert pod.start().wait() == 69
    assert pod.acts() == []


def test_an_elector_that_hangs_does_not_make_it_wait_for_ever(site: Site) -> None:
    running(site, "a")
    second = site.pod("b", *ONCE, "3").start()
    until(lambda: second.role()["role"] == "standby")
    os.kill(second.elector, signal.SIGSTOP)
    assert second.wait(20) == 69
    assert "the elector did not take the Lease in time" in second.log.read_text()


def test_the_lease_of_a_run_that_was_killed_is_waited_for(site: Site) -> None:
    first = running(site, "a", daemon=True)
    killed = boot()
    os.kill(first.guard, signal.SIGKILL)
    second = running(site, "b")
    started = second.acts("start")[0]
    assert started.epoch == 2
    assert max(act.at for act in first.acts()) < killed + 0.1 < started.at
    assert started.at - killed > 2.4


def test_sigterm_stops_the_command_and_its_status_counts(site: Site) -> None:
    pod = running(site, "a", at_term="0.3", daemon=True)
    pod.terminate()
    assert pod.wait() == 0
    assert pod.acts("end") and site.lease()["holderIdentity"] == ""
    assert "killed the command" not in pod.log.read_text()


def test_sigterm_before_the_command_ran_is_no_success(site: Site) -> None:
    first = running(site, "a")
    second = site.pod("b", *ONCE, "30").start()
    until(lambda: second.role()["role"] == "standby")
    second.terminate()
    assert second.wait() == 143
    until(lambda: first.acting)


def test_a_lost_lease_kills_the_command_and_says_so(site: Site) -> None:
    pod = running(site, "a", daemon=True)
    site.edit(holderIdentity="a-stranger")
    assert pod.wait() == 75
    assert [act.epoch for act in pod.acts("start")] == [1], "it is not run a second time"


def test_a_killed_elector_does_not_run_the_command_again(site: Site) -> None:
    pod = running(site, "a")
    os.kill(pod.elector, signal.SIGKILL)
    command = pod.acts("start")[-1].pid
    until(lambda: pod.log.read_text().count("starting a new one") == 1)
    pod.end_command()
    assert pod.wait() == 3
    assert [act.pid for act in pod.acts("start")] == [command]
