# SPDX-License-Identifier: Apache-2.0
"""What an accepted spec of a workflow component comes to: all children, in the order of the hour.

In a change of mode nothing that acts is made before the last pod of the other mode is gone. The
rights of the candidates stay until then, or they could not give the Lease back. The Lease itself
stays for good: its epoch counts on when the mode is changed back.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import workflow_member_name, workflow_name
from dpe_operator.api.kinds import kind_named
from dpe_operator.api.workflow import WorkflowTemplate
from dpe_operator.builders.context import ComponentContext
from dpe_operator.builders.databases import database_volumes
from dpe_operator.builders.workflow import (
    component_of,
    members_of,
    workflow_claims,
    workflow_deployments,
    workflow_lease,
    workflow_pdb,
    workflow_rights,
)
from dpe_operator.builders.workflow_parts import is_standby, mode_label
from dpe_operator.planning.acceptance import Refused, parsed, require
from dpe_operator.planning.claims import claim_child
from dpe_operator.planning.memory import Memory, Unit
from dpe_operator.planning.objects import Obj, Ref, annotations, dig, ref_of, uid_of
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.plan import Child, Deletion, Situation
from dpe_operator.planning.pod_acceptance import if_new, pod_problems
from dpe_operator.planning.shared import workflow_context
from dpe_operator.planning.templates import Choice, Rendered, choose, remember, with_unit
from dpe_operator.planning.workflow_change import Steps, mode_of, plan_members
from dpe_operator.planning.workflow_members import member_views
from dpe_operator.planning.workflow_problems import workflow_problems
from dpe_operator.planning.workflow_schedules import declared_schedules
from dpe_operator.planning.workloads import alive, workload_state

_STANDBY: Final = "standby"
_PASSED_ON: Final = (constants.ANNOTATION_ACCEPT_MEMORY_LOSS, constants.ANNOTATION_ADOPT_MEMORY)
_CONDITIONAL: Final = ("Deployment", "PodDisruptionBudget", "RoleBinding", "Role", "ServiceAccount")


@dataclass(frozen=True, slots=True)
class WorkflowDraft:
    """Children and decisions for one accepted spec of a workflow component.

    `changing`: why nothing that acts is made now, because pods of the other mode are left; empty
    otherwise. `steps`: the order of Concurrent members. `claims`: as wanted. `deletions`: what has
    to go before the rest can come.
    """

    kind: str
    spec: WorkflowTemplate
    schedules: tuple[str, ...]
    children: tuple[Child, ...]
    held: frozenset[Ref]
    deletions: tuple[Deletion, ...]
    memory: Memory
    outdated: tuple[str, ...]
    claims: tuple[Obj, ...]
    steps: Steps
    changing: str = ""

    @property
    def standby(self) -> bool:
        """Whether one acts and the others stand by."""
        return is_standby(self.spec)

    @property
    def members(self) -> tuple[int, ...]:
        """The numbers of Concurrent members that differ from each other."""
        return members_of(self.kind, self.spec)

    def claim_refs(self, namespace: str) -> tuple[Ref, ...]:
        """The claims in use, those of the user too."""
        found = [ref_of(claim) for claim in self.claims]
        named = getattr(getattr(self.spec, "memory", None), "claim_name", None)
        return (*found, *([Ref("PersistentVolumeClaim", namespace, named)] if named else []))


def read_spec(kind: str, raw: Mapping[str, object]) -> WorkflowTemplate:
    """Read the spec of a component.

    Raises:
        Refused: it does not fit.
    """
    spec = parsed(kind_named(kind).spec, raw)
    assert isinstance(spec, WorkflowTemplate), "all four kinds are made from it"
    return spec


def draft_workflow(situation: Situation, accepted: Obj) -> WorkflowDraft:
    """Work out everything about a component from an accepted (or candidate) spec.

    Raises:
        Refused: the spec cannot be accepted.
    """
    kind = str(situation.resource["kind"])
    spec = read_spec(kind, accepted["spec"])
    context = _context(situation, spec, accepted["shared"])
    of_pods = if_new(situation, accepted, pod_problems(spec, path="spec"))
    require([*_problems(kind, spec, context, accepted["shared"]), *of_pods], "NotAllowed")
    try:
        choice = _choose(situation, kind, accepted)
        return _assemble(situation, kind, spec, context, accepted, choice)
    except Refused:
        raise
    except ValueError as error:
        raise Refused("InvalidSpec", str(error)) from error


def _context(
    situation: Situation, spec: WorkflowTemplate, shared: Mapping[str, object]
) -> ComponentContext:
    """Return the context; candidates also pull the elector's image, with the operator's log-in."""
    context = workflow_context(situation, spec, shared)
    if not is_standby(spec):
        return context
    secrets = (*context.image_pull_secrets, *situation.environment.image_pull_secrets)
    return replace(context, image_pull_secrets=tuple(dict.fromkeys(secrets)))


def _problems(
    kind: str, spec: WorkflowTemplate, context: ComponentContext, shared: Mapping[str, object]
) -> list[str]:
    assert context.clients is not None, "workflow_context always gives a profile"
    hosts: Sequence[object] = shared.get("hosts") or ()  # type: ignore[assignment]
    return list(
        workflow_problems(
            spec,
            kind=kind,
            path="spec",
            clients=context.clients,
            hosts=[str(host) for host in hosts],
            service_root=context.service_root or "",
            site_volumes=(
                *context.shared_volumes,
                *context.par_volumes,
                *database_volumes(context.databases, member=None),
            ),
        )
    )


# --- templates


def _deployments(
    situation: Situation, kind: str, spec: WorkflowTemplate, context: ComponentContext
) -> list[Obj]:
    environment = situation.environment
    return workflow_deployments(
        context,
        kind,
        spec,
        schedules=declared_schedules(spec),
        elector_image=environment.elector_image,
        elector_pull_policy=environment.image_pull_policy,
    )


def _choose(situation: Situation, kind: str, inputs: Obj) -> Choice:
    def render(some: Obj) -> Mapping[str, Rendered]:
        spec = read_spec(kind, some["spec"])
        made = _deployments(situation, kind, spec, _context(situation, spec, some["shared"]))
        return {
            deployment["metadata"]["name"]: Rendered(deployment["spec"]["template"], {})
            for deployment in made
        }

    notes = annotations(situation.resource)
    return choose(
        render(inputs),
        inputs=inputs,
        memory=situation.memory,
        render=render,
        approved=notes.get(constants.ANNOTATION_APPROVE_UPGRADE) == "true",
    )


# --- children


def _assemble(
    situation: Situation,
    kind: str,
    spec: WorkflowTemplate,
    context: ComponentContext,
    accepted: Obj,
    choice: Choice,
) -> WorkflowDraft:
    claims = workflow_claims(context, kind, spec)
    children = [claim_child(claim, situation.observed) for claim in claims]
    former, changing = _other_mode(situation, kind, spec)
    units: Mapping[str, Unit] = situation.memory.units if situation.memory else {}
    steps = Steps()
    held = frozenset(_lease_ref(situation, kind))
    deletions: list[Deletion] = former
    if changing:
        held |= {ref_of(obj) for other in _CONDITIONAL for obj in situation.observed.of_kind(other)}
    else:
        accounts = _accounts_in_use(situation, kind)
        held |= {Ref("ServiceAccount", situation.namespace, account) for account in accounts}
        children += _beside(situation, kind, spec, context, accounts)
        made = _deployments(situation, kind, spec, context)
        views = member_views(situation, kind, spec, made, choice.units)
        steps = plan_members(views)
        found, units, held_now = _acting(situation, kind, made, choice, steps)
        children += found
        held |= held_now
        deletions = _taken_away(situation, kind, steps)
    return WorkflowDraft(
        kind=kind,
        spec=spec,
        schedules=declared_schedules(spec),
        children=tuple(children),
        held=held,
        deletions=tuple(deletions),
        memory=remember(accepted, inputs=accepted, units=units, before=situation.memory),
        outdated=() if changing else choice.outdated,
        claims=tuple(claims),
        steps=steps,
        changing=changing,
    )


def _other_mode(
    situation: Situation, kind: str, spec: WorkflowTemplate
) -> tuple[list[Deletion], str]:
    """Return the Deployments of the other mode, which go, and why one has to wait for them."""
    wanted = mode_label(spec)
    observed = situation.observed
    deployments = [
        obj
        for obj in observed.of_kind("Deployment")
        if mode_of(dig(obj, "spec", "template", "metadata", "labels")) not in (wanted, None)
    ]
    pods = [
        pod["metadata"]["name"]
        for pod in alive(observed.pods(component_of(kind)))
        if mode_of(dig(pod, "metadata", "labels")) not in (wanted, None)
    ]
    left = [*(str(ref_of(obj)) for obj in deployments), *(f"pod {name}" for name in pods)]
    if not left:
        return [], ""
    own = uid_of(situation.resource)
    going = [
        Deletion(ref_of(obj), uid_of(obj), foreground=True)
        for obj in deployments
        if dig(obj, "metadata", "deletionTimestamp") is None
        and any(owner.get("uid") == own for owner in dig(obj, "metadata", "ownerReferences") or ())
    ]
    return going, (
        f"changing to mode {spec.mode}: nothing is started before what ran in the other mode is"
        f" gone ({', '.join(left[:4])})"
    )


def _lease_ref(situation: Situation, kind: str) -> list[Ref]:
    return [Ref("Lease", situation.namespace, workflow_name(situation.name, component_of(kind)))]


def _accounts_in_use(situation: Situation, kind: str) -> frozenset[str]:
    """Return the accounts that candidates run under, or may until all of them are new ones.

    While a Deployment replaces them it may make one of the former kind anew: without the account
    that we made for it, it could not, and nobody would act if the new one is mistyped.
    """
    own = workflow_name(situation.name, component_of(kind))
    live = situation.observed.get(Ref("Deployment", situation.namespace, own))
    specs = [
        dig(pod, "spec")
        for pod in alive(situation.observed.pods(component_of(kind)))
        if mode_of(dig(pod, "metadata", "labels")) == _STANDBY
    ]
    specs.append(dig(live, "spec", "template", "spec"))
    found = {dig(spec, "serviceAccountName") for spec in specs} - {None, ""}
    account = Ref("ServiceAccount", situation.namespace, own)
    if workload_state(live, ()).updating and own_object(situation, account) is not None:
        found.add(own)
    return frozenset(map(str, found))


def _beside(
    situation: Situation,
    kind: str,
    spec: WorkflowTemplate,
    context: ComponentContext,
    accounts: Collection[str],
) -> list[Child]:
    """Return the children that are no Deployments and no claims."""
    rights = workflow_rights(context, kind, spec, former=accounts)
    found = [Child(manifest) for manifest in rights]
    if is_standby(spec):
        notes = annotations(situation.resource)
        initial, applied = workflow_lease(
            context,
            kind,
            annotations={key: notes[key] for key in _PASSED_ON if key in notes},
            first=_nobody_ever(situation, kind),
        )
        found.append(Child(applied, initial=initial))
    pdb = workflow_pdb(context, kind, spec)
    return found + ([Child(pdb)] if pdb else [])


def _nobody_ever(situation: Situation, kind: str) -> bool:
    """Whether it is certain that no candidate can be acting, so that a new Lease may say so.

    A Lease that somebody deleted is another matter: its holder may not have noticed yet. That there
    was one is known from the memory, which is written before the first Lease is made, and from pods
    that are there. (A pod that was deleted by force on a node that is cut off is not seen. Whoever
    does that says that it is gone.)
    """
    units = situation.memory.units.values() if situation.memory else ()
    remembered = any(
        mode_of(dig(unit.template, "metadata", "labels")) == _STANDBY for unit in units
    )
    pods = alive(situation.observed.pods(component_of(kind)))
    return (
        not remembered
        and not pods
        and not any(
            mode_of(dig(obj, "spec", "template", "metadata", "labels")) == _STANDBY
            for obj in situation.observed.of_kind("Deployment")
        )
    )


def _acting(
    situation: Situation, kind: str, made: Sequence[Obj], choice: Choice, steps: Steps
) -> tuple[list[Child], dict[str, Unit], frozenset[Ref]]:
    """Return the Deployments to apply, the units in force, and what is left untouched."""
    stay = {_member_name(situation, kind, number) for number in steps.hold | steps.remove}
    before = situation.memory.units if situation.memory else {}
    units = dict(choice.units)
    children: list[Child] = []
    held: set[Ref] = set()
    for deployment in made:
        name = deployment["metadata"]["name"]
        if name in stay:
            held.add(ref_of(deployment))
            units.pop(name)
            if name in before:
                units[name] = before[name]
            continue
        children.append(Child(with_unit(deployment, units[name])))
    return children, units, frozenset(held)


def _taken_away(situation: Situation, kind: str, steps: Steps) -> list[Deletion]:
    found = []
    for number in sorted(steps.remove):
        ref = Ref("Deployment", situation.namespace, _member_name(situation, kind, number))
        live = situation.observed.get(ref)
        if live is not None:
            found.append(Deletion(ref, uid_of(live), foreground=True))
    return found


def _member_name(situation: Situation, kind: str, number: int) -> str:
    return workflow_member_name(situation.name, component_of(kind), number)
