# SPDX-License-Identifier: Apache-2.0
"""Which fields a CRD would take from the cluster: those of the one that is there and not its own.

The API server drops what a schema does not name whenever it reads a resource, and for good when it
writes it the next time, which the operator's next status does. So only fields that people fill in
count, those of `spec`: a status is made anew.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from dpe_operator.planning.objects import Obj, dig

Schema = dict[str, Any]

_KEEPS_ALL: Final = "x-kubernetes-preserve-unknown-fields"


def lost_fields(live: Obj, wanted: Obj) -> list[str]:
    """Return the paths of all fields, and the versions, that `live` has and `wanted` has not."""
    lost: list[str] = []
    kept = _specs(wanted)
    for version, schema in _specs(live).items():
        if version in kept:
            lost += [path for path in _lost(schema, kept[version], "spec") if path not in lost]
        else:
            lost.append(f"version {version}")
    return lost


def _specs(definition: Obj) -> dict[str, Schema]:
    """Return the schema of `spec` in each version."""
    way = ("schema", "openAPIV3Schema", "properties", "spec")
    versions = dig(definition, "spec", "versions", default=[])
    return {version["name"]: dig(version, *way, default={}) for version in versions}


def _lost(live: Schema, wanted: Schema, path: str) -> Iterator[str]:
    """Walk both schemas; what is below a field that is lost is not named."""
    if wanted.get(_KEEPS_ALL):
        return
    fields, rest = wanted.get("properties") or {}, wanted.get("additionalProperties")
    for name, schema in (live.get("properties") or {}).items():
        below = fields.get(name, rest)
        if below is None or below is False:
            yield f"{path}.{name}"
        else:
            yield from _lost(schema, _schema(below), f"{path}.{name}")
    for key, mark in (("items", "[]"), ("additionalProperties", ".*")):
        if live.get(key):
            if wanted.get(key):
                yield from _lost(_schema(live[key]), _schema(wanted[key]), f"{path}{mark}")
            else:
                yield f"{path}{mark}"


def _schema(value: Any) -> Schema:
    """Return a schema; `true` stands for one that lets everything through."""
    return value if isinstance(value, dict) else {_KEEPS_ALL: True}
