# SPDX-License-Identifier: Apache-2.0
"""The walk from pydantic's JSON schema to a structural schema, construct by construct."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from dpe_operator.api.common import ATOMIC_LIST, Duration, between, cel_text, cure_marks, stored
from dpe_operator.crd_schema.structural import UnsupportedSchema, structural_schema

Short = Annotated[str, Field(max_length=9)]


def _properties(model: type[BaseModel]) -> dict[str, Any]:
    properties: dict[str, Any] = structural_schema(model)["properties"]
    return properties


class Inner(BaseModel):
    """The inner block."""

    mode: Literal["A", "B"] = Field(default="A", json_schema_extra=stored())
    note: Short | None = None


def test_a_reference_becomes_a_copy_with_the_fields_own_description() -> None:
    class Model(BaseModel):
        inner: Inner = Field(description="What is meant here.")

    inner = _properties(Model)["inner"]
    assert inner["description"] == "What is meant here."
    assert set(inner["properties"]) == {"mode", "note"}


def test_a_block_without_own_description_is_described_by_its_model() -> None:
    class Model(BaseModel):
        inner: Inner

    assert _properties(Model)["inner"]["description"] == "The inner block."


def test_optional_means_absent_and_never_null() -> None:
    class Model(BaseModel):
        note: Short | None = None

    assert structural_schema(Model) == {
        "type": "object",
        "properties": {"note": {"type": "string", "maxLength": 9}},
    }


def test_only_stored_defaults_reach_the_schema() -> None:
    class Model(BaseModel):
        shown: int = Field(default=3, json_schema_extra=stored())
        code: int = 4
        inner: Inner = Field(default=Inner(), json_schema_extra=stored())

    properties = _properties(Model)
    assert properties["shown"]["default"] == 3
    assert "default" not in properties["code"]
    assert properties["inner"]["default"] == {"mode": "A"}


def test_a_default_of_the_code_is_told_in_the_description() -> None:
    class Model(BaseModel):
        plain: int = Field(default=4, description="How many.")
        told: int = Field(default=4, description="How many. Default: four.")
        flag: bool = Field(default=False, description="Whether.")

    properties = _properties(Model)
    assert properties["plain"]["description"] == "How many. Default: 4."
    assert properties["told"]["description"] == "How many. Default: four."
    assert properties["flag"]["description"] == "Whether. Default: false."


def test_number_or_text_has_no_type() -> None:
    class Model(BaseModel):
        status: Annotated[int | str, Field(json_schema_extra={"maxLength": 3})]

    status = _properties(Model)["status"]
    assert status["x-kubernetes-int-or-string"] is True
    assert "type" not in status


def test_constants_become_enums_and_line_breaks_paragraphs() -> None:
    class Model(BaseModel):
        kind: Literal["only"] = Field(description="One\nline.\n\nTwo\nlines.")

    kind = _properties(Model)["kind"]
    assert kind["enum"] == ["only"]
    assert kind["description"] == "One line.\n\nTwo lines."


def test_a_pattern_with_a_cure_becomes_a_rule_with_the_cure() -> None:
    class Model(BaseModel):
        path: Short = Field(pattern="^/", json_schema_extra=cure_marks("begin with a slash (100%)"))

    path = _properties(Model)["path"]
    assert "pattern" not in path
    assert path["x-kubernetes-validations"] == [
        {
            "rule": "self.matches('^/')",
            "messageExpression": "'path is \"%s\": begin with a slash (100%%)'.format([self])",
        }
    ]


def test_bounds_of_a_time_become_a_rule() -> None:
    class Model(BaseModel):
        wait: Duration = Field(default=Duration("2s"), json_schema_extra=between("1s", "1m"))

    rule = _properties(Model)["wait"]["x-kubernetes-validations"][0]
    assert "duration(self) >= duration('1s') && duration(self) <= duration('1m')" in rule["rule"]
    assert "write a time from 1s to 1m with its unit, such as 2s" in rule["messageExpression"]


def test_cel_text_is_quoted() -> None:
    assert cel_text(r"it's [\\]") == r"'it\'s [\\\\]'"


class Recursive(BaseModel):
    again: Recursive | None = None


class Unbounded(BaseModel):
    text: str


class LooseList(BaseModel):
    texts: list[Short] = Field(max_length=3)


class LooseMap(BaseModel):
    texts: dict[str, Short]


class Choice(BaseModel):
    what: Short | bool


class LookAhead(BaseModel):
    what: Annotated[str, Field(max_length=3, json_schema_extra={"pattern": "^(?!a)"})]


class Closed(BaseModel):
    model_config = ConfigDict(extra="forbid")
    what: int


class Pairs(BaseModel):
    what: tuple[int, int] = Field(json_schema_extra=ATOMIC_LIST)


class Empty(BaseModel):
    pass


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Recursive, r"Recursive\.again.*contains itself"),
        (Unbounded, r"Unbounded\.text: text needs a maxLength"),
        (LooseList, r"LooseList\.texts: a list needs maxItems and x-kubernetes-list-type"),
        (LooseMap, r"LooseMap\.texts: a map needs maxProperties"),
        (Choice, r"Choice\.what: a choice of types"),
        (LookAhead, r"LookAhead\.what: .*no look-around"),
        (Pairs, r"Pairs\.what: a CRD cannot say prefixItems"),
        (Empty, r"Empty: an object without fields"),
    ],
)
def test_what_a_crd_cannot_say_is_refused_with_its_path(
    model: type[BaseModel], message: str
) -> None:
    with pytest.raises(UnsupportedSchema, match=message):
        structural_schema(model)


def test_extra_forbid_is_left_to_pruning() -> None:
    assert "additionalProperties" not in structural_schema(Closed)
