# SPDX-License-Identifier: Apache-2.0
"""From pydantic's JSON schema to the structural schema that the API server demands.

What is not known here is refused with its path, so that a new construct in a model fails the build
and never a user's cluster. Sizes are demanded everywhere: the API server multiplies the cost of
each CEL rule by the largest list it may stand in, and refuses a CRD that could cost too much.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel

from dpe_operator.api.common import (
    DURATION_PATTERN,
    MARK_BOUNDS,
    MARK_CURE,
    MARK_STORED,
    Rule,
    cel_text,
)

Schema = dict[str, Any]

_DROPPED: Final = frozenset(
    {"title", "examples", "default", MARK_STORED, MARK_CURE, MARK_BOUNDS, "required"}
)
_KEPT: Final = frozenset(
    {
        "type", "description", "enum", "format", "pattern", "minLength", "maxLength", "minimum",
        "maximum", "minItems", "maxItems", "minProperties", "maxProperties",
        "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type",
        "x-kubernetes-validations", "x-kubernetes-int-or-string",
        "x-kubernetes-preserve-unknown-fields",
    }
)  # fmt: skip
_CONVERTED: Final = frozenset({"properties", "items", "additionalProperties", "const"})


class UnsupportedSchema(Exception):
    """A model uses something that a CRD cannot say; the message names the field and the cure."""


def structural_schema(model: type[BaseModel]) -> Schema:
    """Return the structural schema of a model."""
    schema = model.model_json_schema(mode="validation", by_alias=True)
    return _convert(schema, schema.get("$defs", {}), model.__name__, ())


def _convert(
    node: Schema, defs: Mapping[str, Schema], path: str, parents: tuple[str, ...]
) -> Schema:
    node, parents = _resolved(node, defs, path, parents)
    node.pop("$defs", None)
    unknown = set(node) - _DROPPED - _KEPT - _CONVERTED
    if unknown:
        raise UnsupportedSchema(f"{path}: a CRD cannot say {', '.join(sorted(unknown))}")
    result = {key: value for key, value in node.items() if key in _KEPT}
    if "const" in node:
        result["enum"] = [node["const"]]
    if "description" in node:
        result["description"] = _described(node)
    _convert_children(node, result, defs, path, parents)
    if node.get(MARK_STORED):
        is_block = result.get("type") == "object"
        result["default"] = _block_default(result) if is_block else node["default"]
    _add_value_rule(node, result, path)
    _check(result, path)
    return result


def _block_default(block: Schema) -> Schema:
    """Return what is stored for a block nobody wrote: the stored defaults inside it.

    `{}` would be filled in just the same, but the server tries the rules on the bare default.
    """
    fields = block["properties"].items()
    return {name: field["default"] for name, field in fields if "default" in field}


def _resolved(
    node: Schema, defs: Mapping[str, Schema], path: str, parents: tuple[str, ...]
) -> tuple[Schema, tuple[str, ...]]:
    """Take away references and `anyOf`; what stands beside them wins."""
    node = dict(node)
    while "$ref" in node or "anyOf" in node:
        if "$ref" in node:
            name = node.pop("$ref").removeprefix("#/$defs/")
            if name in parents:
                raise UnsupportedSchema(f"{path}: {name} contains itself, a CRD must end somewhere")
            parents = (*parents, name)
            node = {**defs[name], **node}
            continue
        choices = [choice for choice in node.pop("anyOf") if choice != {"type": "null"}]
        if len(choices) == 1:
            node = {**choices[0], **node}
        elif {choice.get("type") for choice in choices} == {"integer", "string"}:
            node["x-kubernetes-int-or-string"] = True
        else:
            raise UnsupportedSchema(f"{path}: a choice of types; use one type or a block for each")
    return node, parents


def _convert_children(
    node: Schema, result: Schema, defs: Mapping[str, Schema], path: str, parents: tuple[str, ...]
) -> None:
    if "properties" in node:
        result["properties"] = {
            name: _convert(child, defs, f"{path}.{name}", parents)
            for name, child in node["properties"].items()
        }
        if node.get("required"):
            result["required"] = list(node["required"])
    if "items" in node:
        result["items"] = _convert(node["items"], defs, f"{path}[]", parents)
    values = node.get("additionalProperties")
    if isinstance(values, dict):
        result["additionalProperties"] = _convert(values, defs, f"{path}{{}}", parents)


def _described(node: Schema) -> str:
    """Return the description in whole paragraphs, with the default where it does not say it."""
    paragraphs = re.split(r"\n\s*\n", node["description"].strip())
    text = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)
    default = node.get("default")
    if default in (None, "", [], {}) or isinstance(default, dict) or "Default:" in text:
        return text
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"{text} Default: {shown}."


def _add_value_rule(node: Schema, result: Schema, path: str) -> None:
    """Turn the marks of a text field into a rule that says what to write instead.

    A pattern alone makes the API server answer with the pattern, which helps nobody at 2 a.m.
    """
    if MARK_BOUNDS in node:
        shortest, longest = node[MARK_BOUNDS]
        condition = (
            f"self.matches({cel_text(DURATION_PATTERN)})"
            f" && duration(self) >= duration('{shortest}')"
            f" && duration(self) <= duration('{longest}')"
        )
        example = node.get("default") or shortest
        cure = f"write a time from {shortest} to {longest} with its unit, such as {example}"
    elif MARK_CURE in node:
        condition = f"self.matches({cel_text(node['pattern'])})"
        if "x-kubernetes-int-or-string" in node:
            condition = f"type(self) != string || {condition}"
        cure = node[MARK_CURE].replace("%", "%%")
    else:
        return
    result.pop("pattern", None)
    result.pop("minLength", None)
    rule = Rule(condition, f'{path.rsplit(".", 1)[-1]} is "%s": {cure}', values=("self",))
    result.setdefault("x-kubernetes-validations", []).append(rule.to_schema())


def _check(result: Schema, path: str) -> None:
    kind = result.get("type")
    pattern = result.get("pattern", "")
    if re.search(r"\(\?[=!<]", pattern):
        raise UnsupportedSchema(f"{path}: the API server's patterns (RE2) have no look-around")
    free_text = kind == "string" and not {"enum", "format"} & set(result)
    if (free_text or "x-kubernetes-int-or-string" in result) and "maxLength" not in result:
        raise UnsupportedSchema(f"{path}: text needs a maxLength")
    if kind == "array" and not {"maxItems", "x-kubernetes-list-type"} <= set(result):
        raise UnsupportedSchema(f"{path}: a list needs maxItems and x-kubernetes-list-type")
    if kind == "object" and "additionalProperties" in result and "maxProperties" not in result:
        raise UnsupportedSchema(f"{path}: a map needs maxProperties")
    fields = {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"}
    if kind == "object" and not any(result.get(name) for name in fields):
        raise UnsupportedSchema(f"{path}: an object without fields would be pruned to nothing")
