# SPDX-License-Identifier: Apache-2.0
"""One row of the table of bad input: what is written, who refuses it, in which words, the cure.

Each row also says what the user writes after reading the message, and the tests check that this
cures it. Rows for the operator (what needs other objects or computation) stand in the same table.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

ABSENT: Final = object()  # as a value: take the field away

Resource = dict[str, Any]


@dataclass(frozen=True)
class BadInput:
    """One row: `base` with `changes` is refused by `refused_by` at `where` with `message`.

    `cure` are further changes after which it is accepted. With `update` the base exists already and
    the changes are made to it, which is how rules about changes are tried. For rows of the operator
    `where` is empty, `message` is that of condition Accepted, `reason` its reason, and `exists` are
    objects that stand in the namespace beforehand.
    """

    name: str
    base: Resource
    changes: Mapping[str, Any]
    where: str
    message: str
    cure: Mapping[str, Any]
    refused_by: Literal["API server", "operator"] = "API server"
    update: bool = False
    reason: str = ""
    exists: list[Resource] = field(default_factory=list)

    def __str__(self) -> str:
        return self.name

    @property
    def resource(self) -> Resource:
        """The object that is refused."""
        return changed(self.base, self.changes)

    @property
    def cured(self) -> Resource:
        """The object that is accepted."""
        return changed(self.resource, self.cure)


def changed(resource: Resource, changes: Mapping[str, Any]) -> Resource:
    """Return a copy with values set by path, such as `spec.server.members.0.name`."""
    result = copy.deepcopy(resource)
    for path, value in changes.items():
        *parents, last = [int(part) if part.isdigit() else part for part in path.split(".")]
        target: Any = result
        for part in parents:
            target = target.setdefault(part, {}) if isinstance(target, dict) else target[part]
        if value is ABSENT:
            del target[last]
        elif isinstance(target, list) and last == len(target):
            target.append(copy.deepcopy(value))
        else:
            target[last] = copy.deepcopy(value)
    return result


def _resource(kind: str, name: str, spec: Resource) -> Resource:
    return {
        "apiVersion": "dpe.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name},
        "spec": spec,
    }


_PAIR: Final[Resource] = {
    "image": "registry.example.com/dpe-server:2.15",
    "health": {"path": "/status"},
    "members": [{"name": "a"}, {"name": "b"}],
}
CLUSTER: Final = _resource(
    "DpeCluster",
    "radio",
    {
        "server": copy.deepcopy(_PAIR),
        "processors": [{"type": "audio", "image": "registry.example.com/dpe-audio:2.15"}],
    },
)
SERVER: Final = _resource("DpeServer", "archive", copy.deepcopy(_PAIR))
FARM: Final = _resource(
    "ProcessorFarm",
    "video",
    {
        "clusterRef": {"name": "radio"},
        "type": "video",
        "image": "registry.example.com/dpe-video:2.15",
    },
)
