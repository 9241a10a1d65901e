# SPDX-License-Identifier: Apache-2.0
"""The work queue: each key at most once at a time, none lost, failures with growing pauses.

A key that is added while it is being worked on runs once more afterwards, since the event may be
about something that the running reconcile has read already. Many events of one key within a moment
are one run.
"""

import asyncio
import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from dpe_operator.planning.objects import Ref

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 300.0
# Far beyond the longest pause; without an end the number would be too large after 1024 failures.
_DOUBLINGS: Final = 20
# What happens around a key that fails is looked at after this time, in seconds.
EVENT_PAUSE: Final = 5.0
_JITTER: Final = 0.1


@dataclass(slots=True)
class _State:
    due: float
    running: bool = False
    again: float | None = None
    urgent: bool = False
    failures: int = 0


@dataclass(slots=True, order=True)
class _Slot:
    due: float
    key: Ref = field(compare=False)


class WorkQueue:
    """Keys that are due, in the order of their time. All methods run in one event loop."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] | None = None,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`clock` in seconds (default: that of the loop), `jitter` gives 0..1."""
        self._clock = clock or (lambda: asyncio.get_running_loop().time())
        self._jitter = jitter
        self._states: dict[Ref, _State] = {}
        self._heap: list[_Slot] = []
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        """How many keys are due now or being worked on again soon; scheduled ones not counted."""
        now = self._clock()
        return sum(1 for state in self._states.values() if not state.running and state.due <= now)

    @property
    def running(self) -> int:
        """How many keys are being worked on."""
        return sum(1 for state in self._states.values() if state.running)

    async def idle(self) -> None:
        """Wait until no key is being worked on."""
        await self._idle.wait()

    def add(self, key: Ref, *, delay: float = 0.0, urgent: bool = False) -> None:
        """Ask for a run of `key` after `delay` seconds; an earlier request stays.

        `urgent`: even if the key has just failed and pauses, because its owner changed something.
        Any other request shortens such a pause to `EVENT_PAUSE` at most: what fails usually makes
        events as well, but the status must not be minutes old after a fail-over either.
        """
        due = self._clock() + delay
        state = self._states.get(key)
        if state is not None and state.failures and not state.running and not urgent:
            due = max(due, self._clock() + EVENT_PAUSE)
        if state is None:
            self._states[key] = _State(due)
            self._push(due, key)
        elif state.running:
            state.again = due if state.again is None else min(state.again, due)
            state.urgent = state.urgent or urgent
        elif due < state.due:
            state.due = due
            self._push(due, key)

    def _push(self, due: float, key: Ref) -> None:
        heapq.heappush(self._heap, _Slot(due, key))
        self._wake.set()

    async def get(self) -> Ref:
        """Wait for the next key that is due and mark it as running; call `done` afterwards."""
        while True:
            key, wait = self._next()
            if key is not None:
                return key
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), wait)
            except TimeoutError:
                continue

    def _next(self) -> tuple[Ref | None, float | None]:
        now = self._clock()
        while self._heap:
            slot = self._heap[0]
            state = self._states.get(slot.key)
            if state is None or state.running or state.due != slot.due:
                heapq.heappop(self._heap)  # superseded by an earlier or later request
                continue
            if slot.due > now:
                return None, slot.due - now
            heapq.heappop(self._heap)
            state.running, state.again = True, None
            self._idle.clear()
            return slot.key, None
        return None, None

    def done(self, key: Ref, *, next_in: float | None) -> None:
        """Report a run that went well. `next_in`: when to look again without being asked."""
        state = self._states[key]
        state.failures = 0
        self._settle(key, state, next_in)

    def failed(self, key: Ref) -> float:
        """Report a run that failed; return the pause until the next try, in seconds.

        Requests that came in meanwhile shorten the pause as `add` says.
        """
        state = self._states[key]
        pause: float = min(FIRST_PAUSE * 2.0 ** min(state.failures, _DOUBLINGS), LONGEST_PAUSE)
        pause *= 1 + _JITTER * (2 * self._jitter() - 1)
        state.failures += 1
        if state.again is not None and not state.urgent:
            state.again = max(state.again, self._clock() + min(EVENT_PAUSE, pause))
        self._settle(key, state, pause)
        return pause

    def _settle(self, key: Ref, state: _State, next_in: float | None) -> None:
        state.running = state.urgent = False
        if not self.running:
            self._idle.set()
        moments = [state.again] if state.again is not None else []
        if next_in is not None:
            moments.append(self._clock() + next_in)
        state.again = None
        if not moments:
            del self._states[key]
            return
        state.due = min(moments)
        self._push(state.due, key)
