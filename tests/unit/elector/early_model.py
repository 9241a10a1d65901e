# SPDX-License-Identifier: Apache-2.0
"""A model of balancer pods in hot mode: the real election, the real count of unanswered questions.

Simulated are the API server, the networks (to it, and between the pods), the clocks and the agents.
`judge` knows nothing of the election: it looks at who took the Lease from whom, how long that had
not been renewed, and when the taker had last had an answer from the holder's pod.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.unit.elector.elector_model import Elector
from tests.unit.elector.elector_world import Network, World

from dpe_balancer.peer import ASK_SECONDS, Trials
from dpe_elector.election import Mode, Rules, State
from dpe_elector.lease import JsonObject
from dpe_elector.peer import FRESH_SECONDS, NO_SIGN
from dpe_elector.steps import Able, Action, Nothing, Observation, Silent, Wait, Write
from dpe_elector.timings import PROFILES

HOT = PROFILES["Hot"]
LOOK = 0.2
PAUSE = 30.0
# clocks run up to 1 % too fast
SHORTEST = 0.99


@dataclass(frozen=True)
class Take:
    """The Lease changed hands at `at` (true time): `silence` is for how long it had not been
    written, `unheard` for how long the taker had had no answer from the holder's pod when it
    decided, `held` for how long that one had been the holder."""

    at: float
    who: str
    holder: str
    epoch: int
    silence: float
    unheard: float
    held: float


class HotWorld(World):
    """The API server also knows when the Lease was written, and which pod clients are sent to."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.pods: list[HotPod] = []
        self.stored_at = self.held_since = 0.0
        self.takes: list[Take] = []
        self.routed = ""

    def note(self, write: Write, who: str, unheard: float) -> None:
        """A write that is about to be carried out."""
        assert self.lease is not None
        holder = str(self.lease["spec"].get("holderIdentity") or "")
        if write.holder == who and holder != who:
            silence, held = self.now - self.stored_at, self.now - self.held_since
            self.takes.append(Take(self.now, who, holder, write.epoch, silence, unheard, held))
            self.held_since = self.now

    def bound(self, write: Write) -> bool:
        """Whether the write is based on the version that is there."""
        assert self.lease is not None
        return bool(write.base.version == self.lease["metadata"]["resourceVersion"])

    def _store(self, made: JsonObject) -> JsonObject:
        self.stored_at = self.now
        return super()._store(made)


class HotElector(Elector):
    """node.py in hot mode; the guard is left out, the command always runs."""

    def __init__(self, pod: HotPod) -> None:
        self.node = self.pod = pod  # type: ignore[assignment]
        self.world = pod.world
        self.alive = True
        self.frozen_until = 0.0
        self.rules = Rules(pod.identity, Mode.HOT, HOT)
        self.state = State()
        self._able = False
        self._sign = NO_SIGN
        self._queue: deque[Observation] = deque()
        self._calling = False
        self._turn = 0
        self._unheard = 0.0
        self._step(Nothing())

    def poke(self) -> None:
        if self._calling or not self.alive:
            return
        if not self._scheduled():
            self._later(self.poke)
            return
        self._listen()
        if self._queue:
            self._step(self._queue.popleft())

    def _listen(self) -> None:
        """As in node.py, before and after each sleep."""
        if self.pod.able != self._able:
            self._able = self.pod.able
            self._queue.append(Able(self._able))
        sign = self.pod.sign()
        if sign != self._sign:
            self._sign = sign
            self._queue.append(sign)

    def _tell(self, now: float) -> None:
        if self.state.acting(now) and self.pod.network.cut is False:
            # the agent writes the record a moment after its elector told it
            self.world.after(0.3, self.pod.publish)

    def _perform(self, action: Action, now: float) -> None:
        if isinstance(action, Wait):
            turn = self._turn
            seconds = min(max(action.until - now, 0.0), LOOK) / self.pod.rate
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
        self._listen()
        self._step(self._queue.popleft() if self._queue else Nothing())

    def _call(self, action: Action) -> None:
        self._unheard = self.world.now - self.pod.heard_at
        super()._call(action)

    def _served(self, action: Action) -> Observation:
        world = self.world
        assert isinstance(world, HotWorld)
        if isinstance(action, Write) and world.lease is not None:
            if world.bound(action):
                world.note(action, self.rules.identity, self._unheard)
        return super()._served(action)


class HotPod:
    """A balancer pod: elector, agent, HAProxy, and its way to the API server and to the others."""

    def __init__(self, world: HotWorld, name: str, rate: float = 1.0) -> None:
        self.world = world
        self.name = name
        self.rate = rate
        self.offset = world.random.uniform(0, 1e6)
        self.network = Network()
        self.frozen_until = 0.0
        self.up = True
        self.able = True
        # of HAProxy, and of the network between this pod and the others
        self.answers = True
        self.reached = True
        self.starts = 1
        self.heard_at = float("-inf")
        self._trials = Trials()
        self._seen_routed = ""
        self._sign_at = float("-inf")
        self.elector = HotElector(self)
        world.nodes.append(self)
        world.pods.append(self)
        self._ask()

    @property
    def identity(self) -> str:
        return f"{self.name}_{self.starts}"

    def boot(self) -> float:
        return self.offset + self.rate * self.world.now

    def wall(self) -> float:
        return 1_700_000_000 + self.world.now

    def elector_woken(self) -> None:
        self.elector.woken()

    def close_spell(self) -> None:
        """Nothing of the kind here."""

    def publish(self) -> None:
        """The record names this pod, if it still is the holder."""
        if self.elector.state.acting(self.boot()) and self.world.up and self.awake:
            lease = self.world.lease
            if lease is not None and lease["spec"].get("holderIdentity") == self.identity:
                self.world.routed = self.name

    @property
    def awake(self) -> bool:
        return self.up and self.world.now >= self.frozen_until

    def _ask(self) -> None:
        """The agent's question to the routed pod."""
        self.world.after(ASK_SECONDS / self.rate, self._ask)
        if not self.awake:
            return
        if self.world.up and not self.network.cut:
            self._seen_routed = self.world.routed
        if self._seen_routed in ("", self.name):
            self._trials = Trials()
            return
        other = next(pod for pod in self.world.pods if pod.name == self._seen_routed)
        answered = other.awake and other.answers and other.reached and self.reached
        self._trials = self._trials.after(other.name, answered=answered)
        if answered:
            self.heard_at = self.world.now
        if self._trials.silent and self.able:
            self._sign_at = self.boot()

    def sign(self) -> Silent:
        if not self._trials.silent or self.boot() >= self._sign_at + FRESH_SECONDS:
            return NO_SIGN
        return Silent(self._trials.pod, self._sign_at + FRESH_SECONDS)

    # --- faults

    def freeze(self, seconds: float) -> None:
        self.frozen_until = max(self.frozen_until, self.world.now + seconds)

    def lose(self, seconds: float) -> None:
        """Everything of the pod is gone; a container with another identity comes back."""
        if self.up:
            self.up = False
            self.elector.alive = False
            self.world.after(seconds, self._come_back)

    def _come_back(self) -> None:
        self.up = True
        self.starts += 1
        self._trials, self.heard_at, self._seen_routed = Trials(), float("-inf"), ""
        self.elector = HotElector(self)

    def spell(self, field: str, value: object, seconds: float) -> None:
        """Something is different for a while."""
        before = {"answers": True, "reached": True, "able": True}[field]
        setattr(self, field, value)
        self.world.after(seconds, lambda: setattr(self, field, before))


def _network(pod: HotPod, seconds: float, **changes: object) -> None:
    for name, value in changes.items():
        setattr(pod.network, name, value)

    def calm() -> None:
        pod.network.cut, pod.network.loss, pod.network.delay = False, 0.0, 0.02

    pod.world.after(seconds, calm)


def _outage(pod: HotPod, seconds: float) -> None:
    def back() -> None:
        pod.world.up = True

    pod.world.up = False
    pod.world.after(seconds, back)


FAULTS: dict[str, Callable[[HotPod, float], None]] = {
    "freeze the pod": lambda pod, seconds: pod.freeze(seconds),
    "lose the pod": lambda pod, seconds: pod.lose(seconds),
    "freeze the elector": lambda pod, seconds: setattr(
        pod.elector, "frozen_until", pod.world.now + seconds
    ),
    "hang HAProxy": lambda pod, seconds: pod.spell("answers", False, seconds),
    "break the path between the pods": lambda pod, seconds: pod.spell("reached", False, seconds),
    "make it unfit": lambda pod, seconds: pod.spell("able", False, seconds),
    "cut the way to the API server": lambda pod, seconds: _network(pod, seconds, cut=True),
    "lose packets": lambda pod, seconds: _network(pod, seconds, loss=0.4),
    "slow the network": lambda pod, seconds: _network(pod, seconds, delay=1.5),
    "stop the API server": _outage,
}


@dataclass(frozen=True)
class Fault:
    """`what` happens at `at` (true seconds) to pod number `pod`, for `seconds`."""

    at: float
    what: str
    pod: int
    seconds: float


def play(
    seed: int, faults: Sequence[Fault], *, rates: Sequence[float] = (1.0, 1.0), until: float = 220.0
) -> HotWorld:
    """Run one example to its end; the last 60 s are calm."""
    world = HotWorld(seed)
    world.create()
    pods = [HotPod(world, name, rate) for name, rate in zip("abc", rates, strict=False)]
    for fault in faults:
        world.at(
            fault.at,
            lambda fault=fault: FAULTS[fault.what](pods[fault.pod % len(pods)], fault.seconds),
        )
    world.run_until(until)
    return world


def judge(world: HotWorld) -> list[str]:
    """What was taken against the rules, in words."""
    wrong = []
    before = None
    for take in world.takes:
        if before is not None and take.epoch <= before.epoch:
            wrong.append(f"the epoch did not rise: {before} {take}")
        before = take
        if not take.holder or take.silence >= HOT.duration * SHORTEST:
            continue
        if take.silence < 1.5 * SHORTEST:
            wrong.append(f"it had been renewed: {take}")
        if take.unheard < 2 * ASK_SECONDS * SHORTEST:
            wrong.append(f"the holder's pod had answered: {take}")
        if take.held < PAUSE * SHORTEST:
            wrong.append(f"the second change within {PAUSE:g} s: {take}")
    return wrong
