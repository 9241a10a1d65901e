# SPDX-License-Identifier: Apache-2.0
"""Exclusive mode when the API server is away or refuses, and when a clock is set, on real processes.

What is asserted is order: the one that acted has stopped before another starts, and one starts when
there is an API server again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support import elector_pods
from tests.support.api_server import ROOT, ApiServer
from tests.support.elector_pods import ELECTOR, Pod, Site, boot

from dpe_elector.guard import SILENCE_SECONDS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

DURATION, DEADLINE, RETRY = 3.0, 1.9, 0.5
QUICK = ("--lease-duration", "3", "--renew-deadline", "1.9", "--retry-period", "0.5")
SAFE_DEADLINE, SAFE_DURATION = 10.0, 15.0
# What a busy machine may add to a time that has an upper bound; and how long it may take to start.
SLACK, BUSY = 4.0, 60.0
SHIFTED = ROOT / "tests/chaos/shifted_elector"


def until(what: Callable[[], Any], *, seconds: float = BUSY, why: str = "") -> Any:
    """Wait for something that a busy machine may be slow at."""
    return elector_pods.until(what, seconds=seconds, why=why)


@pytest.fixture
def site(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(api_server, namespace, tmp_path)
    made.create_lease()
    yield made
    made.close()


def both(site: Site, *, flags: tuple[str, ...] = QUICK, **more: Path) -> tuple[Pod, Pod]:
    """The pod that acts and the one that stands by; `more` are token files by pod."""
    first = site.pod("a", *flags, token_file=more.get("a")).start()
    until(lambda: first.acting, why="the first pod acts")
    second = site.pod("b", *flags, token_file=more.get("b")).start()
    until(lambda: second.role()["role"] == "standby", why="the second pod stands by")
    return first, second


def last_act(pod: Pod, *, epoch: int) -> float:
    return max(act.at for act in pod.acts() if act.epoch == epoch)


def start_of(pod: Pod, *, epoch: int) -> float:
    """When the command of `pod` was started with this epoch; waits for it."""

    def found() -> float:
        return next((act.at for act in pod.acts("start") if act.epoch == epoch), 0.0)

    return float(until(found, why=f"{pod.name} starts with epoch {epoch}"))


# the API server


def api_away(tmp_path: Path, *, seconds: float, flags: tuple[str, ...], deadline: float) -> None:
    """Stop the API server under two candidates for so long, and look at who acted when."""
    with ApiServer() as server:
        site = Site(server, server.create_namespace(), tmp_path)
        site.create_lease()
        try:
            pods = both(site, flags=flags)
            gone = boot()
            server.stop()
            pods[0].wait_fenced(deadline + BUSY)
            assert last_act(pods[0], epoch=1) < gone + deadline + SLACK, "beyond its permit"
            time.sleep(max(0.0, gone + seconds - boot()))
            assert all(len(pod.acts("start")) == (pod is pods[0]) for pod in pods), "nobody acts"
            back = boot()
            server.start()
            winner = until(
                lambda: next((pod for pod in pods if pod.acting), None), why="one acts again",
            )  # fmt: skip
            assert start_of(winner, epoch=2) > back
            time.sleep(2 * RETRY)
            assert sum(any(act.epoch > 1 for act in pod.acts()) for pod in pods) == 1
            assert site.overlap() <= 0
        finally:
            site.close()


def test_without_api_server_the_active_one_stops_and_one_starts_when_it_is_back(
    tmp_path: Path,
) -> None:
    api_away(tmp_path, seconds=DURATION + 3, flags=QUICK, deadline=DEADLINE)


def test_who_acts_is_lost_while_there_is_no_api_server(tmp_path: Path) -> None:
    """Nobody may take the Lease until it is back; then the other does, by itself."""
    with ApiServer() as server:
        site = Site(server, server.create_namespace(), tmp_path)
        site.create_lease()
        try:
            first, second = both(site)
            server.stop()
            first.close()
            time.sleep(DURATION + 2 * RETRY)
            assert not second.acts("start"), "its Lease has run out, and nobody can say so"
            back = boot()
            server.start()
            assert start_of(second, epoch=2) > back
            assert site.overlap() <= 0
            print(f"acts {start_of(second, epoch=2) - back:.1f} s after the API server is back")
        finally:
            site.close()


@pytest.mark.timeout(480)
@pytest.mark.parametrize("seconds", [60, pytest.param(300, marks=pytest.mark.level2)])
def test_api_server_away_for_minutes(tmp_path: Path, seconds: float) -> None:
    """With the timings that components have where nothing else is said."""
    flags = ("--profile", "Safe")
    api_away(tmp_path, seconds=seconds, flags=flags, deadline=SAFE_DEADLINE)


@pytest.mark.level2  # longer than the guard waits for an elector that says nothing: 15 s
def test_who_stands_by_outlives_a_network_that_swallows_everything(site: Site) -> None:
    """Its elector goes on, so it knows how long the Lease has stood still, and takes it at once."""
    first, second = both(site)
    elector = second.elector
    for proxy in site.proxies.values():
        proxy.cut()
    first.wait_fenced(BUSY)
    time.sleep(SILENCE_SECONDS + 4)
    assert second.elector == elector, second.log.read_text()
    assert "the elector was silent" not in second.log.read_text()
    healed = boot()
    site.proxies["b"].heal()
    taken = start_of(second, epoch=2) - healed
    print(f"taken {taken:.2f} s after the API server was reached again")
    assert taken < DURATION + SLACK
    assert site.overlap() <= 0


# the token


@pytest.mark.level2
def test_a_token_that_is_refused_for_a_moment_stops_nobody(site: Site, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(site.server.token)
    first, second = both(site, a=token)
    token.write_text("spoiled")
    until(lambda: "401" in first.log.read_text())
    token.write_text(site.server.token)
    time.sleep(DURATION + 1)
    until(lambda: first.acting)
    assert [act.epoch for act in first.acts("start")] == [1]
    assert second.acts() == []


def test_a_token_that_stays_refused_ends_the_command_before_the_other_starts(
    site: Site, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(site.server.token)
    first, second = both(site, a=token)
    spoiled = boot()
    token.write_text("spoiled")
    first.wait_fenced(BUSY)
    started = start_of(second, epoch=2)
    assert last_act(first, epoch=1) < min(started, spoiled + DEADLINE + SLACK)
    # with the same bad token it takes nothing; with a good one it stands by
    until(lambda: first.log.read_text().count("401") > 1)
    assert first.role()["role"] != "holder"
    token.write_text(site.server.token)
    until(lambda: first.role()["role"] == "standby")
    until(lambda: second.acting)
    assert site.overlap() <= 0


def account(site: Site, name: str) -> None:
    """A service account with the rights of a candidate, as the operator makes it."""
    rule = {
        "apiGroups": ["coordination.k8s.io"],
        "resources": ["leases"],
        "resourceNames": ["x"],
        "verbs": ["get", "watch", "update"],
    }
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    subject = {"kind": "ServiceAccount", "name": name, "namespace": site.namespace}
    for plural, body in (
        ("roles", {"rules": [rule]}),
        ("rolebindings", {"roleRef": reference, "subjects": [subject]}),
    ):
        path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{site.namespace}/{plural}"
        status, answer = site.server.request("POST", path, {"metadata": {"name": name}, **body})
        assert status == 201, answer


def test_a_deleted_service_account_stops_both_and_new_pods_go_on(
    site: Site, tmp_path: Path
) -> None:
    """A token is good for one account by its uid: who was there before is refused for good."""
    token, path = tmp_path / "token", f"/api/v1/namespaces/{site.namespace}/serviceaccounts"
    account(site, "watcher")
    token.write_text(site.server.service_account_token(site.namespace, "watcher"))
    first, second = both(site, a=token, b=token)
    deleted = boot()
    assert site.server.request("DELETE", f"{path}/watcher")[0] == 200
    new_token = site.server.service_account_token(site.namespace, "watcher")  # makes it again
    first.wait_fenced(BUSY)
    assert (
        last_act(first, epoch=1) < deleted + DEADLINE + SLACK + 10.0
    )  # tokens are cached for 10 s
    time.sleep(DURATION + 1)
    assert second.acts() == [], "its token is refused as well"
    token.write_text(new_token)  # as in new pods
    winner = until(lambda: next((pod for pod in (first, second) if pod.acting), None))
    assert start_of(winner, epoch=2) > last_act(first, epoch=1)
    assert site.overlap() <= 0


# clocks: the wall clock of a pod's own processes, never the machine's


def with_clock(site: Site, name: str) -> tuple[Pod, Path]:
    """A pod whose wall clock shows as many seconds more as the file says; not started yet."""
    clock = site.folder / f"{name}.clock"
    clock.write_text("0")
    pod = site.pod(name, *QUICK, program=SHIFTED)
    pod._environment = {
        **pod._environment,
        "DPE_ELECTOR_CHAOS_CLOCK": str(clock),
        "DPE_ELECTOR_CHAOS_PROGRAM": str(ELECTOR),
    }
    return pod, clock


def clocked_pair(site: Site) -> tuple[Pod, Path, Pod, Path]:
    first, first_clock = with_clock(site, "a")
    first.start()
    until(lambda: first.acting)
    second, second_clock = with_clock(site, "b")
    second.start()
    until(lambda: second.role()["role"] == "standby")
    return first, first_clock, second, second_clock


def set_clock(file: Path, seconds: float) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(str(seconds))
    fresh.replace(file)


@pytest.mark.parametrize("ahead", [2, pytest.param(3600, marks=pytest.mark.level2)])
def test_a_clock_that_runs_ahead_is_taken_for_a_pause(site: Site, ahead: float) -> None:
    first, clock, second, _ = clocked_pair(site)
    jumped = boot()
    set_clock(clock, ahead)
    first.wait_fenced(BUSY)
    assert last_act(first, epoch=1) < jumped + SLACK
    assert "the machine was paused, or its clock was set" in first.log.read_text()
    assert start_of(second, epoch=2) > last_act(first, epoch=1)
    # it stands by with its new time, and that is no reason to stop again
    until(lambda: first.role()["role"] == "standby")
    second.terminate()
    start_of(first, epoch=3)
    time.sleep(DURATION + 1)
    until(lambda: first.acting)
    assert [act.epoch for act in first.acts("start")] == [1, 3]
    assert site.overlap() <= 0


def test_a_clock_that_is_set_back_stops_nobody(site: Site) -> None:
    first, clock, second, _ = clocked_pair(site)
    set_clock(clock, -3600)
    time.sleep(DURATION + 2)
    until(lambda: first.acting)
    assert [act.epoch for act in first.acts("start")] == [1]
    assert second.acts() == []


@pytest.mark.parametrize("seconds", [3600, pytest.param(-3600, marks=pytest.mark.level2)])
def test_who_stands_by_takes_nothing_early_because_of_its_clock(site: Site, seconds: float) -> None:
    first, _, second, clock = clocked_pair(site)
    set_clock(clock, seconds)
    time.sleep(DURATION + 1)
    assert second.acts() == [], "the Lease is renewed, whatever a clock says of its age"
    cut = boot()
    site.proxies["a"].cut()
    first.wait_fenced(BUSY)
    started = start_of(second, epoch=2)
    assert last_act(first, epoch=1) < started
    assert started - cut > DURATION - RETRY - 0.1, "it waited for the whole duration"
    assert site.overlap() <= 0


# restored objects


def test_a_lease_restored_under_its_holder_is_no_reason_for_two(site: Site) -> None:
    """From a dump of the time when the pod that stands by now was the holder, by the same process:
    it must not take itself for the holder again."""
    first, second = both(site)
    dump = json.loads(json.dumps(site.client.get(f"{site.leases}/x")))
    assert dump["spec"]["holderIdentity"].startswith("uid-a_")
    first.end_command()
    start_of(second, epoch=2)
    until(lambda: first.role()["role"] == "standby")
    time.sleep(1.5)
    for unique in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
        dump["metadata"].pop(unique, None)
    restored = boot()
    site.server.kubectl("delete", "-n", site.namespace, "lease", "x")
    site.server.kubectl("apply", "-n", site.namespace, "-f", "-", text=json.dumps(dump))
    until(lambda: not second.acting, why="who holds no Lease any more stops")
    winner = until(lambda: next((pod for pod in (first, second) if pod.acts()[-1].epoch > 2), None))
    started = start_of(winner, epoch=3)
    assert started > last_act(second, epoch=2)
    assert started - restored > DURATION - 0.1, "whoever was the holder gets its whole time"
    assert site.lease()["leaseTransitions"] == 3, "higher than any, though the dump says 1"
    assert site.overlap() <= 0
