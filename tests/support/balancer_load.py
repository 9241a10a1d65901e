# SPDX-License-Identifier: Apache-2.0
"""Clients of the balancer as a station has them: concurrent, keep-alive, TLS, one of them slow."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """One request: which client, when it was sent and ended, who answered (None: it failed)."""

    client: int
    sent: float
    ended: float
    member: str | None
    why: str = ""


@dataclass(frozen=True)
class Figures:
    """What the clients of one phase saw. `gap`: the longest time, in seconds, in which a client
    that asks all the time had no answer. `worst`: most failures of one client; `lost`: requests
    that failed and whose first retry failed as well."""

    answered: Counter[str]
    failed: int
    worst: int
    lost: int
    gap: float
    reasons: Counter[str]

    def __str__(self) -> str:
        counts = " ".join(f"{name}={count}" for name, count in sorted(self.answered.items()))
        why = f" {dict(self.reasons)}" if self.reasons else ""
        return f"{counts} failed={self.failed} lost={self.lost} gap={self.gap * 1000:.0f} ms{why}"


class Load:
    """`clients` threads that ask until `stop`; number 0 is slow (0.6 s a request)."""

    def __init__(
        self, port: Callable[[], int], context: ssl.SSLContext | None, clients: int = 9
    ) -> None:
        self._port = port
        self._context = context
        self._answers: list[Answer] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=(number,), daemon=True)
            for number in range(clients)
        ]
        for thread in self._threads:
            thread.start()

    def _connection(self) -> http.client.HTTPConnection:
        if self._context is None:
            return http.client.HTTPConnection("localhost", self._port(), timeout=5)
        return http.client.HTTPSConnection(
            "localhost", self._port(), timeout=5, context=self._context
        )

    def _ask(self, number: int) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            sent = time.monotonic()
            member, why = None, ""
            try:
                connection = connection or self._connection()
                connection.request("GET", "/slow" if number == 0 else "/")
                response = connection.getresponse()
                closing = response.will_close
                body = response.read().decode()
                if response.status == 200:
                    member = body
                else:
                    why = str(response.status)
                if closing:  # a new connection may be routed elsewhere
                    connection = None
            except (OSError, http.client.HTTPException) as wrong:
                why = type(wrong).__name__
                if connection is not None:
                    connection.close()
                connection = None
            with self._lock:
                self._answers.append(Answer(number, sent, time.monotonic(), member, why))
            self._stop.wait(0.02)
        if connection is not None:
            connection.close()

    def stop(self) -> None:
        """End the clients."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def between(self, begin: float, end: float | None = None) -> Figures:
        """What was seen of requests that ended after `begin` and were sent before `end`."""
        with self._lock:
            answers = list(self._answers)
        end = time.monotonic() if end is None else end
        chosen = [item for item in answers if item.ended >= begin and item.sent < end]
        failures = Counter(item.client for item in chosen if item.member is None)
        gap, lost = 0.0, 0
        for client in {item.client for item in chosen}:
            own = [item for item in chosen if item.client == client]
            good = [item.ended for item in own if item.member is not None]
            if client != 0:
                edges = [begin, *good, end]
                gap = max(gap, *(later - earlier for earlier, later in itertools.pairwise(edges)))
            lost += sum(
                1
                for first, second in itertools.pairwise(own)
                if first.member is None and second.member is None
            )
        return Figures(
            answered=Counter(item.member for item in chosen if item.member is not None),
            failed=sum(failures.values()),
            worst=max(failures.values(), default=0),
            lost=lost,
            gap=gap,
            reasons=Counter(item.why for item in chosen if item.why),
        )

    def after(self, begin: float) -> Figures:
        """What was seen of requests that were sent after `begin`."""
        with self._lock:
            return_now = list(self._answers)
        sent = [item for item in return_now if item.sent >= begin]
        return Figures(
            answered=Counter(item.member for item in sent if item.member is not None),
            failed=sum(1 for item in sent if item.member is None),
            worst=0,
            lost=0,
            gap=0.0,
            reasons=Counter(item.why for item in sent if item.why),
        )


@contextlib.contextmanager
def load(
    port: Callable[[], int], context: ssl.SSLContext | None, *, wait: bool = True
) -> Iterator[Load]:
    """Nine clients, warmed up unless `wait` is False, for the time of a `with`."""
    clients = Load(port, context)
    try:
        deadline = time.monotonic() + 10
        # every client has its connection and an answer before anything is broken
        while wait and len({item.client for item in list(clients._answers) if item.member}) < 9:
            assert time.monotonic() < deadline, "the clients got no answers"
            time.sleep(0.05)
        yield clients
    finally:
        clients.stop()
