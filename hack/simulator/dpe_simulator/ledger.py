# SPDX-License-Identifier: Apache-2.0
"""The ledger: what every process did and when, for the checker.

Requests, starts and stops are collected and written in batches, so that no answer waits for them;
effects in the database are written in the very transaction that makes them.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from dpe_simulator.database import Database, DatabaseUnavailable, Session
from dpe_simulator.identity import Identity

_MAX_COLLECTED = 50_000
_BATCH = 1_000
_INSERT = """
INSERT INTO dpe_ledger
    (process, seq, at, until, role, kind, member, epoch, request_id, subject, detail)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True)
class Entry:
    """One line of the ledger; at and until are wall-clock seconds of the process that writes."""

    kind: str
    at: float
    until: float | None = None
    request_id: str | None = None
    subject: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


class Scribe:
    """Numbers the entries of one process; may be used by several threads."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._numbers = itertools.count(1)

    def row(self, entry: Entry) -> tuple[Any, ...]:
        """The entry as values for the table, numbered."""
        who = self.identity
        until = None if entry.until is None else _moment(entry.until)
        return (
            who.process, next(self._numbers), _moment(entry.at), until, who.role, entry.kind,
            who.member, who.epoch, entry.request_id, entry.subject, Jsonb(dict(entry.detail)),
        )  # fmt: skip

    def effect(self, session: Session, kind: str, *, subject: str, **detail: object) -> None:
        """Write an effect in the transaction that makes it."""
        session.execute(_INSERT, self.row(Entry(kind, time.time(), subject=subject, detail=detail)))


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def rows_of_others(who: Identity, entries: Iterable[Mapping[str, Any]]) -> list[tuple[Any, ...]]:
    """Turn entries that a processor sent (JSON objects with seq) into rows.

    Raises:
        KeyError, TypeError, ValueError: when an entry lacks seq, kind or at, or has wrong ones.
    """
    rows = []
    for entry in entries:
        until = entry.get("until")
        rows.append((
            who.process, int(entry["seq"]), _moment(float(entry["at"])),
            None if until is None else _moment(float(until)), who.role, str(entry["kind"]),
            who.member, who.epoch, entry.get("requestId"), entry.get("subject"),
            Jsonb(entry.get("detail", {})),
        ))  # fmt: skip
    return rows


def insert_rows(session: Session, rows: list[tuple[Any, ...]]) -> None:
    """Write rows; one that is there already (written before an answer was lost) is skipped."""
    with session.cursor() as cursor:
        cursor.executemany(_INSERT, rows)


class Ledger:
    """Collects entries and writes them in the background, in order, until the process ends."""

    def __init__(self, database: Database, scribe: Scribe, *, interval: float = 0.1) -> None:
        self.scribe = scribe
        self._database = database
        self._interval = interval
        self._rows: list[tuple[Any, ...]] = []
        self._dropped = 0

    def add(self, entry: Entry) -> None:
        """Note an entry; never waits. What exceeds the memory for it is counted as dropped."""
        if len(self._rows) >= _MAX_COLLECTED:
            self._dropped += 1
            return
        if self._dropped:
            lost, self._dropped = self._dropped, 0
            self._rows.append(
                self.scribe.row(Entry("dropped", time.time(), detail={"entries": lost}))
            )
        self._rows.append(self.scribe.row(entry))

    async def run(self) -> None:
        """Write for ever; started as a task, ended by cancelling it and one `flush`."""
        while True:
            await asyncio.sleep(self._interval)
            with contextlib.suppress(DatabaseUnavailable, psycopg.Error):
                await self.flush()

    async def flush(self) -> None:
        """Write what is collected.

        Raises:
            DatabaseUnavailable: the rows stay collected and are tried again with the next flush.
        """
        while batch := self._rows[:_BATCH]:
            await self._database.run(partial(insert_rows, rows=batch), within=5.0)
            del self._rows[: len(batch)]
