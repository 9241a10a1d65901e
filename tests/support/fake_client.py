# SPDX-License-Identifier: Apache-2.0
"""A client that keeps objects in memory, for tests of what is asked, not of what the server does.

Its server-side apply merges objects and owns what was applied; nothing is defaulted or validated.
"""

from __future__ import annotations

import copy
import json
from typing import Any

from dpe_operator.kube.errors import ApiError, Conflict, NotFound
from dpe_operator.planning.objects import Obj, Ref, ref_of


class FakeClient:
    """Implements `KubeClient`. `calls` lists (verb, Ref); `fail` maps (verb, kind) to an error,
    `vanish_after` to an object that is gone after such a call."""

    def __init__(self, *objects: Obj) -> None:
        self.objects: dict[Ref, Obj] = {}
        self.calls: list[tuple[str, Ref]] = []
        self.fail: dict[tuple[str, str], ApiError] = {}
        self.vanish_after: dict[tuple[str, str], Ref] = {}
        self.patches: list[tuple[Ref, Obj]] = []
        self.managers: list[str] = []
        self._count = 0
        for obj in objects:
            self._store(obj)

    @property
    def writes(self) -> list[tuple[str, str]]:
        """Verb and kind of all calls that write."""
        return [(verb, ref.kind) for verb, ref in self.calls if verb not in ("get", "list")]

    def _store(self, obj: Obj) -> Obj:
        stored = copy.deepcopy(obj)
        self._count += 1
        stored["metadata"].setdefault("uid", f"uid-{self._count}")
        stored["metadata"]["resourceVersion"] = str(self._count)
        self.objects[ref_of(stored)] = stored
        return copy.deepcopy(stored)

    def _call(self, verb: str, ref: Ref) -> None:
        self.calls.append((verb, ref))
        error = self.fail.get((verb, ref.kind))
        if error is not None:
            raise error
        if gone := self.vanish_after.get((verb, ref.kind)):
            self.objects.pop(gone, None)

    async def get(self, ref: Ref) -> Obj:
        self._call("get", ref)
        if ref not in self.objects:
            raise NotFound(404, "NotFound", str(ref))
        return copy.deepcopy(self.objects[ref])

    async def list(self, kind: str, namespace: str, *, labels: str = "") -> list[Obj]:
        self._call("list", Ref(kind, namespace, ""))
        wanted = dict(part.split("=") for part in labels.split(",") if part)
        return [
            copy.deepcopy(obj)
            for ref, obj in self.objects.items()
            if (ref.kind, ref.namespace) == (kind, namespace)
            and wanted.items() <= obj["metadata"].get("labels", {}).items()
        ]

    async def create(self, obj: Obj) -> Obj:
        ref = ref_of(obj)
        self._call("create", ref)
        if ref in self.objects:
            raise Conflict(409, "AlreadyExists", str(ref))
        return self._store(obj)

    async def apply(self, obj: Obj, *, manager: str, force: bool = True) -> Obj:
        self._call("apply", ref_of(obj))
        self.managers.append(manager)
        return self._apply(obj, manager, "")

    async def apply_status(self, obj: Obj, *, manager: str) -> Obj:
        self._call("apply_status", ref_of(obj))
        return self._apply(obj, manager, "status")

    def _apply(self, obj: Obj, manager: str, subresource: str) -> Obj:
        live = self.objects.get(ref_of(obj), {"metadata": {}})
        merged = _merged(live, obj)
        entry = {
            "manager": manager,
            "operation": "Apply",
            "fieldsV1": _fields({k: v for k, v in obj.items() if k not in ("apiVersion", "kind")}),
            **({"subresource": subresource} if subresource else {}),
        }
        others = [
            other
            for other in live["metadata"].get("managedFields", [])
            if (other["manager"], other.get("subresource", "")) != (manager, subresource)
        ]
        merged["metadata"]["managedFields"] = [*others, entry]
        return self._store(merged)

    async def update(self, obj: Obj) -> Obj:
        self._call("update", ref_of(obj))
        return self._store(obj)

    async def merge_patch(self, ref: Ref, patch: dict[str, Any]) -> Obj:
        self._call("patch", ref)
        self.patches.append((ref, patch))
        if ref not in self.objects:
            raise NotFound(404, "NotFound", str(ref))
        return self._store(_merged(self.objects[ref], patch))

    async def delete(self, ref: Ref, *, uid: str, foreground: bool = False) -> None:
        self._call("delete", ref)
        live = self.objects.get(ref)
        if live is None:
            return
        if live["metadata"]["uid"] != uid:
            raise Conflict(409, "Conflict", str(ref))
        del self.objects[ref]


def _merged(base: Any, patch: Any) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    result = copy.deepcopy(base) if isinstance(base, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), value)
    return result


_KEYS = {"conditions": ["type"], "ports": ["port"], "ownerReferences": ["uid"]}


def _fields(value: Any, name: str = "") -> Obj:
    if isinstance(value, dict):
        return {
            f"f:{key}": _fields(below, key)
            for key, below in value.items()
            if not (name == "metadata" and key in ("name", "namespace", "uid"))
        }
    if isinstance(value, list) and name in _KEYS:
        found = {}
        for item in value:
            key = json.dumps({part: item[part] for part in _KEYS[name]})
            found[f"k:{key}"] = {} if name == "ownerReferences" else {".": {}, **_fields(item)}
        return found
    return {}
