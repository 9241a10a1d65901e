# SPDX-License-Identifier: Apache-2.0
"""Finds runs of the copy that nobody waits for any longer, so that the next one can begin.

A pod whose node is lost is told to end, and stays until the node says that it has. Kubernetes takes
its Job for unfinished as long, and with `concurrencyPolicy: Forbid` makes no other run: a machine
that stays away would stop every copy of the nights to come. A process that hangs in a volume, so
that not even SIGKILL ends it, does the same. Beside the next run neither does harm: who cannot
renew the Lease of the copy stops, and who hangs writes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from dpe_operator.api import constants
from dpe_operator.api.addresses import par_sync_name
from dpe_operator.planning.objects import Obj, Ref, controller_of, dig, moment, ref_of, uid_of
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.par_record import is_run, is_unfinished, job_of
from dpe_operator.planning.plan import Deletion, Notice, Situation
from dpe_operator.planning.workloads import PATIENCE, alive


@dataclass(frozen=True, slots=True)
class GivenUp:
    """Jobs that are taken away; `look_again`: when the next one may have to be."""

    deletions: tuple[Deletion, ...] = ()
    look_again: datetime | None = None


def given_up(situation: Situation) -> GivenUp:
    """Return which runs are given up: unfinished, and each pod that is left should long be gone."""
    deletions: list[Deletion] = []
    moments: list[datetime] = []
    pods = situation.observed.pods(constants.COMPONENT_PAR_SYNC)
    going_on = alive(pods)
    for job in _own_jobs(situation):
        left = [pod for pod in going_on if job_of(pod) == job["metadata"]["name"]]
        at = _overdue_at(left)
        if at is None:
            continue
        if at > situation.now:
            moments.append(at)
            continue
        notice = Notice("Warning", "RunGivenUp", _sentence(job, left))
        # urgent: there is no other run for as long as it stands there
        deletions.append(Deletion(ref_of(job), uid_of(job), urgent=True, notice=notice))
    return GivenUp(tuple(deletions), min(moments, default=None))


def _own_jobs(situation: Situation) -> Iterator[Obj]:
    """Unfinished Jobs of ours: made for an annotation, or by the CronJob."""
    name = par_sync_name(situation.name)
    cron_job = own_object(situation, Ref("CronJob", situation.namespace, name))
    owners = {uid_of(situation.resource), uid_of(cron_job)} - {""}
    for job in situation.observed.of_kind("Job"):
        owner = controller_of(job) or {}
        if is_run(job) and owner.get("uid") in owners and is_unfinished(job):
            yield job


def _overdue_at(pods: Iterable[Mapping[str, Any]]) -> datetime | None:
    """When the last of these pods is overdue; None: there is none, or one that may go on.

    Kubernetes writes into `deletionTimestamp` when a pod's time to stop is over.
    """
    ends = [moment(dig(pod, "metadata", "deletionTimestamp")) for pod in pods]
    known = [end for end in ends if end is not None]
    return max(known) + PATIENCE if known and len(known) == len(ends) else None


def _sentence(job: Mapping[str, Any], pods: Iterable[Mapping[str, Any]]) -> str:
    where = ", ".join(
        f"pod {pod['metadata']['name']} on {dig(pod, 'spec', 'nodeName', default='no node')}"
        for pod in pods
    )
    return (
        f"Job {job['metadata']['name']} was taken away, so that the next run can begin: {where} was"
        " to end and has not, so that machine is away, or the process hangs in a volume"
    )
