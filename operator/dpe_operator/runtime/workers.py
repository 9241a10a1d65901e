# SPDX-License-Identifier: Apache-2.0
"""The workers: take keys from the queue, reconcile, and hand the result back to the queue."""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Callable
from typing import Final

from dpe_operator.kube.errors import KubeError
from dpe_operator.planning.objects import Ref
from dpe_operator.runtime.health import Health
from dpe_operator.runtime.logs import reconcile_context
from dpe_operator.runtime.metrics import Metrics
from dpe_operator.runtime.queue import WorkQueue
from dpe_operator.runtime.reconciler import GONE, Reconciler

logger = logging.getLogger(__name__)

_RESYNC_JITTER: Final = 0.1
_FINISH_SECONDS: Final = 2.0
_QUEUE_METRIC_SECONDS: Final = 1.0


class Workers:
    """Take keys from the queue and reconcile them, several at a time."""

    def __init__(
        self,
        queue: WorkQueue,
        reconciler: Reconciler,
        *,
        metrics: Metrics,
        health: Health,
        resync_seconds: float,
        watches: Callable[[str], bool],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`watches` tells of a namespace whether it is watched: what is elsewhere is left alone."""
        self._queue = queue
        self._reconciler = reconciler
        self._metrics = metrics
        self._health = health
        self._resync = resync_seconds
        self._watches = watches
        self._jitter = jitter
        self._stopping = False
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, count: int) -> list[asyncio.Task[None]]:
        """Start the workers; their tasks end only with an error or after `stop`."""
        self._tasks = [
            asyncio.create_task(self._work(number), name=f"worker {number}")
            for number in range(count)
        ]
        self._tasks.append(asyncio.create_task(self._watch_queue(), name="queue metric"))
        return self._tasks

    async def stop(self) -> None:
        """Let running reconciles finish for a moment, then cut them off."""
        self._stopping = True
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._queue.idle(), _FINISH_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _watch_queue(self) -> None:
        while True:
            self._metrics.queue.set(len(self._queue))
            await asyncio.sleep(_QUEUE_METRIC_SECONDS)

    async def _work(self, number: int) -> None:
        while not self._stopping:
            key = await self._queue.get()
            if not self._watches(key.namespace):  # the first listing there brings it back
                self._reconciler.forget(key)
                self._queue.done(key, next_in=None)
                continue
            self._health.begin(number)
            try:
                await self._reconcile(key)
            finally:
                self._health.end(number)

    async def _reconcile(self, key: Ref) -> None:
        began = time.monotonic()
        with reconcile_context(key):
            try:
                requeue = await self._reconciler.reconcile(key)
            except asyncio.CancelledError:
                raise
            except KubeError as error:
                pause = self._queue.failed(key)
                logger.warning("failed, next try in %.1f s: %s", pause, error)
                result = "error"
            except Exception:  # a bug must not stop the other resources
                pause = self._queue.failed(key)
                logger.exception("failed unexpectedly, next try in %.1f s", pause)
                result = "error"
            else:
                self._queue.done(key, next_in=self._next(requeue))
                result = "ok"
            seconds = time.monotonic() - began
            logger.debug("reconciled in %.3f s", seconds)
        self._metrics.reconciles.labels(key.kind, result).inc()
        self._metrics.duration.labels(key.kind).observe(seconds)

    def _next(self, requeue: float | None) -> float | None:
        if requeue == GONE:
            return None
        resync = self._resync * (1 + _RESYNC_JITTER * (2 * self._jitter() - 1))
        return resync if requeue is None else min(requeue, resync)
