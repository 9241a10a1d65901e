# SPDX-License-Identifier: Apache-2.0
"""The process of a simulated DPE Server: start, serve, end without losing a request."""

import asyncio
import contextlib
import os
import signal
import time
from dataclasses import dataclass
from functools import partial

import psycopg

from dpe_simulator import schema
from dpe_simulator.bell import Bell
from dpe_simulator.database import Database, DatabaseUnavailable, Session
from dpe_simulator.health import Health
from dpe_simulator.http_server import HttpServer, server_tls
from dpe_simulator.identity import Identity
from dpe_simulator.ledger import Entry, Ledger, Scribe
from dpe_simulator.log import say
from dpe_simulator.routes import Routes, RouteSettings

_ACTING_HOURS = 6.0


@dataclass(frozen=True)
class ServerSettings:
    """Settings of a server; times in seconds."""

    member: str
    dsn: str
    host: str
    port: int
    certificate: str | None
    key: str | None
    health_bound: float
    drain: float
    grace: float
    connections: int
    ledger_hours: float
    routes: RouteSettings


class _Databases:
    """Three sets of connections, so that neither work nor ledger delays the health check."""

    def __init__(self, settings: ServerSettings) -> None:
        name = f"dpe-server-{settings.member}"
        self.core = Database(settings.dsn, name=name, connections=settings.connections)
        self.health = Database(settings.dsn, name=f"{name}-health", connections=1)
        self.ledger = Database(settings.dsn, name=f"{name}-ledger", connections=1)

    def close(self) -> None:
        for database in (self.core, self.health, self.ledger):
            database.close(wait=0.5)


async def run_server(settings: ServerSettings) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit status, 1 when requests had to be cut off.

    Raises:
        OSError: when the port is taken or the certificate cannot be read.
    """
    tls = server_tls(settings.certificate, settings.key or "") if settings.certificate else None
    stop = _stop_on_signals()
    databases = _Databases(settings)
    scribe = Scribe(Identity.here("server", member=settings.member, environment=os.environ))
    ledger = Ledger(databases.ledger, scribe)
    bell = Bell()
    routes = Routes(
        settings.routes, core=databases.core, ledger=ledger, bell=bell,
        health=Health(databases.health, bound=settings.health_bound),
    )  # fmt: skip
    server = HttpServer(routes.handle, tls=tls)
    # Without its tables the database is no core database yet, so the port opens after them.
    if not await _make_tables(databases.core, stop):
        databases.close()
        return 0
    port = await server.listen(settings.host, settings.port)
    ledger.add(Entry("start", time.time(), detail={"port": port}))
    say(f"server {settings.member} listens on {settings.host}:{port} as {scribe.identity.process}")
    background = [
        asyncio.create_task(ledger.run()),
        asyncio.create_task(_trim(databases.ledger, settings)),
    ]
    await stop.wait()
    say(f"server {settings.member} stops: requests in flight are finished")
    bell.close()
    clean = await server.drain(serve_for=settings.drain, grace=settings.grace)
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    ledger.add(Entry("stop", time.time(), detail={"clean": clean}))
    with contextlib.suppress(DatabaseUnavailable, psycopg.Error):
        await ledger.flush()
    databases.close()
    return 0 if clean else 1


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def _make_tables(core: Database, stop: asyncio.Event) -> bool:
    """Wait for the database for as long as it takes; False when the server is to stop before."""
    pause, said = 0.1, ""
    while not stop.is_set():
        try:
            await core.run(schema.create_tables, within=5.0)
        except DatabaseUnavailable as problem:
            if str(problem) != said:
                said = str(problem)
                say(f"waiting for the core database: {said}")
        else:
            return True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
        pause = min(pause * 2, 2.0)
    return False


async def _trim(database: Database, settings: ServerSettings) -> None:
    """Keep the ledger of a demo that runs for weeks from filling the disk."""
    while True:
        with contextlib.suppress(DatabaseUnavailable, psycopg.Error):
            await database.run(partial(_forget, hours=settings.ledger_hours), within=10.0)
        await asyncio.sleep(600)


def _forget(session: Session, hours: float) -> None:
    """Delete what is old; proofs of life, of which there are many, earlier."""
    session.execute(
        "DELETE FROM dpe_ledger WHERE at < clock_timestamp() - make_interval(secs => %s)"
        " OR kind = 'acting' AND at < clock_timestamp() - make_interval(secs => %s)",
        (hours * 3600, min(hours, _ACTING_HOURS) * 3600),
    )
