# SPDX-License-Identifier: Apache-2.0
"""Reads what a planner may look at, live: no cache that could be stale.

A dozen requests a reconcile. They are small (a label selector each), and with hundreds of resources
and a resync of ten minutes they make a few requests a second.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_name
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.kube.client import KubeClient
from dpe_operator.kube.errors import Forbidden, NotFound
from dpe_operator.kube.memory_store import read_memory
from dpe_operator.planning import cluster, farm, par_store, server, workflow
from dpe_operator.planning.acceptance import Refused, parsed
from dpe_operator.planning.objects import Obj, Ref, dig, is_paused, uid_of
from dpe_operator.planning.plan import ClusterView, Observed
from dpe_operator.planning.shared import cluster_name_of

logger = logging.getLogger(__name__)

OBSERVED_KINDS: Final = {
    constants.KIND_CLUSTER: cluster.OBSERVED_KINDS,
    constants.KIND_SERVER: server.OBSERVED_KINDS,
    constants.KIND_FARM: farm.OBSERVED_KINDS,
    constants.KIND_PAR_STORE: par_store.OBSERVED_KINDS,
    **dict.fromkeys(constants.WORKFLOW_KINDS, workflow.OBSERVED_KINDS),
}


# Read only with the optional ClusterRole; what cannot be read is Unknown, and no error.
OPTIONAL_KINDS: Final = frozenset({"PersistentVolume", "StorageClass"})


async def get_or_none(client: KubeClient, ref: Ref) -> Obj | None:
    """Read an object; None when it is not there, or may not be read and is optional."""
    try:
        return await client.get(ref)
    except NotFound:
        return None
    except Forbidden:
        if ref.kind not in OPTIONAL_KINDS:
            raise
        return None


async def observe(client: KubeClient, key: Ref) -> Observed:
    """Read all children of a resource by their labels, all kinds at the same time."""
    own = ",".join(
        (
            f"{constants.LABEL_MANAGED_BY}={constants.MANAGED_BY}",
            f"{constants.LABEL_OWNER_KIND}={key.kind}",
            f"{constants.LABEL_INSTANCE}={key.name}",
        )
    )

    def selector(kind: str) -> str:
        # all slices of the fail-over Service: those that others put there count too
        if kind == "EndpointSlice":
            return f"{constants.LABEL_SERVICE_NAME}={balancer_name(key.name)}"
        return own

    lists = await asyncio.gather(
        *(
            client.list(kind, key.namespace, labels=selector(kind))
            for kind in OBSERVED_KINDS[key.kind]
        )
    )
    return Observed(obj for found in lists for obj in found)


async def look_up(client: KubeClient, observed: Observed, refs: Iterable[Ref]) -> Observed:
    """Read objects by name that no list has shown: somebody else's may have the name."""
    wanted = sorted(refs)
    found = await asyncio.gather(*(get_or_none(client, ref) for ref in wanted))
    return observed.plus((obj for obj in found if obj is not None), asked=wanted)


async def read_cluster(client: KubeClient, resource: Obj) -> tuple[ClusterView | None, bool]:
    """Read the DpeCluster a resource works for, and whether that one pauses it.

    Only a resource that the DpeCluster made itself is paused with it.
    """
    name = cluster_name_of(resource)
    if name is None or resource["kind"] == constants.KIND_CLUSTER:
        return None, False
    ref = Ref(constants.KIND_CLUSTER, resource["metadata"]["namespace"], name)
    found = await get_or_none(client, ref)
    if found is None:
        return ClusterView(name, exists=False), False
    paused = is_paused(found) and any(
        owner.get("uid") == uid_of(found)
        for owner in dig(resource, "metadata", "ownerReferences", default=[])
    )
    if paused or dig(resource, "spec", "clusterRef") is None:
        return ClusterView(name, exists=True), paused
    memory = await read_memory(client, ref, uid=uid_of(found))
    if memory is None:
        return ClusterView(name, exists=True), False
    try:
        spec = parsed(DpeClusterSpec, memory.accepted["spec"])
    except Refused as error:  # accepted by an older operator, and not readable for this one
        logger.warning("the accepted spec of DpeCluster %s cannot be read: %s", name, error)
        return ClusterView(name, exists=True), False
    return ClusterView(name, exists=True, spec=spec), False
