# SPDX-License-Identifier: Apache-2.0
"""Access to the core database from the event loop: a few threads, each with its own connection.

Threads, because cancelling a query of a database that does not answer can hold up an event loop for
seconds; here a request gives up at its time limit while the thread goes on waiting, and work that
was given up before it began is thrown away. A connection that breaks before COMMIT is replaced and
the work tried again; one that breaks in COMMIT is reported, since nobody can know then.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg

_T = TypeVar("_T")
Row = tuple[Any, ...]
Session = psycopg.Connection[Row]
_TRIES = 4
_PAUSE_SECONDS = 0.1
_MAX_WAITING = 500


class DatabaseUnavailable(Exception):
    """The core database did not do the work within the time limit."""


@dataclass(eq=False)
class _Work:
    function: Callable[[Session], Any]
    deadline: float
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    def settle(self, result: object, problem: BaseException | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            self.loop.call_soon_threadsafe(self._settle, result, problem)

    def _settle(self, result: object, problem: BaseException | None) -> None:
        if self.future.done():
            return
        if problem is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(problem)


def connect(dsn: str, *, name: str) -> Session:
    """Open a connection whose waiting is bounded; an empty dsn means the PG* variables of libpq."""
    return psycopg.connect(
        dsn, connect_timeout=2, application_name=name, keepalives_idle=2, keepalives_interval=1,
        keepalives_count=3, tcp_user_timeout=5000,
        options="-c statement_timeout=10s -c lock_timeout=5s"
        " -c idle_in_transaction_session_timeout=15s",
    )  # fmt: skip


class Database:
    """A few connections, used through `run`."""

    def __init__(self, dsn: str, *, name: str, connections: int) -> None:
        self._dsn = dsn
        self._name = name
        self._waiting: queue.Queue[_Work | None] = queue.Queue()
        # daemon: a thread that waits for a frozen database must not keep the process alive
        self._threads = [
            threading.Thread(target=self._worker, name=f"{name}-{number}", daemon=True)
            for number in range(connections)
        ]
        for thread in self._threads:
            thread.start()

    async def run(self, function: Callable[[Session], _T], *, within: float) -> _T:
        """Run `function` in one transaction and commit it.

        Args:
            function: gets a session; may be called again when the connection broke before COMMIT.
            within: seconds until this call gives up.

        Raises:
            DatabaseUnavailable: no answer in time, no connection, or it broke in COMMIT.
        """
        if self._waiting.qsize() > _MAX_WAITING:
            raise DatabaseUnavailable(f"{_MAX_WAITING} requests already wait for the core database")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_T] = loop.create_future()
        self._waiting.put(_Work(function, time.monotonic() + within, future, loop))
        try:
            return await asyncio.wait_for(future, within)
        except TimeoutError:
            raise DatabaseUnavailable(
                f"the core database did not answer within {within:g} s"
            ) from None

    def close(self, *, wait: float = 1.0) -> None:
        """End the threads and connections; one that is stuck is left after `wait` seconds."""
        for _ in self._threads:
            self._waiting.put(None)
        until = time.monotonic() + wait
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _worker(self) -> None:
        session: Session | None = None
        while (work := self._waiting.get()) is not None:
            if work.future.done() or time.monotonic() >= work.deadline:
                continue
            session = self._attempt(work, session)
        if session is not None:
            session.close()

    def _attempt(self, work: _Work, session: Session | None) -> Session | None:
        problem: BaseException = DatabaseUnavailable("not tried")
        for number in range(_TRIES):
            if number:
                time.sleep(
                    min(_PAUSE_SECONDS * 2**number, max(0.0, work.deadline - time.monotonic()))
                )
            if time.monotonic() >= work.deadline:
                break
            try:
                session = session or connect(self._dsn, name=self._name)
                result = work.function(session)
            except psycopg.OperationalError as broken:
                problem = DatabaseUnavailable(f"core database: {str(broken).strip()}")
                _discard(session)
                session = None
            except BaseException as own:  # whatever it is, it belongs to the caller
                work.settle(None, own)
                return _rolled_back(session)
            else:
                return _committed(work, session, result)
        work.settle(None, problem)
        return session


def _committed(work: _Work, session: Session, result: object) -> Session | None:
    try:
        session.commit()
    except psycopg.Error as broken:
        text = f"core database: the connection broke in COMMIT, the outcome is unknown: {broken}"
        work.settle(None, DatabaseUnavailable(text))
        _discard(session)
        return None
    work.settle(result, None)
    return session


def _rolled_back(session: Session | None) -> Session | None:
    try:
        if session is not None:
            session.rollback()
    except psycopg.Error:
        _discard(session)
        return None
    return session


def _discard(session: Session | None) -> None:
    if session is not None:
        with contextlib.suppress(psycopg.Error):
            session.close()
