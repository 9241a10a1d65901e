# SPDX-License-Identifier: Apache-2.0
"""The routed balancer is lost, hangs, or wakes up late: whole pods, nothing played but kube-proxy.

A Lease is broken early only when its holder has been seen for 30 s, so each of these tests begins
with that wait.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Site
from tests.support.balancer_load import load
from tests.support.balancer_parts import until
from tests.support.balancer_pods import BalancerPod, running_pods

from dpe_elector.timings import EARLY_PAUSE
from dpe_operator.builders.haproxy import Timings, TlsMode

pytestmark = [pytest.mark.integration, pytest.mark.level2]

# no figures are asked for: on a busy machine a TLS handshake of a check may take its time
CALM = Timings(connect_ms=1000, check_interval_ms=1000, fall=6)


@pytest.fixture(scope="module", params=["Passthrough", "Terminate"])
def site(
    request: pytest.FixtureRequest, api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    mode: TlsMode = request.param
    folder = tmp_path_factory.mktemp(mode)
    with running_pods(api_server, folder, mode, timings=CALM, drain_seconds=4) as made:
        yield made


def pair(site: Site) -> tuple[BalancerPod, BalancerPod]:
    """The routed pod and the other one, long after the last change."""
    site.settle()
    routed = site.routed()
    other = next(pod for pod in site.balancers if pod is not routed)
    assert isinstance(routed, BalancerPod) and isinstance(other, BalancerPod)
    # whatever the test before left behind
    for pod in (routed, other):
        pod.thaw()
    until(other.ready, 20, "the standby is ready")
    time.sleep(EARLY_PAUSE + 2)
    return routed, other


def epoch(site: Site) -> int:
    return int(site.notes()["epoch"])


def test_a_lost_balancer_is_replaced_early_and_changes_nothing_when_it_wakes_up(site: Site) -> None:
    old, new = pair(site)
    early = new.early()
    count, before = site.count(), epoch(site)
    active, standby = site.active(), site.standby()
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        old.freeze()
        until(lambda: site.routed() is new, 30, "the other balancer publishes itself")
        took = time.monotonic() - begin
        assert new.early() == early + 1, "not only when it had run out"
        assert site.active() is active and site.count() == count
        time.sleep(1)
        # connections to the frozen one time out in the clients after 5 s
        lost = clients.between(begin)
        site.annotate(switch_request=f"{standby.name}@{count}")
        site.switched(count)
        time.sleep(60)
        awake = time.monotonic()
        recorded = site.slice()["metadata"]["annotations"]
        old.thaw()
        time.sleep(1.5)
        calm = time.monotonic()
        time.sleep(3)
        after = clients.after(calm)
        print(f"\n{site.mode:11} lost: routed after {took:.2f} s  {lost}")
        print(f"{site.mode:11} woken: {clients.after(awake)}; later {after}")
    assert set(after.answered) == {standby.name}, "nothing more reaches the old member"
    assert after.failed == 0
    assert site.routed() is new
    assert epoch(site) == before + 1
    now = site.slice()["metadata"]["annotations"]
    assert {k: v for k, v in now.items() if "states" not in k} == {
        k: v for k, v in recorded.items() if "states" not in k
    }


def test_one_sign_alone_moves_nothing(site: Site) -> None:
    old, new = pair(site)
    before = epoch(site)
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        # nobody answers the standby's questions, the Lease is renewed
        old.asked.cut()
        until((new.run / "peer.json").exists, 10, "the standby hears nothing")
        time.sleep(8)
        old.asked.heal()
        until(lambda: not (new.run / "peer.json").exists(), 10, "it hears the other again")
        # the Lease is not renewed, all questions are answered
        old.to_api.cut()
        time.sleep(4)
        old.to_api.heal()
        time.sleep(4)
        figures = clients.between(begin)
        print(f"\n{site.mode:11} one sign at a time  {figures}")
    assert epoch(site) == before
    assert site.routed() is old
    assert figures.failed == 0


def test_balancer_and_active_member_lost_at_once(site: Site) -> None:
    old, new = pair(site)
    early = new.early()
    count, active = site.count(), site.active()
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        old.freeze()
        active.freeze()
        switch = site.switched(count, 30)
        took = time.monotonic() - begin
        assert new.early() == early + 1
        name = site.active().name
        # clients that wait for the frozen ones give up after 5 s
        until(lambda: clients.between(begin).answered[name] > 0, 20, "the other one serves")
        figures = clients.between(begin)
        print(f"\n{site.mode:11} both lost: switched after {took:.2f} s  {figures}")
        active.thaw()
        old.thaw()
    assert (switch["from"], switch["cause"]) == (active.name, "MemberDown")
    assert site.routed() is new
