# SPDX-License-Identifier: Apache-2.0
"""Retained claims: no owner, labels that find them again, and nothing immutable applied twice."""

from __future__ import annotations

import pytest
from tests.unit.builders.builder_samples import owner

from dpe_operator.builders.claims import claim_update, retained_claim
from dpe_operator.builders.context import Manifest
from dpe_operator.planning.ownership import whose
from dpe_operator.planning.plan import Observed


def claim(storage_class: str | None = None, member: str | None = None) -> Manifest:
    return retained_claim(
        owner(),
        "radio-par-master",
        "par-master",
        size="10Gi",
        storage_class=storage_class,
        member=member,
    )


def test_it_goes_with_nobody() -> None:
    assert "ownerReferences" not in claim()["metadata"]
    assert "ownerReferences" not in claim_update(claim(), size="10Gi")["metadata"]


def test_the_labels_are_those_by_which_it_is_adopted() -> None:
    resource = {
        "apiVersion": "dpe.dev/v1alpha1",
        "kind": "DpeServer",
        "metadata": {"name": "radio", "namespace": "dpe", "uid": "another than before"},
    }
    assert whose(claim(), resource=resource, observed=Observed()) == "ours"
    moved = {**resource, "metadata": {**resource["metadata"], "namespace": "elsewhere"}}  # type: ignore[dict-item]
    assert whose(claim(), resource=moved, observed=Observed()) == "stranger"


@pytest.mark.parametrize(
    ("written", "made"),
    [(None, {}), ("", {"storageClassName": ""}), ("nfs", {"storageClassName": "nfs"})],
)
def test_no_class_and_the_empty_class_are_two_things(
    written: str | None, made: dict[str, str]
) -> None:
    spec = claim(written)["spec"]
    assert {k: v for k, v in spec.items() if k == "storageClassName"} == made
    assert spec["accessModes"] == ["ReadWriteMany"]
    assert spec["resources"] == {"requests": {"storage": "10Gi"}}


def test_only_labels_and_size_are_applied_to_one_that_is_there() -> None:
    update = claim_update(claim("nfs"), size="20Gi")
    assert update["spec"] == {"resources": {"requests": {"storage": "20Gi"}}}
    assert update["metadata"] == claim("nfs")["metadata"]


def test_a_member_of_its_own_is_named() -> None:
    assert claim(member="2")["metadata"]["labels"]["dpe.dev/member"] == "2"
