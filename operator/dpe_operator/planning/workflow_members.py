# SPDX-License-Identifier: Apache-2.0
"""What is known of each Concurrent member, for the order in which they change."""

from collections.abc import Iterator, Mapping, Sequence

from dpe_operator.api import constants
from dpe_operator.api.addresses import workflow_member_name
from dpe_operator.api.workflow import WorkflowTemplate
from dpe_operator.builders.workflow import component_of, members_of
from dpe_operator.planning.memory import Unit
from dpe_operator.planning.objects import Obj, Ref, dig, is_terminating
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.plan import Situation
from dpe_operator.planning.templates import runs
from dpe_operator.planning.workflow_change import Declared, MemberView, declared_in
from dpe_operator.planning.workloads import alive, is_settled, workload_state


def member_views(
    situation: Situation,
    kind: str,
    spec: WorkflowTemplate,
    made: Sequence[Obj],
    units: Mapping[str, Unit],
) -> list[MemberView]:
    """Return a view of each wanted member, and of those that are still there without being wanted.

    Args:
        situation: what is observed.
        kind: kind of the component.
        spec: its spec, as it will be.
        made: the Deployments as built for it.
        units: their templates, as chosen.
    """
    numbers = members_of(kind, spec)
    if not numbers:
        return []
    wanted = {deployment["metadata"]["name"]: deployment for deployment in made}
    views = []
    for number in numbers:
        name = workflow_member_name(situation.name, component_of(kind), number)
        views.append(_view(situation, kind, number, name, units[name], wanted[name]))
    return [*views, *_leaving(situation, kind, set(numbers))]


def _view(
    situation: Situation, kind: str, number: int, name: str, unit: Unit, wanted: Obj
) -> MemberView:
    live = own_object(situation, Ref("Deployment", situation.namespace, name))
    exists = live is not None and not is_terminating(live)
    pods = situation.observed.pods(component_of(kind), member=str(number))
    running = alive(pods)
    workload = workload_state(live, pods, situation.now)
    return MemberView(
        number,
        exists=exists,
        pending=exists and (not runs(live, unit) or dig(live, "spec", "replicas") == 0),
        healthy=workload.rolled_out and is_settled(running, situation.now),
        hard=workload.hard,
        troubles=workload.describe(),
        leaving=() if exists else tuple(pod["metadata"]["name"] for pod in running),
        wanted=declared_in(dig(unit.template, "spec")),
        acting=_acting(live, running),
    )


def _acting(live: Obj | None, running: Sequence[Obj]) -> frozenset[Declared]:
    specs = [dig(pod, "spec") for pod in running]
    if live is not None:
        specs.append(dig(live, "spec", "template", "spec"))
    return frozenset(declared_in(spec) for spec in specs)


def _leaving(situation: Situation, kind: str, wanted: set[int]) -> Iterator[MemberView]:
    """Members that are not wanted any more still act until their pods are gone."""
    component = component_of(kind)
    found: dict[int, list[Obj]] = {}
    for pod in alive(situation.observed.pods(component)):
        number = str(dig(pod, "metadata", "labels", constants.LABEL_MEMBER, default=""))
        if number.isdigit() and int(number) not in wanted:
            found.setdefault(int(number), []).append(pod)
    for deployment in situation.observed.of_kind("Deployment"):
        number = str(dig(deployment, "metadata", "labels", constants.LABEL_MEMBER, default=""))
        if number.isdigit() and int(number) not in wanted:
            found.setdefault(int(number), []).append(
                {"spec": dig(deployment, "spec", "template", "spec")}
            )
    for member, things in found.items():
        acting = frozenset(declared_in(dig(thing, "spec")) for thing in things)
        yield MemberView(member, exists=False, acting=acting)
