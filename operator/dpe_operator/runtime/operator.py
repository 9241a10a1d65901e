# SPDX-License-Identifier: Apache-2.0
"""The whole operator: start-up check, informer, workers, health, and a quick clean end.

Order of the start: API server, CRDs (a clear message if they are missing), health server, workers,
informer. The informer's first listing puts every resource on the queue, which is the resync of the
start. Order of the end (SIGTERM): informer, workers (each has a moment to finish its reconcile; one
that is cut off is simply repeated by whoever comes next), connections. When a part fails all end in
the same way and the process is started anew, by the elector or its partner: half an operator that
holds the Lease would be worse than none.
"""

import asyncio
import logging
import os
import signal
import threading
from typing import Final

from dpe_operator.api import constants
from dpe_operator.kube.crds import MANAGER as CRDS_MANAGER
from dpe_operator.kube.errors import KubeError, NotFound
from dpe_operator.kube.events import EventRecorder
from dpe_operator.kube.rest import NotConfigured, RestClient, load_configuration
from dpe_operator.runtime.canary import Canary
from dpe_operator.runtime.health import Health, HealthServer, Unwell
from dpe_operator.runtime.informer import OUR_KINDS, Informer
from dpe_operator.runtime.metrics import Metrics
from dpe_operator.runtime.namespaces import Namespaces
from dpe_operator.runtime.queue import WorkQueue
from dpe_operator.runtime.reconciler import Reconciler
from dpe_operator.runtime.settings import Settings
from dpe_operator.runtime.watchdog import watch_over
from dpe_operator.runtime.workers import Workers

logger = logging.getLogger(__name__)

CRDS_CURE: Final = (
    "install the CRDs: kubectl apply --server-side --force-conflicts"
    f" --field-manager={CRDS_MANAGER} -f crds/ (the Helm chart does it too)"
)
# After a part has failed all others may take so long to end, in seconds: more than they need when
# nothing hangs.
_HARD_END_SECONDS: Final = 10.0
_WATCHING_END_SECONDS: Final = 3.0


class StartupError(Exception):
    """The operator cannot run here; the message says what to do."""


async def check_kinds(client: RestClient) -> None:
    """Make sure that the API server knows our kinds.

    Raises:
        StartupError: it does not, or it does not answer.
    """
    path = f"/apis/{constants.API_VERSION}"
    try:
        answer = await client.raw(path)
    except NotFound as error:
        raise StartupError(
            f"the API server does not know {constants.API_VERSION}: {CRDS_CURE}"
        ) from error
    except KubeError as error:
        raise StartupError(f"the API server does not answer as it should: {error}") from error
    known = {entry.get("kind") for entry in answer.get("resources", [])}
    missing = [kind for kind in OUR_KINDS if kind not in known]
    if missing:
        raise StartupError(f"the API server does not know {', '.join(missing)}: {CRDS_CURE}")


async def run_operator(settings: Settings) -> None:
    """Run until SIGTERM.

    Raises:
        StartupError: it cannot run here.
        Unwell: a part of it failed; the process must end and be started anew.
    """
    metrics = Metrics()
    try:
        configuration = await load_configuration()
    except NotConfigured as error:
        raise StartupError(str(error)) from error
    async with RestClient(configuration, observer=metrics.count_request) as client:
        await check_kinds(client)
        canary = Canary()
        queue = WorkQueue()
        health = Health(canary)
        informer = Informer(queue, canary=canary, metrics=metrics)
        namespaces = Namespaces(
            settings.watch_namespaces, informer, client, look_seconds=settings.look_seconds
        )
        reconciler = Reconciler(
            client,
            environment=settings.environment(),
            recorder=EventRecorder(client, instance=settings.pod_name),
            metrics=metrics,
            canary=canary,
        )
        workers = Workers(
            queue,
            reconciler,
            metrics=metrics,
            health=health,
            resync_seconds=settings.resync_seconds,
            watches=namespaces.watches,
        )
        async with HealthServer(health, metrics, port=settings.metrics_port):
            await _run_all(namespaces, workers, health, client, count=settings.workers)
    logger.info("ended")


async def _run_all(
    namespaces: Namespaces, workers: Workers, health: Health, client: RestClient, *, count: int
) -> None:
    """Run informer, watchdog and so many workers until told to stop; raises as `run_operator`."""
    stop = asyncio.Event()
    watching = asyncio.create_task(namespaces.run(ready=health.ready, stop=stop), name="informer")
    watchdog = asyncio.create_task(watch_over(health, client), name="watchdog")
    try:
        await _until_stopped([watching, watchdog, *workers.start(count)], stop)
    finally:
        stop.set()
        watchdog.cancel()
        await workers.stop()
        # a thread that does not end ends with the process
        await asyncio.wait([watching], timeout=_WATCHING_END_SECONDS)


async def _until_stopped(tasks: list[asyncio.Task[None]], stop: asyncio.Event) -> None:
    """Wait for a signal that tells to stop.

    Raises:
        Unwell: before it came one of the tasks has ended; the message says which, and why.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    stopping = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
    if stopping in done:
        return
    stopping.cancel()
    failure = _failure(next(task for task in tasks if task in done))
    _end_hard_after(_HARD_END_SECONDS, failure)
    raise failure


def _failure(ended: asyncio.Task[None]) -> Unwell:
    """Return what a task of the operator, none of which ends by itself, has ended with."""
    error = None if ended.cancelled() else ended.exception()
    if isinstance(error, Unwell):
        return error
    logger.error("%s has failed", ended.get_name(), exc_info=error)
    return Unwell(f"{ended.get_name()} has ended: {error!r}")


def _end_hard_after(seconds: float, failure: Unwell) -> None:
    """End the process at last, also if something in it does not let itself be ended."""

    def end() -> None:
        logger.critical("ended hard, as not everything ended by itself: %s", failure)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
