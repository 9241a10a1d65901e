# SPDX-License-Identifier: Apache-2.0
"""The elector's view of the guard: orders that it sends, and what the guard's status means."""

from collections.abc import Callable
from typing import Protocol

from dpe_elector import clock
from dpe_elector.election import State
from dpe_elector.messages import Order, Phase, Status, Verb, decode_status
from dpe_elector.permit import Permit

# The guard takes an elector that says nothing for 15 s for hung.
_BEAT_SECONDS = 1.0


class Channel(Protocol):
    """What a link needs of a pipe (see messages.Pipe)."""

    read_from: int
    ended: bool

    def send(self, line: bytes) -> None:
        """Write a line if there is room for it."""

    def receive(self) -> list[bytes]:
        """Return the lines that have come."""


class Link:
    """Orders to the guard; what is lost on a full pipe is said again by the next order."""

    def __init__(self, pipe: Channel, boot: Callable[[], float] = clock.boot) -> None:
        """`boot` tells the boot time; the model test gives it a clock of its own."""
        self._pipe = pipe
        self._boot = boot
        self._number = 0
        self._sent_at = float("-inf")
        self._ran_epoch = 0
        self._run_number = 0
        self._kill_number = 0
        self._status: Status | None = None

    @property
    def descriptor(self) -> int:
        """Readable when the guard has said something."""
        return self._pipe.read_from

    @property
    def ended(self) -> bool:
        """Whether the guard is gone."""
        return self._pipe.ended

    @property
    def running(self) -> bool:
        """Whether the command runs, by the last status."""
        return self._status is not None and self._status.phase is Phase.RUNNING

    @property
    def starts(self) -> int:
        """How often the command was started in this container."""
        return 0 if self._status is None else self._status.starts

    def resumed(self, permit: Permit) -> None:
        """Take note of a command that an elector before this one let run."""
        self._ran_epoch = permit.epoch

    def beat(self) -> None:
        """Say: I live."""
        self._send(Verb.BEAT)

    def beat_is_due(self) -> bool:
        """Whether nothing was said for a second."""
        return self._boot() - self._sent_at >= _BEAT_SECONDS

    def run(self, permit: Permit) -> None:
        """Let the command run up to the permit's end; the guard starts it if it does not run
        yet."""
        self._ran_epoch = permit.epoch
        self._run_number = self._send(Verb.RUN, permit)

    def kill(self) -> None:
        """Have the command killed at once; said again every second until it is done."""
        if self._kill_number <= self._run_number or self.beat_is_due():
            number = self._send(Verb.KILL)
            if self._kill_number <= self._run_number:
                self._kill_number = number

    def stop(self) -> None:
        """Hot mode, while the container is stopped: have the command end, the Lease is free."""
        self._send(Verb.STOP)

    def receive(self) -> list[Status]:
        """Return what the guard said since the last time, in order."""
        return [decode_status(line) for line in self._pipe.receive()]

    def command_ended(self, status: Status, state: State) -> bool:
        """Take note of a status, and say whether it is the end of the command that `state` knows.

        Hot mode (`state.running` is never set there): whether the command stopped running.
        """
        before, self._status = self._status, status
        if not state.running:
            return (
                before is not None
                and before.starts > 0
                and before.phase is Phase.RUNNING
                and (status.phase is not Phase.RUNNING or status.starts > before.starts)
            )
        if status.phase is not Phase.NONE:
            return False
        if not state.epoch:
            # lost: what counts is a status that was written after the order to kill
            return self._kill_number > 0 and status.order >= self._kill_number
        if status.epoch >= state.epoch:
            return True
        # a guard that is stopping starts nothing any more
        return status.stopping and status.order >= self._run_number

    def _send(self, verb: Verb, permit: Permit | None = None) -> int:
        self._number += 1
        self._sent_at = self._boot()
        self._pipe.send(Order(self._number, verb, permit).encode())
        return self._number
