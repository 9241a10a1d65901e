# SPDX-License-Identifier: Apache-2.0
"""The kinds we touch and where the API server serves them.

A fixed table instead of discovery: it saves requests at start, needs no rights, and what an
operator may touch should not depend on the cluster.
"""

from dataclasses import dataclass
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.planning.objects import Ref


@dataclass(frozen=True, slots=True)
class Kind:
    """Where a kind is served: group and version, plural name in the URL."""

    api_version: str
    plural: str

    @property
    def group(self) -> str:
        """The API group, empty for the core group."""
        return self.api_version.rpartition("/")[0]


KINDS: Final[dict[str, Kind]] = {
    constants.KIND_CLUSTER: Kind(constants.API_VERSION, "dpeclusters"),
    constants.KIND_SERVER: Kind(constants.API_VERSION, "dpeservers"),
    constants.KIND_FARM: Kind(constants.API_VERSION, "processorfarms"),
    constants.KIND_PAR_STORE: Kind(constants.API_VERSION, "parstores"),
    **{kind: Kind(constants.API_VERSION, f"{kind.lower()}s") for kind in constants.WORKFLOW_KINDS},
    "ConfigMap": Kind("v1", "configmaps"),
    "Endpoints": Kind("v1", "endpoints"),
    "PersistentVolume": Kind("v1", "persistentvolumes"),
    "PersistentVolumeClaim": Kind("v1", "persistentvolumeclaims"),
    "Pod": Kind("v1", "pods"),
    "Service": Kind("v1", "services"),
    "ServiceAccount": Kind("v1", "serviceaccounts"),
    # only the command `crds --apply`, which the chart runs with rights of its own
    "CustomResourceDefinition": Kind("apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "ControllerRevision": Kind("apps/v1", "controllerrevisions"),
    "Deployment": Kind("apps/v1", "deployments"),
    "EndpointSlice": Kind("discovery.k8s.io/v1", "endpointslices"),
    "Event": Kind("events.k8s.io/v1", "events"),
    "CronJob": Kind("batch/v1", "cronjobs"),
    "Job": Kind("batch/v1", "jobs"),
    "Lease": Kind("coordination.k8s.io/v1", "leases"),
    "PodDisruptionBudget": Kind("policy/v1", "poddisruptionbudgets"),
    "Role": Kind("rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": Kind("rbac.authorization.k8s.io/v1", "rolebindings"),
    "StorageClass": Kind("storage.k8s.io/v1", "storageclasses"),
}


def collection_path(kind: str, namespace: str) -> str:
    """Return the URL path of all objects of a kind in a namespace (empty: in all)."""
    info = KINDS[kind]
    root = "/api/v1" if info.api_version == "v1" else f"/apis/{info.api_version}"
    scope = f"/namespaces/{namespace}" if namespace else ""
    return f"{root}{scope}/{info.plural}"


def object_path(ref: Ref, *, subresource: str = "") -> str:
    """Return the URL path of one object."""
    path = f"{collection_path(ref.kind, ref.namespace)}/{ref.name}"
    return f"{path}/{subresource}" if subresource else path


def typed(kind: str, item: dict[str, Any]) -> dict[str, Any]:
    """Give a list item its apiVersion and kind, which the server leaves out in lists."""
    return {"apiVersion": KINDS[kind].api_version, "kind": kind, **item}
