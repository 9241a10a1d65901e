# SPDX-License-Identifier: Apache-2.0
"""The work queue: one run of a key at a time, none lost, growing pauses after failures."""

import asyncio

import pytest

from dpe_operator.planning.objects import Ref
from dpe_operator.runtime.queue import EVENT_PAUSE, LONGEST_PAUSE, WorkQueue

A, B = Ref("DpeCluster", "ns", "a"), Ref("DpeCluster", "ns", "b")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock=clock, jitter=lambda: 0.5)


async def taken(queue: WorkQueue) -> Ref | None:
    """The next key, None if none is due now."""
    try:
        return await asyncio.wait_for(queue.get(), 0.01)
    except TimeoutError:
        return None


async def test_many_events_are_one_run(queue: WorkQueue) -> None:
    for _ in range(5):
        queue.add(A)
    assert len(queue) == 1
    assert await taken(queue) == A
    assert await taken(queue) is None


async def test_in_the_order_of_their_time(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A, delay=2)
    queue.add(B, delay=1)
    assert await taken(queue) is None
    clock.now += 2
    assert [await taken(queue), await taken(queue)] == [B, A]


async def test_added_while_running_runs_once_more(queue: WorkQueue) -> None:
    queue.add(A)
    await queue.get()
    queue.add(A)
    queue.add(A)
    assert await taken(queue) is None, "never two runs of one key"
    queue.done(A, next_in=None)
    assert await taken(queue) == A
    queue.done(A, next_in=None)
    assert await taken(queue) is None


async def test_looked_at_again_after_the_time_asked_for(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A)
    await queue.get()
    queue.done(A, next_in=10)
    assert await taken(queue) is None
    clock.now += 10
    assert await taken(queue) == A


async def test_an_event_comes_before_a_scheduled_run(queue: WorkQueue, clock: Clock) -> None:
    queue.add(A)
    await queue.get()
    queue.done(A, next_in=600)
    queue.add(A)
    assert await taken(queue) == A
    queue.done(A, next_in=None)
    clock.now += 1000
    assert await taken(queue) is None, "the former schedule is void"


async def test_pauses_double_up_to_the_longest_and_success_resets(
    queue: WorkQueue, clock: Clock
) -> None:
    queue.add(A)
    pauses = []
    for _ in range(2000):
        await queue.get()
        pauses.append(queue.failed(A))
        clock.now += pauses[-1]
    assert pauses[:4] == [1, 2, 4, 8] and pauses[-1] == LONGEST_PAUSE
    await queue.get()
    queue.done(A, next_in=0)
    await queue.get()
    assert queue.failed(A) == 1


async def test_events_do_not_shorten_a_pause_but_the_owner_does(
    queue: WorkQueue, clock: Clock
) -> None:
    queue.add(A)
    await queue.get()
    queue.add(A)
    queue.failed(A)
    queue.add(A)
    assert await taken(queue) is None
    queue.add(A, urgent=True)
    assert await taken(queue) == A
    queue.add(A, urgent=True)
    queue.failed(A)
    assert await taken(queue) == A, "urgent while it ran"


@pytest.mark.parametrize("when", ["while it runs", "while it pauses"])
async def test_an_event_shortens_a_long_pause(queue: WorkQueue, clock: Clock, when: str) -> None:
    for _ in range(10):
        queue.add(A, urgent=True)
        await queue.get()
        queue.failed(A)
    queue.add(A, urgent=True)
    await queue.get()
    if when == "while it runs":
        queue.add(A)
    queue.failed(A)
    if when == "while it pauses":
        queue.add(A)
    clock.now += EVENT_PAUSE - 0.1
    assert await taken(queue) is None
    clock.now += 0.2
    assert await taken(queue) == A, "a fail-over must not stay untold for minutes"


@pytest.mark.parametrize(("random", "pause"), [(0.0, 0.9), (1.0, 1.1)])
async def test_jitter(clock: Clock, random: float, pause: float) -> None:
    queue = WorkQueue(clock=clock, jitter=lambda: random)
    queue.add(A)
    await queue.get()
    assert queue.failed(A) == pytest.approx(pause)


async def test_a_waiting_worker_is_woken() -> None:
    queue = WorkQueue()
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add(A)
    assert await asyncio.wait_for(waiting, 1) == A


async def test_idle(queue: WorkQueue) -> None:
    await asyncio.wait_for(queue.idle(), 1)
    queue.add(A)
    await queue.get()
    assert queue.running == 1
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(queue.idle(), 0.01)
    queue.done(A, next_in=None)
    await asyncio.wait_for(queue.idle(), 1)


async def test_several_workers_never_run_a_key_twice_at_once() -> None:
    queue = WorkQueue(jitter=lambda: 0.5)
    running: set[Ref] = set()
    runs = 0

    async def work() -> None:
        nonlocal runs
        while True:
            key = await queue.get()
            assert key not in running
            running.add(key)
            await asyncio.sleep(0.001)
            running.remove(key)
            runs += 1
            queue.done(key, next_in=None)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    for _ in range(50):
        queue.add(A)
        queue.add(B)
        await asyncio.sleep(0.0005)
    await asyncio.sleep(0.05)
    assert not any(worker.done() for worker in workers)
    assert 4 <= runs <= 100
    for worker in workers:
        worker.cancel()
