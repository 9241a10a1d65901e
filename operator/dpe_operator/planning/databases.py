# SPDX-License-Identifier: Apache-2.0
"""Plans the checks of a site's databases, and says what they have found.

The operator reads no Secret, so it cannot see when one changes. A Job looks when the references
change, and again every hour; every few minutes while something is missing, because somebody is
waiting for it. It is a Job that the planner makes anew and not a CronJob: a CronJob would neither
look at once nor look sooner, and its result could not be read while the operator is away either.
Between two looks nothing is written.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.builders.context import ComponentContext
from dpe_operator.builders.database_check import CheckedReference, check_job, checked_references
from dpe_operator.planning.conditions import timestamp
from dpe_operator.planning.database_results import (
    Attempt,
    Result,
    check_jobs,
    check_key,
    kept_result,
    key_of,
    latest_attempt,
    new_result,
)
from dpe_operator.planning.objects import Obj, Ref, annotations, digest
from dpe_operator.planning.plan import Child, Situation
from dpe_operator.planning.shared import owner_of, with_operator_images

# While something is missing, or a look has failed.
RETRY_SECONDS: Final = 300.0
# A result is taken for true this many times as long as it should have been.
_STALE: Final = 3


@dataclass(frozen=True, slots=True)
class DatabaseChecks:
    """What is known of a site's databases, and what is to be done to know more.

    `doubt`: why the result does not count, or why there is none; empty when it counts.
    `jobs`: the Job to make now, if any. `keep`: the one that stays, because it runs or its result
    is the latest. `requeue_after` in seconds: when the next look is due.
    """

    references: tuple[CheckedReference, ...]
    result: Result | None
    doubt: str
    jobs: tuple[Child, ...] = ()
    keep: tuple[Ref, ...] = ()
    requeue_after: float | None = None

    @property
    def status(self) -> Obj | None:
        """What the status keeps of it."""
        if self.result is None:
            return None
        return self.result.to_status(self.references)


def plan_checks(situation: Situation, spec: DpeClusterSpec) -> DatabaseChecks:
    """Work out what is known, and whether it is time to look again."""
    references = checked_references(spec.databases)
    if not references:
        return DatabaseChecks((), None, "")
    wish = annotations(situation.resource).get(constants.ANNOTATION_CHECK_DATABASES, "")
    key = check_key(references, wish)
    jobs = check_jobs(situation, key)
    results = (new_result(situation, jobs, references), kept_result(situation, references, key))
    result = max((r for r in results if r is not None), key=lambda r: r.at, default=None)
    attempt = latest_attempt(situation, [job for job in jobs if key_of(job) == key])
    served = result if result is not None and result.key == key else None
    wait = _wait(situation, served, attempt)
    due = wait is not None and wait <= 0
    return DatabaseChecks(
        references,
        result,
        _doubt(situation, result, attempt),
        jobs=(_job(situation, spec, references, key, _last(served, attempt)),) if due else (),
        keep=(attempt.ref,) if attempt is not None and not due else (),
        requeue_after=None if due or wait is None else max(wait, 1.0),
    )


def _wait(situation: Situation, result: Result | None, attempt: Attempt | None) -> float | None:
    """Return the seconds until the next look is due; None: one is under way, or none can be."""
    if not situation.environment.operator_image:
        return None
    if attempt is not None and attempt.is_under_way(result):
        return None
    last = _last(result, attempt)
    if last is None:
        return 0.0
    period = situation.environment.database_check_seconds
    failed = attempt is not None and attempt.has_failed(result)
    if failed or (result is not None and not result.is_complete):
        period = min(period, RETRY_SECONDS)
    return period - (situation.now - last).total_seconds()


def _last(result: Result | None, attempt: Attempt | None) -> datetime | None:
    """Return when it was last looked, or tried; None: never at today's references."""
    if attempt is not None and attempt.has_failed(result):
        return attempt.ended
    return result.at if result else None


def _doubt(situation: Situation, result: Result | None, attempt: Attempt | None) -> str:
    """Return why nothing is known, or no longer; empty when the result holds."""
    if result is not None:
        age = (situation.now - result.at).total_seconds()
        if age <= _STALE * situation.environment.database_check_seconds:
            return ""
        last = f"what was seen at {timestamp(result.at)} is too old to count"
    else:
        last = "the Secrets have not been looked at yet"
    if not situation.environment.operator_image:
        return (
            f"{last}: the operator was not told the name of its own image, which does that"
            " (DPE_OPERATOR_OPERATOR_IMAGE)"
        )
    if attempt is None:
        return last
    if attempt.is_under_way(result):
        return f"{last}: {attempt.ref} is at it{_because(attempt)}"
    if attempt.has_failed(result):
        return f"{last}: {attempt.ref}{_because(attempt)}; another one follows"
    return last


def _because(attempt: Attempt) -> str:
    return f" ({attempt.trouble})" if attempt.trouble else ""


def _job(
    situation: Situation,
    spec: DpeClusterSpec,
    references: Sequence[CheckedReference],
    references_hash: str,
    last: datetime | None,
) -> Child:
    context = ComponentContext(
        owner=owner_of(situation, situation.name),
        image_pull_secrets=tuple(secret.name for secret in spec.image_pull_secrets),
    )
    # another name after each look, and the same one until it has happened
    after = timestamp(last) if last else ""
    return Child(
        check_job(
            with_operator_images(context, situation.environment),
            references,
            name=f"{situation.name}-database-check-{digest([references_hash, after])[:10]}",
            image=situation.environment.operator_image,
            references_hash=references_hash,
        ),
        may_fail=True,
    )
