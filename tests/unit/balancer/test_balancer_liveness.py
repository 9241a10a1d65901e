# SPDX-License-Identifier: Apache-2.0
"""When HAProxy counts as hung, and when it is only full."""

from __future__ import annotations

import logging

import pytest

from dpe_balancer import liveness
from dpe_balancer.liveness import Liveness


class World:
    """A HAProxy at a moment: whether it accepts the agent's question, and how often it was asked."""

    def __init__(self) -> None:
        self.now = 100.0
        self.accepts = True
        self.asked = 0

    def ask(self, _address: str, _port: int) -> bool:
        self.asked += 1
        if not self.accepts:
            self.now += 1.0  # the question's time is up
        return self.accepts

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    made = World()
    monkeypatch.setattr(liveness, "accepts", made.ask)
    monkeypatch.setattr(liveness, "time", made)
    return made


def play(world: World, alive: Liveness, seconds: float, *, full: bool = False) -> bool:
    """Look ten times a second, as the agent does; returns whether HAProxy counted as hung."""
    end = world.now + seconds
    while world.now < end:
        world.now += 0.1
        alive.tick(world.now)
        alive.answered(full=full)
        alive.probe(world.now)
        if alive.hangs(listens=True):
            return True
    return False


def started(world: World) -> Liveness:
    alive = Liveness("127.0.0.1", 1)
    alive.tick(world.now)
    alive.started(world.now)
    return alive


def test_a_port_that_accepts_nothing_is_a_hang(world: World) -> None:
    alive = started(world)
    assert not play(world, alive, 10)
    world.accepts = False
    begin = world.now
    assert play(world, alive, 10)
    assert world.now - begin < 5
    assert not alive.hangs(listens=False), "it answers on its socket"


def test_a_full_haproxy_does_not_hang_and_is_not_asked(world: World) -> None:
    """A question would stay in the queue before clients, and hold the agent up for a second."""
    alive = started(world)
    assert not play(world, alive, 1)
    world.accepts = False
    asked = world.asked
    assert not play(world, alive, 600, full=True)
    assert world.asked == asked
    assert play(world, alive, 10, full=False), "there is room, and still it accepts nothing"


def test_it_is_told_once_that_it_is_full(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    alive = started(world)
    for _ in range(20):
        play(world, alive, 1, full=True)
        assert alive.full
        play(world, alive, 1, full=False)
        assert alive.full
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    play(world, alive, 15)
    assert not alive.full
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_a_machine_that_was_paused_is_no_hang(world: World) -> None:
    alive = started(world)
    assert not play(world, alive, 1)
    world.now += 60
    alive.tick(world.now)
    assert not alive.hangs(listens=True)
