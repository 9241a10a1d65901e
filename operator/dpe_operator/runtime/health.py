# SPDX-License-Identifier: Apache-2.0
"""Whether the operator is well, and the HTTP side: /livez, /readyz and /metrics.

Only what a restart cures is a problem: a blind informer, or a worker that hangs. An API server that
is away is none: a restarted operator would not find it either. No probe of kubelet asks for /livez,
since a pod that stands by does not listen there; `watchdog` acts on the problems.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web

from dpe_operator.runtime.canary import Canary
from dpe_operator.runtime.metrics import Metrics

# Every request has a time limit, so a reconcile that takes this long hangs.
STUCK_SECONDS: Final = 600.0


class Unwell(Exception):
    """The process must end and be started anew; the message says why."""


@dataclass(slots=True)
class Health:
    """What the watchdog and the probes look at."""

    canary: Canary
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    working_since: dict[int, float] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic

    def begin(self, worker: int) -> None:
        """A worker has begun a reconcile."""
        self.working_since[worker] = self.clock()

    def end(self, worker: int) -> None:
        """It has ended it."""
        self.working_since.pop(worker, None)

    def start_again(self) -> None:
        """Count all time limits from now on: until now nothing could go on."""
        self.canary.start_again()
        self.working_since = dict.fromkeys(self.working_since, self.clock())

    def problems(self) -> list[str]:
        """Return why the process should be restarted; empty: it is well."""
        found = []
        if not self.canary.alive:
            seconds = self.canary.silent_for()
            found.append(f"watch streams are silent: a change read {seconds:.0f} s ago never came")
        longest = max((self.clock() - at for at in self.working_since.values()), default=0.0)
        if longest > STUCK_SECONDS:
            found.append(f"a reconcile has been running for {longest:.0f} s")
        return found


def build_app(health: Health, metrics: Metrics) -> web.Application:
    """Return the web application."""

    async def livez(_: web.Request) -> web.Response:
        found = health.problems()
        return web.Response(status=500 if found else 200, text="; ".join(found) or "ok")

    async def readyz(_: web.Request) -> web.Response:
        ready = health.ready.is_set()
        text = "ok" if ready else "the first listing is not done yet"
        return web.Response(status=200 if ready else 503, text=text)

    async def show(_: web.Request) -> web.Response:
        return web.Response(
            body=metrics.render(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.add_routes(
        [web.get("/livez", livez), web.get("/readyz", readyz), web.get("/metrics", show)]
    )
    return app


class HealthServer:
    """Serves the application on all addresses of the pod; use as an async context manager."""

    def __init__(self, health: Health, metrics: Metrics, *, port: int) -> None:
        self._runner = web.AppRunner(build_app(health, metrics), access_log=None)
        self._port = port
        self.port = port

    async def __aenter__(self) -> "HealthServer":
        await self._runner.setup()
        site = web.TCPSite(self._runner, port=self._port, shutdown_timeout=0.5)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()
