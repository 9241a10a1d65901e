# SPDX-License-Identifier: Apache-2.0
"""The watchdog ends a blind or stuck operator, and lets one be that only waits for others."""

import asyncio
from typing import Any

import pytest
from tests.support.fake_client import FakeClient
from tests.support.planning_world import cluster

from dpe_operator.kube.errors import ApiError, Forbidden, NotFound
from dpe_operator.planning.objects import Ref
from dpe_operator.runtime import watchdog
from dpe_operator.runtime.canary import PATIENCE_SECONDS, Canary
from dpe_operator.runtime.health import STUCK_SECONDS, Health, Unwell
from dpe_operator.runtime.watchdog import watch_over

RADIO = Ref("DpeCluster", "studio", "radio")
HOURS = 3600.0


class World:
    """A watchdog in time that passes only while it sleeps; `plan` says what happens when."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.began = 0.0
        self.frozen: dict[float, float] = {}
        self.client = FakeClient({**cluster(), "metadata": meta("u")})
        self.client.objects[RADIO]["metadata"]["resourceVersion"] = "9"
        self.health = Health(Canary(clock=self.clock), clock=self.clock)
        self.plan: dict[float, Any] = {}
        monkeypatch.setattr(asyncio, "sleep", self.sleep)

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds + self.frozen.pop(self.now, 0.0)
        for at in [at for at in self.plan if at <= self.now]:
            self.plan.pop(at)()
        if self.now > 2 * HOURS:
            raise TimeoutError

    async def ends(self) -> str | None:
        """Return why the watchdog ends the process, None: not within two hours."""
        try:
            await watch_over(self.health, self.client, clock=self.clock)
        except Unwell as error:
            return str(error)
        except TimeoutError:
            return None
        raise AssertionError

    def reads(self) -> None:
        self.health.canary.read(RADIO, "u", "9")

    def comes(self) -> None:
        self.health.canary.streamed("u", "9")

    def refuses(self, error: ApiError | None) -> None:
        if error is None:
            self.client.fail.clear()
        else:
            self.client.fail["get", "DpeCluster"] = error


def meta(uid: str) -> dict[str, Any]:
    return {"name": "radio", "namespace": "studio", "uid": uid}


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


async def test_a_well_operator_is_left_alone(world: World) -> None:
    world.plan = {100: world.reads, 140: world.comes}
    world.health.begin(1)
    world.plan[500] = lambda: world.health.end(1)
    assert await world.ends() is None
    assert len(world.client.calls) <= 4, "the API server is asked only while something is awaited"


async def test_a_blind_operator_is_ended(world: World) -> None:
    world.reads()
    assert "watch streams are silent" in str(await world.ends())
    assert PATIENCE_SECONDS <= world.now < PATIENCE_SECONDS + 2 * watchdog.LOOK_SECONDS


async def test_a_stuck_reconcile_ends_it(world: World) -> None:
    world.health.begin(1)
    assert "a reconcile has been running for 61" in str(await world.ends())
    assert world.now < STUCK_SECONDS + 2 * watchdog.LOOK_SECONDS


async def test_an_api_server_that_is_away_is_waited_for(world: World) -> None:
    world.reads()
    world.refuses(ApiError(503, "ServiceUnavailable", "starting"))
    back = HOURS
    world.plan = {back: lambda: world.refuses(None), back + 100: world.comes}
    assert await world.ends() is None


async def test_streams_that_stay_silent_after_an_outage_are_a_problem(world: World) -> None:
    world.reads()
    world.refuses(ApiError(503, "ServiceUnavailable", "starting"))
    world.plan = {HOURS: lambda: world.refuses(None)}
    assert await world.ends() is not None
    assert HOURS + PATIENCE_SECONDS - watchdog.LOOK_SECONDS <= world.now < HOURS + 200


@pytest.mark.parametrize("error", [NotFound, Forbidden])
async def test_what_is_gone_or_may_not_be_read_is_not_awaited(
    world: World, error: type[ApiError]
) -> None:
    world.reads()
    world.refuses(error(404, "x", "x"))
    assert await world.ends() is None
    assert world.health.canary.silent_for() == 0


async def test_a_successor_of_the_same_name_is_another_object(world: World) -> None:
    world.client.objects[RADIO]["metadata"]["uid"] = "another"
    world.reads()
    assert await world.ends() is None


async def test_a_process_that_stood_still_gets_its_time_again(world: World) -> None:
    """The streams may be dead after it, and are made anew; a reconcile's requests run out."""
    world.reads()
    world.health.begin(1)
    world.frozen = {20: HOURS}
    world.plan = {HOURS + 100: world.comes, HOURS + 200: lambda: world.health.end(1)}
    assert await world.ends() is None
