# SPDX-License-Identifier: Apache-2.0
"""Reads how the runs of the copy ended: their Lease, their Jobs, their pods.

A run writes its result into the Lease, which outlives it and needs no operator. Where it could not
(no API server, no rights, no pod at all), the pod's last message or the Job say what is known.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.builders.par_sync import CONTAINER, EXIT_LOCKED
from dpe_operator.planning.conditions import shortened
from dpe_operator.planning.objects import Obj, annotations, condition, dig, from_json
from dpe_operator.planning.par_times import moment_of
from dpe_operator.planning.plan import Situation
from dpe_operator.planning.status_limits import is_count, short
from dpe_operator.planning.workloads import SLOW_START, Trouble, pod_trouble

_TEXTS: Final = ("startedAt", "finishedAt", "result", "reason", "message", "job")
_NUMBERS: Final = ("files", "bytes", "copied", "deleted", "deferred")
_NAMES: Final = ("divergent", "overwritten", "skipped")
_JOB_LABEL: Final = "batch.kubernetes.io/job-name"


@dataclass(frozen=True, slots=True)
class Runs:
    """What is known of the runs. `last`, `success`: as in the status; None: no such run yet.

    `lost`: the newest Job that failed without a result of its own, with the Job's words.
    """

    last: Obj | None = None
    success: Obj | None = None
    lost: Obj | None = None
    running: str | None = None
    troubles: tuple[Trouble, ...] = ()
    look_again: datetime | None = None

    @property
    def divergent(self) -> tuple[int, str] | None:
        """How many edited files are on the redundant side, and some names; None: not known."""
        for run in (self.last, self.success):
            found = some_files(run, "divergent")
            if run is not None and (run.get("result") == "Succeeded" or found[0]):
                return found
        return None


def some_files(run: Obj | None, field: str) -> tuple[int, str]:
    """Return how many files a run tells of, and the first names."""
    count = int(dig(run, field, "count", default=0))
    return count, ", ".join(dig(run, field, "names", default=[])[:3])


def read_runs(situation: Situation, lease: Mapping[str, Any] | None) -> Runs:
    """Read all that is known of the runs of a ParStore."""
    notes = annotations(lease)
    pods = situation.observed.pods(constants.COMPONENT_PAR_SYNC)
    results = [_result(notes.get(constants.ANNOTATION_PAR_RESULT)), *map(_last_message, pods)]
    good = [run for run in results if run and run["result"] == "Succeeded"]
    good.append(_result(notes.get(constants.ANNOTATION_PAR_LAST_SUCCESS)) or {})
    last, success = _newest(results), _newest(good)
    jobs = [job for job in situation.observed.of_kind("Job") if is_run(job)]
    active = [job for job in jobs if is_unfinished(job)]
    troubles, look_again = _starting(situation, active, pods)
    return Runs(
        last=last,
        success=success,
        lost=_lost(jobs, pods, last),
        running=active[-1]["metadata"]["name"] if active else None,
        troubles=troubles,
        look_again=look_again,
    )


def is_run(job: Obj) -> bool:
    """Whether a Job is a run of a copy, whoever made it."""
    component = dig(job, "metadata", "labels", constants.LABEL_COMPONENT)
    return bool(component == constants.COMPONENT_PAR_SYNC)


def _newest(found: Iterable[Obj | None]) -> Obj | None:
    known = [run for run in found if run]
    return max(known, key=lambda run: str(run["finishedAt"]), default=None)


def _result(text: str | None) -> Obj | None:
    """Read a result; what does not fit into the status is left out, None: it is no result."""
    found = from_json(text)
    if not isinstance(found, dict) or moment_of(found.get("finishedAt")) is None:
        return None
    run: Obj = {key: short(found[key]) for key in _TEXTS if found.get(key)}
    if found.get("message"):
        run["message"] = shortened(str(found["message"]))
    run |= {key: found[key] for key in _NUMBERS if is_count(found.get(key))}
    run |= {key: _names(found[key]) for key in _NAMES if is_count(dig(found, key, "count"))}
    if isinstance(found.get("verified"), bool):
        run["verified"] = found["verified"]
    warnings = found.get("warnings")
    if isinstance(warnings, list) and warnings:
        run["warnings"] = [short(text) for text in warnings[:5]]
    run.setdefault("result", "Failed")
    return run


def _names(found: Mapping[str, Any]) -> Obj:
    names = found.get("names")
    listed = [short(name) for name in names[:20]] if isinstance(names, list) else []
    return {"count": found["count"], **({"names": listed} if listed else {})}


def _last_message(pod: Mapping[str, Any]) -> Obj | None:
    """Return the result that a pod has left in its termination message."""
    return _result(_terminated(pod).get("message"))


def _terminated(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return how the container of the run has ended; empty while it has not."""
    for status in dig(pod, "status", "containerStatuses", default=[]):
        if status.get("name") == CONTAINER:
            found: Mapping[str, Any] = dig(status, "state", "terminated", default={})
            return found
    return {}


def job_of(pod: Mapping[str, Any]) -> str:
    """Return the name of the Job that a pod belongs to; empty: to none."""
    return str(dig(pod, "metadata", "labels", _JOB_LABEL, default=""))


def is_unfinished(job: Mapping[str, Any]) -> bool:
    """Whether a Job still runs, or waits to."""
    return _ended(job) is None


def _ended(job: Mapping[str, Any]) -> Obj | None:
    """Return the condition by which a Job has ended; None: it has not."""
    for kind in ("Complete", "Failed"):
        found = condition(job, kind)
        if found and found.get("status") == "True":
            return found
    return None


def _lost(jobs: Iterable[Obj], pods: Iterable[Obj], last: Obj | None) -> Obj | None:
    """Find the newest Job that failed later than the last result, and not with it."""
    found: Obj | None = None
    locked = {job_of(pod) for pod in pods if _terminated(pod).get("exitCode") == EXIT_LOCKED}
    for job in jobs:
        ended = _ended(job) or {}
        name, at = job["metadata"]["name"], moment_of(ended.get("lastTransitionTime"))
        if ended.get("type") != "Failed" or at is None or name == dig(last, "job"):
            continue
        known = moment_of(dig(found or last, "finishedAt"))
        if known is None or at > known:
            found = {
                "job": name,
                "finishedAt": ended["lastTransitionTime"],
                "result": "Failed",
                "reason": "Locked" if name in locked else short(ended.get("reason", "JobFailed")),
                "message": "it gave up waiting for another run, which held the lock"
                if name in locked
                else short(ended.get("message", "")),
            }
    return found


def _starting(
    situation: Situation, active: Iterable[Obj], pods: Iterable[Obj]
) -> tuple[tuple[Trouble, ...], datetime | None]:
    """Explain why pods of unfinished Jobs do not start, and say when to look at them again."""
    names = {job["metadata"]["name"] for job in active}
    troubles: list[Trouble] = []
    moments: list[datetime] = []
    for pod in pods:
        if job_of(pod) not in names:
            continue
        if dig(pod, "status", "phase", default="Pending") != "Pending":
            continue
        made = moment_of(dig(pod, "metadata", "creationTimestamp")) or situation.now
        found = _trouble(pod)
        if found.hard or made + SLOW_START <= situation.now:
            troubles.append(found)
        else:
            moments.append(made + SLOW_START)
    return tuple(troubles), min(moments, default=None)


def _trouble(pod: Mapping[str, Any]) -> Trouble:
    name = pod["metadata"]["name"]
    scheduled = condition(pod, "PodScheduled") or {}
    if scheduled.get("status") == "False":
        why = scheduled.get("message", scheduled.get("reason", ""))
        return Trouble(
            f"pod {name} finds no node: {why} (both locations must be mountable there)", hard=True
        )
    found = pod_trouble(pod)
    if found is not None and found.hard:
        return found
    return Trouble(f"pod {name} does not start: kubectl describe pod {name} says why", hard=False)
