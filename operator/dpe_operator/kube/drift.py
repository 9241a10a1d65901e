# SPDX-License-Identifier: Apache-2.0
"""Decides whether an object must be applied again. Pure; the heart of "no write without a reason".

A PATCH that changes nothing is still a write: it costs the API server and hides real changes in
audit logs. An apply is skipped when all of this holds:

1. The annotation with the digest of the intent is unchanged. It alone notices a field that we no
   longer want: such a field is in the live object and in nothing that we compare it with.
2. Every field of the intent is still ours in managedFields. The API server takes a field away from
   us when somebody changes or removes it, so this notices hand edits without any knowledge of how
   the server writes values ("0.5" becomes "500m", ports get a protocol, and so on).
3. Every value of the intent is in the live object, after the known normalisations. This is belt and
   braces for 2: managedFields can be emptied or restored by tools.

A mutating webhook may change what we apply *in our own request*: ownership stays ours and the value
differs for ever. The caller remembers such differences as they were right after an apply and passes
them as `tolerated`, else every reconcile would write. One that is no longer ours is never
tolerated: it was taken by somebody, and not changed in our own request.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from dpe_operator.api import constants
from dpe_operator.planning.managed_fields import (
    FieldSet,
    entry_for,
    is_keyed,
    owned_fields,
    surplus,
)
from dpe_operator.planning.objects import (
    Obj,
    annotations,
    dig,
    digest,
    is_terminating,
    without_nulls,
)
from dpe_operator.planning.quantities import quantity

_QUANTITY_PARENTS: Final = ("requests", "limits", "sizeLimit", "divisor")
# The server fills these in; they are not part of what we own.
_NOT_OWNED: Final = ("apiVersion", "kind", "status")
_IDENTITY: Final = ("name", "namespace")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where the live object is not what we want."""

    path: str
    lost: bool
    """True: the field is no longer ours. False: ours, but with another value."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about one child, and why.

    `wait`: the old object is still being deleted. `drift` lists what others changed, empty for a
    new or changed intent.
    """

    action: Literal["create", "apply", "skip", "wait"]
    drift: tuple[Difference, ...] = ()


def stamped(intent: Mapping[str, Any]) -> Obj:
    """Return the intent without nulls (but those of a patch), with its own digest as annotation."""
    clean: Obj = without_nulls(intent)
    meta = dict(clean["metadata"])
    meta["annotations"] = {
        **meta.get("annotations", {}),
        constants.ANNOTATION_INTENT_HASH: digest(clean),
    }
    return {**clean, "metadata": meta}


def decide(
    intent: Mapping[str, Any],
    live: Mapping[str, Any] | None,
    *,
    manager: str,
    tolerated: frozenset[str] = frozenset(),
) -> Decision:
    """Decide what to do about a child.

    Args:
        intent: what is wanted, already `stamped`.
        live: the object as it is, or None.
        manager: our field manager.
        tolerated: paths whose value the server itself changed right after our last apply.

    Returns:
        the action, and what others changed if that is why.
    """
    if live is None:
        return Decision("create")
    if is_terminating(live):
        return Decision("wait")
    if _hash(intent) != _hash(live):
        return Decision("apply")
    found = tuple(
        d for d in differences(intent, live, manager=manager) if d.lost or d.path not in tolerated
    )
    return Decision("apply", found) if found else Decision("skip")


def _hash(obj: Mapping[str, Any]) -> str | None:
    return annotations(obj).get(constants.ANNOTATION_INTENT_HASH)


def differences(
    intent: Mapping[str, Any], live: Mapping[str, Any], *, manager: str, subresource: str = ""
) -> Iterator[Difference]:
    """Yield where `live` is not `intent`, by ownership and by value."""
    fields = owned_fields(live, manager, subresource=subresource)
    skip = () if subresource else _NOT_OWNED
    for key, value in intent.items():
        if key in skip or (subresource and key != "status"):
            continue
        wanted = value
        if key == "metadata":
            wanted = {k: v for k, v in value.items() if k not in _IDENTITY}
        yield from _compare(wanted, live.get(key), fields.get(f"f:{key}"), (key,))


def service_surplus(intent: Mapping[str, Any], live: Mapping[str, Any]) -> Obj:
    """Return the merge patch that takes foreign parts out of a Service; empty without any.

    Server-side apply leaves alone what others add. In a Service that is not harmless: one more
    selector label or port sends clients elsewhere, and a port with another number but the same name
    makes every later apply invalid.
    """
    if intent.get("kind") != "Service":
        return {}
    wanted, found = intent.get("spec", {}), live.get("spec", {})
    patch: Obj = {}
    foreign = set(found.get("selector") or {}) - set(wanted.get("selector") or {})
    if foreign:
        patch["selector"] = dict.fromkeys(sorted(foreign))
    ports = {_port(port) for port in wanted.get("ports", [])}
    if {_port(port) for port in found.get("ports", [])} - ports:
        patch["ports"] = wanted.get("ports", [])
    return {"spec": patch} if patch else {}


def replacing(intent: Mapping[str, Any]) -> Obj:
    """Return the merge patch that sets the spec of an object to ours, where an apply is refused for
    what others have added.

    It replaces lists. Of maps it takes out what cannot stand beside ours.
    """
    spec = dict(intent["spec"])
    if intent.get("kind") == "PodDisruptionBudget":
        spec = {"minAvailable": None, "maxUnavailable": None, **spec}
    if intent.get("kind") == "Deployment" and dig(spec, "strategy", "type") == "Recreate":
        spec["strategy"] = {"rollingUpdate": None, **spec["strategy"]}
    return {"spec": spec}


def _port(port: Mapping[str, Any]) -> tuple[Any, Any]:
    return port.get("port"), port.get("protocol", "TCP")


def status_differs(intent: Mapping[str, Any], live: Mapping[str, Any], *, manager: str) -> bool:
    """Whether a status must be written: a value differs, or one is there that is to go."""
    if any(True for _ in differences(intent, live, manager=manager, subresource="status")):
        return True
    fields = owned_fields(live, manager, subresource="status").get("f:status", {})
    return any(True for _ in surplus(fields, intent.get("status", {})))


def _compare(
    wanted: Any, live: Any, fields: FieldSet | None, path: tuple[str, ...]
) -> Iterator[Difference]:
    if wanted == [] and not live:
        return  # the server drops an empty list, and its ownership with it
    if fields is None:
        yield Difference(_text(path), lost=True)
    elif isinstance(wanted, Mapping) and wanted:
        yield from _compare_maps(wanted, live, fields, path)
    elif isinstance(wanted, list) and is_keyed(fields):
        yield from _compare_keyed(wanted, live, fields, path)
    elif not _same(wanted, live, path):
        yield Difference(_text(path), lost=False)


def _compare_maps(
    wanted: Mapping[str, Any], live: Any, fields: FieldSet, path: tuple[str, ...]
) -> Iterator[Difference]:
    if not fields:  # atomic: owned as a whole
        if not _same(wanted, live, path):
            yield Difference(_text(path), lost=False)
        return
    below = live if isinstance(live, Mapping) else {}
    for key, value in wanted.items():
        yield from _compare(value, below.get(key), fields.get(f"f:{key}"), (*path, key))


def _compare_keyed(
    wanted: list[Any], live: Any, fields: FieldSet, path: tuple[str, ...]
) -> Iterator[Difference]:
    entries = live if isinstance(live, list) else []
    for item in wanted:
        keys, below = entry_for(fields, item)
        where = (*path[:-1], f"{path[-1]}[{_label(item, keys)}]")
        if below is None:
            yield Difference(_text(where), lost=True)
        elif keys is None:
            if item not in entries:
                yield Difference(_text(where), lost=False)
        else:
            match = next((e for e in entries if all(e.get(k) == v for k, v in keys.items())), None)
            yield from _compare_maps(item, match, below, where)


def _label(item: Any, keys: Mapping[str, Any] | None) -> str:
    if keys:
        return str(next(iter(keys.values())))
    if isinstance(item, Mapping):
        return str(next((item[k] for k in ("name", "type", "mountPath") if k in item), "?"))
    return str(item)


def _same(wanted: Any, live: Any, path: tuple[str, ...]) -> bool:
    if isinstance(wanted, Mapping):
        if not wanted:
            return live is None or isinstance(live, Mapping)
        return isinstance(live, Mapping) and all(
            _same(value, live.get(key), (*path, key)) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return len(wanted) == len(live or []) and all(
            _same(a, b, path) for a, b in zip(wanted, live or [], strict=True)
        )
    if live is None:
        return wanted in (None, "", 0)  # False too: what is empty is not written, and stays ours
    if wanted == live:
        return type(wanted) is type(live) or not isinstance(wanted, bool | str)
    return any(part in _QUANTITY_PARENTS for part in path) and _equal_quantities(wanted, live)


def _equal_quantities(left: Any, right: Any) -> bool:
    try:
        return quantity(str(left)) == quantity(str(right))
    except ValueError:
        return False


def _text(path: tuple[str, ...]) -> str:
    return ".".join(path)
