# SPDX-License-Identifier: Apache-2.0
"""Plans a DpeCluster: it composes a DpeServer, farms, workflow components, the client profile.

It makes nothing that runs: the children's own reconciles do that, and their status comes back here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import farm_name, service_root
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.builders.client_profile import client_profile_config_map
from dpe_operator.builders.composed import composed_farm, composed_server
from dpe_operator.planning import summary
from dpe_operator.planning.acceptance import (
    direct_address_problems,
    pair_problems,
    parsed,
    require,
    reserved_env_problems,
    server_hosts,
    template_problems,
)
from dpe_operator.planning.cluster_par import (
    live_par_store,
    par_children,
    par_fields,
    par_file_problems,
    par_parts,
)
from dpe_operator.planning.cluster_status import (
    LiveSite,
    cluster_fields,
    cluster_parts,
    cluster_ready,
)
from dpe_operator.planning.cluster_workflow import (
    component_problems,
    live_components,
    workflow_children,
)
from dpe_operator.planning.database_findings import (
    finding_notices,
    secrets_parts,
    state_findings,
)
from dpe_operator.planning.database_rules import database_problems
from dpe_operator.planning.databases import DatabaseChecks, plan_checks
from dpe_operator.planning.judgement import judge
from dpe_operator.planning.managed_fields import has_field, owned_fields
from dpe_operator.planning.memory import Memory
from dpe_operator.planning.objects import Obj, Ref, annotations, dig, is_paused, uid_of
from dpe_operator.planning.ownership import Sorted, own_object, prunable, sort_children
from dpe_operator.planning.pair_findings import pass_on_pair_findings
from dpe_operator.planning.plan import Change, Child, Deletion, Handover, Notice, Plan, Situation
from dpe_operator.planning.pod_acceptance import if_new, site_pod_problems
from dpe_operator.planning.record import Record
from dpe_operator.planning.shared import owner_of
from dpe_operator.planning.switch import plan_switch

PRUNED_KINDS: Final = (
    constants.KIND_FARM,
    constants.KIND_PAR_STORE,
    *constants.WORKFLOW_KINDS,
    constants.KIND_SERVER,
    "ConfigMap",
    "Job",
)
OBSERVED_KINDS: Final = (*PRUNED_KINDS, "Pod")
RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Draft:
    """What an accepted spec comes to."""

    spec: DpeClusterSpec
    sorted: Sorted
    memory: Memory
    root: str


def plan_cluster(situation: Situation) -> Plan:
    """Plan a DpeCluster. Pure: the same situation gives the same plan."""
    verdict, draft = _judge(situation)
    conditions = summary.conditions_for(situation)
    if draft is None:
        summary.summarise(conditions, verdict, [], ready_message="")
        return Plan(
            status=summary.status_body(situation, conditions),
            notices=tuple(summary.change_notices(conditions)),
        )
    site = _live_site(situation, draft.spec)
    checks = plan_checks(situation, draft.spec)
    summary.summarise(
        conditions,
        verdict,
        [
            *cluster_parts(site, situation.name),
            *par_parts(situation, draft.spec),
            *secrets_parts(checks),
        ],
        ready_message=cluster_ready(site),
    )
    state_findings(conditions, draft.spec, checks)
    pass_on_pair_findings(conditions, site.server)
    order, forwarded, order_notices = _forward_switch(situation, draft.spec, site.server)
    complete = not draft.sorted.conflicts and not draft.sorted.leftovers
    return Plan(
        status=summary.status_body(
            situation,
            conditions,
            **cluster_fields(site, draft.root),
            databases=checks.status,
            **par_fields(live_par_store(situation, draft.spec)),
        ),
        memory=draft.memory,
        handovers=tuple(_kept_numbers(situation, draft.spec)),
        children=(*draft.sorted.usable, *checks.jobs),
        complete=complete,
        deletions=tuple(_unwanted(situation, draft, checks)) if complete else (),
        changes=(*forwarded, *order),
        notices=(
            *summary.change_notices(conditions),
            *finding_notices(conditions),
            *order_notices,
        ),
        requeue_after=RETRY_SECONDS if draft.sorted.leftovers else checks.requeue_after,
        unseen=draft.sorted.unseen,
    )


def _unwanted(situation: Situation, draft: _Draft, checks: DatabaseChecks) -> Iterator[Deletion]:
    keep = [*(child.ref for child in (*draft.sorted.usable, *checks.jobs)), *checks.keep]
    return prunable(
        PRUNED_KINDS, resource=situation.resource, observed=situation.observed, keep=keep
    )


def _judge(situation: Situation) -> tuple[summary.Verdict, _Draft | None]:
    return judge(
        situation,
        {"spec": situation.resource["spec"]},
        missing=None,
        make=lambda accepted: _draft(situation, accepted),
        sorted_of=lambda draft: draft.sorted,
    )


def _draft(situation: Situation, accepted: Obj) -> _Draft:
    spec = parsed(DpeClusterSpec, accepted["spec"])
    root = service_root(name=situation.name, namespace=situation.namespace, server=spec.server)
    problems = _problems(spec, situation.name, root)
    of_pods = if_new(situation, accepted, site_pod_problems(spec))
    require([*problems, *of_pods], "NotAllowed")
    owner = owner_of(situation, situation.name)
    notes = _passed_on(situation)
    children = [
        composed_server(owner, spec, annotations=notes),
        *(_annotated(composed_farm(owner, farm), notes) for farm in spec.processors),
        *(_annotated(child, notes) for child in workflow_children(owner, spec)),
        client_profile_config_map(owner, spec.clients, service_root=root),
        *par_children(situation, owner, spec),
    ]
    found = sort_children(
        [Child(manifest) for manifest in children],
        resource=situation.resource,
        observed=situation.observed,
    )
    return _Draft(spec, found, Memory(accepted), root)


def _problems(spec: DpeClusterSpec, name: str, root: str) -> Iterator[str]:
    yield from pair_problems(spec.server, name=name, path="spec.server", clients=spec.clients)
    layers = [("spec.server", spec.server.env)]
    layers += [(f"spec.server.members[{m.name}]", m.env) for m in spec.server.members]
    for path, env in layers:
        yield from reserved_env_problems(env, path=path, clients=spec.clients, service_root=root)
    hosts = server_hosts(name, spec.server)
    default = constants.DEFAULT_SERVICE_ROOT_ENV
    for farm in spec.processors:
        path = f"spec.processors[{farm.type}]"
        # the API server would refuse the ProcessorFarm made from it
        if spec.clients.service_root_env != default and default in {v.name for v in farm.env}:
            yield (
                f"{path}.env sets {default}, which is reserved for the balancer's address in every"
                " farm: remove it"
            )
        yield from reserved_env_problems(
            farm.env,
            path=path,
            clients=spec.clients,
            service_root=root,
            default_is_free=False,
        )
        yield from template_problems(farm.pod_template, path=path, clients=spec.clients)
        yield from direct_address_problems(farm, path=path, hosts=hosts, service_root=root)
    yield from component_problems(spec, name, hosts=hosts, service_root=root)
    yield from database_problems(spec, service_root=root)
    yield from par_file_problems(spec, name)


def _passed_on(situation: Situation) -> dict[str, str]:
    """An approval given on the site holds for all of it."""
    approved = annotations(situation.resource).get(constants.ANNOTATION_APPROVE_UPGRADE) == "true"
    return {constants.ANNOTATION_APPROVE_UPGRADE: "true"} if approved else {}


def _annotated(manifest: Obj, notes: Mapping[str, str]) -> Obj:
    if not notes:
        return manifest
    meta = manifest["metadata"]
    return {
        **manifest,
        "metadata": {**meta, "annotations": {**meta.get("annotations", {}), **notes}},
    }


def _server_ref(situation: Situation) -> Ref:
    return Ref(constants.KIND_SERVER, situation.namespace, situation.name)


def _farm_ref(situation: Situation, kind: str) -> Ref:
    return Ref(constants.KIND_FARM, situation.namespace, farm_name(situation.name, kind))


def _live_site(situation: Situation, spec: DpeClusterSpec) -> LiveSite:
    farms = {
        farm.type: own_object(situation, _farm_ref(situation, farm.type))
        for farm in spec.processors
    }
    server = own_object(situation, _server_ref(situation))
    return LiveSite(server, farms, live_components(situation, spec))


def _kept_numbers(situation: Situation, spec: DpeClusterSpec) -> Iterator[Handover]:
    """Keep the number of a farm that the spec no longer names.

    Giving up the last owner of a field removes it, so another manager takes it over first.
    """
    for farm in spec.processors:
        live = own_object(situation, _farm_ref(situation, farm.type))
        if farm.replicas is not None or live is None:
            continue
        number = dig(live, "spec", "replicas")
        if number is not None and has_field(
            owned_fields(live, constants.MANAGER), "spec", "replicas"
        ):
            meta = live["metadata"]
            manifest: dict[str, Any] = {
                "apiVersion": constants.API_VERSION,
                "kind": constants.KIND_FARM,
                "metadata": {key: meta[key] for key in ("name", "namespace", "uid")},
                "spec": {"replicas": number},
            }
            yield Handover(manifest, constants.MANAGER_REPLICAS, force=True)


def _forward_switch(
    situation: Situation, spec: DpeClusterSpec, server: Obj | None
) -> tuple[list[Change], list[Change], list[Notice]]:
    """Pass the user's order on to the DpeServer, or refuse it here where the user looks.

    Returns the changes of this resource, those of the DpeServer, and events.
    """
    wanted = annotations(situation.resource).get(constants.ANNOTATION_SWITCH_TO)
    if wanted is None:
        return [], [], []
    own = Change(
        situation.ref, {"metadata": {"annotations": {constants.ANNOTATION_SWITCH_TO: None}}}
    )
    if server is not None and is_paused(server):  # it would be carried out whenever that ends
        text = f"switch-to: {wanted} is refused, DpeServer {situation.name} is paused"
        return [own], [], [Notice("Warning", "SwitchRefused", text)]
    status = dig(server, "status", default={})
    members = status.get("members", [])
    order = plan_switch(
        wanted,
        members=[member.name for member in spec.server.members],
        record=Record(
            exists=server is not None,
            fresh=bool(status.get("routedBalancer")),
            active=status.get("active"),
            states={entry["name"]: entry.get("state", "Unknown") for entry in members},
        ),
        balanced=spec.server.load_balancer.type == "HAProxy",
    )
    if order.notice is not None or server is None or not uid_of(server):
        return [own], [], [order.notice] if order.notice else []
    note = {constants.ANNOTATION_SWITCH_TO: wanted}
    text = f"switch to {wanted} is passed on to DpeServer {situation.name}"
    return (
        [own],
        [Change(_server_ref(situation), {"metadata": {"annotations": note}})],
        [Notice("Normal", "SwitchRequested", text)],
    )
