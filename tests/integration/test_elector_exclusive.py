# SPDX-License-Identifier: Apache-2.0
"""Exclusive mode on real processes and a real API server: who acts when, through every fault."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.elector_pods import Pod, Site, boot, until

pytestmark = pytest.mark.integration

# the shortest timings that leave a margin: 1.9 s x 1.02 + 1 s to kill = 2.94 s
DURATION, DEADLINE, RETRY = 3.0, 1.9, 0.5
QUICK = ("--lease-duration", "3", "--renew-deadline", "1.9", "--retry-period", "0.5")
# scheduling on a busy machine
SLACK = 0.6


@pytest.fixture
def site(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(api_server, namespace, tmp_path)
    made.create_lease()
    yield made
    made.close()


def pair(site: Site, **more: Any) -> tuple[Pod, Pod]:
    """Return the pod that acts and the one that stands by."""
    first = site.pod("a", *QUICK, **more).start()
    until(lambda: first.acting, why="the first pod acts")
    second = site.pod("b", *QUICK, **more).start()
    until(lambda: second.role()["role"] == "standby", why="the second pod stands by")
    return first, second


def taken_over(site: Site, pod: Pod, *, epoch: int, seconds: float = 12.0) -> float:
    """Wait for the first act of `pod` with `epoch`; return when it was."""
    until(
        lambda: any(act.epoch == epoch for act in pod.acts("start")),
        seconds=seconds,
        why=f"{pod.name} starts with epoch {epoch}",
    )
    assert site.lease()["leaseTransitions"] == epoch
    return next(act.at for act in pod.acts("start") if act.epoch == epoch)


def test_sigterm_stops_then_releases_then_the_other_starts(site: Site) -> None:
    first, second = pair(site, at_term="0.3", daemon=True)
    assert site.lease()["holderIdentity"].startswith("uid-a_")
    asked = boot()
    first.terminate()
    started = taken_over(site, second, epoch=2)
    assert first.wait() == 0
    ended = first.acts("end")[-1].at
    assert ended - asked < 1.0
    # break before make: not even the process that left the command's session acted any more
    assert max(act.at for act in first.acts()) < started
    assert started - ended < 1.0, "take-over from a release"
    assert site.overlap() <= 0


def test_a_command_that_ignores_sigterm_is_killed_before_the_release(site: Site) -> None:
    """It goes on renewing meanwhile: the grace is longer than the Lease."""
    first = site.pod("a", *QUICK, "--grace", "4", at_term="ignore", daemon=True).start()
    until(lambda: first.acts("daemon"))
    second = site.pod("b", *QUICK).start()
    until(lambda: second.role()["role"] == "standby")
    asked = boot()
    first.terminate()
    started = taken_over(site, second, epoch=2)
    last = max(act.at for act in first.acts())
    assert 3.9 < last - asked < 4.0 + SLACK
    assert last < started < last + 1.0
    assert first.wait() == 0


def test_a_command_that_exits_gives_the_lease_back(site: Site) -> None:
    first, second = pair(site)
    exited = boot()
    first.end_command()
    assert taken_over(site, second, epoch=2) - exited < 1.0
    # no container restart: the first stands by, and takes it again when the other's exits
    assert not first.ended
    until(lambda: first.role()["role"] == "standby")
    time.sleep(1.2)
    exited = boot()
    second.end_command()
    assert taken_over(site, first, epoch=3) - exited < 1.0
    assert site.overlap() <= 0


def test_alone_the_back_off_doubles(site: Site) -> None:
    pod = site.pod("a", *QUICK).start()
    gaps = []
    for epoch in (1, 2, 3):
        taken_over(site, pod, epoch=epoch)
        until(lambda: pod.acting)
        pod.end_command()
        started = taken_over(site, pod, epoch=epoch + 1)
        gaps.append(started - max(act.at for act in pod.acts() if act.epoch == epoch))
    assert all(pause - 0.2 < gap < pause + 0.9 for gap, pause in zip(gaps, (1, 2, 4), strict=True))


def test_a_killed_elector_costs_nothing(site: Site) -> None:
    """The guard starts a new one, which goes on renewing before the permit ends."""
    first, second = pair(site)
    command = first.acts("start")[-1].pid
    killed = first.elector
    os.kill(killed, signal.SIGKILL)
    time.sleep(DURATION + 1)
    until(lambda: first.acting)
    assert first.elector != killed
    assert first.acts()[-1].pid == command
    assert [act.epoch for act in first.acts("start")] == [1]
    assert second.acts() == []


def test_a_killed_guard_takes_everything_with_it(site: Site) -> None:
    first, second = pair(site, daemon=True)
    killed = boot()
    os.kill(first.guard, signal.SIGKILL)
    started = taken_over(site, second, epoch=2)
    assert first.wait() == 128 + signal.SIGKILL or first.ended
    assert max(act.at for act in first.acts()) < killed + 0.1
    assert DURATION - RETRY - 0.1 < started - killed < DURATION + RETRY + SLACK
    assert site.overlap() <= 0


def test_a_stopped_elector_does_not_keep_the_command_alive(site: Site) -> None:
    first, second = pair(site, daemon=True)
    stopped = boot()
    os.kill(first.elector, signal.SIGSTOP)
    first.wait_fenced()
    last = max(act.at for act in first.acts())
    assert DEADLINE - RETRY - 0.2 < last - stopped < DEADLINE + SLACK
    assert last < taken_over(site, second, epoch=2)
    assert site.overlap() <= 0


@pytest.mark.parametrize("which", ["everything", "guard and command"])
def test_a_frozen_pod_is_dead_when_it_thaws(site: Site, which: str) -> None:
    """Everything of the holder sleeps while the other takes over. It may wake up in any order."""
    first, second = pair(site, daemon=True)
    frozen = [pid for pid in first.processes() if which == "everything" or pid != first.elector]
    if which != "everything":
        # an elector that cannot renew either, or there would be nothing to take over
        site.proxies["a"].cut()
    for pid in frozen:
        os.kill(pid, signal.SIGSTOP)
    taken_over(site, second, epoch=2)
    time.sleep(0.5)
    # the guard last: the command gets every chance to act
    for pid in sorted(frozen, key=lambda pid: pid == first.guard):
        os.kill(pid, signal.SIGCONT)
    first.wait_fenced()
    time.sleep(0.2)
    until(lambda: second.acting)
    assert site.overlap() <= 0.1
    assert "killed the command" in first.log.read_text()


def test_a_guard_frozen_alone_finds_the_newest_permit(site: Site) -> None:
    first, second = pair(site)
    os.kill(first.guard, signal.SIGSTOP)
    time.sleep(DURATION + 1)
    os.kill(first.guard, signal.SIGCONT)
    time.sleep(DEADLINE + 0.5)
    until(lambda: first.acting)
    assert [act.epoch for act in first.acts("start")] == [1]
    assert second.acts() == []


def test_a_holder_that_is_cut_off_ends_before_the_other_starts(site: Site) -> None:
    first, second = pair(site, daemon=True)
    cut = boot()
    site.proxies["a"].cut()
    first.wait_fenced()
    started = taken_over(site, second, epoch=2)
    assert max(act.at for act in first.acts()) < cut + DEADLINE + 0.3
    assert started < cut + DURATION + RETRY + SLACK
    assert site.overlap() <= 0


def test_who_was_cut_off_stands_by_again_in_the_same_container(site: Site) -> None:
    """Kubelet lets a container that ends again and again wait for minutes: it is not to end."""
    first, second = pair(site, daemon=True)
    guard = first.guard
    for epoch, holder, other in ((2, first, second), (3, second, first), (4, first, second)):
        site.proxies[holder.name].cut()
        taken_over(site, other, epoch=epoch)
        site.proxies[holder.name].heal()
        until(lambda pod=holder: pod.role()["role"] == "standby")
    assert first.guard == guard
    assert [act.epoch for act in first.acts("start")] == [1, 3]
    notes = site.client.get(f"{site.leases}/x")["metadata"]["annotations"]
    assert '"ends"' not in notes["dpe.dev/elector-record"], "no end of the command's own"
    assert site.overlap() <= 0


def test_a_new_elector_believes_a_lease_that_was_made_anew(site: Site) -> None:
    """Its epochs begin lower than those of commands that are long gone."""
    pod = site.pod("a", *QUICK, "--create-lease").start()
    until(lambda: pod.acting)
    site.edit(leaseTransitions=57)
    pod.end_command()
    until(lambda: [act.epoch for act in pod.acts("start")][1:] == [58])
    site.proxies["a"].cut()
    pod.wait_fenced()
    assert site.server.request("DELETE", f"{site.leases}/x")[0] == 200
    site.proxies["a"].heal()
    until(lambda: len(pod.acts("start")) == 3, seconds=DURATION + 10)
    assert pod.acts("start")[2].epoch == 1
    time.sleep(2 * RETRY)
    assert pod.acting


def test_a_full_log_does_not_hold_up_the_guard(site: Site) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    first = site.pod("a", *QUICK, stderr=writer).start()
    until(lambda: first.acting)
    site.proxies["a"].cut()
    until(lambda: boot() - first.acts()[-1].at > 1.0, seconds=DEADLINE + 3.0)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("holder", ["a-stranger", ""])
def test_a_lease_edited_by_hand_stops_the_holder_and_makes_everybody_wait(
    site: Site, holder: str
) -> None:
    first, second = pair(site)
    edited = boot()
    site.edit(holderIdentity=holder)
    until(lambda: not first.acting)
    assert max(act.at for act in first.acts()) < edited + RETRY + SLACK
    winner = until(lambda: next((pod for pod in (first, second) if pod.acting), None))
    started = taken_over(site, winner, epoch=2)
    assert DURATION - 0.1 < started - edited < DURATION + 2 * RETRY + SLACK
    assert not first.ended
    assert site.overlap() <= 0


def test_a_lowered_epoch_is_raised_again(site: Site) -> None:
    first, _ = pair(site)
    site.edit(leaseTransitions=7)
    until(lambda: site.lease()["renewTime"])
    site.edit(leaseTransitions=0)
    until(lambda: site.lease()["leaseTransitions"] >= 1)
    first.end_command()
    until(lambda: site.lease()["leaseTransitions"] >= 2)


def test_a_deleted_lease_stops_the_holder_and_comes_back_with_a_higher_epoch(site: Site) -> None:
    first, second = pair(site)
    deleted = boot()
    status, _ = site.server.request("DELETE", f"{site.leases}/x")
    assert status == 200
    until(lambda: not first.acting)
    time.sleep(1)
    assert not (first.acting or second.acting), "without a Lease nobody runs"
    created = boot()
    site.create_lease(None)
    winner = until(lambda: next((pod for pod in (first, second) if pod.acting), None))
    assert taken_over(site, winner, epoch=2) - created > DURATION - 0.1
    assert max(act.at for act in first.acts() if act.epoch == 1) < deleted + RETRY + SLACK
    assert site.overlap() <= 0


def test_create_lease_waits_once_for_somebody_unseen(
    api_server: ApiServer, namespace: str, tmp_path: Path
) -> None:
    site = Site(api_server, namespace, tmp_path)
    try:
        pod = site.pod("a", *QUICK, "--create-lease").start()
        began = boot()
        started = taken_over(site, pod, epoch=1)
        assert DURATION - 0.1 < started - began < DURATION + 2 * RETRY + SLACK
    finally:
        site.close()


def test_memory(site: Site) -> None:
    first, _ = pair(site)
    time.sleep(2)
    total = 0
    for pid in (first.guard, first.elector):
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += int(rollup.split("\nPss:")[1].split()[0])
    assert total <= 30 * 1024, f"guard and elector take {total} KiB"
