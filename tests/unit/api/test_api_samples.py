# SPDX-License-Identifier: Apache-2.0
"""Samples: read by the models, complete, and without fields that nobody knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.samples import SAMPLES, documents, spec_of

from dpe_operator.crd_schema.definitions import custom_resource_definitions

SCHEMAS = {
    definition["spec"]["names"]["kind"]: definition["spec"]["versions"][0]["schema"][
        "openAPIV3Schema"
    ]["properties"]["spec"]
    for definition in custom_resource_definitions()
}


def _written(value: Any, schema: dict[str, Any], path: str) -> Iterator[tuple[str, bool]]:
    """Yield each field that is written, and whether the schema knows it."""
    if isinstance(value, list):
        for entry in value:
            yield from _written(entry, schema["items"], path)
    elif isinstance(value, dict) and "properties" in schema:
        for name, inner in value.items():
            known = schema["properties"].get(name)
            yield f"{path}.{name}", known is not None
            if known:
                yield from _written(inner, known, f"{path}.{name}")


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_sample_parses_and_has_only_known_fields(sample: Path) -> None:
    for resource in documents(sample):
        spec_of(resource)
        written = list(_written(resource["spec"], SCHEMAS[resource["kind"]], resource["kind"]))
        assert [path for path, known in written if not known] == []


def test_full_sample_shows_every_useful_field() -> None:
    resource = documents(next(path for path in SAMPLES if path.stem == "full"))[0]
    shown = {path for path, _ in _written(resource["spec"], SCHEMAS["DpeCluster"], "spec")}

    for block in ("", ".server", ".server.health", ".server.loadBalancer", ".clients"):
        schema = SCHEMAS["DpeCluster"]
        for name in block.split(".")[1:]:
            schema = schema["properties"][name]
        missing = {name for name in schema["properties"] if f"spec{block}.{name}" not in shown}
        assert missing <= ELSEWHERE.get(block, set()), (block, missing)


# shown in a sample of their own, or on a processor of the same file
ELSEWHERE = {
    ".server": {"command", "placement", "serviceAccountName", "nodeSelector"},
    ".server.loadBalancer": {"externalAddress", "podTemplate"},
}


def test_the_list_of_samples_names_them_all() -> None:
    text = (SAMPLES[0].parent / "README.md").read_text()

    assert [path.name for path in SAMPLES if f"]({path.name})" not in text] == []
