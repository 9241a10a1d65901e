# SPDX-License-Identifier: Apache-2.0
"""What the elector's process makes of the guard's words, without a guard and an API server."""

from typing import Any

import pytest
from tests.unit.elector.elector_story import Story, seen

from dpe_elector import clock
from dpe_elector.election import observe
from dpe_elector.link import Link
from dpe_elector.log import Log
from dpe_elector.messages import Order, Phase, Status, decode_order
from dpe_elector.node import Elector
from dpe_elector.permit import Permit
from dpe_elector.settings import parse
from dpe_elector.steps import Able, CommandEnded, Found, Nothing, Wait, Write


class Guarded:
    """An elector, and the pipe by which the guard speaks to it."""

    read_from = -1
    ended = False

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *flags: str) -> None:
        monkeypatch.setenv("DPE_API_SERVER", "https://127.0.0.1:1")
        settings = parse(["--lease", "x", "--namespace", "n", *flags, "--", "/bin/true"], {})
        self._lines: list[bytes] = []
        self.orders: list[Order] = []
        self.elector = Elector(settings, Link(self), Log("elector"))

    def send(self, line: bytes) -> None:
        self.orders.append(decode_order(line))

    def receive(self) -> list[bytes]:
        lines, self._lines = self._lines, []
        return lines

    def says(self, *statuses: Status) -> None:
        """Let the elector hear these at once, and its election all that it makes of them."""
        self._lines = [status.encode().rstrip(b"\n") for status in statuses]
        elector: Any = self.elector
        elector._listen()
        while elector._queue:
            observation, now = elector._queue.popleft(), clock.boot()
            elector._state, _ = observe(elector._rules, elector._state, observation, now)


def test_a_command_that_was_restarted_during_one_call_is_able_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its end and its new start are heard at once: it ran before, and it runs now."""
    guard = Guarded(monkeypatch, "--mode", "hot")
    guard.says(Status(0, Phase.RUNNING, 0, 1, False))
    assert guard.elector._state.able
    guard.says(
        Status(0, Phase.CLEARING, 0, 1, False),
        Status(0, Phase.NONE, 0, 1, False),
        Status(0, Phase.RUNNING, 0, 2, False),
    )
    assert not guard.elector._state.able, "the role is given back for the end"
    guard.says()
    assert guard.elector._state.able


def test_an_elector_over_a_running_command_goes_on_from_its_epoch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Lease was made anew meanwhile, with lower epochs: the guard starts none of those."""
    guard = Guarded(monkeypatch)
    guard.elector.resume(Permit(7, clock.boot() + 10, clock.wall_offset()))
    story = Story()
    story.rules, story.state = guard.elector._rules, guard.elector._state
    story.at(0, Nothing())
    made_anew = seen("", uid="new", epoch=0, written_by=("", 0))
    assert isinstance(story.at(0, Found(made_anew)), Wait)
    story.at(1, Able(True))
    story.at(1, CommandEnded())
    write = story.at(20, Found(made_anew))
    assert isinstance(write, Write) and write.epoch == 8
