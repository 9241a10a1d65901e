# SPDX-License-Identifier: Apache-2.0
"""Whether the API server would take a status: the schema of its kind, as the server reads it.

Only what our status schemas use. An unknown field counts too: the server would drop it in silence.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from functools import cache
from typing import Any

from dpe_operator.crd_schema.definitions import custom_resource_definitions
from dpe_operator.planning.objects import Obj

# kube-openapi's strfmt.IsDateTime; the `t` may be small there, too
_TIME = re.compile(
    r"(\d{4}-\d{2}-\d{2})T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d{2}:\d{2})", re.ASCII
)
_KINDS = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
_INTEGERS = range(-(2**63), 2**63)


@cache
def status_schema(kind: str) -> Obj:
    """Return the schema of the status of a kind."""
    for definition in custom_resource_definitions():
        if definition["spec"]["names"]["kind"] == kind:
            schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
            found: Obj = schema["properties"]["status"]
            return found
    raise KeyError(kind)


def refusals(kind: str, status: Obj) -> list[str]:
    """Return why the API server would not take a status, or not keep all of it."""
    sent = json.loads(json.dumps(status))
    return list(_refusals(sent, status_schema(kind), "status"))


def _refusals(value: Any, schema: Obj, path: str) -> Iterator[str]:
    wanted = _KINDS[schema["type"]]
    if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        yield f"{path}: {str(value)[:60]} is no {schema['type']}"
    elif isinstance(value, dict):
        needed = schema.get("required", ())
        yield from (f"{path}.{name} is missing" for name in needed if name not in value)
        for name, inner in value.items():
            known = schema["properties"].get(name)
            yield from _refusals(inner, known, f"{path}.{name}") if known else [f"{path}.{name}?"]
    elif isinstance(value, list):
        yield from _list_refusals(value, schema, path)
    elif isinstance(value, str):
        yield from _text_refusals(value, schema, path)
    elif wanted is int and (value not in _INTEGERS or value < schema.get("minimum", value)):
        yield f"{path}: {str(value)[:60]} is no such number"


def _list_refusals(value: list[Any], schema: Obj, path: str) -> Iterator[str]:
    if len(value) > schema["maxItems"]:
        yield f"{path} has {len(value)} entries, {schema['maxItems']} are allowed"
    merged = schema["x-kubernetes-list-type"]
    keys = schema.get("x-kubernetes-list-map-keys", ())
    told = [json.dumps([item.get(key) for key in keys] if keys else item) for item in value]
    if merged != "atomic" and len(set(told)) < len(told):
        yield f"{path} has an entry twice"
    for number, item in enumerate(value):
        yield from _refusals(item, schema["items"], f"{path}[{number}]")


def _text_refusals(value: str, schema: Obj, path: str) -> Iterator[str]:
    if len(value) > schema.get("maxLength", len(value)):
        yield f"{path} has {len(value)} characters, {schema['maxLength']} are allowed"
    if value not in schema.get("enum", [value]):
        yield f"{path}: {value[:60]} is not in the list"
    if "pattern" in schema and not re.search(schema["pattern"], value):
        yield f"{path}: {value[:60]} does not match {schema['pattern']}"
    if schema.get("format") == "date-time" and not _is_time(value):
        yield f"{path}: {value[:60]} is no time"


def _is_time(text: str) -> bool:
    found = _TIME.fullmatch(text)
    try:
        return bool(found and date.fromisoformat(found[1]))
    except ValueError:
        return False
