# SPDX-License-Identifier: Apache-2.0
"""A namespace that may not be read is left out and taken in again; the others never notice."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from tests.support.fake_client import FakeClient

from dpe_operator.kube.errors import Forbidden, Unreachable
from dpe_operator.planning.objects import Obj, Ref
from dpe_operator.runtime.canary import Canary
from dpe_operator.runtime.health import Health, Unwell
from dpe_operator.runtime.informer import Informer
from dpe_operator.runtime.kopf_adapter import Receive, Refused
from dpe_operator.runtime.metrics import Metrics
from dpe_operator.runtime.namespaces import Namespaces
from dpe_operator.runtime.queue import WorkQueue
from dpe_operator.runtime.reconciler import GONE
from dpe_operator.runtime.workers import Workers

LOOK = 0.02


class Client(FakeClient):
    """Forbids to read in `forbidden`; `away`: does not answer at all."""

    def __init__(self) -> None:
        super().__init__()
        self.forbidden: set[str] = set()
        self.looks: Counter[str] = Counter()
        self.away = False

    async def list(self, kind: str, namespace: str, *, labels: str = "") -> list[Obj]:
        self.looks[namespace] += 1
        if self.away:
            raise Unreachable("no answer")
        if namespace in self.forbidden:
            raise Forbidden(403, "Forbidden", f"{kind} is forbidden in {namespace}")
        return []


class World:
    """Stands in for kopf; `running` are the namespaces that it watches now."""

    def __init__(self, *names: str) -> None:
        self.client = Client()
        self.canary = Canary()
        self.running: set[str] = set()
        self.runs: Counter[str] = Counter()
        self.fails: dict[str, asyncio.Future[None]] = {}
        self.ready, self.stop = asyncio.Event(), asyncio.Event()
        informer = Informer(WorkQueue(), canary=self.canary, metrics=Metrics())
        self.subject = Namespaces(
            names, informer, self.client, look_seconds=LOOK, watch=self._watch
        )

    async def _watch(
        self, receive: Receive, *, namespace: str, started: Callable[[], None], stop: asyncio.Event
    ) -> None:
        self.running.add(namespace)
        self.runs[namespace] += 1
        self.fails[namespace] = asyncio.get_running_loop().create_future()
        stopping = asyncio.create_task(stop.wait())
        started()
        try:
            either: list[asyncio.Future[Any]] = [stopping, self.fails[namespace]]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if self.fails[namespace].done():
                self.fails[namespace].result()
        finally:
            self.running.discard(namespace)
            stopping.cancel()

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.subject.run(ready=self.ready, stop=self.stop))
        await asyncio.wait_for(self.ready.wait(), 2)
        yield task
        self.stop.set()
        await asyncio.wait_for(asyncio.wait([task]), 2)


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(2):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(LOOK / 4)


async def looks(world: World, name: str, count: int = 4) -> None:
    """Wait until a namespace has been looked at some more times."""
    wanted = world.client.looks[name] + count
    await until(lambda: world.client.looks[name] >= wanted)


async def test_each_namespace_is_watched_until_told_to_stop() -> None:
    world = World("news", "studio", "news")
    async with world.started() as task:
        assert world.running == {"news", "studio"}
        assert world.subject.watches("news") and not world.subject.watches("elsewhere")
        await looks(world, "news")
    assert task.done() and task.exception() is None and world.running == set()
    assert world.runs == {"news": 1, "studio": 1}


async def test_everywhere_is_one_watch() -> None:
    world = World()
    async with world.started() as task:
        assert world.running == {""} and world.subject.watches("anywhere")
        world.fails[""].set_exception(Refused("pods is forbidden"))
        await asyncio.wait([task])
    assert isinstance(task.exception(), Refused) and not world.client.looks


async def test_a_forbidden_namespace_is_left_out_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World("news", "studio")
    world.client.forbidden = {"studio"}
    async with world.started():
        assert world.running == {"news"} and not world.subject.watches("studio")
        await looks(world, "studio")
        (warning,) = [one.getMessage() for one in caplog.records]
        assert "namespace studio is not looked after" in warning
        assert "DpeCluster is forbidden in studio" in warning and "helm upgrade" in warning
        with caplog.at_level(logging.INFO):
            world.client.forbidden.clear()
            await until(lambda: "studio" in world.running)
        assert "namespace studio can be read again" in caplog.text
    assert world.runs == {"news": 1, "studio": 1}


async def test_one_that_becomes_forbidden_is_left_and_taken_in_again() -> None:
    world = World("news", "studio")
    async with world.started():
        world.canary.read(Ref("DpeCluster", "studio", "radio"), "u", "9")
        world.client.forbidden = {"studio"}
        await until(lambda: world.running == {"news"})
        assert not world.subject.watches("studio") and world.canary.oldest() is None
        world.client.forbidden.clear()
        await until(lambda: world.running == {"news", "studio"})
    assert world.runs == {"news": 1, "studio": 2}


async def test_kopf_itself_may_be_the_first_to_hear_no(caplog: pytest.LogCaptureFixture) -> None:
    world = World("news", "studio")
    async with world.started() as task:
        world.client.forbidden = {"studio"}
        world.fails["studio"].set_exception(Refused("watching has ended: pods is forbidden"))
        await until(lambda: world.running == {"news"})
        await looks(world, "studio")
        assert not task.done() and "pods is forbidden" in caplog.text
    assert world.runs["news"] == 1


async def test_a_single_no_and_a_server_that_is_away_change_nothing() -> None:
    world = World("studio")
    async with world.started():
        world.client.forbidden = {"studio"}
        await looks(world, "studio", 1)
        world.client.forbidden.clear()
        await looks(world, "studio")
        world.client.away = True
        await looks(world, "studio")
        assert world.running == {"studio"}
    assert world.runs == {"studio": 1}


async def test_a_server_that_is_away_at_the_start_is_left_to_kopf() -> None:
    world = World("studio")
    world.client.away = True
    async with world.started():
        assert world.running == {"studio"}


async def test_none_that_can_be_read_is_said_and_tried_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World("news", "studio")
    world.client.forbidden = {"news", "studio"}
    async with world.started() as task:
        await looks(world, "studio")
        assert world.running == set() and not task.done()
        assert caplog.text.count("none of the watched namespaces can be read") == 1
        world.client.forbidden = {"news"}
        await until(lambda: world.running == {"studio"})


async def test_another_failure_ends_all() -> None:
    world = World("news", "studio")
    async with world.started() as task:
        world.fails["studio"].set_exception(Unwell("the kinds are gone"))
        await asyncio.wait([task])
        assert str(task.exception()) == "the kinds are gone"
        await until(lambda: world.running == set())


# --- the workers


class Reconciler:
    """Remembers what is reconciled, and what is forgotten."""

    def __init__(self) -> None:
        self.seen: list[Ref] = []
        self.forgotten: list[Ref] = []
        self.gone: set[Ref] = set()

    async def reconcile(self, key: Ref) -> float | None:
        self.seen.append(key)
        return GONE if key in self.gone else None

    def forget(self, key: Ref) -> None:
        self.forgotten.append(key)


def made_workers(
    queue: WorkQueue, reconciler: Reconciler, watches: Callable[[str], bool]
) -> Workers:
    return Workers(
        queue,
        reconciler,  # type: ignore[arg-type]
        metrics=Metrics(),
        health=Health(Canary()),
        resync_seconds=0.05,
        watches=watches,
    )


async def test_what_is_gone_is_asked_for_once() -> None:
    queue, reconciler = WorkQueue(), Reconciler()
    gone, there = (Ref("DpeCluster", "studio", name) for name in ("gone", "there"))
    reconciler.gone.add(gone)
    workers = made_workers(queue, reconciler, lambda _: True)
    workers.start(1)
    queue.add(gone)
    queue.add(there)
    await until(lambda: reconciler.seen.count(there) > 3)
    assert reconciler.seen.count(gone) == 1
    queue.add(gone)  # made again
    await until(lambda: reconciler.seen.count(gone) == 2)
    await workers.stop()


async def test_what_is_in_no_watched_namespace_is_left_alone() -> None:
    queue, reconciler, watched = WorkQueue(), Reconciler(), {"news", "studio"}
    workers = made_workers(queue, reconciler, lambda namespace: namespace in watched)
    news, studio = (Ref("DpeCluster", name, "radio") for name in ("news", "studio"))
    workers.start(2)
    queue.add(news)
    queue.add(studio)
    await until(lambda: reconciler.seen.count(studio) > 2)
    watched.discard("studio")
    await until(lambda: reconciler.forgotten == [studio])
    seen = Counter(reconciler.seen)
    await until(lambda: reconciler.seen.count(news) > seen[news] + 2)
    assert reconciler.seen.count(studio) == seen[studio] and reconciler.forgotten == [studio]
    watched.add("studio")
    queue.add(studio, urgent=True)
    await until(lambda: reconciler.seen.count(studio) > seen[studio])
    await workers.stop()
