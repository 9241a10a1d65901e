# SPDX-License-Identifier: Apache-2.0
"""What has to be remembered of a resource, kept in a ControllerRevision `NAME-KIND-accepted-N`.

A reconcile has no memory of its own, yet two promises need one. "A spec that is not accepted
changes nothing that runs" needs the last accepted spec. "An operator upgrade restarts nothing"
needs each workload's pod template as it was made, and the inputs it was made from: only so can a
template that changed because the *user* changed something be told from one that changed because
our code did.

The data of a ControllerRevision cannot be changed, so a new one is made before the old one goes; a
crash in between leaves both, and the higher number counts.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from dpe_operator.planning.objects import Obj, dig

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class Unit:
    """A workload's pod template with the ConfigMap data it reads, and what it was made from.

    `inputs` is a key of `Memory.inputs`.
    """

    inputs: str
    template: Obj
    configs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Memory:
    """The last accepted inputs of a resource, and the units made for it by name."""

    accepted: Obj
    inputs: Mapping[str, Obj] = field(default_factory=dict)
    units: Mapping[str, Unit] = field(default_factory=dict)

    def to_data(self) -> Obj:
        """Return what is stored."""
        used = {unit.inputs for unit in self.units.values()}
        return {
            "format": FORMAT,
            "accepted": self.accepted,
            "inputs": {key: self.inputs[key] for key in sorted(used)},
            "units": {
                name: {
                    "inputs": unit.inputs,
                    "template": unit.template,
                    "configs": dict(unit.configs),
                }
                for name, unit in sorted(self.units.items())
            },
        }


def memory_of(revision: Mapping[str, Any] | None) -> Memory | None:
    """Read the memory from a ControllerRevision; None where there is none that we can read."""
    data = dig(revision, "data")
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        return None
    units = {
        name: Unit(entry["inputs"], entry["template"], entry.get("configs", {}))
        for name, entry in data.get("units", {}).items()
        if entry.get("inputs") in data.get("inputs", {})
    }
    return Memory(data["accepted"], data.get("inputs", {}), units)
