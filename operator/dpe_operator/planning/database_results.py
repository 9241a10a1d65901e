# SPDX-License-Identifier: Apache-2.0
"""What the checks of a site's databases have found: read from finished pods, kept in the status.

The pod's termination message is gone with the pod, so the status of the DpeCluster keeps the latest
result, and what it was a result of: for other references than today's it says nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.builders.database_check import CONTAINER, CheckedReference
from dpe_operator.database_check.report import Report, Seen, decode
from dpe_operator.planning.conditions import timestamp
from dpe_operator.planning.objects import (
    Obj,
    Ref,
    condition,
    controller_of,
    dig,
    digest,
    is_terminating,
    moment,
    ref_of,
    uid_of,
)
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.plan import Situation
from dpe_operator.planning.workloads import pod_trouble

_JOB: Final = "Job"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Result:
    """What was seen of today's references, in their order, when, by which Job, and for which key:
    after a wish to look anew it still counts, and is not what was wished for."""

    at: datetime
    report: Report
    job: str
    key: str

    def to_status(self, references: Sequence[CheckedReference]) -> Obj:
        """Return what the status keeps."""
        status: Obj = {
            "referencesHash": self.key,
            "checkedAt": timestamp(self.at),
            "job": self.job,
            "references": [
                _entry(asked, seen)
                for asked, seen in zip(references, self.report.seen, strict=True)
            ],
        }
        if self.report.likeness is not None:
            status["likeness"] = self.report.likeness
        return status

    @property
    def is_complete(self) -> bool:
        """Whether every Secret and every key was there."""
        return all(seen.found and not seen.missing for seen in self.report.seen)


def _entry(asked: CheckedReference, seen: Seen) -> Obj:
    entry: Obj = {"name": asked.name, "found": seen.found, "finding": seen.code}
    keys = [asked.reference.keys[number] for number in seen.missing]
    return {**entry, "missing": keys} if keys else entry


@dataclass(frozen=True, slots=True)
class Attempt:
    """The latest Job for today's references. `ended` None: it runs, or waits for something.

    `trouble`: why it does not get on, or why it has ended without a result.
    """

    ref: Ref
    ended: datetime | None
    trouble: str

    def is_under_way(self, result: Result | None) -> bool:
        """Whether its result is still to come; `result` is the latest of all."""
        return self.ended is None and (result is None or result.job != self.ref.name)

    def has_failed(self, result: Result | None) -> bool:
        """Whether it has ended without a result; `result` is the latest of all."""
        return self.ended is not None and (result is None or result.job != self.ref.name)


def check_key(references: Sequence[CheckedReference], wish: str) -> str:
    """Return what tells a look from others: a digest of the references, and one of the wish.

    Args:
        references: what is looked at.
        wish: the value of the annotation by which users ask for a look; empty: none.
    """
    asked = [[entry.name, entry.secret, entry.reference.to_data()] for entry in references]
    return f"{digest(asked)}-{digest(wish)[:6]}" if wish else digest(asked)


def _same_references(key: object, other: str) -> bool:
    return str(key).partition("-")[0] == other.partition("-")[0]


def kept_result(
    situation: Situation, references: Sequence[CheckedReference], key: str
) -> Result | None:
    """Return the result that the status keeps, None if it is one of other references."""
    kept = dig(situation.resource, "status", "databases", default={})
    entries = {str(entry.get("name")): entry for entry in kept.get("references", [])}
    at = moment(kept.get("checkedAt"))
    if not _same_references(kept.get("referencesHash"), key) or at is None:
        return None
    if set(entries) != {asked.name for asked in references}:
        return None
    seen = tuple(_seen(asked, entries[asked.name]) for asked in references)
    report = Report(seen, kept.get("likeness"))
    return Result(at, report, str(kept.get("job")), str(kept.get("referencesHash")))


def _seen(asked: CheckedReference, entry: Mapping[str, Any]) -> Seen:
    keys = asked.reference.keys
    missing = tuple(keys.index(key) for key in entry.get("missing", []) if key in keys)
    return Seen(bool(entry.get("found")), missing, str(entry.get("finding")))


def check_jobs(situation: Situation, key: str) -> list[Obj]:
    """Return our Jobs for today's references, the oldest first."""
    found = [
        job
        for job in situation.observed.of_kind(_JOB)
        if _same_references(key_of(job), key)
        and own_object(situation, ref_of(job)) is not None
        and not is_terminating(job)
    ]
    return sorted(found, key=_made)


def key_of(job: Mapping[str, Any]) -> str:
    """Return the key that a Job was made for."""
    return str(dig(job, "metadata", "labels", constants.LABEL_REFERENCES_HASH, default=""))


def _made(job: Mapping[str, Any]) -> tuple[datetime, str]:
    made = moment(dig(job, "metadata", "creationTimestamp"))
    return made or _EPOCH, job["metadata"]["name"]


def new_result(
    situation: Situation, jobs: Sequence[Obj], references: Sequence[CheckedReference]
) -> Result | None:
    """Return the latest result of pods that have ended, None without any."""
    found = [
        result
        for job in jobs
        for pod in _pods(situation, job)
        for result in _results(pod, references, job)
    ]
    return max(found, key=lambda result: result.at, default=None)


def _pods(situation: Situation, job: Obj) -> list[Obj]:
    """Pods of the very Job: a label alone may be anybody's."""
    pods = situation.observed.pods(constants.COMPONENT_DATABASE_CHECK)
    return [pod for pod in pods if (controller_of(pod) or {}).get("uid") == uid_of(job)]


def _results(pod: Obj, references: Sequence[CheckedReference], job: Obj) -> Iterator[Result]:
    for status in dig(pod, "status", "containerStatuses", default=[]):
        ended = dig(status, "state", "terminated")
        if status.get("name") != CONTAINER or ended is None or ended.get("exitCode") != 0:
            continue
        report = decode(str(ended.get("message", "")))
        at = moment(ended.get("finishedAt"))
        if report is not None and at is not None and _fits(report, references):
            yield Result(at, report, job["metadata"]["name"], key_of(job))


def _fits(report: Report, references: Sequence[CheckedReference]) -> bool:
    return len(report.seen) == len(references) and all(
        all(number < len(asked.reference.keys) for number in seen.missing)
        for asked, seen in zip(references, report.seen, strict=True)
    )


def latest_attempt(situation: Situation, jobs: Sequence[Obj]) -> Attempt | None:
    """Say how the latest Job stands."""
    if not jobs:
        return None
    job = jobs[-1]
    for kind in ("Failed", "Complete"):
        found = condition(job, kind) or {}
        if found.get("status") == "True":
            ended = moment(found.get("lastTransitionTime")) or _made(job)[0]
            return Attempt(ref_of(job), ended, _why(kind, found))
    troubles = [trouble.text for pod in _pods(situation, job) if (trouble := pod_trouble(pod))]
    return Attempt(ref_of(job), None, "; ".join(troubles))


def _why(kind: str, found: Mapping[str, Any]) -> str:
    if kind == "Complete":
        return "it ended, and its pod was gone before its result was read"
    return f"it failed: {found.get('message') or found.get('reason') or 'no reason is given'}"
