# SPDX-License-Identifier: Apache-2.0
"""Promise: a move that turns out to be an outage of both servers is taken back, and the log says so.

The chaos run judges by these logs (tests/chaos/moves.py), so it is tried here on real ones.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.chaos.moves import TAKEN_BACK, Said, said
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Balancer, running_site
from tests.support.balancer_parts import until
from tests.support.balancer_scenes import PATIENT_CONNECT_MS, wait_state

from dpe_operator.builders.haproxy import HealthCheck, Timings

pytestmark = pytest.mark.integration

# A frozen server is given up after twice the health page's time: long enough to kill the other one
# in between, and to have that seen, on a busy machine too.
FROZEN_MS = 2000


def read(balancer: Balancer) -> Said:
    with balancer.log.open(encoding="utf-8", errors="replace") as lines:
        return said(balancer.name, lines)


def test_moves_without_a_record_stand_in_the_balancers_log(
    api_server: ApiServer, tmp_path: Path
) -> None:
    health = HealthCheck("/status", body_contains="all is ok", timeout_ms=FROZEN_MS)
    timings = Timings(PATIENT_CONNECT_MS, fall=2, connect_ms=PATIENT_CONNECT_MS)
    with running_site(api_server, tmp_path, "None", health=health, timings=timings) as site:
        site.settle()
        balancer = site.routed()
        assert balancer is not None
        active, standby = site.active(), site.standby()
        count = site.count()
        # the stand-in fails already, but is not given up yet
        standby.freeze()
        active.kill()
        until(lambda: read(balancer).moves, 20, "a move that is taken back")
        (move,) = read(balancer).moves
        assert (move.source, move.target, move.how) == (active.name, standby.name, TAKEN_BACK)
        active.start()
        wait_state(site, active, "UP")
        standby.thaw()
        wait_state(site, standby, "UP")
        assert (site.active(), site.count()) == (active, count), "no switch"

        # one that counts is in the record, and so no move of that kind
        active.kill()
        site.switched(count, seconds=20)
        until(lambda: read(balancer).recorded[-1].member == standby.name, 10, "its word of that")
        assert len(read(balancer).moves) == 1


def test_a_switch_that_was_not_recorded_outlives_the_agent(
    api_server: ApiServer, tmp_path: Path
) -> None:
    with running_site(
        api_server, tmp_path, "None", timings=Timings(connect_ms=PATIENT_CONNECT_MS)
    ) as site:
        site.settle()
        balancer = site.routed()
        assert balancer is not None
        active, standby, count = site.active(), site.standby(), site.count()
        # routed, and so it decides; but without the Lease it may not write
        balancer.role(holder=False, epoch=1)
        active.kill()
        told = f"active member: {standby.name}, before: {active.name}"
        until(lambda: told in balancer.log.read_text(errors="replace"), 20, "the switch")
        active.start()
        balancer.kill()
        assert (site.active(), site.count()) == (active, count), "nobody has recorded it"
        balancer.start()
        until(balancer.ready, 20, "it serves again")
        number = {"a": 1, "b": 2}[standby.name]
        assert f"server_id={number} " in balancer.ask("show table dpe"), "not the recorded one"
        balancer.role(holder=True, epoch=2)
        site.switched(count, seconds=20)
        assert site.active() is standby
