# SPDX-License-Identifier: Apache-2.0
"""Plans a ParStore: retained claims, the CronJob of the copy with its rights, the registry file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import par_sync_job_name, par_sync_name
from dpe_operator.api.par_store import ParStoreSpec
from dpe_operator.builders.claims import CLAIM
from dpe_operator.builders.context import ComponentContext
from dpe_operator.builders.par_claims import claim_name, locations, par_claims
from dpe_operator.builders.par_rights import initial_par_lease, par_lease, par_rights
from dpe_operator.builders.par_sync import on_demand_job, on_demand_metadata, sync_cron_job
from dpe_operator.builders.registry_file import registry_config_map
from dpe_operator.planning import par_status, summary
from dpe_operator.planning.acceptance import Refused, parsed, require
from dpe_operator.planning.claims import (
    claim_child,
    cluster_reads,
    state_claim_findings,
    state_reclaim_policy,
)
from dpe_operator.planning.judgement import judge_part
from dpe_operator.planning.memory import Memory
from dpe_operator.planning.objects import (
    Obj,
    Ref,
    annotations,
    controller_of,
    dig,
    digest,
    ref_of,
    uid_of,
)
from dpe_operator.planning.ownership import Sorted, own_object, prunable, sort_children
from dpe_operator.planning.par_acceptance import par_problems
from dpe_operator.planning.par_given_up import given_up
from dpe_operator.planning.par_record import Runs, is_unfinished, read_runs
from dpe_operator.planning.plan import Change, Child, Deletion, Done, Notice, Plan, Situation
from dpe_operator.planning.pod_acceptance import if_new, par_pod_problems
from dpe_operator.planning.shared import par_store_context
from dpe_operator.planning.status_limits import short

_RIGHTS: Final = ("Role", "RoleBinding", "ServiceAccount")
PRUNED_KINDS: Final = ("ConfigMap", "CronJob", "Job", *_RIGHTS)
# The Lease stays even when nothing is copied any more: it holds the results of the runs.
OBSERVED_KINDS: Final = (*PRUNED_KINDS, "Lease", CLAIM, "Pod")
RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class _OnDemand:
    """The run that an annotation asks for. `new`: its Job is to be made now. `told`: the status
    knows of it."""

    text: str
    job: Ref
    new: bool
    told: bool

    @property
    def status(self) -> Obj:
        """What the status keeps of it once its Job was made."""
        return {"text": short(self.text), "job": self.job.name}


@dataclass(frozen=True, slots=True)
class _Draft:
    """What an accepted spec comes to. `claims`: those behind the locations, whosever they are."""

    spec: ParStoreSpec
    sorted: Sorted
    memory: Memory
    made: tuple[Obj, ...]
    claims: tuple[Ref, ...]
    on_demand: _OnDemand | None


def plan_par_store(situation: Situation) -> Plan:
    """Plan a ParStore. Pure: the same situation gives the same plan."""
    verdict, draft = _judge(situation)
    runs = read_runs(situation, own_object(situation, _lease_ref(situation)))
    conditions = summary.conditions_for(situation)
    parts: list[summary.Part] = []
    if draft is not None:
        parts.append(par_status.locations_part(situation, draft.claims))
        parts += par_status.sync_parts(situation, draft.spec, runs)
    said = (part.message for part in parts[2:])
    # the result of a run is one sentence of the copy's own, without a full stop
    ready = " ".join(text if text.endswith(".") else f"{text}." for text in said)
    ready = ready or "The master is there."
    summary.summarise(conditions, verdict, parts, ready_message=ready)
    if draft is not None:
        par_status.state_findings(conditions, draft.spec, runs)
        par_status.state_apart(conditions, situation, draft.spec)
        state_claim_findings(conditions, draft.made, situation.observed)
        state_reclaim_policy(conditions, situation, draft.claims)
    status = summary.status_body(
        situation,
        conditions,
        **par_status.status_fields(
            situation, draft.spec if draft else None, runs, _on_demand_status(situation, draft)
        ),
    )
    notices = (*summary.change_notices(conditions), *par_status.run_notices(situation, runs))
    if draft is None:
        return Plan(status=status, notices=notices)
    return _carried_out(situation, draft, runs, status, notices)


def _carried_out(
    situation: Situation, draft: _Draft, runs: Runs, status: Obj, notices: tuple[Notice, ...]
) -> Plan:
    gone = given_up(situation)
    left = {deletion.ref for deletion in gone.deletions}
    complete = not draft.sorted.conflicts and not draft.sorted.leftovers
    unknown = frozenset(ref for ref in draft.claims if not situation.observed.knows(ref))
    wanted = draft.on_demand
    if wanted is not None and not wanted.new and not wanted.told:
        notices = (*notices, _asked(wanted))  # made in a round in which something else was refused
    return Plan(
        status=status,
        memory=draft.memory,
        children=tuple(child for child in draft.sorted.usable if child.ref not in left),
        complete=complete,
        deletions=(*gone.deletions, *(_unwanted(situation, draft) if complete else ())),
        changes=tuple(_no_more_runs(situation, draft)),
        notices=notices,
        requeue_after=RETRY_SECONDS
        if draft.sorted.leftovers
        else par_status.look_again(situation, draft.spec, runs, gone.look_again),
        done=_done(draft),
        unseen=draft.sorted.unseen | unknown | cluster_reads(situation, draft.claims),
    )


def _done(draft: _Draft) -> Done:
    """Return what is said of the run that was asked for once its Job was made, and not before.

    A text that the status knows asks for nothing any more.
    """
    wanted = draft.on_demand
    made = {child.ref for child in draft.sorted.usable}
    if wanted is None or not wanted.new or wanted.job not in made:
        return Done()
    return Done({"onDemand": wanted.status}, (_asked(wanted),))


def _asked(wanted: _OnDemand) -> Notice:
    text = f"one run was asked for with {wanted.text!r}: {wanted.job}"
    return Notice("Normal", "SyncRequested", text)


def _unwanted(situation: Situation, draft: _Draft) -> Iterator[Deletion]:
    """Yield what goes; a Job that still runs stays, a copy is not to be cut off for that.

    Nor are the rights that it runs with: it would have to stop when it cannot renew its Lease. Nor
    the CronJob that made it, with which Kubernetes would take the Job away.
    """
    keep = [ref_of(job) for job in situation.observed.of_kind("Job") if is_unfinished(job)]
    if keep:
        name = par_sync_name(situation.name)
        keep += [Ref(kind, situation.namespace, name) for kind in _RIGHTS]
    if (busy := _busy_cron_job(situation)) is not None:
        keep.append(ref_of(busy))
    return prunable(
        PRUNED_KINDS,
        resource=situation.resource,
        observed=situation.observed,
        keep=[*(child.ref for child in draft.sorted.usable), *keep],
    )


def _busy_cron_job(situation: Situation) -> Obj | None:
    """Return our CronJob while a run that it has made goes on."""
    name = par_sync_name(situation.name)
    found = own_object(situation, Ref("CronJob", situation.namespace, name))
    jobs = (job for job in situation.observed.of_kind("Job") if is_unfinished(job))
    made_by = {(controller_of(job) or {}).get("uid") for job in jobs}
    return found if found is not None and uid_of(found) in made_by else None


def _no_more_runs(situation: Situation, draft: _Draft) -> Iterator[Change]:
    """Suspend a CronJob that is not wanted any more and stays for its last run."""
    busy = _busy_cron_job(situation)
    if busy is None or ref_of(busy) in {child.ref for child in draft.sorted.usable}:
        return
    if draft.spec.sync is None and not dig(busy, "spec", "suspend"):
        yield Change(ref_of(busy), {"spec": {"suspend": True}})


def _lease_ref(situation: Situation) -> Ref:
    return Ref("Lease", situation.namespace, par_sync_name(situation.name))


def _judge(situation: Situation) -> tuple[summary.Verdict, _Draft | None]:
    return judge_part(
        situation,
        what="ParStore",
        make=lambda accepted: _draft(situation, accepted),
        sorted_of=lambda draft: draft.sorted,
        takes=lambda shared: {key: shared[key] for key in ("partOf", "imagePullSecrets")},
    )


def _draft(situation: Situation, accepted: Obj) -> _Draft:
    spec = parsed(ParStoreSpec, accepted["spec"])
    of_pods = if_new(situation, accepted, par_pod_problems(spec, path="spec"))
    problems = par_problems(spec, name=situation.name, path="spec")
    require([*problems, *of_pods], "NotAllowed")
    context = par_store_context(situation, accepted["shared"])
    owner = context.owner
    made = par_claims(owner, spec)
    children = [claim_child(claim, situation.observed) for claim in made]
    on_demand = None
    if spec.sync is not None:
        on_demand = _wanted_run(situation)
        children += [Child(manifest) for manifest in par_rights(owner)]
        children.append(Child(par_lease(owner), initial=initial_par_lease(owner)))
        if situation.environment.par_sync_image:
            try:
                children += _runs(situation, context, spec, on_demand)
            except ValueError as error:
                raise Refused("InvalidSpec", str(error)) from error
    if spec.registry is not None:
        children.append(Child(registry_config_map(owner, spec.registry)))
    names = [claim_name(situation.name, location) for location in locations(spec)]
    return _Draft(
        spec,
        sort_children(children, resource=situation.resource, observed=situation.observed),
        Memory(accepted),
        tuple(made),
        tuple(Ref(CLAIM, situation.namespace, name) for name in names if name),
        on_demand,
    )


def _runs(
    situation: Situation,
    context: ComponentContext,
    spec: ParStoreSpec,
    on_demand: _OnDemand | None,
) -> Iterator[Child]:
    adopt = annotations(situation.resource).get(constants.ANNOTATION_ADOPT_PAR, "")
    image = situation.environment.par_sync_image
    cron_job = sync_cron_job(context, spec, image=image, adopt=adopt)
    yield Child(cron_job)
    if on_demand is not None and (on_demand.new or own_object(situation, on_demand.job)):
        about = {"text": on_demand.text, "text_hash": _hash(on_demand.text)}
        yield Child(
            on_demand_metadata(context.owner, **about),
            initial=on_demand_job(context.owner, cron_job, **about),
        )


def _wanted_run(situation: Situation) -> _OnDemand | None:
    """Return the run that the annotation asks for; each text asks once.

    The Job is named by the text, so that it is made once even if the status could not be written;
    the status remembers the text, so that it is not made again when the Job has been deleted.
    """
    text = annotations(situation.resource).get(constants.ANNOTATION_SYNC_NOW, "").strip()
    if not text:
        return None
    job = Ref("Job", situation.namespace, par_sync_job_name(situation.name, _hash(text)))
    done = dig(situation.resource, "status", "onDemand", "job") == job.name
    new = not done and own_object(situation, job) is None
    return _OnDemand(text, job, new=new, told=done)


def _hash(text: str) -> str:
    return digest(text)[:8]


def _on_demand_status(situation: Situation, draft: _Draft | None) -> Obj | None:
    """Return what is known of the latest run that was asked for and made."""
    before: Obj | None = dig(situation.resource, "status", "onDemand")
    wanted = draft.on_demand if draft is not None else None
    return before if wanted is None or wanted.new else wanted.status
