# SPDX-License-Identifier: Apache-2.0
"""What becomes of a retained claim: made once, then only grown; and what is wrong with it.

A claim is never made smaller and never deleted. Where it is not as wanted and cannot be made so
(another class, another access mode, a class that cannot grow), that is a finding and no error: the
files in it are worth more than the wish.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dpe_operator.builders.claims import claim_update
from dpe_operator.planning.conditions import Conditions
from dpe_operator.planning.objects import Obj, Ref, dig, is_terminating, ref_of
from dpe_operator.planning.plan import Child, Observed, Situation
from dpe_operator.planning.quantities import quantity
from dpe_operator.planning.workloads import Trouble

VOLUME: Final = "PersistentVolume"
STORAGE_CLASS: Final = "StorageClass"
CLAIMS_AS_WANTED: Final = "ClaimsAsWanted"
RECLAIM_POLICY: Final = "ReclaimPolicy"

_MOVE: Final = (
    "to change it, make another claim, copy the files while nothing uses them, and write its name"
    " in claimName"
)


@dataclass(frozen=True, slots=True)
class Reclaim:
    """What becomes of the files when the claims are deleted. `safe` None: it cannot be seen."""

    safe: bool | None
    reason: str
    message: str


def claim_child(wanted: Obj, observed: Observed) -> Child:
    """Return the claim as a child to apply.

    Args:
        wanted: the claim as `retained_claim` makes it.
        observed: the live objects, among them the claim if it is there.
    """
    live = observed.get(ref_of(wanted))
    if live is None:
        return Child(claim_update(wanted, size=_size(wanted)), initial=wanted)
    present = claim_update(wanted, size=_size(live))
    if not _may_grow(wanted, live, observed):
        return Child(present, initial=wanted)
    grown = claim_update(wanted, size=_size(wanted))
    return Child(grown, initial=wanted, fallback=present)


def _may_grow(wanted: Obj, live: Obj, observed: Observed) -> bool:
    """Whether it is worth trying: only bound claims grow, and only in classes that allow it."""
    if quantity(_size(wanted)) <= quantity(_size(live)) or dig(live, "status", "phase") != "Bound":
        return False
    return _expandable(live, observed) is not False


def _expandable(live: Mapping[str, Any], observed: Observed) -> bool | None:
    """Whether the claim's class lets it grow; None where the class cannot be read."""
    found = observed.get(Ref(STORAGE_CLASS, "", str(dig(live, "spec", "storageClassName"))))
    return None if found is None else bool(found.get("allowVolumeExpansion"))


def _size(claim: Mapping[str, Any]) -> str:
    return str(dig(claim, "spec", "resources", "requests", "storage", default="0"))


def claim_problems(refs: Iterable[Ref], observed: Observed) -> Iterator[Trouble]:
    """Find why claims (made by us or named by the user) cannot be used, in words to act on."""
    for ref in refs:
        live = observed.get(ref)
        if live is None:
            if observed.knows(ref):
                yield Trouble(f"{ref} is not there", hard=False)
        elif is_terminating(live):
            yield Trouble(
                f"{ref} has been deleted by somebody and goes as soon as no pod uses it: copy its"
                " files now, while a pod still has it",
                hard=True,
            )
        elif dig(live, "status", "phase") == "Lost":
            volume = dig(live, "spec", "volumeName")
            yield Trouble(f"{ref} has lost its volume {volume}: restore it", hard=True)
        elif dig(live, "status", "phase") != "Bound":
            yield Trouble(
                f"{ref} has no volume yet: kubectl describe pvc {ref.name} says why", hard=False
            )


def claim_findings(wanted: Iterable[Obj], observed: Observed) -> Iterator[str]:
    """Find where claims that are there are not what the spec asks for, each with its cure."""
    for claim in wanted:
        live = observed.get(ref_of(claim))
        if live is not None:
            yield from _differences(claim, live, observed)


def _differences(wanted: Obj, live: Obj, observed: Observed) -> Iterator[str]:
    ref = ref_of(wanted)
    asked, size = _size(wanted), _size(live)
    if quantity(asked) < quantity(size):
        yield f"{ref} has {size} and stays so, though the spec asks for {asked}: write {size}"
    elif quantity(asked) > quantity(size):
        yield f"{ref} has {size} instead of {asked}: {_why_small(live, observed)}"
    modes = dig(wanted, "spec", "accessModes", default=[])
    found = dig(live, "spec", "accessModes", default=[])
    if not set(modes) <= set(found):
        yield (
            f"{ref} allows {', '.join(found)}, but {', '.join(modes)} is needed, or a second pod"
            f" may not start: {_MOVE}"
        )
    name, has = (dig(obj, "spec", "storageClassName") for obj in (wanted, live))
    if name is not None and has is not None and name != has:
        yield f"{ref} is of storage class {has!r}, the spec says {name!r}: {_MOVE}"


def _why_small(live: Obj, observed: Observed) -> str:
    if dig(live, "status", "phase") != "Bound":
        return "it grows once it has a volume"
    name = dig(live, "spec", "storageClassName") or "none"
    if _expandable(live, observed) is False:
        return (
            f"storage class {name} cannot grow claims (allowVolumeExpansion is not true there);"
            f" {_MOVE}"
        )
    return (
        "it was asked to grow; if it stays so, look at the events of this resource: its storage"
        f" class {name} must have allowVolumeExpansion: true, and no quota may be in the way"
    )


def state_claim_findings(conditions: Conditions, wanted: Sequence[Obj], observed: Observed) -> None:
    """State `ClaimsAsWanted`, where there are claims of ours. It does not count for Ready."""
    if not wanted:
        return
    found = "; ".join(claim_findings(wanted, observed))
    if found:
        conditions.set(CLAIMS_AS_WANTED, False, "ClaimsDiffer", found)
    else:
        conditions.set(CLAIMS_AS_WANTED, True, "AsWanted", "The claims are as the spec says.")


def volume_of(ref: Ref, observed: Observed) -> Ref | None:
    """Return the PersistentVolume behind a claim, None while there is none."""
    name = dig(observed.get(ref), "spec", "volumeName")
    return Ref(VOLUME, "", str(name)) if name else None


def cluster_reads(situation: Situation, refs: Iterable[Ref]) -> frozenset[Ref]:
    """Return the volumes and classes behind claims that may be read and have not been yet.

    They are of the whole cluster; the operator may read them only where it was given the optional
    ClusterRole.
    """
    if not situation.environment.reads_cluster:
        return frozenset()
    observed = situation.observed
    found: set[Ref] = set()
    for ref in refs:
        volume = volume_of(ref, observed)
        name = dig(observed.get(ref), "spec", "storageClassName")
        found |= {volume} if volume else set()
        found |= {Ref(STORAGE_CLASS, "", str(name))} if name else set()
    return frozenset(ref for ref in found if not observed.knows(ref))


def reclaim_policy(situation: Situation, refs: Sequence[Ref]) -> Reclaim:
    """Say whether the files of claims survive the deletion of the claims, as of their namespace.

    That is the one thing retention cannot survive: the claims go with the namespace, and a volume
    with reclaim policy Delete goes with its claim.
    """
    observed = situation.observed
    policies = {ref: _policy(ref, observed) for ref in refs}
    bad = [ref for ref, policy in policies.items() if policy == "Delete"]
    if bad:
        names = ", ".join(
            f"{volume_of(ref, observed)} of {ref}" for ref in bad if volume_of(ref, observed)
        )
        volumes = " ".join(str(dig(observed.get(ref), "spec", "volumeName")) for ref in bad)
        return Reclaim(
            False,
            "VolumeGoesWithClaim",
            f"{names}: reclaim policy Delete, so deleting the claim or the namespace deletes the"
            f" files: kubectl patch pv {volumes}"
            ' -p \'{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}\'',
        )
    unknown = [ref for ref, policy in policies.items() if policy is None]
    if not unknown:
        return Reclaim(True, "Retained", "The volumes outlive their claims.")
    if not situation.environment.reads_cluster:
        why = "the operator may not read volumes (chart value rbac.clusterReads)"
    else:
        why = f"no volume can be seen behind {', '.join(map(str, unknown))}"
    return Reclaim(None, "NotVisible", f"Whether the volumes outlive their claims: {why}.")


def _policy(ref: Ref, observed: Observed) -> str | None:
    volume = volume_of(ref, observed)
    found = dig(observed.get(volume) if volume else None, "spec", "persistentVolumeReclaimPolicy")
    return str(found) if found else None


def state_reclaim_policy(conditions: Conditions, situation: Situation, refs: Sequence[Ref]) -> None:
    """State `ReclaimPolicy`, where there are claims. A finding: it does not count for Ready."""
    if refs:
        found = reclaim_policy(situation, refs)
        conditions.set(RECLAIM_POLICY, found.safe, found.reason, found.message)
