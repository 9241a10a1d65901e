# SPDX-License-Identifier: Apache-2.0
"""One reconcile: read, plan, apply, prune, report. Knows no kopf and no queue."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from dpe_operator.api import constants
from dpe_operator.kube import apply as actions
from dpe_operator.kube.apply import Applier, Result
from dpe_operator.kube.client import KubeClient
from dpe_operator.kube.errors import ApiError, Forbidden, Invalid, KubeError, NamespaceGoing
from dpe_operator.kube.events import EventRecorder
from dpe_operator.kube.memory_store import read_memory, write_memory
from dpe_operator.kube.status import write_status
from dpe_operator.planning.cluster import plan_cluster
from dpe_operator.planning.farm import plan_farm
from dpe_operator.planning.objects import (
    Obj,
    Ref,
    controller_of,
    dig,
    is_paused,
    is_terminating,
    uid_of,
)
from dpe_operator.planning.par_store import plan_par_store
from dpe_operator.planning.par_times import moment_of
from dpe_operator.planning.plan import (
    ClusterView,
    Deletion,
    Environment,
    Notice,
    Observed,
    Plan,
    Situation,
)
from dpe_operator.planning.server import plan_server
from dpe_operator.planning.summary import APPLY_FAILED, OPERATOR_ERROR, with_failure, with_fault
from dpe_operator.planning.workflow import plan_workflow
from dpe_operator.runtime.canary import Canary
from dpe_operator.runtime.metrics import Metrics
from dpe_operator.runtime.observe import (
    get_or_none,
    look_up,
    observe,
    read_cluster,
)

logger = logging.getLogger(__name__)

PLANNERS: Final[dict[str, Callable[[Situation], Plan]]] = {
    constants.KIND_CLUSTER: plan_cluster,
    constants.KIND_SERVER: plan_server,
    constants.KIND_FARM: plan_farm,
    constants.KIND_PAR_STORE: plan_par_store,
    **dict.fromkeys(constants.WORKFLOW_KINDS, plan_workflow),
}
# There is nothing to look at any more: an event says so if the resource is made again.
GONE: Final = math.inf
# A child that is still being deleted is looked at again after this time.
WAIT_SECONDS: Final = 2.0
_LOOKS: Final = 3


class Reconciler:
    """Reconciles any of our kinds. One instance serves all workers."""

    def __init__(
        self,
        client: KubeClient,
        *,
        environment: Environment,
        recorder: EventRecorder,
        metrics: Metrics | None = None,
        canary: Canary | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._client = client
        self._environment = environment
        self._recorder = recorder
        self._metrics = metrics or Metrics()
        self._canary = canary or Canary()
        self._clock = clock
        self._applier = Applier(client)

    async def reconcile(self, key: Ref) -> float | None:
        """Bring one resource to what its spec wants.

        Returns:
            seconds after which to look again even if nothing happens, None: no need. GONE: there is
            nothing to look at; if it is made again, that is an event.

        Raises:
            KubeError: a request failed; what could be reported was.
        """
        resource = await get_or_none(self._client, key)
        if resource is None:
            self.forget(key)
            return GONE
        version = str(resource["metadata"].get("resourceVersion", ""))
        self._canary.read(key, uid_of(resource), version)
        cluster, paused = await read_cluster(self._client, resource)
        if reason := _left_alone(resource, cluster, paused=paused):
            logger.info("left alone: %s", reason)
            return None
        situation = Situation(
            resource=resource,
            observed=await observe(self._client, key),
            environment=self._environment,
            now=self._clock(),
            memory=await read_memory(self._client, key, uid=uid_of(resource)),
            cluster=cluster,
        )
        try:
            situation, plan = await self._plan(situation)
        except KubeError:
            raise
        except Exception as error:
            await self._report_fault(situation, error)
            raise
        if await self._is_going(situation, plan):
            return None
        return await self._carry_out(situation, plan)

    async def _is_going(self, situation: Situation, plan: Plan) -> bool:
        """Whether the resource was deleted while its children were read.

        The garbage collector takes children away once their owner is gone, so "not there" says
        something only if the owner was still there afterwards; without this look they would be made
        anew, with an owner that does not exist.
        """
        missing = any(situation.observed.get(child.ref) is None for child in plan.children)
        if not missing and (plan.memory is None or situation.memory is not None):
            return False
        again = await get_or_none(self._client, situation.ref)
        return again is None or is_terminating(again) or uid_of(again) != uid_of(situation.resource)

    async def _plan(self, situation: Situation) -> tuple[Situation, Plan]:
        """Plan; look up names that nobody has looked up yet, and plan again knowing them."""
        planner = PLANNERS[situation.resource["kind"]]
        plan = planner(situation)
        for _ in range(_LOOKS):
            if not plan.unseen:
                break
            observed = await look_up(self._client, situation.observed, plan.unseen)
            situation = replace(situation, observed=observed)
            plan = planner(situation)
        return situation, plan

    async def _carry_out(self, situation: Situation, plan: Plan) -> float | None:
        resource = situation.resource
        try:
            await self._remember(situation, plan)
            # Before the children: an order that was carried out must not live on, and come true a
            # second time, because some child cannot be applied.
            await actions.make_changes(self._client, plan.changes)
            results = await self._act(plan, situation.observed)
            errors = [result.error for result in results if result.error is not None]
            gone, refused = await self._delete(plan.deletions, only_urgent=bool(errors))
        except NamespaceGoing:
            logger.info("left alone: its namespace is being deleted")
            return None
        except ApiError as error:
            logger.warning("not applied: %s", error)
            gone, errors = await self._delete_urgent(plan.deletions)
            await self._report_failure(situation, plan, [error, *errors], gone)
            raise
        seen = [*_repairs(resource, results), *_refusals(results), *gone]
        if errors := [*errors, *refused]:
            await self._report_failure(situation, plan, errors, seen)
            raise errors[0]
        notices = [*plan.notices, *plan.done.notices, *seen]
        await self._report(situation, {**plan.status, **plan.done.fields}, notices)
        waiting = any(result.action == "wait" for result in results)
        moments = [plan.requeue_after] + ([WAIT_SECONDS] if waiting else [])
        return min((moment for moment in moments if moment is not None), default=None)

    async def _remember(self, situation: Situation, plan: Plan) -> None:
        before = situation.memory.to_data() if situation.memory else None
        if plan.memory is None or plan.memory.to_data() == before:
            return
        if await write_memory(self._client, situation.resource, plan.memory):
            logger.info("accepted spec remembered")

    async def _act(self, plan: Plan, observed: Observed) -> list[Result]:
        await actions.hand_over(self._client, plan.handovers)
        results = await self._applier.apply(plan.children, observed)
        for result in results:
            if result.action != "skip":
                logger.info("%s %s%s", result.action, result.ref, _why(result))
        return results

    async def _delete_urgent(
        self, deletions: Sequence[Deletion]
    ) -> tuple[list[Notice], list[ApiError]]:
        """Delete what is urgent after a failure, which is to be told whatever happens here."""
        try:
            return await self._delete(deletions, only_urgent=True)
        except KubeError as error:  # no answer, or the namespace goes: the next try will tell
            logger.warning("not deleted: %s", error)
            return [], []

    async def _delete(
        self, deletions: Sequence[Deletion], *, only_urgent: bool
    ) -> tuple[list[Notice], list[ApiError]]:
        """Delete, and return the events about it and what went wrong.

        `only_urgent`: a child was refused. Nothing is deleted then before what replaces it was
        taken; what is urgent is replaced by nothing, and its harm would last as long.
        """
        done: list[Deletion] = []
        errors: list[ApiError] = []
        wanted = [deletion for deletion in deletions if deletion.urgent or not only_urgent]
        try:
            await actions.delete_all(self._client, wanted, told=done.append)
        except NamespaceGoing:
            raise
        except ApiError as error:  # told with all that was done
            errors.append(error)
        for deletion in done:
            logger.info("deleted %s", deletion.ref)
        return [deletion.notice for deletion in done if deletion.notice is not None], errors

    async def _report_failure(
        self,
        situation: Situation,
        plan: Plan,
        errors: Sequence[ApiError],
        notices: Sequence[Notice] = (),
    ) -> None:
        """Report a plan that was not carried out; its verdict does not hold.

        What the server finds wrong, or does not allow, stays so until somebody sees to it. (A quota
        may pass by itself, but not soon.) Everything else may be gone at the next attempt.
        """
        why = "; ".join(map(str, errors))
        final = all(isinstance(error, Forbidden | Invalid) for error in errors)
        kept = [notice for notice in plan.notices if notice.reason not in ("Ready", "NotReady")]
        failed = Notice("Warning", APPLY_FAILED, why)
        status = with_failure(situation, plan.status, why, final=final)
        await self._report(situation, status, [*kept, *notices, failed])

    async def _report_fault(self, situation: Situation, error: Exception) -> None:
        """Report a fault of our own: nothing is repaired until it is gone, and what the status said
        of it must not stand. Only the kind of error is told: its text may hold what is secret."""
        why = (
            f"the operator cannot work out what is wanted ({type(error).__name__}), a fault of its"
            " own that its log describes: what runs goes on, and nobody looks after it. If it came"
            " with a change of the spec, take that back"
        )
        status = with_fault(situation, why)
        await self._report(situation, status, [Notice("Warning", OPERATOR_ERROR, why)])

    async def _report(self, situation: Situation, status: Obj, notices: Sequence[Notice]) -> None:
        await write_status(self._client, situation.resource, status)
        self._show(situation.ref, status)
        await self._recorder.record(situation.resource, notices)

    def forget(self, key: Ref) -> None:
        """Show no metrics of a resource any more: it is gone, or nobody looks after it."""
        self._show(key, {})

    def _show(self, resource: Ref, status: Obj) -> None:
        """Show the metrics of a resource; of an empty status: none any more."""
        self._metrics.show_conditions(resource, dig(status, "conditions", default=[]))
        if resource.kind == constants.KIND_PAR_STORE:
            self._metrics.show_copy(
                resource,
                result=dig(status, "lastRun", "result"),
                success=moment_of(dig(status, "lastSuccess", "finishedAt")),
            )


def _left_alone(resource: Obj, cluster: ClusterView | None, *, paused: bool) -> str | None:
    """Return why nothing is done for a resource, None: something is."""
    if is_terminating(resource):
        return "it is being deleted"
    if is_paused(resource):
        return f"paused by annotation {constants.ANNOTATION_RECONCILE}"
    if paused:
        return "paused with its DpeCluster"
    made_by = (controller_of(resource) or {}).get("kind")
    if made_by == constants.KIND_CLUSTER and cluster is not None and not cluster.exists:
        return "its DpeCluster is deleted, and so will this be"
    return None


def _why(result: Result) -> str:
    if not result.drift:
        return ""
    paths = ", ".join(difference.path for difference in result.drift[:5])
    return f": {paths} changed by {result.by or 'somebody'}"


def _repairs(resource: Obj, results: Sequence[Result]) -> list[Notice]:
    """Return events about what others had changed in our children."""
    return [
        Notice("Warning", "Repaired", _repair(resource, result))
        for result in results
        if result.drift
    ]


def _refusals(results: Sequence[Result]) -> list[Notice]:
    """Return events about what the server refused and the plan could do without."""
    return [
        Notice("Warning", "ChangeRefused", _refusal(result)) for result in results if result.refused
    ]


def _refusal(result: Result) -> str:
    outcome = "is not made" if result.action == "refused" else "stays as it is"
    return f"{result.ref} {outcome}: {result.refused}"


def _repair(resource: Obj, result: Result) -> str:
    paths = ", ".join(difference.path for difference in result.drift[:5])
    text = f"{result.ref}: {paths} was changed by {result.by or 'somebody'} and is set back"
    if any(difference.path == "spec.replicas" for difference in result.drift):
        if result.ref.kind == constants.KIND_FARM:
            return (
                f"{text}; processors[].replicas of DpeCluster {resource['metadata']['name']} is"
                " enforced: change it there, or leave it out there to scale the farm by hand"
            )
        if resource["kind"] == constants.KIND_FARM:
            name = resource["metadata"]["name"]
            return f"{text}; scale ProcessorFarm {name} instead, the Deployment follows it"
    return text
