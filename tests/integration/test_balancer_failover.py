# SPDX-License-Identifier: Apache-2.0
"""Fail-over as clients see it: nine of them with keep-alive over TLS, one slow, real HAProxy.

Each scenario begins with both members up and breaks something; the figures are printed. The limits
are those of the design with room for a busy test machine.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Balancer, Site, running_site
from tests.support.balancer_load import Figures, load
from tests.support.balancer_parts import until

from dpe_operator.builders.haproxy import TlsMode

pytestmark = pytest.mark.integration

# A request that was under way when its member died cannot be saved by anybody but the client.
CLIENTS = 9


@pytest.fixture(scope="module", params=["Passthrough", "Terminate"])
def site(
    request: pytest.FixtureRequest, api_server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    """Two members and two balancers, shared by the scenarios of one TLS mode."""
    mode: TlsMode = request.param
    folder = tmp_path_factory.mktemp(mode)
    with running_site(api_server, folder, mode, balancers=2) as made:
        yield made


@pytest.fixture
def settled(site: Site) -> Site:
    """The site with both members up."""
    site.settle()
    return site


def report(site: Site, what: str, figures: Figures) -> None:
    print(f"\n{site.mode:11} {what:34} {figures}")


def routed(site: Site) -> Balancer:
    found = site.routed()
    assert found is not None
    return found


def sessions(balancer: Balancer, member: str) -> int:
    """Open sessions of a member in a balancer's HAProxy."""
    rows = [line.split(",") for line in balancer.ask("show stat -1 4 -1").splitlines() if line]
    scur = rows[0].index("scur")
    return sum(int(row[scur] or 0) for row in rows[1:] if row[1] == member)


def test_killed_member_is_replaced_and_stays_out(settled: Site) -> None:
    site, count = settled, settled.count()
    old, new = site.active(), site.standby()
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        old.kill()
        switch = site.switched(count)
        time.sleep(0.7)
        down = clients.between(begin)
        report(site, "active killed", down)
        old.start()
        back = time.monotonic()
        until(lambda: json.loads(site.notes()["member-states"])[old.name] == "UP", 8, "back up")
        time.sleep(0.7)
        after = clients.after(back)
        report(site, "recovered member back", after)
    assert (switch["from"], switch["to"], switch["cause"]) == (old.name, new.name, "MemberDown")
    assert down.gap < 1.5
    assert down.worst <= 3
    assert after.answered[old.name] == 0
    assert after.failed == 0
    assert site.count() == count + 1


def test_hanging_member_is_replaced_and_stays_out(settled: Site) -> None:
    site, count = settled, settled.count()
    old, new = site.active(), site.standby()
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        old.freeze()
        assert site.switched(count)["cause"] == "MemberDown"
        time.sleep(0.7)
        hang = clients.between(begin)
        report(site, "active hangs", hang)
        old.thaw()
        back = time.monotonic()
        until(lambda: json.loads(site.notes()["member-states"])[old.name] == "UP", 8, "back up")
        time.sleep(0.5)
        after = clients.after(back)
        report(site, "thawed member back", after)
    assert hang.gap < 4
    assert hang.worst <= 1
    assert after.answered[old.name] == 0
    assert after.answered[new.name] > 0


def test_hanging_standby_changes_nothing(settled: Site) -> None:
    site, count = settled, settled.count()
    active, standby = site.active(), site.standby()
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        standby.freeze()
        until(lambda: json.loads(site.notes()["member-states"])[standby.name] == "DOWN", 8, "down")
        time.sleep(0.5)
        standby.thaw()
        figures = clients.between(begin)
        report(site, "standby hangs", figures)
    assert figures.failed == 0
    assert set(figures.answered) == {active.name}
    assert site.count() == count


def test_planned_switch(settled: Site) -> None:
    site, count = settled, settled.count()
    old, new = site.active(), site.standby()
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        site.annotate(switch_request=f"{new.name}@{count}")
        switch = site.switched(count)
        done = time.monotonic()
        time.sleep(1)
        figures = clients.between(begin)
        after = clients.after(done)
        report(site, "planned switch", figures)
        assert sessions(routed(site), old.name) == 0
    assert (switch["to"], switch["cause"]) == (new.name, "Requested")
    assert after.answered[old.name] == 0
    assert figures.lost == 0
    if site.mode == "Terminate":
        assert figures.failed == 0
    else:
        assert figures.worst <= 1


def test_stale_request_is_ignored(settled: Site) -> None:
    site, count = settled, settled.count()
    site.annotate(switch_request=f"{site.standby().name}@{count + 7}")
    time.sleep(0.5)
    assert site.count() == count
    site.annotate(switch_request=None)


def test_terminating_member_is_left_while_it_still_serves(settled: Site) -> None:
    site, count = settled, settled.count()
    old = site.active()
    leaving = {
        "addresses": ["10.2.0.1"],
        "conditions": {"ready": False, "serving": True, "terminating": True},
    }
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        site.post_slice(f"member-{old.name}-x1", f"radio-member-{old.name}", [leaving])
        switch = site.switched(count)
        time.sleep(0.8)
        figures = clients.between(begin)
        report(site, "active terminates", figures)
    site.delete_slice(f"member-{old.name}-x1")
    assert (switch["from"], switch["cause"]) == (old.name, "Terminating")
    assert figures.lost == 0
    if site.mode == "Terminate":
        assert figures.failed == 0


def test_killed_haproxy_is_back_with_the_same_member(settled: Site) -> None:
    # the second member is the hard case: an HAProxy that knows nothing would take the first
    site, count = settled, settled.count()
    if site.active().name == "a":
        site.annotate(switch_request=f"b@{count}")
        site.switched(count)
        count += 1
    active = site.active()
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        os.kill(routed(site).haproxy_pid(), signal.SIGKILL)
        time.sleep(1.3)
        figures = clients.between(begin)
        report(site, "HAProxy killed", figures)
    assert set(figures.answered) == {active.name}
    assert figures.worst <= 1
    assert figures.lost == 0
    assert figures.gap < 1
    assert site.count() == count


def test_take_over_never_moves_the_active_member(settled: Site) -> None:
    site, count = settled, settled.count()
    if site.active().name == "a":
        site.annotate(switch_request=f"b@{count}")
        site.switched(count)
        count += 1
    active, old = site.active(), routed(site)
    new = next(balancer for balancer in site.balancers if balancer is not old)
    epoch = int(site.notes()["epoch"])
    with load(site.routed_port, site.pki.client_context()) as clients:
        begin = time.monotonic()
        old.role(holder=False, epoch=epoch)
        new.role(holder=True, epoch=epoch + 1)
        until(lambda: site.routed() is new, 5, "the other balancer publishes itself")
        took = time.monotonic() - begin
        time.sleep(0.5)
        # clients that the old balancer still has follow the record as well
        switch_to = site.standby()
        site.annotate(switch_request=f"{switch_to.name}@{count}")
        before = clients.between(begin)
        site.switched(count)
        time.sleep(0.8)
        moved = time.monotonic()
        time.sleep(0.5)
        after = clients.after(moved)
        report(site, f"take-over after {took:.2f} s", before)
        report(site, "both balancers follow the switch", after)
    assert set(before.answered) == {active.name}
    assert before.failed == 0
    assert set(after.answered) == {switch_to.name}
    assert after.failed == 0
    assert site.notes()["epoch"] == str(epoch + 1)


def test_idle_site_switches_too(settled: Site) -> None:
    site, count = settled, settled.count()
    old = site.active()
    begin = time.monotonic()
    old.kill()
    switch = site.switched(count)
    print(f"\n{site.mode:11} idle, recorded after {time.monotonic() - begin:.2f} s")
    assert switch["from"] == old.name
    assert time.monotonic() - begin < 3
