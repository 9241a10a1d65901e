# SPDX-License-Identifier: Apache-2.0
"""Reads resources out of a file. What the API server would have refused is told by field and cure.

The planners take for granted what the API server makes sure of, so it is asked here.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import yaml

from dpe_operator.api import constants
from dpe_operator.api.kinds import KINDS
from dpe_operator.planning.objects import Obj, controller_of
from dpe_operator.planning.shared import cluster_name_of

_KINDS: Final = frozenset(kind.kind for kind in KINDS)
_BY_THEMSELVES: Final = (constants.KIND_CLUSTER, constants.KIND_SERVER)


class RenderError(Exception):
    """A resource that cannot be rendered; the message names it and the reason."""


def read_resources(data: bytes) -> list[Obj]:
    """Return the resources of this operator in a YAML file, those in a List too.

    What a DpeCluster of the file has made (kubectl get prints it beside that) is left out, because
    it is made again.

    Raises:
        RenderError: the file or one of the resources is not usable.
    """
    found = [obj for obj in _unfolded(_documents(data)) if _is_ours(obj)]
    for obj in found:
        _check(obj)
    if not found:
        raise RenderError(f"no resource of {constants.GROUP} in it")
    clusters = {_place(obj) for obj in found if obj["kind"] == constants.KIND_CLUSTER}
    return [obj for obj in found if _owner(obj) not in clusters]


def _documents(data: bytes) -> list[Any]:
    try:
        return list(yaml.safe_load_all(data.decode()))
    except UnicodeDecodeError as error:
        raise RenderError("it is not UTF-8: save it as text in UTF-8") from error
    except yaml.YAMLError as error:
        raise RenderError(f"it is not YAML: {error}") from error
    except (ValueError, RecursionError) as error:  # such as a date with month 13
        raise RenderError(f"a value in it cannot be read: {error}") from error


def _unfolded(entries: Iterable[Any]) -> Iterator[Obj]:
    """Give what is in a List, as kubectl get prints it, in its place."""
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        if str(entry.get("kind")).endswith("List") and isinstance(entry.get("items"), list):
            yield from _unfolded(entry["items"])
        else:
            yield entry


def _is_ours(obj: Obj) -> bool:
    return obj.get("apiVersion") == constants.API_VERSION and str(obj.get("kind")) in _KINDS


def _check(obj: Obj) -> None:
    kind = obj["kind"]
    metadata = obj.get("metadata")
    name = metadata.get("name") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(name, str) or not name:
        raise RenderError(
            f"{kind}: metadata.name is missing or no text: write a name, in quotes if it looks like"
            " a number (a generateName is not enough, as names are made from it)"
        )
    if not isinstance(metadata.get("namespace", ""), str):
        raise RenderError(f"{kind} {name}: metadata.namespace is no text: write it or leave it out")
    for field in ("labels", "annotations"):
        if not isinstance(metadata.get(field) or {}, dict):
            raise RenderError(f"{kind} {name}: metadata.{field} must be fields with their values")
    owners = metadata.get("ownerReferences") or []
    if not isinstance(owners, list) or not all(map(_is_owner, owners)):
        raise RenderError(
            f"{kind} {name}: metadata.ownerReferences is no list of owners, each with kind and"
            " name: leave it out"
        )
    if not isinstance(obj.get("spec"), dict):
        raise RenderError(f"{kind} {name}: spec is missing or no object: write its fields there")
    _check_cluster_ref(obj)


def _is_owner(owner: object) -> bool:
    return isinstance(owner, dict) and {"kind", "name"} <= owner.keys()


def _check_cluster_ref(obj: Obj) -> None:
    ref = obj["spec"].get("clusterRef")
    if ref is None and obj["kind"] in _BY_THEMSELVES:
        return
    named = isinstance(ref, dict) and isinstance(ref.get("name"), str) and ref["name"]
    if not named and (ref or cluster_name_of(obj) is None):
        raise RenderError(
            f"{obj['kind']} {obj['metadata']['name']}: spec.clusterRef.name is missing or no text:"
            " write the name of its DpeCluster there"
        )


def _place(obj: Obj) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _owner(obj: Obj) -> tuple[str, str] | None:
    owner = controller_of(obj)
    if owner is None or owner.get("kind") != constants.KIND_CLUSTER:
        return None
    return obj["metadata"].get("namespace", ""), str(owner.get("name"))
