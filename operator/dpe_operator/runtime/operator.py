# SPDX-License-Identifier: Apache-2.0
"""The whole operator: start-up check, informer, workers, health, and a quick clean end.

Order of the start: API server, CRDs (a clear message if they are missing), health server, workers,
informer. The informer's first listing puts every resource on the queue, which is the resync of the
start. Order of the end (SIGTERM): informer, workers (each has a moment to finish its reconcile; one
that is cut off is simply repeated by whoever comes next), connections.
"""

import asyncio
import contextlib
import logging
import signal
from typing import Final

from dpe_operator.api import constants
from dpe_operator.kube.crds import MANAGER as CRDS_MANAGER
from dpe_operator.kube.errors import KubeError, NotFound
from dpe_operator.kube.events import EventRecorder
from dpe_operator.kube.rest import NotConfigured, RestClient, load_configuration
from dpe_operator.runtime.canary import Canary
from dpe_operator.runtime.health import Health, HealthServer
from dpe_operator.runtime.informer import OUR_KINDS, Informer
from dpe_operator.runtime.kopf_adapter import run_informer
from dpe_operator.runtime.metrics import Metrics
from dpe_operator.runtime.queue import WorkQueue
from dpe_operator.runtime.reconciler import Reconciler
from dpe_operator.runtime.settings import Settings
from dpe_operator.runtime.workers import Workers

logger = logging.getLogger(__name__)

CRDS_CURE: Final = (
    "install the CRDs: kubectl apply --server-side --force-conflicts"
    f" --field-manager={CRDS_MANAGER} -f crds/ (the Helm chart does it too)"
)


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
        Exception: a part of it failed; the process should end and be started anew.
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
        )
        informer = Informer(queue, canary=canary, metrics=metrics)
        async with HealthServer(health, metrics, port=settings.metrics_port):
            await _run_all(workers, informer, settings=settings, ready=health.ready)


async def _run_all(
    workers: Workers, informer: Informer, *, settings: Settings, ready: asyncio.Event
) -> None:
    """Run workers and informer until told to stop, or until one fails: its error is raised."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    watching = asyncio.create_task(
        run_informer(informer, namespaces=settings.watch_namespaces, ready=ready, stop=stop),
        name="informer",
    )
    stopping = asyncio.create_task(stop.wait(), name="stop")
    tasks = [*workers.start(settings.workers), watching, stopping]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        await workers.stop()
    if stopping not in done:
        for task in done:
            task.result()
    with contextlib.suppress(TimeoutError):  # a thread that does not end ends with the process
        await watching
    logger.info("ended")
