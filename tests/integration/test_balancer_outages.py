# SPDX-License-Identifier: Apache-2.0
"""What counts as a switch and what does not: both members out together, fail-back, flapping, gaps.

Real HAProxy, real members, record in a real API server.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Site, running_site
from tests.support.balancer_load import load
from tests.support.balancer_parts import until

from dpe_balancer.switching import RUSH_SECONDS
from dpe_operator.builders.haproxy import HealthCheck, Timings, TlsMode

pytestmark = pytest.mark.integration

# No figures are asked for here: on a busy machine a TLS handshake of a check may take its time
# (the smaller of connectTimeout and checkInterval), or a member counts as down that is only slow.
CALM = Timings(connect_ms=2000, check_interval_ms=2000)
PATIENT = HealthCheck("/status", body_contains="all is ok", timeout_ms=2500)


@pytest.fixture(scope="module", params=["Passthrough", "Terminate"])
def site(
    request: pytest.FixtureRequest, api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """One balancer that never fails back, for each TLS mode."""
    mode: TlsMode = request.param
    folder = tmp_path_factory.mktemp(mode)
    with running_site(api_server, folder, mode, timings=CALM, health=PATIENT) as made:
        yield made


def states(site: Site) -> dict[str, str]:
    found: dict[str, str] = json.loads(site.notes()["member-states"])
    return found


def entry(site: Site) -> str:
    """The member that HAProxy sends requests to."""
    table = site.balancers[0].ask("show table dpe")
    said = next(word for word in table.split() if word.startswith("server_id="))
    return {"server_id=1": "a", "server_id=2": "b"}[said]


def test_both_pages_broken_for_a_while_is_no_switch(site: Site) -> None:
    site.settle()
    count, active, other = site.count(), site.active(), site.standby()
    with load(site.routed_port, site.pki.client_context()) as clients:
        for member in site.members.values():
            member.sicken()
        until(lambda: set(states(site).values()) == {"DOWN"}, 10, "both are down")
        time.sleep(3)
        assert entry(site) == active.name
        broken = time.monotonic()
        time.sleep(0.5)
        assert not clients.after(broken).answered, "nobody may serve"
        # the standby is back first: it has to wait for the recorded member
        other.heal()
        time.sleep(0.7)
        active.heal()
        back = time.monotonic()
        until(lambda: set(states(site).values()) == {"UP"}, 10, "both are up")
        until(lambda: clients.after(back).answered, 5, "clients are served again")
        time.sleep(0.5)
        after = clients.after(back)
    assert set(after.answered) == {active.name}
    assert (site.count(), site.active(), entry(site)) == (count, active, active.name)


@pytest.mark.level2
def test_both_frozen_for_twenty_seconds_is_no_switch(site: Site) -> None:
    site.settle()
    count, active = site.count(), site.active()
    with load(site.routed_port, site.pki.client_context()) as clients:
        for member in site.members.values():
            member.freeze()
        time.sleep(20)
        assert set(states(site).values()) == {"DOWN"}
        for member in site.members.values():
            member.thaw()
        until(lambda: set(states(site).values()) == {"UP"}, 10, "both are up")
        back = time.monotonic()
        time.sleep(1.5)
        after = clients.after(back)
    assert set(after.answered) == {active.name}
    assert (site.count(), site.active()) == (count, active)


@pytest.mark.level2
def test_after_the_head_start_whoever_is_up_serves(site: Site) -> None:
    site.settle()
    count, active, other = site.count(), site.active(), site.standby()
    for member in site.members.values():
        member.sicken()
    until(lambda: set(states(site).values()) == {"DOWN"}, 10, "both are down")
    other.heal()
    switch = site.switched(count, 15)
    assert (switch["from"], switch["to"]) == (active.name, other.name)


def test_the_gap_that_clients_had_is_recorded(site: Site) -> None:
    site.settle()
    time.sleep(RUSH_SECONDS)  # the tests before were outages of both
    count, old = site.count(), site.active()
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        old.kill()
        site.switched(count, 20)
        switch = until(
            lambda: found if "gapMs" in (found := site.switched(count, 20)) else None, 5, "gap"
        )
        seen = clients.between(begin)
        told = site.balancers[0].metrics()
        site.settle()
        count = site.count()
        site.annotate(switch_request=f"{old.name}@{count}")
        planned = until(
            lambda: found if "gapMs" in (found := site.switched(count, 20)) else None, 5, "gap"
        )
        site.annotate(switch_request=None)
    print(
        f"\n{site.mode:11} killed: clients {seen.gap * 1000:.0f} ms, recorded {switch['gapMs']} ms;"
        f" planned switch: recorded {planned['gapMs']} ms"
    )
    assert 0 < switch["gapMs"] < 5000
    assert f"dpe_balancer_last_gap_seconds {switch['gapMs'] / 1000:.15g}\n" in told
    since = datetime.datetime.fromisoformat(switch["at"]).timestamp()
    assert f"dpe_balancer_active_since_timestamp_seconds {since:.15g}\n" in told
    labels = f'{{from="{old.name}",to="{switch["to"]}",cause="MemberDown"}}'
    assert f"dpe_balancer_last_switch_info{labels} 1\n" in told
    assert 0 <= planned["gapMs"] < 5000
    assert planned["cause"] == "Requested"


@pytest.mark.level2
def test_an_idle_site_has_no_gap_to_tell(site: Site) -> None:
    site.settle()
    time.sleep(2)
    count = site.count()
    site.active().kill()
    site.switched(count, 20)
    time.sleep(1)
    assert "gapMs" not in json.loads(site.notes()["last-switch"])


def test_automatic_brings_the_first_member_back(api_server: ApiServer, tmp_path: Path) -> None:
    agent = {"failback_seconds": 3.0}
    with running_site(
        api_server, tmp_path, "Terminate", agent=agent, timings=CALM, health=PATIENT
    ) as site:
        site.settle()
        assert site.active().name == "a"
        site.members["a"].kill()
        assert site.switched(0)["cause"] == "MemberDown"
        site.members["a"].start()
        with load(site.routed_port, site.pki.client_context()) as clients:
            begin = time.monotonic()
            switch = site.switched(1, 20)
            time.sleep(0.5)
            figures = clients.between(begin)
        assert (switch["from"], switch["to"], switch["cause"]) == ("b", "a", "Failback")
        assert figures.failed == 0
        # what somebody asked for is left alone
        site.annotate(switch_request="b@2")
        assert site.switched(2)["cause"] == "Requested"
        time.sleep(5)
        assert (site.count(), site.active().name) == (3, "b")


@pytest.mark.level2
def test_two_half_dead_members_do_not_play_ping_pong(api_server: ApiServer, tmp_path: Path) -> None:
    agent = {"flap_switches": 1, "flap_seconds": 3600.0}
    with running_site(
        api_server, tmp_path, "None", agent=agent, timings=CALM, health=PATIENT
    ) as site:
        site.settle()
        a, b = site.members["a"], site.members["b"]
        for count, failing in enumerate((a, b)):
            site.settle()
            failing.sicken()
            site.switched(count, 20)
        assert len(json.loads(site.notes()["unplanned-switches"])) == 2
        # flapping now, a is active; b is up, but only for a moment
        b.heal()
        until(lambda: states(site)["b"] == "UP", 8, "b is up")
        a.sicken()
        until(lambda: states(site)["a"] == "DOWN", 8, "a is down")
        time.sleep(2)
        assert (site.count(), entry(site)) == (2, "a")
        assert "dpe_balancer_flapping 1" in site.balancers[0].metrics()
        with load(site.routed_port, None, wait=False) as clients:
            time.sleep(0.5)
            assert not clients.between(0).answered, "HAProxy must not fall back by itself"
        # b has proved steady, or a was down for long enough
        assert site.switched(2, 20)["to"] == "b"
