# SPDX-License-Identifier: Apache-2.0
"""An imagined cluster for tests of the planners: what is planned exists, and pods do as told.

It knows no API server: no ownership of fields, no defaults. Those are tested on a real one.
"""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from dpe_operator.api import constants
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.planning.acceptance import parsed
from dpe_operator.planning.cluster import plan_cluster
from dpe_operator.planning.farm import plan_farm
from dpe_operator.planning.memory import Memory
from dpe_operator.planning.objects import Obj, Ref, dig, is_terminating, ref_of
from dpe_operator.planning.par_store import plan_par_store
from dpe_operator.planning.plan import ClusterView, Environment, Observed, Plan, Situation
from dpe_operator.planning.server import plan_server
from dpe_operator.planning.shared import cluster_name_of
from dpe_operator.planning.workflow import plan_workflow

NAMESPACE = "studio"
PLANNERS = {
    constants.KIND_CLUSTER: plan_cluster,
    constants.KIND_SERVER: plan_server,
    constants.KIND_FARM: plan_farm,
    constants.KIND_PAR_STORE: plan_par_store,
    **dict.fromkeys(constants.WORKFLOW_KINDS, plan_workflow),
}


class World:
    """Live objects, memories, and the time."""

    def __init__(self, *resources: Obj, image: str = "localhost/dpe/balancer:1") -> None:
        self.now = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
        self.environment = Environment(
            balancer_image=image, operator_image="localhost/dpe/dpe-operator:1"
        )
        self.objects: dict[Ref, Obj] = {}
        self.memories: dict[Ref, Memory] = {}
        self._count = 0
        for resource in resources:
            self.put(resource)

    # --- objects

    def put(self, obj: Obj) -> Obj:
        """Store an object as the API server would: uid, generation, a Service's address."""
        stored = copy.deepcopy(obj)
        meta = stored["metadata"]
        meta.setdefault("namespace", NAMESPACE)
        before = self.objects.get(ref_of(stored))
        self._count += 1
        meta["uid"] = before["metadata"]["uid"] if before else f"uid-{self._count}"
        if made := dig(before, "metadata", "creationTimestamp"):
            meta.setdefault("creationTimestamp", made)
        if stored["kind"] == "Service":
            address = dig(before, "spec", "clusterIP") or f"10.96.0.{self._count}"
            stored["spec"].setdefault("clusterIP", address)
        generation = before["metadata"]["generation"] if before else 0
        changed = before is None or before.get("spec") != stored.get("spec")
        meta["generation"] = generation + (1 if changed else 0)
        if before:
            stored = {**{k: v for k, v in before.items() if k == "status"}, **stored}
        self.objects[ref_of(stored)] = stored
        return stored

    def get(self, kind: str, name: str) -> Obj:
        """Return a live object."""
        return self.objects[Ref(kind, NAMESPACE, name)]

    def has(self, kind: str, name: str) -> bool:
        """Whether an object is there."""
        return Ref(kind, NAMESPACE, name) in self.objects

    def remove(self, kind: str, name: str) -> None:
        """Delete an object."""
        del self.objects[Ref(kind, NAMESPACE, name)]

    def edit(self, kind: str, name: str, **spec: Any) -> None:
        """Change fields of a spec as its owner does."""
        obj = copy.deepcopy(self.get(kind, name))
        obj["spec"].update(spec)
        self.put(obj)

    def annotate(self, kind: str, name: str, **notes: str | None) -> None:
        """Set (None: remove) annotations `dpe.dev/...`, underscores for dashes."""
        meta = self.get(kind, name)["metadata"]
        for key, value in notes.items():
            full = f"{constants.GROUP}/{key.replace('_', '-')}"
            meta.setdefault("annotations", {})[full] = value
            if value is None:
                del meta["annotations"][full]

    # --- planning

    def situation(self, kind: str, name: str) -> Situation:
        """Return what the planner is told about a resource."""
        resource = self.get(kind, name)
        ref = ref_of(resource)
        return Situation(
            resource=resource,
            observed=Observed(
                (obj for other, obj in self.objects.items() if other != ref and _shown(obj, ref)),
                asked=(),
            ),
            environment=self.environment,
            now=self.now,
            memory=self.memories.get(ref),
            cluster=self._cluster(resource),
        )

    def _cluster(self, resource: Obj) -> ClusterView | None:
        name = cluster_name_of(resource)
        if name is None or resource["kind"] == constants.KIND_CLUSTER:
            return None
        ref = Ref(constants.KIND_CLUSTER, NAMESPACE, name)
        memory = self.memories.get(ref)
        if ref not in self.objects or memory is None:
            return ClusterView(name, exists=ref in self.objects)
        return ClusterView(name, True, parsed(DpeClusterSpec, memory.accepted["spec"]))

    def plan(self, kind: str, name: str) -> Plan:
        """Plan a resource; names nobody has looked up are known to be free."""
        situation = self.situation(kind, name)
        plan = PLANNERS[kind](situation)
        for _ in range(3):
            found = [self.objects[ref] for ref in plan.unseen if ref in self.objects]
            observed = situation.observed.plus(found, asked=plan.unseen)
            situation = replace(situation, observed=observed)
            plan = PLANNERS[kind](situation)
        return plan

    def carry_out(self, kind: str, name: str) -> Plan:
        """Plan a resource and do what is planned."""
        plan = self.plan(kind, name)
        ref = Ref(kind, NAMESPACE, name)
        if plan.memory is not None:
            self.memories[ref] = plan.memory
        for child in plan.children:
            if is_terminating(self.objects.get(child.ref)):
                continue
            if child.ref not in self.objects and child.initial is not None:
                self.put(child.initial)
            live = self.objects.get(child.ref, {})
            kept = {k: v for k, v in live.items() if k not in ("metadata", "spec", "data")}
            manifest = {**live, **kept, **child.manifest}
            if child.ref.kind == "PersistentVolumeClaim" and live:
                manifest["spec"] = {**live["spec"], **child.manifest["spec"]}
            if live:
                notes = {
                    **_foreign_notes(live),
                    **child.manifest["metadata"].get("annotations", {}),
                }
                manifest["metadata"] = {**child.manifest["metadata"], "annotations": notes}
            self.put(manifest)
        for deletion in plan.deletions:
            if deletion.foreground and deletion.ref in self.objects:
                meta = self.objects[deletion.ref]["metadata"]
                meta["deletionTimestamp"] = "2026-11-22T12:00:00Z"
            else:
                self.objects.pop(deletion.ref, None)
        for change in plan.changes:
            self._change(change.ref, change.patch)
        resource = self.objects[ref]
        resource["status"] = copy.deepcopy({**plan.status, **plan.done.fields})
        return plan

    def _change(self, ref: Ref, patch: Obj) -> None:
        self.objects[ref].get("spec", {}).update(patch.get("spec", {}))
        notes = self.objects[ref]["metadata"].setdefault("annotations", {})
        for key, value in dig(patch, "metadata", "annotations", default={}).items():
            if value is None:
                notes.pop(key, None)
            else:
                notes[key] = value

    def settle(self, kind: str, name: str) -> Plan:
        """Carry out until nothing changes any more."""
        for _ in range(10):
            before = copy.deepcopy(self.objects)
            plan = self.carry_out(kind, name)
            if self.objects == before:
                return plan
        raise AssertionError(f"{kind} {name} does not settle")

    # --- what controllers, kubelets and balancers do

    def run(self, deployment: str, *, ready: bool = True) -> None:
        """Roll a Deployment out with pods that are ready (for a minute) or not."""
        live = self.get("Deployment", deployment)
        wanted = live["spec"]["replicas"]
        count = wanted if ready else 0
        live["status"] = {
            "observedGeneration": live["metadata"]["generation"],
            "replicas": wanted,
            "updatedReplicas": wanted,
            "readyReplicas": count,
            "availableReplicas": count,
        }
        labels = live["spec"]["template"]["metadata"]["labels"]
        for number in range(wanted):
            self.put(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {"name": f"{deployment}-{number}", "labels": dict(labels)},
                    "spec": copy.deepcopy(live["spec"]["template"].get("spec", {})),
                    "status": self._pod_status(ready),
                }
            )

    def _pod_status(self, ready: bool) -> Obj:
        since = (self.now - timedelta(seconds=60)).isoformat().replace("+00:00", "Z")
        return {
            "phase": "Running",
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": since,
                }
            ],
        }

    def run_all(self) -> None:
        """Roll out every Deployment."""
        for ref in [ref for ref in self.objects if ref.kind == "Deployment"]:
            self.run(ref.name)

    def record(
        self,
        pair: str,
        *,
        active: str = "a",
        count: int = 0,
        last: Obj | None = None,
        held: bool = True,
        **states: str,
    ) -> None:
        """Let a routed balancer write the fail-over record, all members up unless told."""
        name = f"{pair}-balancer"
        slice_ = self.get("EndpointSlice", name)
        slice_["endpoints"] = [
            {"addresses": ["10.0.0.9"], "targetRef": {"kind": "Pod", "name": f"{name}-0"}}
        ]
        notes = slice_["metadata"].setdefault("annotations", {})
        notes[constants.ANNOTATION_ACTIVE_MEMBER] = active
        notes[constants.ANNOTATION_ACTIVE_SINCE] = "2026-11-22T11:00:00Z"
        notes[constants.ANNOTATION_SWITCH_COUNT] = str(count)
        members = [m["name"] for m in self.get(constants.KIND_SERVER, pair)["spec"]["members"]]
        known = {member: states.get(member, "UP") for member in members}
        notes[constants.ANNOTATION_MEMBER_STATES] = json.dumps(known)
        if last:
            notes[constants.ANNOTATION_LAST_SWITCH] = json.dumps(last)
        renewed = self.now if held else self.now - timedelta(hours=1)
        self.get("Lease", name)["spec"] = {
            "holderIdentity": "holder",
            "renewTime": renewed.isoformat().replace("+00:00", "Z"),
            "leaseTransitions": 1,
        }

    def condition(self, kind: str, name: str, condition: str) -> Obj:
        """Return a condition as it stands in the status."""
        for entry in self.get(kind, name)["status"]["conditions"]:
            if entry["type"] == condition:
                return dict(entry)
        raise AssertionError(f"{kind} {name} has no condition {condition}")


def _shown(obj: Obj, resource: Ref) -> bool:
    """Whether a resource's planner sees an object without asking for its name: not what is labelled
    as somebody else's."""
    labels = dig(obj, "metadata", "labels", default={})
    kind, name = (labels.get(key) for key in (constants.LABEL_OWNER_KIND, constants.LABEL_INSTANCE))
    return kind is None or (kind, name) == (resource.kind, resource.name)


def _foreign_notes(live: Obj) -> dict[str, str]:
    """Annotations that others have written and an apply leaves alone."""
    ours = {
        constants.ANNOTATION_SWITCH_REQUEST,
        constants.ANNOTATION_APPROVE_UPGRADE,
        constants.ANNOTATION_INTENT_HASH,
    }
    return {
        key: value
        for key, value in dig(live, "metadata", "annotations", default={}).items()
        if key not in ours
    }


PAIR: Obj = {
    "image": "registry.example.com/dpe-server:2.15",
    "health": {"path": "/status"},
    "members": [{"name": "a"}, {"name": "b"}],
}


def server(name: str = "radio", **spec: Any) -> Obj:
    """A DpeServer with two members in the cluster."""
    return _resource(constants.KIND_SERVER, name, {**copy.deepcopy(PAIR), **spec})


def cluster(name: str = "radio", *, server: Obj | None = None, **spec: Any) -> Obj:
    """A DpeCluster with one farm; `server` are changes to its pair."""
    farm = {"type": "audio", "image": "registry.example.com/dpe-audio:2.15"}
    pair = {**copy.deepcopy(PAIR), **(server or {})}
    return _resource(constants.KIND_CLUSTER, name, {"server": pair, "processors": [farm], **spec})


def farm(name: str = "video", **spec: Any) -> Obj:
    """A ProcessorFarm of DpeCluster radio."""
    base = {
        "clusterRef": {"name": "radio"},
        "type": "video",
        "image": "registry.example.com/dpe-video:2.15",
    }
    return _resource(constants.KIND_FARM, name, {**base, **spec})


def _resource(kind: str, name: str, spec: Obj) -> Obj:
    return {
        "apiVersion": constants.API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }
