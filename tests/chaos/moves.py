# SPDX-License-Identifier: Apache-2.0
"""What the balancers' logs say about changes of the server that answers. Pure.

HAProxy moves requests to the stand-in as soon as a server is DOWN, the agent makes that a switch at
the stand-in's next good check and records it (docs/adr/0012). Not all that begins so ends in the
record, and the judge must know of the rest. HAProxy and agent write into one file, so their order
is known without any clock; HAProxy writes no time, so the agent's lines around it give that.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_TIMED = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:,(\d{3})|Z) ")
_MOVED = re.compile(r"dpe_balancer (\w+) is DOWN: requests go to (\w+), to be counted soon")
_COUNTED = re.compile(r"dpe_balancer active member: (\w+), before: (\w+) \(")
_RECORDED = re.compile(r"dpe_balancer recorded: active (\w+), switches (\d+), ")
_BACK = re.compile(r"dpe_balancer requests go back to (\w+), no switch: (another balancer)?")
_HAPROXY_ENDED = re.compile(r"dpe_balancer HAProxy ended")
# the agent has ended, and its HAProxy with it
_ENDED = re.compile(r"guard: (the command ended|started the command)|dpe_balancer HAProxy .* hangs")
_DRAINS = re.compile(r"dpe_balancer clients are sent to another balancer: .* have ([\d.]+) s")
_ALONE = re.compile(r"^Server [\w-]+-(\w+)/\1 is DOWN\. 0 active and 1 backup")
_DOWN = re.compile(r"^Server [\w-]+-(\w+)/\1 is DOWN")
_UP = re.compile(r"^Server [\w-]+-(\w+)/\1 is UP\. ")
# The stand-in may be used from now on, by its first check or as it is let out of maintenance, in
# which it is when HAProxy starts; if the server is DOWN by then it is used at once.
_FIT = re.compile(
    r"^Backup Server [\w-]+-(\w+)/\w+ is UP(/READY| via \S+ 0 active and 1 backup servers online)"
)

TAKEN_BACK, REPLACED, ASLEEP, STARTED = "taken back", "replaced", "asleep", "started"


@dataclass(frozen=True)
class Recorded:
    """A server that was written into the record as the active one, as the `count`-th switch, at
    `at`; requests went there not before `begin`, which may be long before, with the API server away
    (seconds since 1970; None: only the record was seen)."""

    at: float
    member: str
    count: int
    begin: float | None = None


@dataclass(frozen=True)
class Decided:
    """A balancer said at `at` that `member` is the active one now (seconds since 1970); that may be
    one that ended before it could write it down, after the next one had heard of it."""

    at: float
    member: str


@dataclass(frozen=True)
class Move:
    """In the balancer `pod` requests went from `source` to `target`, which was never recorded.

    begin, end: seconds since 1970, the earliest and the latest moment that the log allows. how:
    TAKEN_BACK, the stand-in was DOWN too before it counted; REPLACED, HAProxy or agent ended, or
    another balancer took its place, before it was recorded; ASLEEP, the server was UP again, and
    the stand-in not DOWN, before the agent had noticed anything; STARTED, the same where HAProxy had
    just been started and found the server DOWN.
    """

    pod: str
    source: str
    target: str
    begin: float
    end: float
    how: str


@dataclass(frozen=True)
class Drain:
    """The balancer `pod` is routed no more; who is still connected to it is answered by the member
    that it knows as the active one, at most until `end` (seconds since 1970)."""

    pod: str
    begin: float
    end: float


@dataclass
class Said:
    """What balancers' logs say."""

    recorded: list[Recorded] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)
    drains: list[Drain] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)

    def add(self, other: Said) -> None:
        """Add what another log says."""
        self.recorded += other.recorded
        self.moves += other.moves
        self.drains += other.drains
        self.decided += other.decided


def said(pod: str, log: Iterable[str]) -> Said:
    """Read one balancer's log, in which its agents and its HAProxies write."""
    reader = _Reader(pod)
    for line in log:
        reader.take(line)
    return reader.found


class _Reader:
    """The state between two lines: `moving`, the servers away from which requests go without a
    record, and since when; `starting`, those of them that HAProxy found DOWN when it was started;
    `down`, those that HAProxy sees DOWN."""

    def __init__(self, pod: str) -> None:
        self.pod = pod
        self.found = Said()
        self.now = 0.0
        self.moving: dict[str, float] = {}
        self.starting: set[str] = set()
        self.noticed: set[str] = set()
        self.down: set[str] = set()
        # ended by HAProxy's word, whose latest moment is the time of the next line that has one
        self.unnoticed: list[tuple[str, float, str]] = []

    def take(self, line: str) -> None:
        if timed := _TIMED.match(line):
            self.now = _seconds(timed)
            for source, begin, how in self.unnoticed:
                self._note(source, begin, how)
            self.unnoticed.clear()
            self._agent(line)
        else:
            self._haproxy(line)

    def _haproxy(self, line: str) -> None:
        if down := _DOWN.match(line):
            self.down.add(down[1])
        if alone := _ALONE.match(line):
            self._leave(alone[1])
        elif (fit := _FIT.match(line)) and fit[1] in self.down:
            if self._leave(fit[1]) and fit[2] == "/READY":
                self.starting.add(fit[1])
        elif up := _UP.match(line):
            self._return(up[1])

    def _leave(self, source: str) -> bool:
        """HAProxy sends requests to the stand-in of this server by itself; False: it did already."""
        if source in self.moving:
            return False
        self.moving[source] = self.now
        self.noticed.discard(source)
        self.starting.discard(source)
        return True

    def _return(self, source: str) -> None:
        """HAProxy sends requests to this server again, by itself unless the agent knows of it."""
        self.down.discard(source)
        if source in self.moving and source not in self.noticed:
            how = STARTED if source in self.starting else ASLEEP
            how = TAKEN_BACK if other_of(source) in self.down else how
            self.unnoticed.append((source, self.moving.pop(source), how))

    def _agent(self, line: str) -> None:
        if drains := _DRAINS.search(line):
            self.found.drains.append(Drain(self.pod, self.now, self.now + float(drains[1])))
            self._end()
        if moved := _MOVED.search(line):
            self.moving.setdefault(moved[1], self.now)
            self.noticed.add(moved[1])
        elif back := _BACK.search(line):
            source = back[1]
            if source in self.moving and back[2]:
                self._note(source, self.moving[source], REPLACED)
            elif source in self.moving and other_of(source) in self.down:
                self._note(source, self.moving[source], TAKEN_BACK)
            self._forget(source)
        elif recorded := _RECORDED.search(line):
            source = other_of(recorded[1])
            begin = self.moving.get(source, self.now)
            self.found.recorded.append(Recorded(self.now, recorded[1], int(recorded[2]), begin))
            self._forget(source)
        elif _HAPROXY_ENDED.search(line):
            # an agent that has noticed goes on with the move in the next HAProxy
            self._replaced(self.moving.keys() - self.noticed)
            self.down.clear()
        elif _ENDED.search(line):
            self._end()
            self.down.clear()
        elif counted := _COUNTED.search(line):
            self.noticed.add(counted[2])
            self.found.decided.append(Decided(self.now, counted[1]))

    def _end(self) -> None:
        """What this agent knows is not written down any more."""
        self._replaced(set(self.moving))
        self.noticed.clear()

    def _replaced(self, sources: Iterable[str]) -> None:
        for source in sources:
            self._note(source, self.moving.pop(source), REPLACED)

    def _forget(self, source: str) -> None:
        self.moving.pop(source, None)
        self.noticed.discard(source)

    def _note(self, source: str, begin: float, how: str) -> None:
        move = Move(self.pod, source, other_of(source), begin, self.now, how)
        self.found.moves.append(move)


def other_of(server: str) -> str:
    """The stand-in of one of the two servers, a and b."""
    return "b" if server == "a" else "a"


def _seconds(line: re.Match[str]) -> float:
    """Seconds since 1970 of a line: the agent writes the machine's own time, the guard UTC."""
    whole = datetime.datetime.strptime(f"{line[1]} {line[2]}", "%Y-%m-%d %H:%M:%S")
    if line[3] is None:
        return whole.replace(tzinfo=datetime.UTC).timestamp()
    return whole.astimezone().timestamp() + int(line[3]) / 1000
