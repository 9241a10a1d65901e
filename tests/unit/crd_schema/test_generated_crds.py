# SPDX-License-Identifier: Apache-2.0
"""The generated CRDs keep their promises: described, bounded, small, no clash of names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.bad_input import BAD_INPUT

from dpe_operator.crd_schema.definitions import crd_files, custom_resource_definitions
from dpe_operator.crd_schema.reference import reference_page

ROOT = Path(__file__).resolve().parents[3]
DEFINITIONS = custom_resource_definitions()
FILES = crd_files()


def _nodes(node: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, child in node.get("properties", {}).items():
        yield from _nodes(child, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if isinstance(node.get(part), dict):
            yield from _nodes(node[part], f"{path}[]")


def _fields(definition: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    root = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    for part in ("spec", "status"):
        yield from _nodes(root["properties"][part], f"{definition['spec']['names']['kind']}.{part}")


ALL_FIELDS = [entry for definition in DEFINITIONS for entry in _fields(definition)]


def test_every_field_is_described_in_sentences() -> None:
    silent = [
        path
        for path, node in ALL_FIELDS
        if not path.endswith("[]") and not re.search(r"\w.*\.$", node.get("description", ""))
    ]
    assert silent == []


def test_every_text_list_and_map_has_a_limit() -> None:
    limits = {"string": "maxLength", "array": "maxItems"}
    unbounded = [
        path
        for path, node in ALL_FIELDS
        if node.get("type") in limits and not {"enum", "format", limits[node["type"]]} & set(node)
    ]
    maps = [p for p, n in ALL_FIELDS if "additionalProperties" in n and "maxProperties" not in n]
    assert unbounded + maps == []


def test_every_list_says_how_it_is_merged() -> None:
    silent = [
        path
        for path, node in ALL_FIELDS
        if node.get("type") == "array" and "x-kubernetes-list-type" not in node
    ]
    assert silent == []


def test_keys_of_list_maps_are_required_fields() -> None:
    loose = [
        path
        for path, node in ALL_FIELDS
        if any(
            key not in node["items"].get("required", ())
            for key in node.get("x-kubernetes-list-map-keys", ())
        )
    ]
    assert loose == []


@pytest.mark.parametrize("name", sorted(FILES))
def test_each_crd_is_small(name: str) -> None:
    # A site holds whole pods of seven sorts; as JSON it still fits into the annotation (262 kB) in
    # which `kubectl apply` without --server-side keeps what it applied.
    limit = 230_000 if name.startswith("dpeclusters") else 100_000
    assert len(json.dumps(yaml.safe_load(FILES[name])).encode()) < limit


def test_no_category_equals_a_name_of_a_kind() -> None:
    names = [definition["spec"]["names"] for definition in DEFINITIONS]
    categories = {category for entry in names for category in entry["categories"]}
    taken = [
        name
        for entry in names
        for name in {*entry["shortNames"], entry["singular"], entry["plural"]}
    ]
    assert categories == {"dpe-all"}
    assert not categories & set(taken)
    assert len(taken) == len(set(taken)), "two kinds share a name"


def test_the_committed_files_are_the_generated_ones() -> None:
    committed = {path.name: path.read_text() for path in (ROOT / "crds").glob("*.yaml")}
    assert committed == FILES, "run 'make generate'"
    assert (ROOT / "docs/reference/api.md").read_text() == reference_page(), "run 'make generate'"


def test_the_files_read_back_as_the_definitions() -> None:
    assert [yaml.safe_load(FILES[f"{d['metadata']['name']}.yaml"]) for d in DEFINITIONS] == (
        DEFINITIONS
    )


def _sentences() -> set[str]:
    rules = [
        rule
        for definition in DEFINITIONS
        for _, node in _nodes(
            definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], "root"
        )
        for rule in node.get("x-kubernetes-validations", ())
    ]
    return {rule.get("message") or rule["messageExpression"] for rule in rules}


def _as_pattern(sentence: str) -> str:
    """The sentence as a regular expression, with anything for the values."""
    text = re.sub(r"^'(.*)'\.format\(\[.*$", r"\1", sentence, flags=re.S).replace("\\'", "'")
    text = text.replace("\\\\", "\\")
    return re.escape(text.replace("%%", "%")).replace("%s", ".*")


def test_every_rule_has_a_refused_and_a_cured_sample() -> None:
    messages = [row.message for row in BAD_INPUT]
    untried = [
        sentence
        for sentence in sorted(_sentences())
        if not any(re.fullmatch(_as_pattern(sentence), message, re.S) for message in messages)
    ]
    assert untried == []


def test_rules_name_the_field_the_value_and_the_cure() -> None:
    for sentence in _sentences():
        assert re.search(
            r": (write|begin|remove|delete|create|shorten|DPE|one server|a balancer|after)"
            r"|: image|^write|\. Remove|, so checks|: name the|, so one fault",
            sentence,
        ), sentence


def test_the_reference_shows_every_field_and_has_no_dead_link() -> None:
    page = reference_page()
    for path, _ in ALL_FIELDS:
        name = path.rsplit(".", 1)[-1].removesuffix("[]")
        assert f"`{name}`" in page or name in ("spec", "status"), path
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", page, flags=re.M)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= anchors
