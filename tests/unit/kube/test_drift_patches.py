# SPDX-License-Identifier: Apache-2.0
"""Nulls below `podTemplate` of a composed child: they are sent, and compared like other values."""

import copy
from typing import Any

import pytest

from dpe_operator.kube.drift import decide, stamped

US = "dpe-operator"


def composed(patch: dict[str, Any] | None) -> dict[str, Any]:
    spec = {"image": "x:1", "placement": None, "podTemplate": patch}
    return {"kind": "DpeServer", "metadata": {"name": "x"}, "spec": spec}


def test_the_nulls_of_a_patch_are_sent_and_count_in_the_digest() -> None:
    """In a composed child's `podTemplate` null is a wish: "remove this from the pods"."""
    patch = {"spec": {"affinity": None, "containers": [{"name": "dpe", "startupProbe": None}]}}
    made = stamped(composed(patch))
    assert made["spec"] == {"image": "x:1", "podTemplate": patch}
    without = stamped(composed({"spec": {"containers": [{"name": "dpe"}]}}))
    assert made["metadata"]["annotations"] != without["metadata"]["annotations"]
    assert "podTemplate" not in stamped(composed(None))["spec"]


@pytest.mark.parametrize("still_there", [True, False])
def test_the_nulls_of_a_patch_are_there_while_they_are_ours(still_there: bool) -> None:
    patch = {"spec": {"affinity": None, "containers": [{"name": "dpe", "startupProbe": None}]}}
    made = stamped(composed(patch))
    below: dict[str, Any] = {"f:affinity": {}, "f:containers": {}}
    owned: dict[str, Any] = {
        "f:metadata": {"f:annotations": {"f:dpe.dev/intent-hash": {}}},
        "f:spec": {"f:image": {}, "f:podTemplate": {"f:spec": below}},
    }
    live = copy.deepcopy(made)
    live["metadata"]["managedFields"] = [
        {"manager": US, "operation": "Apply", "fieldsV1": owned},
    ]
    if not still_there:
        live["spec"]["podTemplate"]["spec"]["affinity"] = {"nodeAffinity": {}}
        live["spec"]["podTemplate"]["spec"]["containers"] = [{"name": "dpe", "startupProbe": {}}]
    found = [d.path for d in decide(made, live, manager=US).drift]
    path = "spec.podTemplate.spec"
    assert found == ([] if still_there else [f"{path}.affinity", f"{path}.containers"])
