# SPDX-License-Identifier: Apache-2.0
"""The API reference for people: a table of fields for each block, made from the CRDs.

A block that looks the same in several places (environment variables, volumes) is shown once and
linked from the others.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from dpe_operator.api.constants import API_VERSION, CATEGORY
from dpe_operator.crd_schema.definitions import custom_resource_definitions
from dpe_operator.crd_schema.structural import Schema

_HEAD: Final = f"""\
<!-- Made by hack/generate from operator/dpe_operator/api: do not edit. -->
# API reference

All kinds belong to `{API_VERSION}` and to the category `{CATEGORY}`: `kubectl get {CATEGORY}` lists
them. The same texts are shown by `kubectl explain`, for example
`kubectl explain dpe.spec.server.health`. Fields marked **required** must be written; what is
said as default holds while a field is absent. Times are written with their unit: `250ms`, `2s`,
`1m30s`.
"""


def reference_page() -> str:
    """Return the whole page as Markdown."""
    definitions = custom_resource_definitions()
    kinds = [_Kind(definition) for definition in definitions]
    contents = "\n".join(f"- [{kind.name}](#{kind.name.lower()}): {kind.text}" for kind in kinds)
    return "\n".join([_HEAD, contents, "", *(line for kind in kinds for line in kind.lines())])


class _Kind:
    """The part of the page for one kind."""

    def __init__(self, definition: dict[str, Any]) -> None:
        self._spec = definition["spec"]
        self._version = self._spec["versions"][0]
        self._root: Schema = self._version["schema"]["openAPIV3Schema"]
        self.name: str = self._spec["names"]["kind"]
        self.text: str = self._root["description"]
        self._seen: dict[str, str] = {}

    def lines(self) -> list[str]:
        """Return the lines of this part."""
        names = self._spec["names"]
        columns = ", ".join(
            f"{column['name'].upper()}" for column in self._version["additionalPrinterColumns"]
        )
        lines = [f"## {self.name}", "", self.text, ""]
        lines += [f"Short name `{names['shortNames'][0]}`, plural `{names['plural']}`."]
        lines += [f"Columns of `kubectl get -o wide`: {columns}.", ""]
        for part in ("spec", "status"):
            lines += self._block(part, self._root["properties"][part])
        return lines

    def _block(self, path: str, schema: Schema) -> list[str]:
        lines = [f"### {self.name}: {path}", "", schema.get("description", ""), ""]
        lines += ["| Field | Type | Meaning |", "|---|---|---|"]
        nested: list[tuple[str, Schema]] = []
        for name, field in schema["properties"].items():
            block = _block_of(field)
            link = ""
            if block is not None:
                child = f"{path}.{name}{'[]' if field['type'] == 'array' else ''}"
                link = self._link(child, block, nested)
            required = " **required**" if name in schema.get("required", ()) else ""
            meaning = _cell(field.get("description", "")) + link
            lines.append(f"| `{name}`{required} | {_type(field)} | {meaning} |")
        lines.append("")
        for child, block in nested:
            lines += self._block(child, block)
        return lines

    def _link(self, path: str, block: Schema, nested: list[tuple[str, Schema]]) -> str:
        key = json.dumps(block["properties"], sort_keys=True)
        if key not in self._seen:
            self._seen[key] = path
            nested.append((path, block))
        shown = self._seen[key]
        return f" See [{shown}](#{_anchor(f'{self.name}: {shown}')})."


def _block_of(field: Schema) -> Schema | None:
    inner = field.get("items", field)
    return inner if isinstance(inner, dict) and "properties" in inner else None


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|")


def _type(field: Schema) -> str:
    if "enum" in field:
        return " or ".join(f"`{value}`" if value else "empty" for value in field["enum"])
    if field.get("x-kubernetes-int-or-string"):
        return "text or number"
    if field.get("x-kubernetes-preserve-unknown-fields"):
        return "free form"
    return _plain_type(field)


def _plain_type(field: Schema) -> str:
    values = field.get("additionalProperties")
    match field["type"]:
        case "array":
            return f"list of {_type(field['items'])}s, at most {field['maxItems']}"
        case "object":
            return f"map to {_type(values)}" if values else "block"
        case "integer":
            return f"integer{_range(field)}"
        case "string":
            return "time stamp" if field.get("format") == "date-time" else "text"
        case _:
            return "`true` or `false`"


def _range(field: Schema) -> str:
    low, high = field.get("minimum"), field.get("maximum")
    if low is None and high is None:
        return ""
    if high is None:
        return f", from {low}"
    return f", {low} to {high}"
