# SPDX-License-Identifier: Apache-2.0
"""Which pod template a workload gets: the one our code makes today, or the one it has.

A running pod is restarted only for a reason its owner can see. A newer operator may render another
template (another image of the balancer, a better probe) from the very same spec: that waits until
the template changes for another reason or the upgrade is approved. To tell the two apart, the
inputs that the running template was made from are rendered once more with today's code: where old
and new inputs give the same template, the owner changed nothing about it.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.planning.memory import Memory, Unit
from dpe_operator.planning.objects import Obj, annotations, digest

ANNOTATION_TEMPLATE: Final = f"{constants.GROUP}/template-hash"


@dataclass(frozen=True, slots=True)
class Rendered:
    """What today's code makes for one workload: pod template and the ConfigMap data it reads."""

    template: Obj
    configs: Mapping[str, Any]


Render = Callable[[Obj], Mapping[str, Rendered]]
"""Renders all workloads of a resource from its inputs, by name. Raises ValueError on bad ones."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The units to run, by name, and those that would differ under today's code."""

    units: Mapping[str, Unit]
    outdated: tuple[str, ...]


def choose(
    wanted: Mapping[str, Rendered],
    *,
    inputs: Obj,
    memory: Memory | None,
    render: Render,
    approved: bool,
) -> Choice:
    """Choose for each workload between today's template and the one it has.

    Args:
        wanted: today's templates from today's inputs.
        inputs: today's inputs.
        memory: what is remembered of the running ones.
        render: makes templates from inputs.
        approved: the owner has approved the upgrade.
    """
    key = digest(inputs)
    units: dict[str, Unit] = {}
    outdated: list[str] = []
    rendered: dict[str, Mapping[str, Rendered]] = {key: wanted}
    for name, new in wanted.items():
        old = memory.units.get(name) if memory else None
        fresh = Unit(key, new.template, new.configs)
        if old is None or memory is None or approved or _equal(old, new):
            units[name] = fresh
        elif _owner_changed_nothing(name, old, new, memory=memory, render=render, cache=rendered):
            units[name] = Unit(key, old.template, old.configs)
            outdated.append(name)
        else:
            units[name] = fresh
    return Choice(units, tuple(outdated))


def _equal(old: Unit, new: Rendered) -> bool:
    return old.template == new.template and dict(old.configs) == dict(new.configs)


def _owner_changed_nothing(
    name: str,
    old: Unit,
    new: Rendered,
    *,
    memory: Memory,
    render: Render,
    cache: dict[str, Mapping[str, Rendered]],
) -> bool:
    if old.inputs not in cache:
        try:
            cache[old.inputs] = render(memory.inputs[old.inputs])
        except ValueError:  # today's code refuses what was once accepted
            cache[old.inputs] = {}
    then = cache[old.inputs].get(name)
    return then is not None and then.template == new.template and then.configs == new.configs


def with_unit(deployment: Obj, unit: Unit) -> Obj:
    """Return the Deployment with the unit's template, and that template's digest as annotation."""
    meta = deployment["metadata"]
    marked = {**meta.get("annotations", {}), ANNOTATION_TEMPLATE: digest(unit.template)}
    return {
        **deployment,
        "metadata": {**meta, "annotations": marked},
        "spec": {**deployment["spec"], "template": unit.template},
    }


def runs(live: Mapping[str, Any] | None, unit: Unit | None) -> bool:
    """Whether the live Deployment was last applied with this unit's template."""
    if live is None or unit is None:
        return False
    return annotations(live).get(ANNOTATION_TEMPLATE) == digest(unit.template)


def remember(
    accepted: Obj, *, inputs: Obj, units: Mapping[str, Unit], before: Memory | None
) -> Memory:
    """Return the memory to store: what is accepted, the units, and the inputs these refer to."""
    known = {**(before.inputs if before else {}), digest(inputs): inputs}
    return Memory(accepted, {key: known[key] for key in _used(units.values())}, dict(units))


def _used(units: Iterable[Unit]) -> set[str]:
    return {unit.inputs for unit in units}
