# SPDX-License-Identifier: Apache-2.0
"""Tables of the stand-in for DpeCoreDb, made by whichever server starts first."""

from dpe_simulator.database import Row, Session

# Any number, the same in every server: two that start at once make the tables one after the other.
_LOCK = 3_141_592
_TABLES = """
CREATE TABLE IF NOT EXISTS dpe_workflows (
    id bigserial PRIMARY KEY,
    type text NOT NULL,
    title text NOT NULL,
    checked boolean NOT NULL,
    state text NOT NULL DEFAULT 'scheduled'
        CHECK (state IN ('scheduled', 'running', 'finished', 'failed')),
    request_id text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by text NOT NULL,
    ended_at timestamptz
);
-- The title rule: at most one scheduled or running instance of a type and title.
CREATE UNIQUE INDEX IF NOT EXISTS dpe_workflows_title ON dpe_workflows (type, title)
    WHERE checked AND state IN ('scheduled', 'running');
CREATE TABLE IF NOT EXISTS dpe_jobs (
    id bigserial PRIMARY KEY,
    workflow_id bigint NOT NULL REFERENCES dpe_workflows (id) ON DELETE CASCADE,
    type text NOT NULL,
    seconds double precision NOT NULL,
    state text NOT NULL DEFAULT 'scheduled'
        CHECK (state IN ('scheduled', 'running', 'finished', 'failed')),
    attempt integer NOT NULL DEFAULT 0,
    failures integer NOT NULL DEFAULT 0,
    claimed_by text,
    lease_until timestamptz,
    ended_at timestamptz,
    stage integer NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS dpe_jobs_open ON dpe_jobs (type, id)
    WHERE state IN ('scheduled', 'running');
CREATE INDEX IF NOT EXISTS dpe_jobs_workflow ON dpe_jobs (workflow_id);
CREATE TABLE IF NOT EXISTS dpe_processors (
    id text PRIMARY KEY,
    type text NOT NULL,
    quota integer NOT NULL,
    registered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TABLE IF NOT EXISTS dpe_ledger (
    process text NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    until timestamptz,
    role text NOT NULL,
    kind text NOT NULL,
    member text,
    epoch bigint,
    request_id text,
    subject text,
    detail jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (process, seq)
);
CREATE INDEX IF NOT EXISTS dpe_ledger_at ON dpe_ledger (at);
"""
# Columns that tables of an earlier version lack: table, column, definition.
_LATER_COLUMNS = (("dpe_jobs", "stage", "integer NOT NULL DEFAULT 0"),)


def create_tables(session: Session) -> None:
    """Make the tables that are missing; safe when several servers do it at the same time."""
    session.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
    session.execute(_TABLES)
    for table, column, definition in _LATER_COLUMNS:
        # Asked first: even an ALTER that finds nothing to do locks the table against everybody.
        if not _has_column(session, table, column):
            session.execute(f"ALTER TABLE {table} ADD COLUMN {column} {definition}")


def _has_column(session: Session, table: str, column: str) -> bool:
    row: Row | None = session.execute(
        "SELECT FROM pg_attribute WHERE attrelid = %s::regclass AND attname = %s"
        " AND NOT attisdropped",
        (table, column),
    ).fetchone()
    return row is not None
