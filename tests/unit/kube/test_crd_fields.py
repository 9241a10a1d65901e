# SPDX-License-Identifier: Apache-2.0
"""What a CRD would take from the cluster: every field of a spec is found, and nothing else."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.support.fake_client import FakeClient

from dpe_operator.crd_schema.definitions import custom_resource_definitions
from dpe_operator.kube.crd_fields import lost_fields
from dpe_operator.kube.crds import FieldsLost, apply_crds

TEXT = {"type": "string"}
LATER = "v1beta1"


def crd(fields: dict[str, Any], *more: str) -> dict[str, Any]:
    """A CRD whose spec has these fields, in v1alpha1 and in further versions."""
    spec = {"type": "object", "properties": fields}
    schema = {"type": "object", "properties": {"spec": spec, "status": {"type": "object"}}}
    versions = [
        {"name": name, "schema": {"openAPIV3Schema": copy.deepcopy(schema)}}
        for name in ("v1alpha1", *more)
    ]
    return {"metadata": {"name": "xs.dpe.dev"}, "spec": {"versions": versions}}


def objects(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields}


@pytest.mark.parametrize(
    ("live", "wanted", "expected"),
    [
        ({"a": TEXT}, {"a": TEXT, "b": TEXT}, []),
        ({"a": TEXT, "b": TEXT}, {"a": TEXT}, ["spec.b"]),
        ({"a": objects(b=TEXT, c=TEXT)}, {"a": objects(c=TEXT)}, ["spec.a.b"]),
        ({"a": objects(b=objects(c=TEXT))}, {}, ["spec.a"]),
        (
            {"a": {"type": "array", "items": objects(b=TEXT)}},
            {"a": {"type": "array", "items": objects()}},
            ["spec.a[].b"],
        ),
        (
            {"a": {"type": "object", "additionalProperties": objects(b=TEXT)}},
            {"a": {"type": "object", "additionalProperties": objects()}},
            ["spec.a.*.b"],
        ),
        ({"a": {"type": "object", "additionalProperties": TEXT}}, {"a": objects()}, ["spec.a.*"]),
        ({"a": objects(b=TEXT)}, {"a": {"type": "object", "additionalProperties": TEXT}}, []),
        (
            {"a": objects(b=TEXT)},
            {"a": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
            [],
        ),
        ({"a": {**TEXT, "maxLength": 9}}, {"a": {**TEXT, "enum": ["x"]}}, []),
    ],
)
def test_fields_that_would_be_lost(
    live: dict[str, Any], wanted: dict[str, Any], expected: list[str]
) -> None:
    assert lost_fields(crd(live), crd(wanted)) == expected


def test_a_version_that_would_be_lost() -> None:
    assert lost_fields(crd({}, LATER), crd({})) == [f"version {LATER}"]
    assert lost_fields(crd({}), crd({}, LATER)) == []
    assert lost_fields(crd({"a": TEXT}, LATER), crd({}, LATER)) == ["spec.a"], "said once"


def test_a_crd_that_the_server_has_filled_up_loses_nothing() -> None:
    for definition in custom_resource_definitions():
        assert lost_fields(definition, definition) == []


async def test_nothing_is_applied_if_one_of_them_would_take_something() -> None:
    fields = {f"later{number}": TEXT for number in range(10)}
    live = {"kind": "CustomResourceDefinition", **crd(fields)}
    client = FakeClient(live)
    first = {**live, "metadata": {"name": "as.dpe.dev"}}
    with pytest.raises(FieldsLost, match=r"spec\.later7 of xs\.dpe\.dev and 2 more$"):
        await apply_crds(client, [first, {**live, **crd({})}], say=print)
    assert client.writes == []
