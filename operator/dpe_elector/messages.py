# SPDX-License-Identifier: Apache-2.0
"""What guard and elector tell each other over their two pipes: short lines, never blocking.

Both sides repeat what holds instead of reporting what changed, so a line that finds a full pipe may
be lost. The guard's status carries the number of the last order it has read, so the elector knows
whether a status was written before or after an order.
"""

import contextlib
import os
from dataclasses import dataclass
from enum import StrEnum

from dpe_elector.permit import Permit


class Phase(StrEnum):
    """What the guard knows of the command."""

    NONE = "none"  # not started, or ended with nothing of it left
    RUNNING = "running"
    STOPPING = "stopping"  # asked to end
    CLEARING = "clearing"  # being killed, or killing what it left behind


class Verb(StrEnum):
    """What the elector orders."""

    BEAT = "beat"  # I live
    RUN = "run"  # the command may run: start it, or let it go on
    KILL = "kill"  # the Lease is lost: kill it now
    STOP = "stop"  # hot mode: the Lease is given back, stop the command


@dataclass(frozen=True)
class Order:
    """A line from the elector; `number` counts them, only RUN has a permit."""

    number: int
    verb: Verb
    permit: Permit | None = None

    def encode(self) -> bytes:
        """Return the line."""
        words = [str(self.number), self.verb.value]
        if self.permit is not None:
            words += [str(self.permit.epoch), repr(self.permit.until), repr(self.permit.offset)]
        return " ".join(words).encode() + b"\n"


@dataclass(frozen=True)
class Status:
    """A line from the guard.

    `order` is the number of the last order read, `epoch` that of the last start (0: none yet, or
    hot mode), `starts` counts the starts, `stopping` says that the container is being stopped,
    `code` is the exit status with which the command last ended, as a shell reports it.
    """

    order: int
    phase: Phase
    epoch: int
    starts: int
    stopping: bool
    code: int = 0

    def encode(self) -> bytes:
        """Return the line."""
        return (
            f"{self.order} {self.phase.value} {self.epoch} {self.starts} {int(self.stopping)} "
            f"{self.code}\n"
        ).encode()


def decode_order(line: bytes) -> Order:
    """Read a line of the elector; raises ValueError if it is none."""
    words = line.decode().split()
    permit = None
    if len(words) == 5:
        permit = Permit(int(words[2]), float(words[3]), float(words[4]))
    elif len(words) != 2:
        raise ValueError(f"not an order: {line!r}")
    return Order(int(words[0]), Verb(words[1]), permit)


def decode_status(line: bytes) -> Status:
    """Read a line of the guard; raises ValueError if it is none."""
    order, phase, epoch, starts, stopping, code = line.decode().split()
    return Status(int(order), Phase(phase), int(epoch), int(starts), stopping == "1", int(code))


class Pipe:
    """One end of each of the two pipes: lines out, lines in."""

    def __init__(self, read_from: int, write_to: int) -> None:
        self.read_from = read_from
        self.write_to = write_to
        self.ended = False
        self._rest = b""
        os.set_blocking(read_from, False)
        os.set_blocking(write_to, False)

    def send(self, line: bytes) -> None:
        """Write a line if there is room for it."""
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self.write_to, line)

    def receive(self) -> list[bytes]:
        """Return the lines that have come; sets `ended` when the other side is gone."""
        data = self._rest
        with contextlib.suppress(BlockingIOError):
            while True:
                part = os.read(self.read_from, 65536)
                if not part:
                    self.ended = True
                    break
                data += part
        *lines, self._rest = data.split(b"\n")
        return lines

    def close(self) -> None:
        """Close both ends."""
        os.close(self.read_from)
        os.close(self.write_to)


def pipes() -> tuple[Pipe, Pipe]:
    """Return the ends of the guard and of the elector; raises OSError and leaves nothing open."""
    from_elector, to_guard = os.pipe()
    try:
        from_guard, to_elector = os.pipe()
    except OSError:
        os.close(from_elector)
        os.close(to_guard)
        raise
    return Pipe(from_elector, to_elector), Pipe(from_guard, to_guard)
