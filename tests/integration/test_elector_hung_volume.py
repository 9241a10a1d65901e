# SPDX-License-Identifier: Apache-2.0
"""A command that hangs in a volume that never answers does not outlive its permit.

A process that waits for storage can often not be killed. What is promised then: everything else of
the container is dead, and what is stuck keeps the Lease from being given back.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.elector_pods import COMMAND, Pod, Site, boot, until
from tests.support.mounts import HungVolume, needs_root

# about 20 s each on a quiet machine
pytestmark = [pytest.mark.integration, pytest.mark.timeout(240), needs_root]

# A margin of 5 s between the end of a permit and the take-over: on a busy machine, too, what is
# seen here of the one is seen before the other.
DURATION, DEADLINE = 9.0, 4.0
TIMINGS = ("--lease-duration", "9", "--renew-deadline", "4", "--retry-period", "1")
GRACE = 1.0
BUSY = 60.0

# Starts a process that acts (with a daemon, all deaf to SIGTERM), then waits for the volume.
HANGS = """
import os, signal, sys
volume, progress, *acting = sys.argv[1:]
signal.signal(signal.SIGTERM, lambda *_: None)
os.posix_spawn(acting[0], acting, os.environ)
def note(what):
    with open(progress, "a") as file:
        file.write(what + "\\n")
note("looks")
try:
    os.stat(volume + "/file")
finally:
    note("looked")
"""

KILLABLE = pytest.mark.parametrize("killable", [True, False], ids=["killable", "not killable"])


@pytest.fixture
def site(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(api_server, namespace, tmp_path)
    made.create_lease()
    yield made
    made.close()


@pytest.fixture
def volume(site: Site, tmp_path: Path, killable: bool) -> Iterator[HungVolume]:
    # after the site: it ends first, or what is stuck in it would outlive the test
    made = HungVolume(tmp_path / "hung", killable=killable)
    yield made
    made.end()


class Stuck:
    """The pod whose command hangs, and one that stands by."""

    def __init__(self, site: Site, volume: HungVolume, *, killable: bool) -> None:
        python = [sys.executable, "-I", "-S", "-c"]
        self._progress = site.folder / "progress"
        acting = [*python, COMMAND, str(site.folder / "a.journal"), "ignore", "daemon"]
        command = [*python, HANGS, str(volume.point), str(self._progress), *acting]
        grace = ("--grace", f"{GRACE:g}")
        # the volume is mounted by now, so the container sees it
        self.pod: Pod = site.pod("a", *TIMINGS, *grace, command=command).start()
        until(lambda: self.pod.acts("daemon") and self.pod.acts("command"), seconds=BUSY)
        until(lambda: self.progress() and (killable or volume.taken), seconds=BUSY, why="it hangs")
        self.other: Pod = site.pod("b", *TIMINGS).start()
        until(lambda: self.other.role()["role"] == "standby", seconds=BUSY)
        assert self.progress() == ["looks"], "the volume answered"
        self.guard, self.elector = self.pod.guard, self.pod.elector
        self.inside = {pid for pid in self.pod.processes() if _alive(pid)}
        (self.command,) = [pid for pid in self.inside if _arguments(pid)[4:5] == [HANGS]]
        assert len(self.inside) == 5, "guard, elector, what is stuck, and two that act"

    def progress(self) -> list[str]:
        """Return how far the command has come: looks, looked."""
        if not self._progress.exists():
            return []
        return self._progress.read_text().split()

    def left(self) -> set[int]:
        """PIDs of what is not dead."""
        return {pid for pid in self.inside if _alive(pid)}

    def last_act(self) -> float:
        """Return the boot time at which something of the container acted for the last time."""
        return max(act.at for act in self.pod.acts())

    def taken_over(self) -> float:
        """Wait for the command of the other; return the boot time of its start."""
        until(lambda: self.other.acts("start"), seconds=BUSY, why="the other takes over")
        start = self.other.acts("start")[0]
        assert start.epoch == 2
        return start.at

    def assert_given_back_after_the_death(self) -> None:
        """By the log: in time the two are too close to be told apart from outside."""
        log = self.pod.log.read_text()
        assert "the command ended with signal 9" in log.partition("gave the Lease back")[0]
        assert "gave the Lease back" in log


def _arguments(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def _alive(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@KILLABLE
def test_without_a_renewal_all_that_can_be_killed_is_dead_before_the_other_starts(
    site: Site, volume: HungVolume, killable: bool
) -> None:
    stuck = Stuck(site, volume, killable=killable)
    stopped = boot()
    os.kill(stuck.elector, signal.SIGSTOP)
    remain = {stuck.guard} if killable else {stuck.guard, stuck.command}
    until(lambda: stuck.left() <= remain, seconds=BUSY, why="all that can be killed is dead")
    dead = boot()
    assert stuck.last_act() < stopped + DEADLINE + 3.0, "it acted beyond its permit"
    started = stuck.taken_over()
    assert dead < started
    assert started > stopped + DURATION - 1.5, "taken, not given back"
    assert "killed the command" in stuck.pod.log.read_text()
    if not killable:
        assert stuck.left() == remain, "the volume let it go"
        assert not stuck.pod.ended
        volume.end()
    stuck.pod.wait_fenced(BUSY)
    until(lambda: stuck.pod.role()["role"] == "standby", why="it stands by after the outage")
    assert stuck.progress() == ["looks"], "it went on after its permit"
    assert site.overlap() <= 0


@pytest.mark.parametrize("killable", [True])
def test_sigterm_kills_what_hangs_and_gives_the_lease_back(
    site: Site, volume: HungVolume, killable: bool
) -> None:
    stuck = Stuck(site, volume, killable=killable)
    asked = boot()
    stuck.pod.terminate()
    started = stuck.taken_over()
    assert stuck.last_act() > asked + GRACE - 0.5, "not even the grace was waited for"
    assert stuck.last_act() < started
    assert started < asked + GRACE + DURATION - 2.0, "taken over, not given back"
    assert stuck.pod.wait(BUSY) == 0
    stuck.assert_given_back_after_the_death()
    assert stuck.left() == set()
    assert stuck.progress() == ["looks"]
    assert site.overlap() <= 0


@pytest.mark.parametrize("killable", [False])
def test_what_cannot_be_killed_keeps_the_lease_at_sigterm(
    site: Site, volume: HungVolume, killable: bool
) -> None:
    stuck = Stuck(site, volume, killable=killable)
    asked = boot()
    stuck.pod.terminate()
    remain = {stuck.guard, stuck.elector, stuck.command}
    until(lambda: stuck.left() <= remain, seconds=BUSY, why="all that can be killed is dead")
    before = site.lease()
    # longer than a Lease lives by itself: it is renewed for what is stuck
    until(lambda: boot() > asked + GRACE + DURATION + 3.0, seconds=BUSY)
    held = site.lease()
    assert held["holderIdentity"] == before["holderIdentity"]
    assert held["holderIdentity"].startswith("uid-a_")
    assert held["renewTime"] > before["renewTime"]
    assert stuck.left() == remain
    assert stuck.other.acts() == [], "two at the same time"
    came_back = boot()
    volume.end()
    started = stuck.taken_over()
    assert came_back < started < came_back + DURATION - 2.0, "given back when nothing is left"
    assert stuck.pod.wait(BUSY) == 0
    stuck.assert_given_back_after_the_death()
    assert stuck.progress() == ["looks"]
    assert site.overlap() <= 0
