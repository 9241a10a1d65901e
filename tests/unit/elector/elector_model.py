# SPDX-License-Identifier: Apache-2.0
"""A model of several pods with electors over one Lease, in simulated time.

What runs here is the real election, the real Lease record, the real rule of the permit and the real
link between elector and guard. Simulated are the API server, the network, the clocks, the guard's
loop and the command. Everything random comes from one seed, so a failing example can be replayed.

When a command *acts*: it runs, its node is not frozen, and its guard is not frozen and has been
scheduled since it was (the promise begins with the guard's first scheduling after a thaw). It acts
on while it is being killed, which takes `Node.dying` seconds.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from tests.unit.elector.elector_world import Network, Spell, World

from dpe_elector import lease
from dpe_elector.election import Mode, Rules, State, observe
from dpe_elector.guard import RELEASE_SECONDS
from dpe_elector.link import Link
from dpe_elector.messages import Phase, Status, Verb, decode_order
from dpe_elector.permit import Permit, why_ended
from dpe_elector.steps import (
    Able,
    Action,
    CommandEnded,
    Conflict,
    Create,
    Finish,
    Found,
    Nothing,
    Observation,
    Read,
    Stop,
    Unreachable,
    Wait,
    Woken,
    Write,
    Wrote,
)
from dpe_elector.timings import Timings

GUARD_TICK = 0.1
IDLE_TICK = 1.0


@dataclass
class Counted:
    """How often the real election was asked, in all examples of this process."""

    observations: int = 0


counted = Counted()


class _Wire:
    """A pipe between elector and guard: buffered, so what is sent in a freeze is read after it."""

    def __init__(self) -> None:
        self.read_from = -1
        self.ended = False
        self.lines: deque[bytes] = deque()
        self.other: _Wire
        self.arrived: Callable[[], None] = lambda: None

    def send(self, line: bytes) -> None:
        self.other.lines.append(line)
        self.other.arrived()

    def receive(self) -> list[bytes]:
        lines = list(self.lines)
        self.lines.clear()
        return lines


class Guard:
    """The model of guard.py: starts the command under a permit, kills it when the permit ends."""

    def __init__(self, node: "Node", identity: str) -> None:
        self.node = node
        self.world = node.world
        self.identity = identity
        # what the container was started with, whatever the next one will get
        self.timings = node.timings
        self.give_up_at = float("inf") if node.once is None else node.boot() + node.once
        self.alive = True
        self.killing = False
        self.gone = True
        self.frozen_until = 0.0
        self.permit: Permit | None = None
        self.fenced = False
        self.phase = Phase.NONE
        self.epoch = 0
        self.starts = 0
        self.stopping = False
        self.order = 0
        self.wire = _Wire()
        self.elector: Elector | None = None
        self._acts_since: float | None = None
        # the chain of ticks in force: a start begins a new one, that looks more often
        self._ticks = 0
        self.start_elector()
        self.tick()

    def start_elector(self) -> None:
        if not self.alive or self.fenced or self.elector is not None:
            return
        if self.stopping and self.phase is Phase.NONE:
            return
        theirs = _Wire()
        self.wire = _Wire()
        self.wire.other, theirs.other = theirs, self.wire
        self.wire.arrived = lambda: self.world.after(0.001, self.look)
        permit = self.permit if self.phase is not Phase.NONE else None
        if permit is None:
            self.epoch = 0
        self.order = 0
        self.elector = Elector(self, theirs, permit)
        self.report()

    @property
    def scheduled(self) -> bool:
        return self.alive and self.world.now >= max(self.frozen_until, self.node.frozen_until)

    def tick(self, chain: int = 0) -> None:
        if not self.alive or chain != self._ticks:
            return
        self.look()
        if chain != self._ticks:
            return
        self._single_run_is_overdue()
        seconds = IDLE_TICK if self.phase is Phase.NONE else GUARD_TICK
        self.world.after(seconds * self.world.random.uniform(0.5, 1.5), lambda: self.tick(chain))

    def thawed(self) -> None:
        """What was written to a frozen guard is read at once when it runs again."""
        resume = max(self.frozen_until, self.node.frozen_until)
        self.world.at(resume + self.world.random.random() * 0.01, self.look)

    def look(self) -> None:
        """One round of the guard's loop."""
        if not self.scheduled or self.killing:
            return
        orders = [decode_order(line) for line in self.wire.receive()]
        for order in orders:
            self._renew(order.permit)
        if self.permit is not None and why_ended(self.permit, self.node.boot(), self.node.lead):
            self._permit_ended()
            return
        if not self.fenced:
            # else it was killed as soon as the guard was scheduled: what a freeze left of it
            self._open_spell()
        for order in orders:
            self.order = order.number
            if order.verb is Verb.RUN and order.permit is not None:
                self._start(order.permit)
            elif order.verb is Verb.KILL and self.phase in (Phase.RUNNING, Phase.STOPPING):
                self.phase = Phase.CLEARING
                self._killed()
                self._ends_after(self.node.dying)
        if orders:
            self.report()

    def _permit_ended(self) -> None:
        """Everything is killed, the elector too. The container stays, but for a single run."""
        self._killed()
        if self.node.once is not None:
            self.killing = True
            self.world.after(self.node.dying, self.exit)
            return
        self.phase, self.permit, self.fenced = Phase.CLEARING, None, True
        if self.elector is not None:
            self.elector.alive = False
            self.elector = None
        self._ends_after(self.node.dying)

    def _renew(self, permit: Permit | None) -> None:
        if self.fenced or self.phase is Phase.NONE:
            return
        if permit is not None and permit.epoch == self.epoch:
            self.permit = permit

    def _start(self, permit: Permit) -> None:
        if (
            self.phase is not Phase.NONE
            or permit.epoch <= self.epoch
            or self.stopping
            or (self.node.once is not None and self.starts > 0)
            or why_ended(permit, self.node.boot(), self.node.lead) is not None
        ):
            return
        self.permit, self.epoch, self.phase = permit, permit.epoch, Phase.RUNNING
        self.starts += 1
        self.gone = False
        self._ticks += 1
        chain = self._ticks
        self.world.after(GUARD_TICK, lambda: self.tick(chain))
        self.world.starts.append((self.world.now, self.identity, permit.epoch))
        self._open_spell()
        if not self.node.able:
            self._ends_after(0.01)
        elif self.node.once is not None:
            self._ends_after(self.world.random.uniform(0.1, 25))

    def _open_spell(self) -> None:
        if not self.gone and self._acts_since is None:
            self._acts_since = self.world.now

    def close_spell(self) -> None:
        if self._acts_since is not None:
            spell = Spell(self.identity, self.epoch, self._acts_since, self.world.now)
            self.world.spells.append(spell)
            self._acts_since = None

    def _killed(self) -> None:
        """SIGKILL: a command that hangs in a volume acts no more, and ends when that answers."""
        if self.node.hangs():
            self.close_spell()
            self.gone = True

    def _clear(self) -> None:
        self.close_spell()
        self.phase, self.permit = Phase.NONE, None
        if self.fenced:
            self.fenced = False
            self.world.after(0.2, self.exit if self.stopping else self.start_elector)
        if self.node.once is not None:
            self.stopping = True
            self.world.after(RELEASE_SECONDS, self.exit)
        self.report()

    def _ends_after(self, seconds: float) -> None:
        starts = self.starts

        def end() -> None:
            if self.starts == starts:
                self.command_exits()

        self.world.after(seconds, end)

    def _single_run_is_overdue(self) -> None:
        """The guard's own end of a single run whose elector hangs (see single_run.py)."""
        overdue = self.give_up_at + 2 * self.timings.call_timeout + 1.0
        if self.scheduled and not self.stopping and self.starts == 0:
            if self.node.boot() >= overdue:
                self.stopping = True
                self.world.after(RELEASE_SECONDS, self.exit)
                self.report()

    def command_exits(self) -> None:
        """The command ends by itself; the guard notices when it is scheduled."""
        if not self.alive or self.phase is Phase.NONE:
            return
        if hangs := self.node.hangs():
            self._ends_after(hangs)
            return
        self.close_spell()
        self.gone = True
        if self.scheduled:
            self._clear()
        else:
            resume = max(self.frozen_until, self.node.frozen_until)
            self.world.at(resume + 0.001, lambda: self._ends_after(0.0))

    def terminate(self) -> None:
        """SIGTERM: stop the command, which takes its time, then let the elector release."""
        if not self.alive or self.stopping:
            return
        self.stopping = True
        if self.phase is Phase.RUNNING:
            self.phase = Phase.STOPPING
        self.report()
        self._ends_after(self.world.random.uniform(0, 3))
        self.world.after(40, self.exit)

    def report(self) -> None:
        status = Status(self.order, self.phase, self.epoch, self.starts, self.stopping)
        self.wire.send(status.encode())

    def elector_died(self) -> None:
        if self.elector is not None:
            self.elector.alive = False
            self.elector = None
            self.world.after(0.2, self.start_elector)

    def elector_finished(self) -> None:
        self.elector = None
        self.exit()

    def exit(self) -> None:
        if self.alive:
            self.node.container_died()

    def die(self) -> None:
        self.close_spell()
        self.gone = True
        self.alive = False
        if self.elector is not None:
            self.elector.alive = False


class Elector:
    """The model of node.py: carries out the actions of the real election."""

    def __init__(self, guard: Guard, wire: _Wire, permit: Permit | None) -> None:
        self.guard = guard
        self.node = guard.node
        self.world = guard.world
        self.alive = True
        self.frozen_until = 0.0
        self.rules = Rules(
            guard.identity,
            Mode.EXCLUSIVE,
            guard.timings,
            once=self.node.once is not None,
            give_up_at=guard.give_up_at,
        )
        self.state = State()
        self._able = False
        self.link = Link(wire, self.node.boot)
        wire.arrived = lambda: self.world.after(0.001, self.poke)
        self._queue: deque[Observation] = deque()
        self._calling = False
        self._told_until = 0.0
        self._turn = 0
        if permit is not None:
            self.state = State(
                epoch=permit.epoch, until=permit.until, running=True, top_epoch=permit.epoch
            )
            self._told_until = permit.until
            self.link.resumed(permit)
        self._step(Nothing())

    def poke(self) -> None:
        """Something may have come in; noticed only between two calls, as in node.py."""
        if self._calling or not self.alive:
            return
        if not self._scheduled():
            self._later(self.poke)
            return
        for status in self.link.receive():
            if status.stopping and not self.state.stopping and Stop() not in self._queue:
                self._queue.append(Stop())
            ended = self.link.command_ended(status, self.state)
            if ended and CommandEnded() not in self._queue:
                self._queue.append(CommandEnded())
        if not self.state.running and self.node.able != self._able:
            self._able = self.node.able
            self._queue.append(Able(self._able))
        if self._queue:
            self._step(self._queue.popleft())

    def woken(self) -> None:
        if Woken() not in self._queue:
            self._queue.append(Woken())
        self.poke()

    def _scheduled(self) -> bool:
        return self.world.now >= max(self.frozen_until, self.node.frozen_until)

    def _later(self, run: Callable[[], None]) -> None:
        resume = max(self.frozen_until, self.node.frozen_until)
        self.world.at(resume + self.world.random.random() * 0.01, run)

    def _step(self, observation: Observation) -> None:
        if not self.alive:
            return
        if not self._scheduled():
            self._later(lambda: self._step(observation))
            return
        self._calling = False
        self._turn += 1
        now = self.node.boot()
        counted.observations += 1
        self.state, action = observe(self.rules, self.state, observation, now)
        self._tell(now)
        self._perform(action, now)

    def _tell(self, now: float) -> None:
        state = self.state
        if state.running and not state.epoch:
            self.link.kill()
        elif state.running and state.acting(now) and state.until != self._told_until:
            self._told_until = state.until
            self.link.run(Permit(state.epoch, state.until, self.node.lead))

    def _perform(self, action: Action, now: float) -> None:
        if isinstance(action, Finish):
            self.alive = False
            self.guard.elector_finished()
        elif isinstance(action, Wait):
            turn = self._turn
            seconds = min(max(action.until - now, 0.0), 1.0) / self.node.rate
            self.world.after(seconds + 0.001, lambda: self._wait_over(turn))
            self.poke()
        else:
            self._call(action)

    def _wait_over(self, turn: int) -> None:
        if turn != self._turn or not self.alive:
            return
        if not self._scheduled():
            self._later(lambda: self._wait_over(turn))
            return
        if self.link.beat_is_due():
            self.link.beat()
        self._step(self._queue.popleft() if self._queue else Nothing())

    def _call(self, action: Action) -> None:
        self._calling = True
        network, dice = self.node.network, self.world.random
        turn = self._turn

        def answered(observation: Observation) -> None:
            if turn == self._turn and self.alive:
                self._turn += 1
                self._step(observation)

        timeout = self.rules.timings.call_timeout / self.node.rate
        self.world.after(timeout, lambda: answered(Unreachable()))

        def arrived() -> None:
            if not self.world.up:
                self.world.after(0.01, lambda: answered(Unreachable()))
                return
            observation = self._served(action)
            if not network.cut and dice.random() >= network.loss:
                delay = dice.random() * network.delay
                self.world.after(delay, lambda: answered(observation))

        if not network.cut and dice.random() >= network.loss:
            # a request may come late, long after the caller has given up on it
            late = dice.random() * 20 if dice.random() < network.loss / 4 else 0.0
            self.world.after(dice.random() * network.delay + late, arrived)

    def _served(self, action: Action) -> Observation:
        world = self.world
        if isinstance(action, Read):
            return Found(None if world.lease is None else lease.view(world.lease))
        if isinstance(action, Create):
            return Conflict() if world.lease else Wrote(lease.view(world.create()))
        assert isinstance(action, Write)
        writing = lease.Writing(
            identity=self.rules.identity,
            holder=action.holder,
            epoch=action.epoch,
            duration=self.rules.timings.duration,
            fresh=action.fresh,
        )
        stored = world.put(lease.written(action.base.raw, writing, self.node.wall()))
        return Conflict() if stored is None else Wrote(lease.view(stored))


class Node:
    """A pod's place: its clock, its network, and one container after the other.

    `once`: each container is a single run that waits so many seconds for the Lease. `dying` is how
    many seconds a command that is killed acts on, `able` whether there is a command to start, `lead`
    by how much its wall clock is ahead of the boot time, beside what it was at first.
    """

    def __init__(
        self,
        world: World,
        name: str,
        *,
        timings: Timings,
        rate: float = 1.0,
        once: float | None = None,
    ) -> None:
        self.world = world
        self.name = name
        self.timings = timings
        self.rate = rate
        self.once = once
        self.dying = 0.0
        self.able = True
        self.lead = 0.0
        self.offset = world.random.uniform(0, 1e6)
        self.network = Network()
        self.frozen_until = 0.0
        self.hung_until = 0.0
        self.containers = 0
        self.guard = self._container()
        world.nodes.append(self)

    def boot(self) -> float:
        return self.offset + self.rate * self.world.now

    def hangs(self) -> float:
        """For how long the command hangs in a volume that does not answer, not even to SIGKILL."""
        return max(0.0, self.hung_until - self.world.now)

    def wall(self) -> float:
        return 1_700_000_000 + self.world.now + self.lead

    def _container(self) -> Guard:
        self.containers += 1
        return Guard(self, f"{self.name}-{self.containers}")

    def container_died(self) -> None:
        if self.guard.alive:
            self.guard.die()
            # a container with a process that hangs cannot end
            self.world.after(self.hangs() + self.world.random.uniform(0.5, 3), self._restart)

    def _restart(self) -> None:
        if not self.guard.alive:
            self.guard = self._container()

    def elector_woken(self) -> None:
        if self.guard.elector is not None:
            self.guard.elector.woken()

    def close_spell(self) -> None:
        self.guard.close_spell()

    # --- faults

    def freeze(self, seconds: float) -> None:
        self.guard.close_spell()
        self.frozen_until = max(self.frozen_until, self.world.now + seconds)
        self.guard.thawed()

    def freeze_guard(self, seconds: float) -> None:
        self.guard.close_spell()
        self.guard.frozen_until = max(self.guard.frozen_until, self.world.now + seconds)
        self.guard.thawed()

    def freeze_elector(self, seconds: float) -> None:
        if self.guard.elector is not None:
            self.guard.elector.frozen_until = self.world.now + seconds
