# SPDX-License-Identifier: Apache-2.0
"""A balancer that is routed no more, or that cannot know: what becomes of connections over it."""

from __future__ import annotations

import contextlib
import http.client
import time
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Balancer, Site, running_site
from tests.support.balancer_load import load
from tests.support.balancer_parts import until

from dpe_operator.builders.haproxy import Timings, TlsMode

pytestmark = pytest.mark.integration

# no figures are asked for: on a busy machine a check may take its time
CALM = Timings(connect_ms=1000, check_interval_ms=1000, fall=6)
DRAIN = 3
MODES = ["Passthrough", pytest.param("Terminate", marks=pytest.mark.level2)]


def connected(site: Site, balancer: Balancer) -> http.client.HTTPSConnection:
    """A keep-alive connection over this balancer, with one answer so far."""
    connection = http.client.HTTPSConnection(
        "localhost", balancer.port, timeout=10, context=site.pki.client_context()
    )
    ask(connection)
    return connection


def ask(connection: http.client.HTTPSConnection, path: str = "/") -> tuple[str, bool]:
    """Who answers, and whether the answer ends the connection."""
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.read().decode(), answer.will_close


def clients(balancer: Balancer) -> int:
    """Open client connections of its HAProxy."""
    rows = [line.split(",") for line in balancer.ask("show stat -1 1 -1").splitlines() if line]
    scur = rows[0].index("scur")
    return sum(int(row[scur]) for row in rows[1:] if row[0] == "dpe-in")


def move(site: Site, old: Balancer, new: Balancer) -> None:
    """The Lease goes to the other balancer, as the electors would tell it."""
    epoch = int(site.notes()["epoch"])
    old.role(holder=False, epoch=epoch)
    new.role(holder=True, epoch=epoch + 1)
    until(lambda: site.routed() is new, 10, "the other balancer publishes itself")


@pytest.mark.parametrize("mode", MODES)
def test_a_former_holder_drains_and_serves_again_when_it_is_routed_again(
    mode: TlsMode, own_api: ApiServer, tmp_path: Path
) -> None:
    changes = {"drain_seconds": DRAIN, "timings": CALM}
    with running_site(own_api, tmp_path / mode, mode, balancers=2, **changes) as site:
        old, new = site.balancers
        active, standby = site.active(), site.standby()
        with load(site.routed_port, site.pki.client_context()) as users:
            begin = time.monotonic()
            slow = connected(site, old)
            move(site, old, new)
            until(lambda: "sent to another balancer" in old.log.read_text(), 5, "it notices")
            with contextlib.closing(connected(site, old)) as late:
                # whoever comes over it all the same is served, by the recorded member
                assert ask(late) == (active.name, mode == "Terminate")
            with contextlib.closing(slow):
                assert ask(slow) == (active.name, mode == "Terminate")
                until(lambda: clients(old) == 0, DRAIN + 10, "no client is left on it")
            took = time.monotonic() - begin
            time.sleep(0.5)
            drained = users.between(begin)
            print(f"\n{mode:11} former holder empty after {took:.1f} s  {drained}")
            # its own checks do not count: with the active member down it uses no other
            active.kill()
            site.switched(site.count())
            until(lambda: site.active() is standby, 5, "recorded")
            back = time.monotonic()
            active.start()
            move(site, new, old)
            until(lambda: site.routed_port() == old.port, 5, "routed again")
            until(lambda: "clients are sent here" in old.log.read_text(), 5, "it notices")
            with contextlib.closing(connected(site, old)) as again:
                assert ask(again) == (standby.name, False), "connections stay open as before"
            time.sleep(0.3)
            print(f"{mode:11} routed again  {users.between(back)}")
    assert drained.lost == 0
    assert set(drained.answered) == {active.name}
    assert drained.worst <= (1 if mode == "Passthrough" else 0)


def test_a_former_holder_uses_no_member_but_the_recorded_one(
    own_api: ApiServer, tmp_path: Path
) -> None:
    with running_site(own_api, tmp_path / "x", "Terminate", balancers=2, timings=CALM) as site:
        old, new = site.balancers
        active, standby = site.active(), site.standby()
        move(site, old, new)
        until(lambda: "sent to another balancer" in old.log.read_text(), 5, "it notices")
        # nobody decides while the routed balancer is gone; HAProxy alone would use the backup
        new.kill()
        active.kill()
        time.sleep(1.5)
        answers = set()
        for _ in range(20):
            connection = http.client.HTTPSConnection(
                "localhost", old.port, timeout=10, context=site.pki.client_context()
            )
            with contextlib.closing(connection):
                connection.request("GET", "/")
                answers.add(connection.getresponse().status)
        assert answers == {503}
        # it becomes the holder: now it decides, and switches at once
        old.role(holder=True, epoch=9)
        assert site.switched(0, 10)["to"] == standby.name
        with contextlib.closing(connected(site, old)) as connection:
            assert ask(connection)[0] == standby.name


def _used_again(quiet: http.client.HTTPSConnection, mode: TlsMode) -> None:
    """An open connection of the time before: cut, or ended with its next answer."""
    if mode == "Terminate":
        assert ask(quiet)[1], "the answer ends the connection"
        return
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(quiet)


@pytest.mark.parametrize("mode", MODES)
def test_a_holder_that_cannot_know_has_clients_connect_anew_and_goes_on(
    mode: TlsMode, own_api: ApiServer, tmp_path: Path
) -> None:
    with running_site(own_api, tmp_path / mode, mode, timings=CALM, drain_seconds=DRAIN) as site:
        balancer = site.balancers[0]
        with load(site.routed_port, site.pki.client_context()) as users:
            quiet = connected(site, balancer)
            begin = time.monotonic()
            with own_api.pause():
                balancer.role(holder=True, epoch=1, seconds=0.5)
                until(lambda: "API server is not reached" in balancer.log.read_text(), 10, "unsure")
                time.sleep(0.5)
                with contextlib.closing(quiet):
                    _used_again(quiet, mode)
                time.sleep(DRAIN + 1)
                away = users.between(begin)
                print(f"\n{mode:11} API server away for longer than the deadline  {away}")
            balancer.role(holder=True, epoch=1)
            until(lambda: "clients are sent here" in balancer.log.read_text(), 10, "sure again")
            with contextlib.closing(connected(site, balancer)) as connection:
                assert not ask(connection)[1]
    assert away.lost == 0
    assert away.worst <= (1 if mode == "Passthrough" else 0)
