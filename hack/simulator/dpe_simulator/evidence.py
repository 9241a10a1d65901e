# SPDX-License-Identifier: Apache-2.0
"""Reads what the checker looks at: both databases with ledger and changes, and files of clients."""

import json
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from dpe_operator.prober.measure import Served
from dpe_simulator.acts import ROLES
from dpe_simulator.database import Session
from dpe_simulator.findings import ChangeSeen, EntrySeen, Evidence, JobSeen, WorkflowSeen

_WORKFLOWS = """
SELECT id, type, title, checked, state, request_id,
    extract(epoch FROM created_at)::float8, extract(epoch FROM ended_at)::float8
FROM dpe_workflows
WHERE created_at BETWEEN to_timestamp(%s::float8) AND to_timestamp(%s::float8) ORDER BY id
"""
_JOBS = """
SELECT j.id, workflow_id, j.type, j.state, attempt, extract(epoch FROM lease_until)::float8
FROM dpe_jobs j JOIN dpe_workflows w ON w.id = workflow_id
WHERE created_at BETWEEN to_timestamp(%s::float8) AND to_timestamp(%s::float8) ORDER BY j.id
"""
# Of a component that was started before the run, its first line is needed: it says what it does.
_ENTRIES = """
SELECT process, extract(epoch FROM at)::float8, extract(epoch FROM until)::float8, kind, member,
    request_id, subject, detail, role, epoch, seq
FROM dpe_ledger l
WHERE at BETWEEN to_timestamp(%s::float8) AND to_timestamp(%s::float8)
    OR kind = 'start' AND role = ANY(%s)
    AND EXISTS (SELECT FROM dpe_ledger o WHERE o.process = l.process
        AND o.at BETWEEN to_timestamp(%s::float8) AND to_timestamp(%s::float8))
ORDER BY at
"""
_CHANGES = """
SELECT source, subject, event, version, extract(epoch FROM at)::float8
FROM dpe_changes WHERE at BETWEEN to_timestamp(%s::float8) AND to_timestamp(%s::float8) ORDER BY id
"""


def read_evidence(
    session: Session, *, since: float, until: float | None = None,
    client_lines: Iterable[str] = (), component_lines: Iterable[str] = (),
    changes: Sequence[ChangeSeen] | None = None,
) -> Evidence:  # fmt: skip
    """Read everything that began in the run.

    Args:
        session: a session on the core database.
        since: start of the run, in wall-clock seconds.
        until: its end; None: now.
        client_lines: JSON lines that `client --records` wrote.
        component_lines: lines that a component's `--records` wrote; others between are skipped.
        changes: what `read_changes` gave.

    Raises:
        ValueError: when a client line is not JSON.
    """
    end = time.time() if until is None else until
    run = (since, math.inf if until is None else until)
    session.rollback()  # what was read before, with this session, was of another moment
    with session.transaction():
        # one moment for all: a workflow that ends between two looks would seem to hang
        session.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        workflows = [WorkflowSeen(*row) for row in session.execute(_WORKFLOWS, run)]
        jobs = [JobSeen(*row) for row in session.execute(_JOBS, run)]
        found = {
            (row[0], row[-1]): EntrySeen(*row[:-1])
            for row in session.execute(_ENTRIES, (*run, list(ROLES), *run))
        }
    for key, entry in _of_components(component_lines):
        if run[0] <= entry.at <= run[1] or key[0] in {process for process, _ in found}:
            found.setdefault(key, entry)
    clients = [json.loads(line) for line in client_lines if line.strip()]
    return Evidence(
        workflows, jobs, sorted(found.values(), key=lambda entry: entry.at), end,
        accepted=tuple((one["type"], one["workflow"]) for one in clients if "workflow" in one),
        client_served=tuple(_served(clients)), changes=changes, since=since,
    )  # fmt: skip


def read_changes(session: Session, *, since: float, until: float | None = None) -> list[ChangeSeen]:
    """Read what happened to entries and files, from the content database."""
    there = session.execute("SELECT to_regclass('dpe_changes')").fetchone()
    if there is None or there[0] is None:
        return []
    run = (since, math.inf if until is None else until)
    return [ChangeSeen(*row) for row in session.execute(_CHANGES, run)]


def _of_components(lines: Iterable[str]) -> Iterable[tuple[tuple[str, int], EntrySeen]]:
    """Lines of the ledger in the log of a component, which holds other lines too."""
    for text in lines:
        try:
            # A node that was cut off in the middle of a line leaves half of it.
            line = json.loads(text)
            key = (str(line["process"]), int(line["seq"]))
            entry = EntrySeen(
                line["process"], line["at"], line["until"], line["kind"], line["member"], None,
                line["subject"], line["detail"], line["role"], line["epoch"],
            )  # fmt: skip
        except (ValueError, KeyError, TypeError):
            continue
        yield key, entry


def _served(lines: Iterable[dict[str, Any]]) -> Iterable[Served]:
    for line in lines:
        if line.get("ok") and line.get("member"):
            yield Served(float(line["sentAt"]), float(line["doneAt"]), str(line["member"]))


def read_lines(paths: Iterable[Path]) -> list[str]:
    """Read the lines of several files.

    Raises:
        OSError: when one cannot be read.
    """
    return [line for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
