# SPDX-License-Identifier: Apache-2.0
"""A content database with one table of entries, what watches it, and the truth about its changes.

``dpe_changes`` is an instrument, no part of DPE: a trigger notes every change there, so that the
checker knows what the watchers should have seen.
"""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import psycopg
from psycopg import sql

from dpe_simulator.changes import Change, Seen
from dpe_simulator.database import Database, DatabaseUnavailable, Session
from dpe_simulator.watcher import SourceUnavailable

# Any number: those who start at once make the tables one after the other.
_LOCK = 2_718_281
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
_READ_SECONDS = 5.0
_CHANGES = """
CREATE TABLE IF NOT EXISTS dpe_changes (
    id bigserial PRIMARY KEY,
    source text NOT NULL,
    subject text NOT NULL,
    event text NOT NULL CHECK (event IN ('Created', 'Updated', 'Deleted')),
    version text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp()
);
"""
_VERSION = "to_char({} AT TIME ZONE 'UTC', 'YYYYMMDDHH24MISSUS')"
_ENTRIES = f"""
CREATE TABLE IF NOT EXISTS {{table}} (
    id bigserial PRIMARY KEY,
    updated timestamptz NOT NULL DEFAULT clock_timestamp(),
    deleted boolean NOT NULL DEFAULT false
);
CREATE OR REPLACE FUNCTION {{function}}() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE event text := 'Updated';
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF NOT OLD.deleted THEN
            INSERT INTO dpe_changes (source, subject, event, version)
            VALUES (TG_TABLE_NAME, OLD.id, 'Deleted', {_VERSION.format("OLD.updated")});
        END IF;
        RETURN OLD;
    END IF;
    NEW.updated := clock_timestamp();
    IF NEW.deleted THEN event := 'Deleted';
    ELSIF TG_OP = 'INSERT' OR OLD.deleted THEN event := 'Created';
    END IF;
    INSERT INTO dpe_changes (source, subject, event, version)
    VALUES (TG_TABLE_NAME, NEW.id, event, {_VERSION.format("NEW.updated")});
    RETURN NEW;
END $$;
CREATE OR REPLACE TRIGGER {{trigger}} BEFORE INSERT OR UPDATE OR DELETE ON {{table}}
    FOR EACH ROW EXECUTE FUNCTION {{function}}();
"""


def check_table_name(table: str) -> None:
    """Make sure that a table name is plain.

    Raises:
        ValueError: it is not.
    """
    if not _NAME.fullmatch(table):
        raise ValueError(f"--table: {table!r} must be a plain name such as dpe_entries")


def create_changes(session: Session) -> None:
    """Make the table of changes where it is missing; safe for several at the same time."""
    session.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    session.execute(_CHANGES)


def create_entries(session: Session, *, table: str) -> None:
    """Make the tables where they are missing; safe for several at the same time."""
    create_changes(session)
    there = session.execute("SELECT to_regclass(%s)", (table,)).fetchone()
    if there and there[0]:
        return
    names = {
        "table": sql.Identifier(table), "function": sql.Identifier(f"{table}_change"),
        "trigger": sql.Identifier(f"{table}_change"),
    }  # fmt: skip
    session.execute(sql.SQL(_ENTRIES).format(**names))


class TableSource:
    """The entries of one table."""

    def __init__(self, database: Database, *, table: str, table_id: str, alias: str) -> None:
        self.name = table
        self.constants: Mapping[str, str] = {"tableid": table_id, "tablealias": alias}
        self._database = database
        self._ready = False

    async def read(self) -> list[Seen]:
        """Return all entries."""
        work = partial(_read, table=self.name, create=not self._ready)
        try:
            found = await self._database.run(work, within=_READ_SECONDS)
        except (DatabaseUnavailable, psycopg.Error) as problem:
            raise SourceUnavailable(str(problem).strip()) from problem
        self._ready = True
        return found

    def values(self, change: Change) -> dict[str, str]:
        """%event%, %entryid% and, while there is a row, %entry.X% for each column X."""
        return {**change.values, "event": change.event, "entryid": change.subject}


def _read(session: Session, *, table: str, create: bool) -> list[Seen]:
    if create:
        create_entries(session, table=table)
    version = sql.SQL(_VERSION.format("updated"))
    query = sql.SQL("SELECT id::text, {}, deleted, to_jsonb(t) FROM {} AS t ORDER BY t.id")
    rows = session.execute(query.format(version, sql.Identifier(table))).fetchall()
    return [Seen(number, seen, deleted, _values(row)) for number, seen, deleted, row in rows]


def _values(row: Mapping[str, Any]) -> dict[str, str]:
    return {f"entry.{name}".lower(): str(value) for name, value in row.items()}


def note_changes(session: Session, source: str, changes: Sequence[Change]) -> None:
    """Note changes that no trigger sees, such as those of files."""
    create_changes(session)
    for change in changes:
        session.execute(
            "INSERT INTO dpe_changes (source, subject, event, version) VALUES (%s, %s, %s, %s)",
            (source, change.subject, change.event, change.version),
        )


def change_entries(
    session: Session, *, table: str, add: int, update: int, delete: int
) -> dict[str, list[int]]:
    """Update and delete the oldest entries that are alive, no entry both, and add new ones.

    Returns:
        The numbers of the entries: added, updated, deleted; fewer where there are not enough.
    """
    create_entries(session, table=table)
    name = sql.Identifier(table)
    alive = [
        row[0]
        for row in session.execute(
            sql.SQL("SELECT id FROM {} WHERE NOT deleted ORDER BY updated, id LIMIT %s").format(
                name
            ),
            (update + delete,),
        )
    ]
    done = {"added": [], "updated": alive[:update], "deleted": alive[update:]}
    for column, numbers in (("updated", done["updated"]), ("deleted", done["deleted"])):
        value = "clock_timestamp()" if column == "updated" else "true"
        change = sql.SQL("UPDATE {} SET {} = {} WHERE id = %s").format(
            name, sql.Identifier(column), sql.SQL(value)
        )
        for number in numbers:
            session.execute(change, (number,))
    for _ in range(add):
        row = session.execute(
            sql.SQL("INSERT INTO {} DEFAULT VALUES RETURNING id").format(name)
        ).fetchone()
        assert row is not None
        done["added"].append(row[0])
    return done
