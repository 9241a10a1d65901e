# SPDX-License-Identifier: Apache-2.0
"""Turns watch events into keys on the queue. Triggers only: what is true is read by the reconcile.

A child's event wakes its owner, found by the labels that every child carries; a slice that others
put beside a fail-over Service wakes the DpeServer, found by the Service's name. Each resource of a
site wakes its DpeCluster, which summarises it; a DpeCluster wakes what works for it when something
that these take over has changed. Holders renew their Leases all the time and pods report much that
nobody asked for, so some kinds count only when a part that matters has changed.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_name
from dpe_operator.planning.objects import Obj, Ref, condition, dig, digest, ref_of
from dpe_operator.planning.shared import cluster_name_of
from dpe_operator.runtime.canary import Canary
from dpe_operator.runtime.metrics import Metrics
from dpe_operator.runtime.queue import WorkQueue

OUR_KINDS: Final = (
    constants.KIND_CLUSTER,
    constants.KIND_SERVER,
    constants.KIND_FARM,
    constants.KIND_PAR_STORE,
    *constants.WORKFLOW_KINDS,
)
CHILD_KINDS: Final = (
    "ConfigMap",
    "CronJob",
    "Deployment",
    "EndpointSlice",
    "Job",
    "Lease",
    "PersistentVolumeClaim",
    "Pod",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "Service",
    "ServiceAccount",
)
_BALANCER: Final = balancer_name("")
_META: Final = ("annotations", "labels", "ownerReferences", "deletionTimestamp", "generation")


def _meta(obj: Mapping[str, Any]) -> Any:
    return {key: obj["metadata"].get(key) for key in _META}


def _lease(obj: Mapping[str, Any]) -> Any:
    spec = obj.get("spec") or {}
    meta = {k: v for k, v in _meta(obj).items() if k != "generation"}
    return [meta, spec.get("holderIdentity"), spec.get("leaseTransitions")]


def _slice(obj: Mapping[str, Any]) -> Any:
    meta = {k: v for k, v in _meta(obj).items() if k != "generation"}
    return [meta, obj.get("endpoints"), obj.get("ports")]


def _job(obj: Mapping[str, Any]) -> Any:
    ended = [(condition(obj, kind) or {}).get("status") for kind in ("Complete", "Failed")]
    return [_meta(obj), ended]


def _pod(obj: Mapping[str, Any]) -> Any:
    statuses = [
        [entry.get("name"), dig(entry, "state", "waiting", "reason"), entry.get("restartCount")]
        for kind in ("initContainerStatuses", "containerStatuses")
        for entry in dig(obj, "status", kind, default=[])
    ]
    conditions = [
        [(condition(obj, kind) or {}).get(key) for key in ("status", "reason", "message")]
        for kind in ("Ready", "PodScheduled")
    ]
    gone = dig(obj, "metadata", "deletionTimestamp")
    return [dig(obj, "status", "phase"), gone, conditions, statuses]


# What of an object matters; kinds that are not here matter with every change.
_MATTERS: Final[dict[str, Callable[[Mapping[str, Any]], Any]]] = {
    "Lease": _lease,
    "EndpointSlice": _slice,
    "Job": _job,
    "Pod": _pod,
    **dict.fromkeys(OUR_KINDS, _meta),
}


def _passed_on(cluster: Mapping[str, Any]) -> Any:
    """What of a DpeCluster those that work for it take over, or wait for."""
    return [
        dig(cluster, "metadata", "generation"),
        dig(cluster, "metadata", "annotations", constants.ANNOTATION_RECONCILE),
        dig(cluster, "status", "observedGeneration"),
        (condition(cluster, constants.CONDITION_ACCEPTED) or {}).get("status"),
    ]


class Informer:
    """Receives events of all kinds and puts keys on the queue."""

    def __init__(self, queue: WorkQueue, *, canary: Canary, metrics: Metrics) -> None:
        self._queue = queue
        self._canary = canary
        self._metrics = metrics
        self._matters: dict[str, str] = {}
        self._passed_on: dict[Ref, str] = {}
        self._works_for: dict[Ref, Ref] = {}

    def receive(self, event_type: str | None, kind: str, obj: Obj) -> None:
        """Take one event; `event_type` is None for objects of a listing, at the start or later."""
        self._metrics.events.labels(kind).inc()
        full = obj if obj.get("kind") else {**obj, "kind": kind}
        deleted = event_type == "DELETED"
        if kind in OUR_KINDS:
            self._receive_own(event_type, full)
            return
        changed = self._changed(kind, full, deleted=deleted)
        # a listing after a break is silent about what went meanwhile: what is left wakes the owner
        if changed or event_type is None:
            self._wake_owner(full)

    def leave(self, namespace: str) -> None:
        """Nothing is watched there any more: await and wake nothing that was there."""
        self._canary.leave(namespace)
        for known in (self._passed_on, self._works_for):
            for ref in [ref for ref in known if ref.namespace == namespace]:
                del known[ref]

    def _changed(self, kind: str, obj: Obj, *, deleted: bool) -> bool:
        matters = _MATTERS.get(kind)
        if matters is None:
            return True
        uid = str(dig(obj, "metadata", "uid", default=""))
        if deleted:
            self._matters.pop(uid, None)
            return True
        now = digest(matters(obj))
        return self._matters.get(uid) != now and self._set(uid, now)

    def _set(self, uid: str, value: str) -> bool:
        self._matters[uid] = value
        return True

    def _wake_owner(self, obj: Obj) -> None:
        labels = dig(obj, "metadata", "labels", default={})
        kind = labels.get(constants.LABEL_OWNER_KIND)
        name = labels.get(constants.LABEL_INSTANCE)
        namespace = obj["metadata"]["namespace"]
        if kind in OUR_KINDS and name:
            self._queue.add(Ref(kind, namespace, name))
            return
        # Others' slices of a fail-over Service: no label of ours, yet they divert its clients.
        service = str(labels.get(constants.LABEL_SERVICE_NAME, ""))
        server = service.removesuffix(_BALANCER)
        if obj["kind"] == "EndpointSlice" and server and server != service:
            self._queue.add(Ref(constants.KIND_SERVER, namespace, server))

    def _receive_own(self, event_type: str | None, obj: Obj) -> None:
        ref = ref_of(obj)
        deleted = event_type == "DELETED"
        uid = str(dig(obj, "metadata", "uid", default=""))
        if deleted:
            self._canary.forget(uid)
        else:
            self._canary.streamed(uid, str(dig(obj, "metadata", "resourceVersion", default="")))
        # urgent: the owner may have corrected what made the last reconcile fail
        changed = self._changed(ref.kind, obj, deleted=deleted)
        if changed or event_type is None:
            self._queue.add(ref, urgent=True)
        if ref.kind == constants.KIND_CLUSTER:
            self._wake_dependents(ref, obj, deleted=deleted)
        else:
            self._wake_cluster(ref, obj, deleted=deleted)

    def _wake_cluster(self, ref: Ref, obj: Obj, *, deleted: bool) -> None:
        name = cluster_name_of(obj)
        if name is None:
            return
        cluster = Ref(constants.KIND_CLUSTER, ref.namespace, name)
        if deleted:
            self._works_for.pop(ref, None)
        else:
            self._works_for[ref] = cluster
        self._queue.add(cluster)

    def _wake_dependents(self, ref: Ref, obj: Obj, *, deleted: bool) -> None:
        now = "" if deleted else digest(_passed_on(obj))
        if self._passed_on.get(ref) == now:
            return
        if deleted:
            self._passed_on.pop(ref, None)
        else:
            self._passed_on[ref] = now
        for dependent, cluster in self._works_for.items():
            if cluster == ref:
                self._queue.add(dependent, urgent=True)
