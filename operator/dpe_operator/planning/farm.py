# SPDX-License-Identifier: Apache-2.0
"""Plans a ProcessorFarm: one Deployment and its disruption budget."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import processor_name
from dpe_operator.api.processor_farm import ProcessorFarmSpec
from dpe_operator.builders.context import ComponentContext
from dpe_operator.builders.farm import farm_deployment, farm_pdb
from dpe_operator.planning import summary
from dpe_operator.planning.acceptance import (
    Refused,
    direct_address_problems,
    parsed,
    require,
    reserved_env_problems,
    template_problems,
)
from dpe_operator.planning.judgement import judge_part
from dpe_operator.planning.memory import Memory
from dpe_operator.planning.objects import Obj, Ref, annotations, dig
from dpe_operator.planning.ownership import Sorted, own_object, prunable, sort_children
from dpe_operator.planning.plan import Child, Handover, Plan, Situation
from dpe_operator.planning.pod_acceptance import if_new, pod_problems
from dpe_operator.planning.shared import farm_context
from dpe_operator.planning.templates import Rendered, choose, remember, with_unit
from dpe_operator.planning.workloads import WorkloadState, workload_state

PRUNED_KINDS: Final = ("Deployment", "PodDisruptionBudget")
OBSERVED_KINDS: Final = (*PRUNED_KINDS, "Pod")
RETRY_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class _Draft:
    """What an accepted spec comes to."""

    sorted: Sorted
    memory: Memory
    outdated: tuple[str, ...]
    replicas: int


def plan_farm(situation: Situation) -> Plan:
    """Plan a ProcessorFarm. Pure: the same situation gives the same plan."""
    verdict, draft = _judge(situation)
    live = own_object(situation, _deployment_ref(situation))
    pods = situation.observed.pods(constants.COMPONENT_PROCESSOR)
    workload = workload_state(live, pods, situation.now)
    conditions = summary.conditions_for(situation)
    part = _part(workload)
    summary.summarise(conditions, verdict, [part], ready_message=part.message)
    status = summary.status_body(
        situation,
        conditions,
        replicas=workload.replicas,
        readyReplicas=workload.ready,
        selector=_selector(live),
        outdated=list(draft.outdated) if draft else [],
    )
    if draft is None:
        return Plan(status=status, notices=tuple(summary.change_notices(conditions)))
    children = draft.sorted.usable
    complete = not draft.sorted.conflicts and not draft.sorted.leftovers
    return Plan(
        status=status,
        memory=draft.memory,
        handovers=_first_number(situation) if verdict.refusal is None else (),
        children=children,
        complete=complete,
        deletions=tuple(
            prunable(
                PRUNED_KINDS,
                resource=situation.resource,
                observed=situation.observed,
                keep=[child.ref for child in children],
            )
        )
        if complete
        else (),
        notices=tuple(summary.change_notices(conditions)),
        requeue_after=RETRY_SECONDS if draft.sorted.leftovers else None,
        unseen=draft.sorted.unseen,
    )


def _judge(situation: Situation) -> tuple[summary.Verdict, _Draft | None]:
    return judge_part(
        situation,
        what="farm",
        make=lambda accepted: _draft(situation, accepted),
        sorted_of=lambda draft: draft.sorted,
    )


def _draft(situation: Situation, accepted: Obj) -> _Draft:
    spec = parsed(ProcessorFarmSpec, accepted["spec"])
    context = farm_context(situation, spec, accepted["shared"])
    of_pods = if_new(situation, accepted, pod_problems(spec, path="spec"))
    require([*_problems(spec, context, accepted["shared"]), *of_pods], "NotAllowed")
    name = processor_name(situation.name)
    replicas = spec.wanted_replicas()

    def render(inputs: Obj) -> Mapping[str, Rendered]:
        old = parsed(ProcessorFarmSpec, inputs["spec"])
        made = farm_deployment(farm_context(situation, old, inputs["shared"]), old, replicas=2)
        return {name: Rendered(made["spec"]["template"], {})}

    try:
        wanted = render(accepted)
    except Refused:
        raise
    except ValueError as error:
        raise Refused("InvalidSpec", str(error)) from error
    notes = annotations(situation.resource)
    choice = choose(
        wanted,
        inputs=accepted,
        memory=situation.memory,
        render=render,
        approved=notes.get(constants.ANNOTATION_APPROVE_UPGRADE) == "true",
    )
    deployment = with_unit(farm_deployment(context, spec, replicas=replicas), choice.units[name])
    pdb = farm_pdb(context, replicas=replicas)
    children = [Child(deployment)] + ([Child(pdb)] if pdb else [])
    return _Draft(
        sort_children(children, resource=situation.resource, observed=situation.observed),
        remember(accepted, inputs=accepted, units=choice.units, before=situation.memory),
        choice.outdated,
        replicas,
    )


def _problems(
    spec: ProcessorFarmSpec, context: ComponentContext, shared: Mapping[str, object]
) -> Iterator[str]:
    root, clients = context.service_root or "", context.clients
    assert clients is not None, "farm_context always gives a profile"
    if spec.replicas is not None and spec.replicas < 2 and not spec.allow_single_replica:
        yield (
            f"spec.replicas is {spec.replicas}, so one fault stops all {spec.type} jobs: write 2 or"
            " more, or allowSingleReplica: true if you accept that"
        )
    hosts = [str(host) for host in shared.get("hosts") or ()]  # type: ignore[attr-defined]
    yield from reserved_env_problems(
        spec.env, path="spec", clients=clients, service_root=root, default_is_free=False
    )
    yield from direct_address_problems(spec, path="spec", hosts=hosts, service_root=root)
    yield from template_problems(spec.pod_template, path="spec", clients=clients)


def _first_number(situation: Situation) -> tuple[Handover, ...]:
    """Write the default number once where nobody has named one.

    Under a manager of its own, so that whoever applies the farm without a number does not take it
    away, and `kubectl scale` finds a number to change.
    """
    if dig(situation.resource, "spec", "replicas") is not None:
        return ()
    meta = situation.resource["metadata"]
    manifest = {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND_FARM,
        "metadata": {key: meta[key] for key in ("name", "namespace", "uid")},
        "spec": {"replicas": constants.DEFAULT_REPLICAS},
    }
    return (Handover(manifest, constants.MANAGER_REPLICAS, force=False),)


def _deployment_ref(situation: Situation) -> Ref:
    return Ref("Deployment", situation.namespace, processor_name(situation.name))


def _selector(deployment: Obj | None) -> str | None:
    labels = dig(deployment, "spec", "selector", "matchLabels", default={})
    return ",".join(f"{key}={value}" for key, value in sorted(labels.items())) or None


def _part(workload: WorkloadState) -> summary.Part:
    kind = "ProcessorsReady"
    if not workload.exists:
        return summary.Part(kind, False, "NotMade", "no processor has been made yet")
    if workload.rolled_out:
        if workload.wanted == 0:
            return summary.Part(kind, True, "Stopped", "the farm is stopped (replicas: 0)")
        return summary.Part(kind, True, "AllReady", workload.count("processors"))
    return summary.Part(
        kind,
        False,
        "ProcessorsMissing",
        workload.count("processors"),
        hard=workload.hard,
        updating=workload.updating,
    )
