# SPDX-License-Identifier: Apache-2.0
"""Workflow and job service: each function is the work of one transaction on the core database."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dpe_simulator.database import Session
from dpe_simulator.ledger import Scribe
from dpe_simulator.titles import Title

# A job that a processor reports as failed is given out again until it has failed this often.
MAX_FAILURES = 3
# The type under which the activities of workflows wait for a worker. They are kept like jobs.
ACTIVITY = "workflow-activity"
# A job waits until all that comes before it in its workflow is finished.
_CLAIMABLE = (
    "(state = 'scheduled' OR (state = 'running' AND lease_until < clock_timestamp()))"
    " AND NOT EXISTS (SELECT FROM dpe_jobs AS former"
    " WHERE former.workflow_id = dpe_jobs.workflow_id"
    " AND former.stage < dpe_jobs.stage AND former.state <> 'finished')"
)
Author = Mapping[str, Any]


@dataclass(frozen=True)
class NewJob:
    """A job to be made: its type and how many seconds it takes."""

    type: str
    seconds: float


@dataclass(frozen=True)
class NewWorkflow:
    """A workflow instance to be made.

    activities: seconds of each; workers carry them out one after the other, before the jobs.
    request_id, author, attempt: the client's, who asked for what reason, and which attempt of that
        request it was; for the ledger only.
    """

    type: str
    title: Title
    jobs: tuple[NewJob, ...]
    request_id: str | None
    activities: tuple[float, ...] = ()
    author: Author | None = None
    attempt: str | None = None


def create_workflow(
    session: Session, new: NewWorkflow, *, scribe: Scribe
) -> tuple[bool, dict[str, Any]]:
    """Make an instance with its jobs, unless the title rule refuses it.

    Returns:
        (True, the instance), or (False, the scheduled or running one that has the type and title).
    """
    workflow_id = _one(session.execute("SELECT nextval('dpe_workflows_id_seq')").fetchone())[0]
    title = new.title.expand({"guid": str(uuid.uuid4()), "id": str(workflow_id)})
    made = session.execute(
        "INSERT INTO dpe_workflows (id, type, title, checked, request_id, created_by)"
        " VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING id",
        (workflow_id, new.type, title, new.title.checked, new.request_id, scribe.identity.process),
    ).fetchone()
    if made is None:
        found = find_workflows(session, type=new.type, title=title)
        running = [one for one in found if one["state"] in ("scheduled", "running")]
        there = running[-1] if running else {}
        scribe.effect(
            session, "workflow-refused", subject=f"workflow:{there.get('id', '?')}", title=title,
            by=new.author, requestId=new.request_id, attempt=new.attempt,
        )  # fmt: skip
        return False, there
    _insert_jobs(session, workflow_id, new)
    scribe.effect(
        session, "workflow-created", subject=f"workflow:{workflow_id}", title=title, by=new.author,
        requestId=new.request_id, attempt=new.attempt,
    )  # fmt: skip
    if not new.jobs and not new.activities:
        _settle_workflow(session, workflow_id, scribe)
    return True, get_workflow(session, workflow_id)


def _insert_jobs(session: Session, workflow_id: int, new: NewWorkflow) -> None:
    activities = [NewJob(ACTIVITY, seconds) for seconds in new.activities]
    staged = [*enumerate(activities), *((len(activities), job) for job in new.jobs)]
    for stage, job in staged:
        session.execute(
            "INSERT INTO dpe_jobs (workflow_id, type, seconds, stage) VALUES (%s, %s, %s, %s)",
            (workflow_id, job.type, job.seconds, stage),
        )


def get_workflow(session: Session, workflow_id: int) -> dict[str, Any]:
    """Return an instance with its jobs; {} when there is none."""
    rows = session.execute(
        "SELECT id, type, title, state, request_id FROM dpe_workflows WHERE id = %s", (workflow_id,)
    ).fetchall()
    return _described(session, rows)[0] if rows else {}


def find_workflows(session: Session, *, type: str, title: str) -> list[dict[str, Any]]:
    """Return every instance of a type and title, oldest first."""
    rows = session.execute(
        "SELECT id, type, title, state, request_id FROM dpe_workflows"
        " WHERE type = %s AND title = %s ORDER BY id",
        (type, title),
    ).fetchall()
    return _described(session, rows)


def _described(session: Session, rows: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
    jobs: dict[int, list[dict[str, Any]]] = {row[0]: [] for row in rows}
    activities: dict[int, list[dict[str, Any]]] = {row[0]: [] for row in rows}
    for workflow_id, *job in session.execute(
        "SELECT workflow_id, id, type, state, attempt FROM dpe_jobs"
        " WHERE workflow_id = ANY(%s) ORDER BY id",
        (list(jobs),),
    ):
        kept = activities if job[1] == ACTIVITY else jobs
        kept[workflow_id].append(dict(zip(("id", "type", "state", "attempt"), job, strict=True)))
    names = ("id", "type", "title", "state", "requestId")
    return [
        dict(zip(names, row, strict=True))
        | {"activities": activities[row[0]], "jobs": jobs[row[0]]}
        for row in rows
    ]


def register_processor(session: Session, processor: str, *, type: str, quota: int) -> None:
    """Note a processor, or that it is back."""
    session.execute(
        "INSERT INTO dpe_processors (id, type, quota) VALUES (%s, %s, %s)"
        " ON CONFLICT (id) DO UPDATE"
        " SET type = excluded.type, quota = excluded.quota, seen_at = clock_timestamp()",
        (processor, type, quota),
    )


def job_waits(session: Session, type: str) -> bool:
    """Whether a job of the type could be claimed now."""
    row = session.execute(
        f"SELECT EXISTS (SELECT FROM dpe_jobs WHERE type = %s AND {_CLAIMABLE})",
        (type,),
    ).fetchone()
    return bool(_one(row)[0])


def claim_job(
    session: Session, processor: str, *, type: str, lease_seconds: float, scribe: Scribe,
    author: Author | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Give the oldest open job of a type to a processor; {} when there is none.

    A running job whose lease ran out (its processor died or was cut off) counts as open.
    """
    row = session.execute(
        "SELECT id, workflow_id, seconds, attempt, state, claimed_by FROM dpe_jobs"
        f" WHERE type = %s AND {_CLAIMABLE} ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED",
        (type,),
    ).fetchone()
    session.execute(
        "UPDATE dpe_processors SET seen_at = clock_timestamp() WHERE id = %s", (processor,)
    )
    if row is None:
        return {}
    job_id, workflow_id, seconds, attempt, state, before = row
    session.execute(
        "UPDATE dpe_jobs SET state = 'running', attempt = attempt + 1, claimed_by = %s,"
        " lease_until = clock_timestamp() + make_interval(secs => %s) WHERE id = %s",
        (processor, lease_seconds, job_id),
    )
    session.execute(
        "UPDATE dpe_workflows SET state = 'running' WHERE id = %s AND state = 'scheduled'",
        (workflow_id,),
    )
    scribe.effect(
        session, "job-claimed", subject=f"job:{job_id}", attempt=attempt + 1, processor=processor,
        takenFrom=before if state == "running" else None, by=author,
    )  # fmt: skip
    return {
        "id": job_id, "workflow": workflow_id, "type": type, "seconds": seconds,
        "attempt": attempt + 1, "leaseSeconds": lease_seconds,
    }  # fmt: skip


def renew_job(session: Session, job_id: int, *, attempt: int, lease_seconds: float) -> bool:
    """Prolong a processor's hold on a job; False when it is no longer its own."""
    return session.execute(
        "UPDATE dpe_jobs SET lease_until = clock_timestamp() + make_interval(secs => %s)"
        " WHERE id = %s AND attempt = %s AND state = 'running'",
        (lease_seconds, job_id, attempt),
    ).rowcount == 1  # fmt: skip


def end_job(
    session: Session, job_id: int, *, attempt: int, failed: bool, scribe: Scribe,
    author: Author | None = None,
) -> set[str] | None:  # fmt: skip
    """Note that a job is done or has failed.

    Returns:
        The types of the jobs of its workflow that may be claimed now; None when the job has gone
        to another processor. Said twice for the same attempt (an answer was lost), it changes
        nothing.
    """
    # The workflow's row first: of two jobs that end at once one must see the other's end.
    found = session.execute("SELECT workflow_id FROM dpe_jobs WHERE id = %s", (job_id,)).fetchone()
    if found is None:
        return None
    session.execute("SELECT FROM dpe_workflows WHERE id = %s FOR UPDATE", found)
    row = session.execute(
        "SELECT state, attempt, failures FROM dpe_jobs WHERE id = %s FOR UPDATE", (job_id,)
    ).fetchone()
    state, current, failures = _one(row)
    if current != attempt:
        return None
    if state != "running":
        return set()
    again = failed and failures + 1 < MAX_FAILURES
    after = "scheduled" if again else "failed" if failed else "finished"
    session.execute(
        "UPDATE dpe_jobs SET state = %s, failures = failures + %s, lease_until = NULL,"
        " ended_at = CASE WHEN %s THEN NULL ELSE clock_timestamp() END WHERE id = %s",
        (after, int(failed), again, job_id),
    )
    scribe.effect(session, f"job-{after}", subject=f"job:{job_id}", attempt=attempt, by=author)
    _settle_workflow(session, found[0], scribe)
    rows = session.execute(
        f"SELECT DISTINCT type FROM dpe_jobs WHERE workflow_id = %s AND {_CLAIMABLE}", found
    ).fetchall()
    return {row[0] for row in rows}


def _settle_workflow(session: Session, workflow_id: int, scribe: Scribe) -> None:
    session.execute(  # what can never begin, because something before it has failed
        "UPDATE dpe_jobs SET state = 'failed', ended_at = clock_timestamp()"
        " WHERE workflow_id = %s AND state = 'scheduled' AND EXISTS (SELECT FROM dpe_jobs AS former"
        " WHERE former.workflow_id = dpe_jobs.workflow_id AND former.stage < dpe_jobs.stage"
        " AND former.state = 'failed')",
        (workflow_id,),
    )
    row = session.execute(
        "SELECT count(*) FILTER (WHERE state IN ('scheduled', 'running')),"
        " count(*) FILTER (WHERE state = 'failed') FROM dpe_jobs WHERE workflow_id = %s",
        (workflow_id,),
    ).fetchone()
    still_open, failed = _one(row)
    if still_open:
        return
    state = "failed" if failed else "finished"
    session.execute(
        "UPDATE dpe_workflows SET state = %s, ended_at = clock_timestamp() WHERE id = %s",
        (state, workflow_id),
    )
    scribe.effect(session, f"workflow-{state}", subject=f"workflow:{workflow_id}")


def _one(row: tuple[Any, ...] | None) -> tuple[Any, ...]:
    assert row is not None, "this query always gives one row"
    return row
