# SPDX-License-Identifier: Apache-2.0
"""The four workflow kinds: how they are called, what is stored, what the models read.

What the API server refuses is tried on a real one, from `tests/support/bad_input_workflow.py`.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.bad_input_workflow import WORKFLOW_ROWS, concurrent, standby

from dpe_operator.api.constants import CATEGORY, WORKFLOW_KINDS
from dpe_operator.api.kinds import kind_named
from dpe_operator.crd_schema.definitions import custom_resource_definition

SHORT_NAMES = {
    "WorkflowWorker": "dpeworker",
    "WorkflowScheduler": "dpesched",
    "WorkflowTableWatcher": "dpetable",
    "WorkflowFolderWatcher": "dpefolder",
}


def definition(kind: str) -> dict[str, Any]:
    found: dict[str, Any] = custom_resource_definition(kind_named(kind))["spec"]
    return found


def spec_schema(kind: str) -> dict[str, Any]:
    schema = definition(kind)["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = schema["properties"]["spec"]
    return found


@pytest.mark.parametrize("kind", WORKFLOW_KINDS)
def test_names_and_columns(kind: str) -> None:
    found = definition(kind)
    columns = found["versions"][0]["additionalPrinterColumns"]
    always = [column["name"] for column in columns if not column.get("priority")]

    assert found["names"]["shortNames"] == [SHORT_NAMES[kind]]
    assert found["names"]["categories"] == [CATEGORY]
    assert always == ["Ready", "Mode", "Holder", "Message", "Age"]
    assert found["versions"][0]["subresources"] == {"status": {}}


@pytest.mark.parametrize("kind", WORKFLOW_KINDS)
def test_the_mode_has_no_default(kind: str) -> None:
    schema = spec_schema(kind)

    assert set(schema["required"]) == {"mode", "image", "clusterRef"}
    assert "default" not in schema["properties"]["mode"]
    assert "default" not in schema["properties"]["replicas"], "a default of the code, not stored"


def _words(node: dict[str, Any], path: str) -> list[str]:
    found = [path] if len(node.get("description", "").split()) < 3 else []
    for name, below in node.get("properties", {}).items():
        found += _words(below, f"{path}.{name}")
    if isinstance(node.get("items"), dict) and "properties" in node["items"]:
        for name, below in node["items"]["properties"].items():
            found += _words(below, f"{path}[].{name}")
    return found


@pytest.mark.parametrize("kind", WORKFLOW_KINDS)
def test_every_field_is_described(kind: str) -> None:
    assert _words(spec_schema(kind), kind) == []


@pytest.mark.parametrize("kind", WORKFLOW_KINDS)
@pytest.mark.parametrize("make", [standby, concurrent])
def test_the_smallest_resource_is_read(kind: str, make: Any) -> None:
    resource = make(kind)
    found: Any = kind_named(kind).model.model_validate(resource)

    assert found.spec.mode == resource["spec"]["mode"]
    assert found.spec.wanted_replicas() == 2
    assert found.spec.probe_port is None


@pytest.mark.parametrize("row", WORKFLOW_ROWS, ids=str)
def test_what_cures_a_refusal_can_be_read(row: Any) -> None:
    """A model is never stricter than the API server."""
    kind_named(row.cured["kind"]).model.model_validate(row.cured)


def test_rows_have_names_of_their_own() -> None:
    names = [row.name for row in WORKFLOW_ROWS]

    assert len(set(names)) == len(names)
