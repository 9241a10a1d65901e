# SPDX-License-Identifier: Apache-2.0
"""Whose an object is, and which of ours are no longer wanted.

Ours is what has our controller ownerReference by uid, or is a slice owned by our fail-over Service,
or a claim that outlives its resource: labelled for this kind, name and namespace, and owned by
nobody. A name taken by anything else is a conflict, and that object stays as it is.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from dpe_operator.api import constants
from dpe_operator.builders.claims import CLAIM
from dpe_operator.planning.objects import (
    Obj,
    Ref,
    controller_of,
    dig,
    is_terminating,
    ref_of,
    uid_of,
)
from dpe_operator.planning.plan import Child, Deletion, Observed, Situation

Whose = Literal["ours", "leftover", "stranger"]


def whose(live: Mapping[str, Any], *, resource: Mapping[str, Any], observed: Observed) -> Whose:
    """Say whose a live object is.

    `leftover`: of a resource (or Service) of the same kind and name that was deleted and made anew;
    the garbage collector is about to remove it.
    """
    if live["kind"] == CLAIM:
        return _whose_claim(live, resource=resource)
    owner = controller_of(live)
    if owner is None:
        return "stranger"
    if owner["uid"] == uid_of(resource):
        return "ours"
    if owner["kind"] == "Service" and live["kind"] == "EndpointSlice":
        return _whose_slice(live, owner, resource=resource, observed=observed)
    same = (owner["kind"], owner["name"]) == (resource["kind"], resource["metadata"]["name"])
    return "leftover" if same and owner["apiVersion"] == resource["apiVersion"] else "stranger"


def _whose_claim(live: Mapping[str, Any], *, resource: Mapping[str, Any]) -> Whose:
    """Say whose a claim is: it has no owner, so its labels must name this very resource.

    One with an owner, whoever that is, is removed together with it and so never one of ours.
    """
    if dig(live, "metadata", "ownerReferences"):
        return "stranger"
    labels = dig(live, "metadata", "labels", default={})
    wanted = {
        constants.LABEL_MANAGED_BY: constants.MANAGED_BY,
        constants.LABEL_OWNER_KIND: resource["kind"],
        constants.LABEL_INSTANCE: resource["metadata"]["name"],
        constants.LABEL_OWNER_NAMESPACE: resource["metadata"]["namespace"],
    }
    return "ours" if wanted.items() <= labels.items() else "stranger"


def _whose_slice(
    live: Mapping[str, Any],
    owner: Mapping[str, Any],
    *,
    resource: Mapping[str, Any],
    observed: Observed,
) -> Whose:
    service = observed.get(Ref("Service", live["metadata"]["namespace"], owner["name"]))
    if service is not None and uid_of(service) == owner["uid"]:
        mine = (controller_of(service) or {}).get("uid") == uid_of(resource)
        return "ours" if mine else "stranger"
    labels = dig(live, "metadata", "labels", default={})
    ours_once = (
        labels.get(constants.LABEL_SLICE_MANAGED_BY) == constants.SLICE_MANAGED_BY
        and labels.get(constants.LABEL_INSTANCE) == resource["metadata"]["name"]
    )
    return "leftover" if ours_once else "stranger"


def own_object(situation: Situation, ref: Ref) -> Obj | None:
    """Return the live object if it is there and ours."""
    live = situation.observed.get(ref)
    if live is None:
        return None
    verdict = whose(live, resource=situation.resource, observed=situation.observed)
    return live if verdict == "ours" else None


@dataclass(frozen=True, slots=True)
class Sorted:
    """Children by what may be done to them. `unseen`: nobody has looked whether they exist."""

    usable: tuple[Child, ...]
    conflicts: tuple[Obj, ...]
    leftovers: tuple[Obj, ...]
    unseen: frozenset[Ref]


def sort_children(
    children: Iterable[Child], *, resource: Mapping[str, Any], observed: Observed
) -> Sorted:
    """Look at each child's live object and sort the children by it."""
    usable: list[Child] = []
    conflicts: list[Obj] = []
    leftovers: list[Obj] = []
    unseen: set[Ref] = set()
    for child in children:
        live = observed.get(child.ref)
        if live is None:
            usable.append(child)
            if not observed.knows(child.ref):
                unseen.add(child.ref)
            continue
        verdict = whose(live, resource=resource, observed=observed)
        if verdict == "ours":
            usable.append(child)
        elif verdict == "leftover":
            leftovers.append(live)
        else:
            conflicts.append(live)
    return Sorted(tuple(usable), tuple(conflicts), tuple(leftovers), frozenset(unseen))


def prunable(
    kinds: Sequence[str],
    *,
    resource: Mapping[str, Any],
    observed: Observed,
    keep: Iterable[Ref],
) -> Iterator[Deletion]:
    """Yield our children of the given kinds that are not wanted any more.

    Only objects with our managed-by label *and* our controller ownerReference: one of the two alone
    may be a copy that somebody made by hand.
    """
    kept = frozenset(keep)
    for kind in kinds:
        for obj in observed.of_kind(kind):
            owner = controller_of(obj)
            if (
                ref_of(obj) not in kept
                and not is_terminating(obj)
                and owner is not None
                and owner["uid"] == uid_of(resource)
                and dig(obj, "metadata", "labels", constants.LABEL_MANAGED_BY)
                == constants.MANAGED_BY
            ):
                yield Deletion(ref_of(obj), uid_of(obj))
