# SPDX-License-Identifier: Apache-2.0
"""Plans a DpeServer: two members, the redundant balancer, and the switches between the members."""

from collections.abc import Iterator
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_name
from dpe_operator.builders.balancer_ports import has_balancer
from dpe_operator.planning import summary
from dpe_operator.planning.accounts import refused_balancer
from dpe_operator.planning.judgement import judge, without_cluster
from dpe_operator.planning.member_services import balancers_run
from dpe_operator.planning.objects import Obj, Ref, dig, ref_of, uid_of
from dpe_operator.planning.ownership import Sorted, own_object, prunable, sort_children
from dpe_operator.planning.pair_findings import (
    calm_in,
    pair_finding_notices,
    state_pair_findings,
)
from dpe_operator.planning.plan import Change, Deletion, Notice, Plan, Situation
from dpe_operator.planning.record import LISTEN_SECONDS
from dpe_operator.planning.rollout import STOPPED_SECONDS
from dpe_operator.planning.server_draft import ServerDraft, draft_server
from dpe_operator.planning.server_status import (
    hopeless_in,
    pair_fields,
    pair_parts,
    ready_message,
    switch_notices,
)
from dpe_operator.planning.shared import shared_of
from dpe_operator.planning.workloads import workload_state

PRUNED_KINDS: Final = (
    "Deployment",
    "PodDisruptionBudget",
    "EndpointSlice",
    "Service",
    "Lease",
    "ConfigMap",
    "RoleBinding",
    "Role",
    "ServiceAccount",
)
OBSERVED_KINDS: Final = (*PRUNED_KINDS, "Pod")
RETRY_SECONDS: Final = 2.0
# While a rollout waits for time to pass (a pod to settle) no event comes.
ROLLOUT_SECONDS: Final = 3.0
# Looks at a silent record only once it surely counts as silent.
SILENCE_MARGIN_SECONDS: Final = 1.0
_MIRROR: Final = "endpointslicemirroring-controller.k8s.io"


def plan_server(situation: Situation) -> Plan:
    """Plan a DpeServer. Pure: the same situation gives the same plan."""
    verdict, made = _judge(situation)
    conditions = summary.conditions_for(situation)
    if made is None:
        summary.summarise(conditions, verdict, [], ready_message="")
        notices = summary.change_notices(conditions)
        return Plan(status=summary.status_body(situation, conditions), notices=tuple(notices))
    draft, found = made
    foreign = list(_foreign(situation)) if has_balancer(draft.spec) else []
    summary.summarise(
        conditions,
        verdict,
        pair_parts(situation, draft),
        ready_message=ready_message(draft),
    )
    state_pair_findings(conditions, draft, situation.now)
    if foreign:
        text = "; ".join(f"{deletion.ref} beside the fail-over Service" for deletion in foreign)
        conditions.set(constants.CONDITION_DEGRADED, True, "ForeignEndpoints", f"removing {text}")
    notices = [
        *summary.change_notices(conditions),
        *switch_notices(situation, draft),
        *pair_finding_notices(conditions),
        *([draft.order.notice] if draft.order.notice else []),
    ]
    return _plan(
        situation,
        draft,
        found,
        status=summary.status_body(situation, conditions, **pair_fields(situation, draft)),
        notices=notices,
        first=[*foreign, *_refused(situation, draft)],
    )


def _plan(
    situation: Situation,
    draft: ServerDraft,
    found: Sorted,
    *,
    status: Obj,
    notices: list[Notice],
    first: list[Deletion],
) -> Plan:
    complete = draft.complete and not found.conflicts and not found.leftovers
    keep = [*(child.ref for child in draft.children), *draft.held]
    unwanted = [
        deletion
        for deletion in prunable(
            PRUNED_KINDS, resource=situation.resource, observed=situation.observed, keep=keep
        )
        if not _still_serves(situation, draft, deletion.ref)
    ]
    # A slice whose Service was made anew waits for the garbage collector; clients wait with it.
    stale = [
        Deletion(ref_of(obj), uid_of(obj), urgent=True)
        for obj in found.leftovers
        if obj["kind"] == "EndpointSlice"
    ]
    return Plan(
        status=status,
        memory=draft.memory,
        deletions=(*first, *stale, *(unwanted if complete else ())),
        children=found.usable,
        held=draft.held,
        complete=complete,
        changes=(_order_done(situation),) if draft.order.done else (),
        notices=tuple(notices),
        requeue_after=_requeue(situation, draft, found),
        unseen=found.unseen,
    )


def _requeue(situation: Situation, draft: ServerDraft, found: Sorted) -> float | None:
    """Return after how many seconds to look again though no event may come; None: not needed."""
    stopped = draft.rollout.stopped
    if (draft.rollout.message and not stopped) or draft.order.request or draft.balancer_held:
        return ROLLOUT_SECONDS
    if found.leftovers or not draft.complete:
        return RETRY_SECONDS
    moments = [STOPPED_SECONDS if stopped else None]
    if has_balancer(draft.spec):
        moments += [
            calm_in(draft, situation.now),
            _listen_again(situation, draft),
            hopeless_in(situation, draft),
        ]
    return min((moment for moment in moments if moment is not None), default=None)


def _listen_again(situation: Situation, draft: ServerDraft) -> float | None:
    """Return after how many seconds the balancers' record may have changed without an event."""
    record = draft.record
    if record.silent_in is None:
        return None if record.routed is None else LISTEN_SECONDS
    # Balancers that are gone fall silent without an event; what they said last must not stand.
    ref = Ref("Deployment", situation.namespace, balancer_name(situation.name))
    pods = situation.observed.pods(constants.COMPONENT_BALANCER)
    if workload_state(own_object(situation, ref), pods).rolled_out:
        return None
    return record.silent_in + SILENCE_MARGIN_SECONDS


def _refused(situation: Situation, draft: ServerDraft) -> list[Deletion]:
    """Return the balancer to replace next for its token of a former service account, if any."""
    if not has_balancer(draft.spec):
        return []
    pods = situation.observed.pods(constants.COMPONENT_BALANCER)
    account = balancer_name(situation.name)
    return refused_balancer(situation, pods, account, routed=draft.record.routed)


def _still_serves(situation: Situation, draft: ServerDraft, ref: Ref) -> bool:
    """Whether something that is no longer wanted is still in use, such as a member by clients.

    Until the balancers know the new members and one of these serves, taking the old one away would
    be an outage. Where members never share a node, a former standby makes room all the same: the
    new members may find no other node.
    """
    labels = dig(situation.observed.get(ref), "metadata", "labels", default={})
    if ref.kind == "ConfigMap":  # a balancer of the rollout before may be made anew, and reads it
        return has_balancer(draft.spec) and not _balancers_are_new(situation, draft)
    if labels.get(constants.LABEL_COMPONENT) != constants.COMPONENT_MEMBER:
        return False
    if not has_balancer(draft.spec) or ref.kind == "PodDisruptionBudget":
        return False
    record = draft.record
    served = record.active in {member.name for member in draft.spec.members}
    if not served and _makes_room(draft, labels.get(constants.LABEL_MEMBER, "")):
        return False
    known = _balancers_are_new(situation, draft) and not draft.balancer_held
    return not (served and known and record.state(record.active or "") == "Up")


def _balancers_are_new(situation: Situation, draft: ServerDraft) -> bool:
    """Whether all balancers run what is wanted now."""
    return balancers_run(situation, draft.memory.units.get(balancer_name(situation.name)))


def _makes_room(draft: ServerDraft, former: str) -> bool:
    """Whether a former member leaves before a new one serves: it is not the one that serves.

    Nor about to: while the active one is not up, a former standby that is up stays.
    """
    record = draft.record
    if draft.context.placement != "Required" or record.active in (None, former):
        return False
    return record.state(record.active or "") == "Up" or record.state(former) != "Up"


def _judge(situation: Situation) -> tuple[summary.Verdict, tuple[ServerDraft, Sorted] | None]:
    def make(accepted: Obj) -> tuple[ServerDraft, Sorted]:
        draft = draft_server(situation, accepted)
        return draft, _sorted(situation, draft)

    cluster = situation.cluster
    referenced = dig(situation.resource, "spec", "clusterRef") is not None
    if referenced and (cluster is None or cluster.spec is None):
        name = dig(situation.resource, "spec", "clusterRef", "name")
        cure = "create it, or make this pair anew without clusterRef"
        return without_cluster(situation, cluster, name, cure=cure, make=make)
    shared = shared_of(
        cluster if referenced else None,
        own_name=cluster.name if cluster else situation.name,
        namespace=situation.namespace,
    )
    wanted = {"spec": situation.resource["spec"], "shared": shared}
    missing = False if referenced else None
    return judge(situation, wanted, missing=missing, make=make, sorted_of=lambda made: made[1])


def _sorted(situation: Situation, draft: ServerDraft) -> Sorted:
    return sort_children(draft.children, resource=situation.resource, observed=situation.observed)


def _order_done(situation: Situation) -> Change:
    note = {constants.ANNOTATION_SWITCH_TO: None}
    return Change(situation.ref, {"metadata": {"annotations": note}})


# --- what others put beside the fail-over Service


def _service(situation: Situation) -> Obj | None:
    ref = Ref("Service", situation.namespace, balancer_name(situation.name))
    return own_object(situation, ref)


def _foreign(situation: Situation) -> Iterator[Deletion]:
    """Find slices of the fail-over Service that are not ours, or the Endpoints they mirror."""
    name = balancer_name(situation.name)
    if _service(situation) is None:
        return
    for obj in situation.observed.of_kind("EndpointSlice"):
        labels = dig(obj, "metadata", "labels", default={})
        if obj["metadata"]["name"] == name or labels.get(constants.LABEL_SERVICE_NAME) != name:
            continue
        if labels.get(constants.LABEL_SLICE_MANAGED_BY) == _MIRROR:
            owner = dig(obj, "metadata", "ownerReferences", 0, default={})
            ref = Ref("Endpoints", situation.namespace, name)
            yield _removal(ref, str(owner.get("uid", "")))
        else:
            yield _removal(ref_of(obj), uid_of(obj))


def _removal(ref: Ref, uid: str) -> Deletion:
    """Urgent: clients are sent past the routed balancer for as long as it stands there."""
    notice = Notice(
        "Warning",
        "ForeignEndpoints",
        f"{ref} gave the fail-over Service another address and is removed: only the"
        " routed balancer may stand there",
    )
    return Deletion(ref, uid, urgent=True, notice=notice)
