# SPDX-License-Identifier: Apache-2.0
"""Small helpers for raw Kubernetes objects: names, look-ups, times, digests.

Objects stay plain dicts everywhere: typed models of a client library refuse the partial objects
that server-side apply is made of.
"""

import copy
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from dpe_operator.api import constants

Obj: TypeAlias = dict[str, Any]
"""A Kubernetes object, or a part of one, as it goes over the wire."""

_PATCH: Final = "podTemplate"


@dataclass(frozen=True, slots=True, order=True)
class Ref:
    """Names one object: kind, namespace, name (the kind implies the API version)."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """For messages: `Deployment radio-member-a`."""
        return f"{self.kind} {self.name}"


def ref_of(obj: Mapping[str, Any]) -> Ref:
    """Return the Ref of an object."""
    meta = obj["metadata"]
    return Ref(obj["kind"], meta.get("namespace", ""), meta["name"])


def moment(text: object) -> datetime | None:
    """Read a time as Kubernetes writes it; None where there is none, or none with a zone."""
    try:
        found = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def from_json(text: str | None) -> Any:
    """Read a JSON text that anybody may have edited; None where it is none."""
    try:
        return json.loads(text or "null")
    except (ValueError, RecursionError):
        return None


def object_from_json(text: str | None) -> Obj:
    """Read a JSON object that anybody may have edited; an empty one where it is none."""
    value = from_json(text)
    return value if isinstance(value, dict) else {}


def dig(obj: Any, *path: str | int, default: Any = None) -> Any:
    """Follow `path` through dicts and lists; `default` where a step is missing or null."""
    for step in path:
        if isinstance(step, int):
            obj = obj[step] if isinstance(obj, list) and -len(obj) <= step < len(obj) else None
        else:
            obj = obj.get(step) if isinstance(obj, Mapping) else None
        if obj is None:
            return default
    return obj


def annotations(obj: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the annotations of an object (of None: none)."""
    return dict(dig(obj, "metadata", "annotations", default={}))


def uid_of(obj: Mapping[str, Any] | None) -> str:
    """Return the uid of an object; empty for None or an object not yet stored."""
    return str(dig(obj, "metadata", "uid", default=""))


def controller_of(obj: Mapping[str, Any]) -> Obj | None:
    """Return the ownerReference of the controlling owner, or None."""
    for reference in dig(obj, "metadata", "ownerReferences", default=[]):
        if reference.get("controller"):
            return dict(reference)
    return None


def is_terminating(obj: Mapping[str, Any] | None) -> bool:
    """Whether the object is being deleted."""
    return dig(obj, "metadata", "deletionTimestamp") is not None


def is_paused(resource: Mapping[str, Any]) -> bool:
    """Whether the owner has told the operator to leave the resource alone."""
    value = annotations(resource).get(constants.ANNOTATION_RECONCILE)
    return value == constants.RECONCILE_DISABLED


def kept_by(obj: Mapping[str, Any] | None) -> str:
    """Return in brackets which finalizers keep an object that is being deleted; empty: none."""
    names = ", ".join(dig(obj, "metadata", "finalizers", default=[]))
    return f" (its finalizers keep it: {names})" if names else ""


def condition(obj: Mapping[str, Any] | None, kind: str) -> Obj | None:
    """Return the entry of `status.conditions` of type `kind`, or None."""
    for entry in dig(obj, "status", "conditions", default=[]):
        if entry.get("type") == kind:
            return dict(entry)
    return None


def without_nulls(value: Any) -> Any:
    """Return a copy without null values: to server-side apply a null is a field like any other.

    Those below a `podTemplate` stay: there a null is a value, and says "remove this from the pods".
    """
    if isinstance(value, Mapping):
        return {
            k: copy.deepcopy(v) if k == _PATCH else without_nulls(v)
            for k, v in value.items()
            if v is not None
        }
    if isinstance(value, list | tuple):
        return [without_nulls(item) for item in value]
    return value


def digest(value: Any) -> str:
    """Return 16 hex digits that change with the content (not with the order of keys)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def by_name(objects: Iterable[Obj]) -> dict[str, Obj]:
    """Index objects of one kind and namespace by their name."""
    return {obj["metadata"]["name"]: obj for obj in objects}
