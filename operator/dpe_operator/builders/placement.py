# SPDX-License-Identifier: Apache-2.0
"""Where pods may run beside each other, and how long they wait on a node that went away.

Placement is a stored choice and never follows from the nodes of the moment, so these functions
know nothing of nodes: the same template comes out for one, two and three of them.
"""

from __future__ import annotations

from collections.abc import Sequence

from dpe_operator.api import constants
from dpe_operator.api.common import Placement
from dpe_operator.api.pods import Toleration
from dpe_operator.builders.context import Manifest, Owner
from dpe_operator.builders.labels import Component, selector

HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
_SHORT_TOLERATION_SECONDS = 30


def apart(
    owner: Owner, component: Component, placement: Placement, *, member: str | None = None
) -> Manifest:
    """Affinity that keeps a fixed set of pods on different hosts, and zones if it can.

    For members and balancers: never two of them on one host (Required), or apart when possible
    (Preferred). With ``member`` a pod keeps away from the *other* members only: its own
    predecessor, which may still be ending, must not hold up the new one where hosts are few.
    """
    terms = [_away_from(owner, component, topology, member) for topology in (HOST, ZONE)]
    if placement == "Required":
        return {
            "podAntiAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": [terms[0]],
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 50, "podAffinityTerm": terms[1]}
                ],
            }
        }
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": weight, "podAffinityTerm": term}
                for weight, term in zip((100, 50), terms, strict=True)
            ]
        }
    }


def _away_from(owner: Owner, component: Component, topology: str, member: str | None) -> Manifest:
    label_selector: Manifest = {"matchLabels": selector(owner, component)}
    if member is not None:
        label_selector["matchExpressions"] = [
            {"key": constants.LABEL_MEMBER, "operator": "NotIn", "values": [member]}
        ]
    return {"topologyKey": topology, "labelSelector": label_selector}


def spread(owner: Owner, component: Component, placement: Placement) -> list[Manifest]:
    """Topology spread for a farm of any size: evenly over hosts, and over zones if it can.

    * ``minDomains: 2``: with only one usable host a second pod waits (Required) instead of sharing
      the host of the first for ever; it starts by itself when another host is there.
    * ``matchLabelKeys``: a rolling update spreads the new pods among themselves, or the surge pod
      would find no host in a cluster with as many hosts as pods.
    * ``nodeTaintsPolicy``: hosts the pods may not use (a control plane, a drained host) do not
      count as empty ones that must be filled first.
    """
    hosts = _evenly(owner, component, HOST)
    if placement == "Required":
        hosts |= {"whenUnsatisfiable": "DoNotSchedule", "minDomains": 2}
    return [hosts, _evenly(owner, component, ZONE)]


def _evenly(owner: Owner, component: Component, topology: str) -> Manifest:
    return {
        "topologyKey": topology,
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector(owner, component)},
        "matchLabelKeys": ["pod-template-hash"],
        "nodeTaintsPolicy": "Honor",
    }


def tolerations(wanted: Sequence[Toleration], *, short_stay: bool) -> list[Manifest]:
    """The user's tolerations, and with ``short_stay`` 30 s on a node that is gone.

    Short only for farms and workers: they keep nothing, so a new one elsewhere is only good.
    Members and balancers keep Kubernetes' own 300 s on purpose. Their partner has long taken over
    by then, so nothing is won by haste; and a member moved hastily runs twice under one host name
    and licence while its node is merely cut off, and both balancers would be deleted together when
    the control plane loses sight of nodes that work. The user's toleration of the same taint wins.
    """
    found = [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in wanted]
    if not short_stay:
        return found
    for taint in ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"):
        if not any(_covers(entry, taint) for entry in wanted):
            found.append(
                {
                    "key": taint,
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": _SHORT_TOLERATION_SECONDS,
                }
            )
    return found


def _covers(entry: Toleration, taint: str) -> bool:
    return entry.key in (None, taint) and entry.effect in (None, "NoExecute")
