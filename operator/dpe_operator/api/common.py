# SPDX-License-Identifier: Apache-2.0
"""Ground of all models: the base class, durations, names, references, conditions.

Two habits rule the models. A field's default is the default of the *code*: it is not written into
stored objects, so a later release may improve it; `stored()` marks the few stable choices that the
API server writes into the object so that `kubectl get -o yaml` shows them. And a model is never
stricter than the CRD made from it: whatever the API server let through must parse.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    StringConstraints,
)
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION_PATTERN: Final = r"^([0-9]{1,6}(ms|s|m|h)){1,3}$"
_DURATION_PART: Final = re.compile(r"([0-9]+)(ms|s|m|h)")


def cel_text(text: str) -> str:
    """Return `text` as a CEL string literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def duration_at_most(first: str, second: str) -> str:
    """Return CEL that is true when the first time is not longer than the second.

    Both are CEL expressions. Text that is no time at all is let through here, because the field's
    own rule refuses it with a better sentence.
    """
    pattern = cel_text(DURATION_PATTERN)
    return (
        f"!{first}.matches({pattern}) || !{second}.matches({pattern})"
        f" || duration({first}) <= duration({second})"
    )


class Duration(str):
    """A time span as people write it (`250ms`, `2s`, `1m30s`), kept as text, read in seconds."""

    __slots__ = ()

    @property
    def seconds(self) -> float:
        """The span in seconds."""
        return sum(int(count) * _UNITS[unit] for count, unit in _DURATION_PART.findall(self))

    @property
    def milliseconds(self) -> int:
        """The span in whole milliseconds."""
        return round(self.seconds * 1000)

    @classmethod
    def __get_pydantic_core_schema__(
        cls, _source: type[Any], _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        text = core_schema.str_schema(pattern=DURATION_PATTERN, max_length=24)
        return core_schema.no_info_after_validator_function(cls, text)


@dataclass(frozen=True)
class Rule:
    """One CEL rule of the CRD, checked by the API server at every write.

    `rule` is true for good objects. `message` is the sentence for a bad one, with `%s` for each of
    `values`, which are CEL expressions. `field` is the path the API server points to, relative to
    where the rule stands, such as `.members`.
    """

    rule: str
    message: str
    values: tuple[str, ...] = ()
    field: str | None = None

    def to_schema(self) -> dict[str, Any]:
        """Return the entry for `x-kubernetes-validations`."""
        entry: dict[str, Any] = {"rule": self.rule}
        if self.values:
            # format() and not `+`: the API server's cost estimate of string(x) has no upper bound
            entry["messageExpression"] = (
                f"{cel_text(self.message)}.format([{', '.join(self.values)}])"
            )
        else:
            entry["message"] = self.message
        if self.field:
            entry["fieldPath"] = self.field
        return entry


def one_at_a_path(field: str) -> Rule:
    """Return the rule that no two volumes of a list are mounted at one path."""
    alone = f"self.{field}.exists_one(w, w.mountPath == v.mountPath)"
    return Rule(
        f"!has(self.{field}) || self.{field}.all(v, {alone})",
        f"two of {field} have mountPath %s, and a pod takes one volume at a path: write another "
        "path for one of them",
        values=(f"self.{field}.filter(v, !{alone})[0].mountPath",),
        field=f".{field}",
    )


class ApiModel(BaseModel):
    """Base of all models: camelCase outside, unknown fields ignored, immutable inside.

    Unknown fields are ignored because an old operator may meet a newer object.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )

    cel_rules: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        result = handler.resolve_ref_schema(handler(schema))
        rules = [rule for base in reversed(cls.__mro__) for rule in vars(base).get("cel_rules", ())]
        if rules:
            result["x-kubernetes-validations"] = [rule.to_schema() for rule in rules]
        properties = result.get("properties", {})
        result["properties"] = {name: properties[name] for name in cls._own_fields_first()}
        return result

    @classmethod
    def _own_fields_first(cls) -> list[str]:
        """Names as users see them: what a kind is about stands before what all kinds share."""
        order = dict.fromkeys(
            name for base in cls.__mro__ for name in vars(base).get("__annotations__", ())
        )
        names = [name for name in order if name in cls.model_fields]
        return [cls.model_fields[name].alias or name for name in names]


# Marks that the CRD generator (`dpe_operator.crd_schema`) reads; they never reach the CRD itself.
MARK_STORED: Final = "x-dpe-stored"
MARK_CURE: Final = "x-dpe-cure"
MARK_BOUNDS: Final = "x-dpe-bounds"


def stored(cure: str | None = None) -> dict[str, JsonValue]:
    """Mark a field whose default the API server writes into the object (`json_schema_extra`)."""
    marks: dict[str, JsonValue] = {MARK_STORED: True}
    return marks | (cure_marks(cure) if cure else {})


def cure_marks(cure: str) -> dict[str, JsonValue]:
    """Mark a field with a pattern: the API server then says what to write instead of the pattern.

    Not for fields inside long lists: a pattern costs nothing there, a rule does.
    """
    return {MARK_CURE: cure}


def server_pattern(pattern: str) -> dict[str, JsonValue]:
    """Mark a text with a pattern that the API server alone checks.

    For a pattern that came later: what an older release let through must still be read.
    """
    return {"pattern": pattern}


def between(shortest: str, longest: str) -> dict[str, JsonValue]:
    """Mark a Duration field with the range the API server accepts."""
    return {MARK_BOUNDS: [shortest, longest]}


def list_map(*keys: str) -> dict[str, JsonValue]:
    """Mark a list whose entries are told apart by `keys`, so each can be edited on its own."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


ATOMIC_LIST: Final[dict[str, JsonValue]] = {"x-kubernetes-list-type": "atomic"}
SET_LIST: Final[dict[str, JsonValue]] = {"x-kubernetes-list-type": "set"}

# Key of a label, annotation or taint: a name of 63 characters at most, a domain in front or none.
_DOMAIN: Final = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
KEY_PATTERN: Final = rf"^({_DOMAIN}/)?[A-Za-z0-9]([-_.A-Za-z0-9]{{0,61}}[A-Za-z0-9])?$"
LABEL_PATTERN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DnsLabel = Annotated[str, StringConstraints(pattern=LABEL_PATTERN, min_length=1, max_length=63)]
ObjectName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", min_length=1, max_length=253),
]
DataKey = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z0-9]+$", max_length=253)]
EnvName = Annotated[str, StringConstraints(pattern=r"^[-._a-zA-Z][-._a-zA-Z0-9]*$", max_length=128)]
HostName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?$", max_length=253),
    # HAProxy refuses the whole config for two dots with nothing between
    Field(json_schema_extra=server_pattern(r"^[a-zA-Z0-9]((\.?[-a-zA-Z0-9])*\.?[a-zA-Z0-9])?$")),
]
Port = Annotated[int, Field(ge=1, le=65535)]
ImageName = Annotated[str, StringConstraints(pattern=r"^[^ \t\r\n]+$", max_length=512)]
ShortText = Annotated[str, StringConstraints(max_length=256)]
LongText = Annotated[str, StringConstraints(max_length=4096)]

Placement = Literal["Required", "Preferred"]


class LocalRef(ApiModel):
    """Names one object in the same namespace."""

    name: ObjectName
    """Name of the object, in the namespace of this resource."""


class SecretKeyRef(ApiModel):
    """Names one entry of a Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret, in the namespace of this resource."""
    key: DataKey = Field(default="ca.crt", json_schema_extra=stored())
    """Entry of the Secret that holds the value, PEM text for certificates."""


class Condition(ApiModel):
    """One statement about the resource, as in all of Kubernetes."""

    type: Annotated[str, StringConstraints(max_length=316)]
    """What is stated, for example Ready or BalancerReady."""
    status: Literal["True", "False", "Unknown"]
    """Whether it is so. Unknown: it could not be checked, which is not the same as False."""
    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation the statement was made for; older than that means out of date."""
    last_transition_time: Annotated[
        str | None, Field(json_schema_extra={"format": "date-time"}, max_length=40)
    ] = None
    """When `status` last changed (not when it was last checked)."""
    reason: Annotated[str, StringConstraints(max_length=1024)]
    """The cause in one CamelCase word, for programs."""
    message: Annotated[str, StringConstraints(max_length=32768)] = ""
    """The cause in a sentence, with the value that is wrong and what to do."""


class Metadata(BaseModel):
    """What the operator reads from a resource's metadata."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True
    )

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    owner_references: list[dict[str, Any]] = []
