# SPDX-License-Identifier: Apache-2.0
"""Reads `metadata.managedFields`: which manager owns which field of a live object.

The API server keeps there, for each manager, the set of fields it applied. When somebody else
changes or removes one of them, it leaves that manager's set. So the set answers exactly "is this
field still as we wrote it?", without knowing how the server normalises values.

Form (FieldsV1): `f:NAME` a field, `k:{...}` a list entry by its key fields, `v:...` an entry of a
set, `i:N` an entry by position, `.` the entry itself; an empty dict is a field without owned parts,
which for us is a scalar or an atomic list or map.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from dpe_operator.planning.objects import Obj, dig

FieldSet: TypeAlias = dict[str, Any]

# A list key with a default: the server fills it in before it computes the key.
_KEY_DEFAULTS = {"protocol": "TCP"}


def owned_fields(obj: Mapping[str, Any], manager: str, *, subresource: str = "") -> FieldSet:
    """Return the fields that `manager` owns by server-side apply, empty if none."""
    merged: FieldSet = {}
    for entry in dig(obj, "metadata", "managedFields", default=[]):
        if (
            entry.get("manager") == manager
            and entry.get("operation") == "Apply"
            and entry.get("subresource", "") == subresource
        ):
            merged = _union(merged, entry.get("fieldsV1", {}))
    return merged


def _union(left: FieldSet, right: FieldSet) -> FieldSet:
    merged = dict(left)
    for key, value in right.items():
        merged[key] = _union(merged[key], value) if key in merged else value
    return merged


def has_field(fields: FieldSet, *path: str) -> bool:
    """Whether the set holds the field at `path` (names only, no list entries)."""
    node: Any = fields
    for name in path:
        node = node.get(f"f:{name}") if isinstance(node, dict) else None
        if node is None:
            return False
    return True


def is_keyed(fields: FieldSet) -> bool:
    """Whether the set at a list tells its entries apart (else the list is atomic)."""
    return any(key[:2] in ("k:", "v:") for key in fields)


def entry_for(fields: FieldSet, item: Any) -> tuple[Obj | None, FieldSet | None]:
    """Find a list entry in the set at a list.

    Returns its key fields (None for an entry of a set of scalars) and the set below it; the latter
    is None when the entry is not owned.
    """
    for key, below in fields.items():
        kind, _, text = key.partition(":")
        if kind == "k" and isinstance(item, Mapping):
            keys = json.loads(text)
            if all(item.get(name, _KEY_DEFAULTS.get(name)) == v for name, v in keys.items()):
                return keys, below
        elif kind == "v" and json.loads(text) == item:
            return None, below
    return None, None


def surplus(fields: FieldSet, intent: Any, path: str = "") -> Iterator[str]:
    """Yield the paths that are owned but no longer part of `intent`."""
    for key, below in fields.items():
        kind, _, text = key.partition(":")
        if kind == "f":
            name = f"{path}.{text}" if path else text
            if not isinstance(intent, Mapping) or text not in intent:
                yield name
            else:
                yield from surplus(below, intent[text], name)
        elif kind == "k":
            keys = json.loads(text)
            match = _find(intent, keys)
            if match is None:
                yield f"{path}[{','.join(str(v) for v in keys.values())}]"
            else:
                yield from surplus(below, match, f"{path}[{next(iter(keys.values()))}]")
        elif kind == "v" and not (isinstance(intent, list) and json.loads(text) in intent):
            yield f"{path}[{text}]"


def _find(items: Any, keys: Mapping[str, Any]) -> Any:
    for item in items if isinstance(items, list) else []:
        if all(item.get(name, _KEY_DEFAULTS.get(name)) == v for name, v in keys.items()):
            return item
    return None
