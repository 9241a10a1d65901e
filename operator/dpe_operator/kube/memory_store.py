# SPDX-License-Identifier: Apache-2.0
"""Reads and writes what is remembered of a resource, in a ControllerRevision beside it."""

from dpe_operator.api import constants
from dpe_operator.api.addresses import accepted_revision_name
from dpe_operator.kube.client import KubeClient
from dpe_operator.kube.errors import Conflict
from dpe_operator.planning.memory import Memory, memory_of
from dpe_operator.planning.objects import Obj, Ref, controller_of, dig, ref_of, uid_of


def memory_ref(resource: Ref, number: int) -> Ref:
    """Return the ControllerRevision that keeps the memory of a resource, `number` of its line."""
    name = accepted_revision_name(resource.name, resource.kind, number)
    return Ref("ControllerRevision", resource.namespace, name)


async def read_memory(client: KubeClient, resource: Ref, *, uid: str) -> Memory | None:
    """Return what is remembered of this very resource, None if nothing."""
    own = await _own_revisions(client, resource, uid=uid)
    return memory_of(own[-1]) if own else None


async def _own_revisions(client: KubeClient, resource: Ref, *, uid: str) -> list[Obj]:
    """The revisions of this very resource, the one in force last."""
    found = [obj for obj in await _revisions(client, resource) if _owner(obj) == uid]
    return sorted(found, key=_number)


async def _revisions(client: KubeClient, resource: Ref) -> list[Obj]:
    """The revisions of all resources that have had this name."""
    labels = ",".join(f"{key}={value}" for key, value in _labels(resource).items())
    return await client.list("ControllerRevision", resource.namespace, labels=labels)


def _owner(revision: Obj) -> str:
    return str((controller_of(revision) or {}).get("uid", ""))


def _number(revision: Obj) -> int:
    return int(revision.get("revision", 0))


def _labels(resource: Ref) -> dict[str, str]:
    return {
        constants.LABEL_MANAGED_BY: constants.MANAGED_BY,
        constants.LABEL_NAME: constants.APP_NAME,
        constants.LABEL_INSTANCE: resource.name,
        constants.LABEL_OWNER_KIND: resource.kind,
    }


async def write_memory(client: KubeClient, resource: Obj, memory: Memory) -> bool:
    """Store the memory if it differs from what is stored; return whether it was written.

    The data of a ControllerRevision cannot be changed, so a new one is made and the older ones go
    afterwards: whoever reads meanwhile (a farm its DpeCluster's) finds one of the two, never none.

    Raises:
        Conflict: an object of that name belongs to somebody else.
    """
    meta = resource["metadata"]
    ref = Ref(resource["kind"], meta["namespace"], meta["name"])
    data = memory.to_data()
    present = await _revisions(client, ref)
    own = sorted((obj for obj in present if _owner(obj) == meta["uid"]), key=_number)
    if own and dig(own[-1], "data") == data:
        return False
    number = max(map(_number, present), default=0) + 1
    target = memory_ref(ref, number)
    try:
        await client.create(_revision(resource, target, data, number))
    except Conflict as conflict:
        if await read_memory(client, ref, uid=meta["uid"]) == memory:
            return False  # a request of ours whose answer was lost, or another operator's
        text = f"{target} is not ours: delete or rename it, the last accepted spec is kept there"
        raise Conflict(409, "NameConflict", text) from conflict
    for old in present:
        await client.delete(ref_of(old), uid=uid_of(old))
    return True


def _revision(resource: Obj, target: Ref, data: Obj, number: int) -> Obj:
    meta = resource["metadata"]
    return {
        "apiVersion": "apps/v1",
        "kind": target.kind,
        "metadata": {
            "name": target.name,
            "namespace": target.namespace,
            "labels": _labels(Ref(resource["kind"], target.namespace, meta["name"])),
            "ownerReferences": [
                {
                    "apiVersion": resource["apiVersion"],
                    "kind": resource["kind"],
                    "name": meta["name"],
                    "uid": meta["uid"],
                    "controller": True,
                }
            ],
        },
        "revision": number,
        "data": data,
    }
