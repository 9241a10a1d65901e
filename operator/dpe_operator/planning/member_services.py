# SPDX-License-Identifier: Apache-2.0
"""The members' Services: the address and the ports at which the balancers ask for the servers.

HAProxy is given numbers and is never reloaded, so whatever a running balancer was told must go on
leading to the servers until that balancer is gone. All ports of such a Service lead to the port of
the pod by its name, and each pod resolves that for itself: old and new balancers reach old and new
servers, in whatever order they are replaced.
"""

from collections.abc import Mapping, Sequence

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_name, member_name
from dpe_operator.api.server import DpeServerSpec, Member
from dpe_operator.builders import members
from dpe_operator.builders.balancer_ports import has_balancer
from dpe_operator.builders.context import ComponentContext
from dpe_operator.planning.memory import Unit
from dpe_operator.planning.objects import Obj, Ref, dig, is_terminating
from dpe_operator.planning.ownership import own_object
from dpe_operator.planning.plan import Child, Situation
from dpe_operator.planning.templates import runs
from dpe_operator.planning.workloads import workload_state


def balancers_run(situation: Situation, unit: Unit | None) -> bool:
    """Whether all balancers run this unit."""
    name = balancer_name(situation.name)
    live = own_object(situation, Ref("Deployment", situation.namespace, name))
    pods = situation.observed.pods(constants.COMPONENT_BALANCER)
    return runs(live, unit) and workload_state(live, pods).rolled_out


def other_ports_asked(
    situation: Situation, spec: DpeServerSpec, units: Mapping[str, Unit], *, held: bool
) -> bool:
    """Whether a balancer may ask for the servers at other ports than the spec's.

    `units` are those in force; `held`: the balancer's is not what is wanted. A pod that is about
    to end counts: it serves its clients to the end.
    """
    if not has_balancer(spec):
        return False  # what the site's own one asks for is not known here
    pods = situation.observed.pods(constants.COMPONENT_BALANCER)
    unit = units.get(balancer_name(situation.name))
    return held or not balancers_run(situation, unit) or any(map(is_terminating, pods))


def member_service(
    situation: Situation,
    spec: DpeServerSpec,
    context: ComponentContext,
    member: Member,
    *,
    keep: bool,
) -> Child | None:
    """Return a member's Service, with the ports it had where `keep`; None for an external member.

    One that somebody has deleted is made anew with the address it had, so that no balancer needs
    another config.
    """
    ref = Ref("Service", situation.namespace, member_name(situation.name, member.name))
    live = own_object(situation, ref)
    found = dig(live, "spec", "ports", default=[])
    names = {port["port"]: port["name"] for port in found if members.is_member_port(port)}
    former = {*names, *_told_ports(situation)} if keep else set()
    ports = _named([spec.port, *sorted(former - {spec.port})], names)
    service = members.member_service(context, spec, member, ports=ports)
    if service is None:
        return None
    address = dig(_told(situation), "addresses", member.name)
    initial = {**service, "spec": {**service["spec"], "clusterIP": address}} if address else None
    return Child(service, initial=initial, whole=True)


def _named(numbers: Sequence[int], live: Mapping[int, str]) -> dict[int, str]:
    """Return the ports with their names; one that is there keeps its name.

    A port that is renamed leads nowhere until its EndpointSlice has the new name too, and that is
    long enough for HAProxy to take the server for lost.
    """
    found: dict[int, str] = {}
    taken = {live[number] for number in numbers if number in live}
    for number in numbers:
        usual = members.PORT_NAME not in taken
        name = members.PORT_NAME if usual else members.second_port_name(number)
        found[number] = live.get(number, name)
        taken.add(found[number])
    return found


def _told(situation: Situation) -> Obj | None:
    """Return the inputs that the balancers in force were made from, as far as is remembered."""
    memory = situation.memory
    unit = memory.units.get(balancer_name(situation.name)) if memory else None
    return memory.inputs.get(unit.inputs) if memory and unit else None


def _told_ports(situation: Situation) -> set[int]:
    told = _told(situation)
    default = DpeServerSpec.model_fields["port"].default
    return {int(dig(told, "spec", "port", default=default))} if told else set()
