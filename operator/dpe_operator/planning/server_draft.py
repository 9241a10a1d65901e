# SPDX-License-Identifier: Apache-2.0
"""What an accepted spec of a pair comes to: all children, with the templates of the hour.

Some children need to know others that exist already: HAProxy is given the ClusterIPs of the member
Services, and the slice is owned by the fail-over Service. So a new pair takes two or three rounds,
each started by the events of the one before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, timedelta
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_name, member_name
from dpe_operator.api.databases import DatabaseEnv
from dpe_operator.api.pods import EnvVar
from dpe_operator.api.server import DpeServerSpec, Member
from dpe_operator.builders import balancer, balancer_config, balancer_rights, members
from dpe_operator.builders import failover_record as slices
from dpe_operator.builders.balancer_ports import has_balancer
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.planning.acceptance import (
    Refused,
    pair_problems,
    parsed,
    require,
    reserved_env_problems,
)
from dpe_operator.planning.member_services import member_service, other_ports_asked
from dpe_operator.planning.memory import Memory, Unit
from dpe_operator.planning.objects import Obj, Ref, annotations, dig, uid_of
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.plan import Child, Situation
from dpe_operator.planning.pod_acceptance import if_new, pair_pod_problems
from dpe_operator.planning.record import Record, read_record
from dpe_operator.planning.rollout import MemberView, Rollout, plan_rollout
from dpe_operator.planning.shared import server_context, with_operator_images
from dpe_operator.planning.switch import SwitchOrder, plan_switch
from dpe_operator.planning.templates import Choice, Rendered, choose, remember, runs, with_unit
from dpe_operator.planning.workloads import (
    is_settled,
    settled_for,
    were_there_at,
    workload_state,
)

# A member whose pod has been ready for this long and that the balancer still finds down will not
# come up by waiting.
GIVE_UP_SECONDS: Final = 60.0
# A member that went down while it served is not switched to for an update for so long, unless it
# has new pods: what it runs may bear checks and not clients, and each attempt costs these a gap.
TRY_AGAIN: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class ServerDraft:
    """Children and decisions for one accepted spec of a pair.

    `balancer_held`: the balancer keeps its template until one of the members can serve.
    """

    spec: DpeServerSpec
    context: ComponentContext
    children: tuple[Child, ...]
    held: frozenset[Ref]
    complete: bool
    memory: Memory
    outdated: tuple[str, ...]
    balancer_held: bool
    rollout: Rollout
    order: SwitchOrder
    record: Record


def draft_server(situation: Situation, accepted: Obj) -> ServerDraft:
    """Work out everything about a pair from an accepted (or candidate) spec.

    Raises:
        Refused: the spec cannot be accepted.
    """
    spec = parsed(DpeServerSpec, accepted["spec"])
    context = server_context(situation, spec, accepted["shared"])
    of_pods = if_new(situation, accepted, pair_pod_problems(spec, path="spec"))
    require([*_problems(spec, context), *of_pods], "NotAllowed")
    inputs = {**accepted, "addresses": _cluster_ips(situation, spec)}
    try:
        choice = _choose(situation, inputs)
        drafted = _assemble(situation, spec, context, inputs, choice)
    except Refused:
        raise
    except ValueError as error:
        raise Refused("InvalidSpec", str(error)) from error
    return replace(drafted, memory=replace(drafted.memory, accepted=accepted))


def _problems(spec: DpeServerSpec, context: ComponentContext) -> list[str]:
    clients = context.clients
    assert clients is not None, "server_context always gives a profile"
    found = list(pair_problems(spec, name=context.owner.name, path="spec", clients=clients))
    layers: list[tuple[str, Sequence[EnvVar | DatabaseEnv]]] = [("spec", spec.env)]
    layers += [(f"spec.members[{member.name}]", member.env) for member in spec.members]
    layers += [(f"spec.databases[{entry.name}]", entry.env) for entry in spec.databases]
    for path, env in layers:
        found += reserved_env_problems(
            env, path=path, clients=clients, service_root=context.service_root or ""
        )
    return found


def _cluster_ips(situation: Situation, spec: DpeServerSpec) -> dict[str, str]:
    found = {}
    for member in spec.in_cluster_members:
        ref = Ref("Service", situation.namespace, member_name(situation.name, member.name))
        address = dig(own_object(situation, ref), "spec", "clusterIP")
        if address and address != "None":
            found[member.name] = str(address)
    return found


# --- templates


def _choose(situation: Situation, inputs: Obj) -> Choice:
    notes = annotations(situation.resource)

    def render(some: Obj) -> Mapping[str, Rendered]:
        return _render(situation, some)

    return choose(
        render(inputs),
        inputs=inputs,
        memory=situation.memory,
        render=render,
        approved=notes.get(constants.ANNOTATION_APPROVE_UPGRADE) == "true",
    )


def _render(situation: Situation, inputs: Obj) -> dict[str, Rendered]:
    spec = parsed(DpeServerSpec, inputs["spec"])
    context = server_context(situation, spec, inputs["shared"])
    found: dict[str, Rendered] = {}
    for member in spec.in_cluster_members:
        made = members.member_deployment(context, spec, member)
        if made is not None:
            found[made["metadata"]["name"]] = Rendered(made["spec"]["template"], {})
    config = balancer_config.balancer_config_map(context, spec, cluster_ips=inputs["addresses"])
    if config is not None:
        made = _balancer_deployment(
            situation, spec, context, config_hash=balancer_config.config_hash(config["data"])
        )
        assert made is not None, "a balancer with a config has pods"
        configs = {config["metadata"]["name"]: config["data"]}
        found[made["metadata"]["name"]] = Rendered(made["spec"]["template"], configs)
    return found


def _balancer_deployment(
    situation: Situation, spec: DpeServerSpec, context: ComponentContext, *, config_hash: str
) -> Manifest | None:
    environment = situation.environment
    return balancer.balancer_deployment(
        with_operator_images(context, environment),
        spec,
        image=environment.balancer_image,
        config_hash=config_hash,
    )


# --- children


def _assemble(
    situation: Situation,
    spec: DpeServerSpec,
    context: ComponentContext,
    inputs: Obj,
    choice: Choice,
) -> ServerDraft:
    record = _record(situation)
    balanced = has_balancer(spec)
    views = [_view(situation, member, choice, record) for member in spec.members]
    rollout = plan_rollout(
        views,
        active=record.active,
        recorded=balanced and record.exists,
        served_for=record.served_for(situation.now),
    )
    order = plan_switch(
        annotations(situation.resource).get(constants.ANNOTATION_SWITCH_TO),
        members=[member.name for member in spec.members],
        record=record,
        balanced=balanced,
    )
    units, balancer_held = _balancer_unit(situation, dict(choice.units), views)
    keep_ports = other_ports_asked(situation, spec, units, held=balancer_held)
    made, held, units = _members(
        situation, spec, context, units=units, hold=rollout.hold, keep_ports=keep_ports
    )
    request = order.request or (
        f"{rollout.switch_to}@{record.count}" if rollout.switch_to else None
    )
    parts, complete = _balancer(situation, spec, context, units=units, request=request)
    if not complete and situation.memory:  # what cannot be made at the moment is not forgotten
        units = {**situation.memory.units, **units}
    children = [*made, *parts]
    return ServerDraft(
        spec=spec,
        context=context,
        children=tuple(children),
        held=held,
        complete=complete,
        memory=remember({}, inputs=inputs, units=units, before=situation.memory),
        outdated=choice.outdated,
        balancer_held=balancer_held,
        rollout=rollout,
        order=order,
        record=record,
    )


def _record(situation: Situation) -> Record:
    name = balancer_name(situation.name)
    return read_record(
        own_object(situation, Ref("EndpointSlice", situation.namespace, name)),
        own_object(situation, Ref("Lease", situation.namespace, name)),
        now=situation.now,
    )


def _view(situation: Situation, member: Member, choice: Choice, record: Record) -> MemberView:
    state = record.state(member.name)
    name = member_name(situation.name, member.name)
    live = own_object(situation, Ref("Deployment", situation.namespace, name))
    if member.is_external:
        return MemberView(member.name, True, True, False, True, state)
    pods = situation.observed.pods(constants.COMPONENT_MEMBER, member=member.name)
    workload = workload_state(live, pods, situation.now)
    healthy = workload.rolled_out and is_settled(pods, situation.now)
    lost = state == "Down" and settled_for(pods, situation.now) >= GIVE_UP_SECONDS
    return MemberView(
        member.name,
        external=False,
        exists=live is not None,
        pending=live is not None and not runs(live, choice.units.get(name)),
        healthy_pod=healthy,
        state=state,
        hard=workload.hard or (workload.rolled_out and lost),
        troubles=workload.describe(),
        failed_at=_failed_at(situation, member, record, pods),
    )


def _failed_at(situation: Situation, member: Member, record: Record, pods: Sequence[Obj]) -> str:
    at = record.went_down_serving(member.name)
    if at is None or abs(situation.now - at) >= TRY_AGAIN or not were_there_at(pods, at):
        return ""
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _members(
    situation: Situation,
    spec: DpeServerSpec,
    context: ComponentContext,
    *,
    units: Mapping[str, Unit],
    hold: frozenset[str],
    keep_ports: bool,
) -> tuple[list[Child], frozenset[Ref], dict[str, Unit]]:
    """Return the members' children, those left untouched, and the units in force."""
    units = dict(units)
    children: list[Child] = []
    held: set[Ref] = set()
    for member in spec.members:
        service = member_service(situation, spec, context, member, keep=keep_ports)
        deployment = members.member_deployment(context, spec, member)
        if service is None or deployment is None:
            continue
        children.append(service)
        name = deployment["metadata"]["name"]
        if member.name in hold:
            ref = Ref("Deployment", situation.namespace, name)
            before = situation.memory.units.get(name) if situation.memory else None
            if before is None or not runs(own_object(situation, ref), before):
                held.add(ref)
                units.pop(name)
                continue
            units[name] = before
        children.append(Child(with_unit(deployment, units[name])))
    pdb = members.members_pdb(context, spec)
    return children + ([Child(pdb)] if pdb else []), frozenset(held), units


def _balancer_unit(
    situation: Situation, units: dict[str, Unit], views: Sequence[MemberView]
) -> tuple[dict[str, Unit], bool]:
    """Return the units in force, and whether the balancer among them keeps its present one.

    New balancers know only the members of the spec. Before one of these can serve, they would take
    the clients away from former members, or from a health page that still answers.
    """
    name = balancer_name(situation.name)
    before = situation.memory.units.get(name) if situation.memory else None
    live = own_object(situation, Ref("Deployment", situation.namespace, name))
    if name not in units or before is None or not runs(live, before):
        return units, False
    if before.configs == units[name].configs:  # the same members and checks as now
        return units, False
    if any(view.external or (view.healthy_pod and not view.pending) for view in views):
        return units, False
    return {**units, name: before}, True


def _balancer(
    situation: Situation,
    spec: DpeServerSpec,
    context: ComponentContext,
    *,
    units: Mapping[str, Unit],
    request: str | None,
) -> tuple[list[Child], bool]:
    """Return the balancer's children, and whether these are all."""
    if not has_balancer(spec):
        return [], True
    name = balancer_name(situation.name)
    found: list[Child] = []
    for make in (
        balancer_rights.service_account,
        balancer_rights.role,
        balancer_rights.role_binding,
        balancer.balancer_service,
        balancer.balancer_pdb,
    ):
        found += [Child(manifest) for manifest in [make(context, spec)] if manifest]
    lease = slices.lease_metadata(context, spec)
    if lease is not None:
        found.append(Child(lease, initial=slices.initial_lease(context, spec)))
    service = own_object(situation, Ref("Service", situation.namespace, name))
    if service is not None:
        found += _slice(spec, context, uid_of(service), request)
    unit = units.get(name)
    if unit is not None:
        found += _pods(situation, spec, context, unit)
    return found, service is not None and unit is not None


def _slice(
    spec: DpeServerSpec, context: ComponentContext, service_uid: str, request: str | None
) -> list[Child]:
    meta = slices.slice_metadata(context, spec, service_uid=service_uid, switch_request=request)
    initial = slices.initial_slice(context, spec, service_uid=service_uid)
    return [Child(meta, initial=initial)] if meta is not None else []


def _pods(
    situation: Situation, spec: DpeServerSpec, context: ComponentContext, unit: Unit
) -> list[Child]:
    deployment = _balancer_deployment(situation, spec, context, config_hash="")
    assert deployment is not None, "a unit was rendered from one"
    configs = [
        Child(balancer_config.named_config_map(context.owner, config_name, data))
        for config_name, data in unit.configs.items()
    ]
    return [*configs, Child(with_unit(deployment, unit))]
