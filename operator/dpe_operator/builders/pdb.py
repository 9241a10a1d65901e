# SPDX-License-Identifier: Apache-2.0
"""The one form of PodDisruptionBudget we use."""

from __future__ import annotations

from dpe_operator.builders.context import Manifest, Owner
from dpe_operator.builders.labels import Component, metadata, selector


def keep_one(owner: Owner, name: str, component: Component) -> Manifest:
    """Build a budget by which a drain always leaves one pod of ``component``.

    A whole number and not a share: shares and ``maxUnavailable`` are counted against the wanted
    number of pods, so a drain would stop for ever where an evicted pod finds no other host
    (Required placement). ``AlwaysAllow``: a pod that does not work anyway holds up nothing.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(owner, name, component),
        "spec": {
            "minAvailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(owner, component)},
        },
    }
