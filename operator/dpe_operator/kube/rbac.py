# SPDX-License-Identifier: Apache-2.0
"""The rights the operator needs, as data: the chart's Role and ClusterRole are generated from here.

Why here: each entry stands beside the code that uses it, so that a new API call and its right are
changed together. Tests compare the list with the kinds that the operator reads, applies and prunes.
The operator reads no Secret and no node. It must hold everything that it grants to the balancers
(the API server refuses the escalation otherwise); those verbs are marked below.
"""

from typing import Any, Final

from dpe_operator.api import constants

Rule = dict[str, Any]

_READ: Final = ["get", "list", "watch"]
# Server-side apply is a PATCH; the API server asks for create too when the object is new.
_OWN: Final = [*_READ, "create", "patch", "delete"]


def _rule(group: str, resources: list[str], verbs: list[str]) -> Rule:
    return {"apiGroups": [group], "resources": sorted(resources), "verbs": sorted(verbs)}


_COMPOSED: Final = [
    "dpeservers",
    "processorfarms",
    *(f"{kind.lower()}s" for kind in constants.WORKFLOW_KINDS),
]

OPERATOR_RULES: Final[list[Rule]] = [
    # Our own kinds. A DpeCluster composes the others, hence create and delete.
    _rule("dpe.dev", ["dpeclusters"], [*_READ, "patch"]),
    _rule("dpe.dev", _COMPOSED, _OWN),
    _rule("dpe.dev", [f"{kind}/status" for kind in ("dpeclusters", *_COMPOSED)], ["patch"]),
    _rule("apps", ["deployments"], _OWN),
    # The Jobs that look at databases' Secrets, so that the operator need not read them.
    # The copy of PAR files runs in Jobs too: by its CronJob, and on demand.
    _rule("batch", ["cronjobs", "jobs"], _OWN),
    _rule("dpe.dev", ["parstores"], _OWN),
    _rule("dpe.dev", ["parstores/status"], ["patch"]),
    # The memory of the last accepted spec: its data cannot be changed, so it is replaced.
    _rule("apps", ["controllerrevisions"], ["list", "create", "delete"]),
    _rule("", ["configmaps", "serviceaccounts", "services"], _OWN),
    # Claims outlive their resource: there is no right to delete one.
    _rule("", ["persistentvolumeclaims"], [*_READ, "create", "patch"]),
    # Pods are looked at: why one is Pending or crashes goes into the conditions. Deleted is one
    # whose token is of a service account that was deleted and made again.
    _rule("", ["pods"], [*_READ, "delete"]),
    # An Endpoints object that somebody put beside the fail-over Service is removed.
    _rule("", ["endpoints"], ["get", "delete"]),
    # update is granted on: the balancers write their slice by PUT.
    _rule("discovery.k8s.io", ["endpointslices"], [*_OWN, "update"]),
    # update is granted on: the electors write their Lease by PUT.
    _rule("coordination.k8s.io", ["leases"], [*_OWN, "update"]),
    _rule("policy", ["poddisruptionbudgets"], _OWN),
    _rule("rbac.authorization.k8s.io", ["rolebindings", "roles"], _OWN),
    _rule("events.k8s.io", ["events"], ["create", "patch"]),
]
"""Rules for a Role in each watched namespace, or one ClusterRole when all are watched."""

CLUSTER_RULES: Final[list[Rule]] = [
    # What stands behind claims: do the files survive the claim, and can it grow? By name only.
    _rule("", ["persistentvolumes"], ["get"]),
    _rule("storage.k8s.io", ["storageclasses"], ["get"]),
]
"""Rules for the optional ClusterRole (chart value `rbac.clusterReads`): these kinds belong to no
namespace. Without it the findings that need them are Unknown."""
