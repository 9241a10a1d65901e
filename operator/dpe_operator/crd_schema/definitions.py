# SPDX-License-Identifier: Apache-2.0
"""The CustomResourceDefinitions of all kinds, as objects and as YAML."""

from __future__ import annotations

from typing import Any, Final

import yaml

from dpe_operator.api.constants import CATEGORY, GROUP, VERSION
from dpe_operator.api.kinds import KINDS, Column, Kind
from dpe_operator.crd_schema.structural import Schema, structural_schema

_HEADER: Final = (
    "# SPDX-License-Identifier: Apache-2.0\n"
    "# Made by hack/generate from operator/dpe_operator/api: do not edit.\n"
)
_API_VERSION: Final = {
    "type": "string",
    "description": f"Version of the API this resource is written in: {GROUP}/{VERSION}.",
}
# Every name is this short anyway; said here, it bounds the cost of the rules about names.
_METADATA: Final = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 253}},
}
_SCALE: Final = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".status.selector",
}


def _column(column: Column) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.path,
        "description": column.description,
    }
    return entry | ({"priority": 1} if column.wide else {})


def _root_schema(kind: Kind) -> Schema:
    root: Schema = {
        "type": "object",
        "description": " ".join((kind.model.__doc__ or "").split()),
        "required": ["spec"],
        "properties": {
            "apiVersion": dict(_API_VERSION),
            "kind": {"type": "string", "description": f"Kind of this resource: {kind.kind}."},
            "metadata": _METADATA,
            "spec": structural_schema(kind.spec),
            "status": structural_schema(kind.status),
        },
    }
    if kind.model.cel_rules:
        root["x-kubernetes-validations"] = [rule.to_schema() for rule in kind.model.cel_rules]
    return root


def custom_resource_definition(kind: Kind) -> dict[str, Any]:
    """Return the CustomResourceDefinition of one kind."""
    subresources: dict[str, Any] = {"status": {}}
    if kind.scale:
        subresources["scale"] = dict(_SCALE)
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
        "subresources": subresources,
        "schema": {"openAPIV3Schema": _root_schema(kind)},
    }
    names = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.singular,
        "shortNames": [kind.short_name],
        "categories": [CATEGORY],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {"app.kubernetes.io/name": "dpe-operator"}},
        "spec": {"group": GROUP, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def custom_resource_definitions() -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions of all kinds."""
    return [custom_resource_definition(kind) for kind in KINDS]


_NOT_LEAF: Final = {"properties", "items", "additionalProperties", "jsonPath"}
# A field with few and short ones below it still reads well in one line.
_ONE_LINE: Final = 700


class _Dumper(yaml.SafeDumper):
    """Writes one field or rule a line, so that a diff shows which one changed, and files stay
    small."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True  # anchors would confuse readers and diffs

    def represent_mapping(
        self, tag: str, mapping: Any, flow_style: bool | None = None
    ) -> yaml.MappingNode:
        keys = set(mapping)
        is_leaf = {"description", "type"} <= keys and not keys & _NOT_LEAF
        is_small = "type" in keys and "jsonPath" not in keys and len(str(mapping)) < _ONE_LINE
        in_one_line = is_leaf or is_small or "rule" in keys
        return super().represent_mapping(tag, mapping, flow_style=in_one_line)

    def represent_sequence(
        self, tag: str, sequence: Any, flow_style: bool | None = None
    ) -> yaml.SequenceNode:
        short = all(isinstance(item, str) for item in sequence)
        return super().represent_sequence(tag, sequence, flow_style=short)


def to_yaml(definition: dict[str, Any]) -> str:
    """Return the text of the generated file for one definition."""
    body = yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=10_000, allow_unicode=True)
    return f"{_HEADER}{body}"


def crd_files() -> dict[str, str]:
    """Return the text of each generated file by its name in `crds/`."""
    return {
        f"{definition['metadata']['name']}.yaml": to_yaml(definition)
        for definition in custom_resource_definitions()
    }
