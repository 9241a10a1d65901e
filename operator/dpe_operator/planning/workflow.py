# SPDX-License-Identifier: Apache-2.0
"""Plans a workflow component of any of the four kinds: WorkflowWorker, WorkflowScheduler,
WorkflowTableWatcher, WorkflowFolderWatcher."""

from typing import Final

from dpe_operator.api.addresses import workflow_name
from dpe_operator.builders.workflow import component_of
from dpe_operator.planning import summary
from dpe_operator.planning.accounts import refused_candidates
from dpe_operator.planning.claims import cluster_reads
from dpe_operator.planning.judgement import judge_part
from dpe_operator.planning.objects import Obj, Ref
from dpe_operator.planning.ownership import Sorted, prunable, sort_children
from dpe_operator.planning.plan import Deletion, Notice, Plan, Situation
from dpe_operator.planning.workflow_draft import WorkflowDraft, draft_workflow
from dpe_operator.planning.workflow_findings import finding_notices, state_findings
from dpe_operator.planning.workflow_status import (
    Look,
    component_fields,
    component_notices,
    component_parts,
    look,
    ready_message,
    requeue_after,
)

# No Lease: it goes with its resource, and keeps count of the epochs until then.
PRUNED_KINDS: Final = (
    "Deployment",
    "PodDisruptionBudget",
    "RoleBinding",
    "Role",
    "ServiceAccount",
)
OBSERVED_KINDS: Final = (*PRUNED_KINDS, "Lease", "PersistentVolumeClaim", "Pod")
RETRY_SECONDS: Final = 2.0


def plan_workflow(situation: Situation) -> Plan:
    """Plan a workflow component. Pure: the same situation gives the same plan."""
    verdict, made = _judge(situation)
    conditions = summary.conditions_for(situation)
    if made is None:
        summary.summarise(conditions, verdict, [], ready_message="")
        notices = summary.change_notices(conditions)
        return Plan(status=summary.status_body(situation, conditions), notices=tuple(notices))
    draft, found = made
    seen = look(situation, draft)
    parts = component_parts(seen)
    summary.summarise(conditions, verdict, parts, ready_message=ready_message(seen))
    state_findings(conditions, seen)
    return _plan(
        seen,
        found,
        refused=_refused(situation, draft),
        status=summary.status_body(situation, conditions, **component_fields(seen)),
        notices=[
            *summary.change_notices(conditions),
            *component_notices(seen, conditions),
            *finding_notices(conditions),
        ],
    )


def _refused(situation: Situation, draft: WorkflowDraft) -> list[Deletion]:
    """Return the candidates whose token is one of a former service account."""
    component = component_of(draft.kind)
    account = workflow_name(situation.name, component)
    pods = situation.observed.pods(component)
    return refused_candidates(situation, pods, account)


def _plan(
    seen: Look, found: Sorted, *, refused: list[Deletion], status: Obj, notices: list[Notice]
) -> Plan:
    situation, draft = seen.situation, seen.draft
    complete = not draft.changing and not found.conflicts and not found.leftovers
    keep = [*(child.ref for child in draft.children), *draft.held]
    unwanted = prunable(
        PRUNED_KINDS, resource=situation.resource, observed=situation.observed, keep=keep
    )
    waits = requeue_after(seen)
    if found.leftovers:
        waits = RETRY_SECONDS if waits is None else min(waits, RETRY_SECONDS)
    return Plan(
        status=status,
        memory=draft.memory,
        deletions=(*refused, *draft.deletions, *(_with_pods(one) for one in unwanted if complete)),
        children=found.usable,
        held=draft.held,
        complete=complete,
        notices=tuple(notices),
        requeue_after=waits,
        unseen=found.unseen | _further(situation, draft),
    )


def _with_pods(deletion: Deletion) -> Deletion:
    """A Deployment stays, as going, until its pods are gone: one can see then that they are."""
    if deletion.ref.kind != "Deployment":
        return deletion
    return Deletion(deletion.ref, deletion.uid, foreground=True)


def _further(situation: Situation, draft: WorkflowDraft) -> frozenset[Ref]:
    """Return what is looked up by name beside the children: the user's claim, volumes, classes."""
    observed = situation.observed
    claims = draft.claim_refs(situation.namespace)
    named = {ref for ref in claims if not observed.knows(ref)}
    return frozenset(named) | cluster_reads(situation, claims)


def _judge(situation: Situation) -> tuple[summary.Verdict, tuple[WorkflowDraft, Sorted] | None]:
    def make(accepted: Obj) -> tuple[WorkflowDraft, Sorted]:
        draft = draft_workflow(situation, accepted)
        return draft, _sorted(situation, draft)

    return judge_part(situation, what="resource", make=make, sorted_of=lambda made: made[1])


def _sorted(situation: Situation, draft: WorkflowDraft) -> Sorted:
    return sort_children(draft.children, resource=situation.resource, observed=situation.observed)
