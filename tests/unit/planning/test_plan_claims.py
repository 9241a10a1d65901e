# SPDX-License-Identifier: Apache-2.0
"""What is done to a retained claim, and what is said about it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from dpe_operator.builders.claims import AccessMode, retained_claim
from dpe_operator.builders.context import Owner
from dpe_operator.planning import claims
from dpe_operator.planning.conditions import Conditions
from dpe_operator.planning.objects import Obj, Ref, dig
from dpe_operator.planning.plan import Environment, Observed, Situation

OWNER = Owner("ParStore", "radio", "studio", "uid", "radio")
REF = Ref("PersistentVolumeClaim", "studio", "radio-par-master")
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def wanted(
    size: str = "2Gi",
    storage_class: str | None = None,
    modes: tuple[AccessMode, ...] = ("ReadWriteMany",),
) -> Obj:
    return retained_claim(
        OWNER, REF.name, "par-master", size=size, storage_class=storage_class, access_modes=modes
    )


def live(size: str = "2Gi", *, phase: str = "Bound", name: str = "nfs", **meta: Any) -> Obj:
    made = wanted(size, name)
    return {
        **made,
        "metadata": {**made["metadata"], "uid": "c", **meta},
        "spec": {**made["spec"], "volumeName": "pv-1"},
        "status": {"phase": phase},
    }


def storage_class(*, grows: bool) -> Obj:
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "nfs"},
        **({"allowVolumeExpansion": True} if grows else {}),
    }


def volume(policy: str = "Delete") -> Obj:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "pv-1"},
        "spec": {"persistentVolumeReclaimPolicy": policy},
    }


def size_of(manifest: Obj | None) -> str | None:
    found: str | None = dig(manifest, "spec", "resources", "requests", "storage")
    return found


# --- what is applied


def test_a_new_claim_is_posted_whole() -> None:
    child = claims.claim_child(wanted(), Observed())
    assert child.initial == wanted() and child.fallback is None
    assert child.manifest["spec"] == {"resources": {"requests": {"storage": "2Gi"}}}


@pytest.mark.parametrize("written", ["2Gi", "2048Mi", "1Gi", "2147483648"])
def test_it_is_never_made_smaller_nor_written_for_another_spelling(written: str) -> None:
    child = claims.claim_child(wanted(written), Observed([live("2Gi")]))
    assert size_of(child.manifest) == "2Gi" and child.fallback is None


@pytest.mark.parametrize(
    ("phase", "others", "tried"),
    [
        ("Bound", [], True),
        ("Bound", [storage_class(grows=True)], True),
        ("Bound", [storage_class(grows=False)], False),
        ("Pending", [], False),
    ],
    ids=["class unknown", "grows", "cannot grow", "no volume yet"],
)
def test_growth(phase: str, others: list[Obj], tried: bool) -> None:
    child = claims.claim_child(wanted("3Gi"), Observed([live("2Gi", phase=phase), *others]))
    assert size_of(child.manifest) == ("3Gi" if tried else "2Gi")
    assert size_of(child.fallback) == ("2Gi" if tried else None)


def test_somebody_may_have_made_it_larger_by_hand() -> None:
    child = claims.claim_child(wanted("2Gi"), Observed([live("5Gi")]))
    assert size_of(child.manifest) == "5Gi"


# --- what is said


@pytest.mark.parametrize(
    ("found", "hard", "word"),
    [
        (live(), None, ""),
        (live(phase="Pending"), False, "kubectl describe pvc radio-par-master"),
        (live(phase="Lost"), True, "lost its volume pv-1"),
        (live(deletionTimestamp="2026-11-24T00:00:00Z"), True, "copy its files now"),
    ],
)
def test_problems(found: Obj, hard: bool | None, word: str) -> None:
    problems = list(claims.claim_problems([REF], Observed([found])))
    assert [problem.hard for problem in problems] == ([] if hard is None else [hard])
    assert all(word in problem.text for problem in problems)


def test_what_nobody_has_looked_up_is_not_called_missing() -> None:
    assert list(claims.claim_problems([REF], Observed())) == []
    (problem,) = claims.claim_problems([REF], Observed(asked=[REF]))
    assert problem.text == "PersistentVolumeClaim radio-par-master is not there"


@pytest.mark.parametrize(
    ("claim", "others", "words"),
    [
        (wanted("2Gi"), [], []),
        (wanted("2048Mi"), [], []),
        (wanted("1Gi"), [], ["has 2Gi and stays so", "write 2Gi"]),
        (wanted("3Gi"), [], ["has 2Gi instead of 3Gi", "must have allowVolumeExpansion"]),
        (wanted("3Gi"), [storage_class(grows=False)], ["class nfs cannot grow", "claimName"]),
        (wanted(storage_class="fast"), [], ["class 'nfs'", "'fast'", "claimName"]),
        (wanted(modes=("ReadWriteOnce",)), [], ["ReadWriteOnce is needed"]),
    ],
)
def test_findings(claim: Obj, others: list[Obj], words: list[str]) -> None:
    found = "; ".join(claims.claim_findings([claim], Observed([live(), *others])))
    assert all(word in found for word in words)
    assert bool(found) == bool(words)


def test_findings_are_a_condition_of_their_own() -> None:
    conditions = Conditions(generation=1, previous=[], now=NOW)
    claims.state_claim_findings(conditions, [], Observed([live()]))
    assert conditions.entries() == []
    claims.state_claim_findings(conditions, [wanted("1Gi")], Observed([live()]))
    assert conditions.status("ClaimsAsWanted") == "False"
    claims.state_claim_findings(conditions, [wanted()], Observed([live()]))
    assert conditions.status("ClaimsAsWanted") == "True"


# --- what stands behind a claim


def situation(*objects: Obj, reads: bool = True) -> Situation:
    return Situation(
        resource={"kind": "ParStore", "metadata": {"name": "radio", "namespace": "studio"}},
        observed=Observed(objects),
        environment=Environment(balancer_image="x", reads_cluster=reads),
        now=NOW,
    )


def test_volumes_and_classes_are_asked_for_only_where_allowed_and_once() -> None:
    pv, sc = Ref("PersistentVolume", "", "pv-1"), Ref("StorageClass", "", "nfs")
    assert claims.cluster_reads(situation(live(), reads=False), [REF]) == frozenset()
    assert claims.cluster_reads(situation(live()), [REF]) == {pv, sc}
    assert claims.cluster_reads(situation(live(), volume()), [REF]) == {sc}
    asked = situation(live())
    known = replace(asked, observed=asked.observed.plus((), asked=[pv, sc]))
    assert claims.cluster_reads(known, [REF]) == frozenset()


@pytest.mark.parametrize(
    ("where", "safe", "word"),
    [
        (situation(live(), volume("Retain")), True, "outlive"),
        (situation(live(), volume("Delete")), False, "kubectl patch pv pv-1 -p"),
        (situation(live()), None, "no volume can be seen"),
        (situation(live(), reads=False), None, "rbac.clusterReads"),
    ],
)
def test_reclaim_policy(where: Situation, safe: bool | None, word: str) -> None:
    found = claims.reclaim_policy(where, [REF])
    assert found.safe is safe and word in found.message
    conditions = Conditions(generation=1, previous=[], now=NOW)
    claims.state_reclaim_policy(conditions, where, [REF])
    assert (
        conditions.status("ReclaimPolicy") == {True: "True", False: "False", None: "Unknown"}[safe]
    )
    claims.state_reclaim_policy(conditions, where, [])
