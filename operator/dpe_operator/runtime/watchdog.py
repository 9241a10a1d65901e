# SPDX-License-Identifier: Apache-2.0
"""Has the process ended when a restart would cure it; the elector then hands over to the other pod.

Two things could look like a fault of the process and are none, so time limits begin anew after
them: the API server was away, or the process stood still (a frozen machine).

What keeps the event loop busy for good keeps this watchdog from looking too. A timer in a thread of
the interpreter's own sees that: it writes where every thread is, and ends the process.
"""

import asyncio
import faulthandler
import sys
import time
from collections.abc import Callable
from typing import Final

from dpe_operator.kube.client import KubeClient
from dpe_operator.kube.errors import Forbidden, KubeError, NotFound
from dpe_operator.planning.objects import uid_of
from dpe_operator.runtime.health import Health, Unwell

LOOK_SECONDS: Final = 10.0
# A pause that took so many times as long was no pause: the process stood still.
_STOOD_STILL: Final = 3.0
# Nothing keeps the event loop for more than parts of a second. Far longer than a Lease: a machine
# that stood still for so long has a new holder, so this operator is ended anyway.
BLOCKED_SECONDS: Final = 120.0


async def watch_over(
    health: Health,
    client: KubeClient,
    *,
    pause: float = LOOK_SECONDS,
    blocked: float = BLOCKED_SECONDS,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Look at `health` every `pause` seconds until something is wrong with it.

    Ends the process, with status 1, when it could not look for `blocked` seconds.

    Raises:
        Unwell: the process should be started anew.
    """
    try:
        await _look(health, client, pause=pause, blocked=blocked, clock=clock)
    finally:
        faulthandler.cancel_dump_traceback_later()


async def _look(
    health: Health,
    client: KubeClient,
    *,
    pause: float,
    blocked: float,
    clock: Callable[[], float],
) -> None:
    while True:
        faulthandler.dump_traceback_later(blocked, exit=True, file=sys.stderr.fileno())
        before = clock()
        await asyncio.sleep(pause)
        if clock() - before > _STOOD_STILL * pause:
            health.start_again()
        if health.canary.silent_for() >= pause:
            await _ask(health, client)
        if found := health.problems():
            raise Unwell("; ".join(found))


async def _ask(health: Health, client: KubeClient) -> None:
    """Ask the API server for what has been awaited longest: only what it has can come."""
    awaited = health.canary.oldest()
    if awaited is None:
        return
    try:
        live = await client.get(awaited.ref)
    except (NotFound, Forbidden):
        health.canary.forget(awaited.uid)
    except KubeError:  # the streams need some time too when it is back
        health.canary.start_again()
    else:
        if uid_of(live) != awaited.uid:
            health.canary.forget(awaited.uid)
