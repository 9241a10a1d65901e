# SPDX-License-Identifier: Apache-2.0
"""The imagined cluster for workflow components: candidates, their Lease, pods that take their time
to end."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from tests.support.planning_world import NAMESPACE, World, cluster

from dpe_operator.api import constants
from dpe_operator.builders.workflow import component_of
from dpe_operator.planning.objects import Obj, dig, is_terminating

WORKER, SCHEDULER = constants.KIND_WORKER, constants.KIND_SCHEDULER
TABLE, FOLDER = constants.KIND_TABLE_WATCHER, constants.KIND_FOLDER_WATCHER
TITLES = {TABLE: "%tableid%-%entryid%-%event%", FOLDER: "%filename%-%event%"}
KINDS = (WORKER, SCHEDULER, TABLE, FOLDER)
NAME = "news"


def standby(kind: str, **spec: Any) -> Obj:
    """A component of DpeCluster radio of which one acts."""
    return _resource(kind, {"mode": "Standby", "command": ["/bin/dpe"], **spec})


def concurrent(kind: str, **spec: Any) -> Obj:
    """A component of DpeCluster radio of which all act."""
    own = {"titleTemplate": TITLES[kind]} if kind in TITLES else {}
    return _resource(kind, {"mode": "Concurrent", "command": ["/bin/dpe"], **own, **spec})


def _resource(kind: str, spec: Obj) -> Obj:
    return {
        "apiVersion": constants.API_VERSION,
        "kind": kind,
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {
            "clusterRef": {"name": "radio"},
            "image": "registry.example.com/dpe:2.15",
            **spec,
        },
    }


class WorkflowWorld(World):
    """A site called radio and one component called news, which `kind` is the kind of."""

    def __init__(self, resource: Obj, **site: Any) -> None:
        super().__init__(cluster(**site), resource)
        self.kind = str(resource["kind"])
        self.carry_out(constants.KIND_CLUSTER, "radio")

    @property
    def component(self) -> str:
        """The value of the component label."""
        return component_of(self.kind)

    def child(self, suffix: str = "") -> str:
        """Return the name of a child."""
        return f"{NAME}-{self.component}{suffix}"

    def work(self) -> Any:
        """Reconcile the component until nothing changes any more."""
        return self.settle(self.kind, NAME)

    def change(self, **spec: Any) -> None:
        """Edit the component's spec; None takes a field away."""
        gone = [key for key, value in spec.items() if value is None]
        self.edit(self.kind, NAME, **spec)
        for key in gone:
            del self.get(self.kind, NAME)["spec"][key]

    def said(self, condition: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        found = self.condition(self.kind, NAME, condition)
        return found["status"], found["reason"], found["message"]

    def states(self, condition: str) -> bool:
        """Whether the condition is stated at all."""
        entries = self.get(self.kind, NAME)["status"]["conditions"]
        return any(entry["type"] == condition for entry in entries)

    @property
    def status(self) -> Obj:
        """The component's status."""
        found: Obj = self.get(self.kind, NAME)["status"]
        return found

    # --- what controllers, kubelets and electors do

    def deployments(self) -> list[Obj]:
        """Return the component's Deployments."""
        return [obj for ref, obj in sorted(self.objects.items()) if ref.kind == "Deployment"]

    def pods(self) -> list[Obj]:
        """Return the component's pods."""
        return [obj for ref, obj in sorted(self.objects.items()) if ref.kind == "Pod"]

    def pods_of(self, deployment: Obj) -> list[Obj]:
        """Return the pods with the selector of a Deployment, whichever template they have."""
        wanted = deployment["spec"]["selector"]["matchLabels"].items()
        mode = dig(deployment, "spec", "template", "metadata", "labels", constants.LABEL_MODE)
        return [
            pod
            for pod in self.pods()
            if wanted <= pod["metadata"]["labels"].items()
            and pod["metadata"]["labels"][constants.LABEL_MODE] == mode
        ]

    def start(self, *, ready: bool = True) -> None:
        """Roll out all Deployments that are not on their way out."""
        for deployment in self.deployments():
            if not is_terminating(deployment):
                self.run(deployment["metadata"]["name"], ready=ready)

    def end(self) -> None:
        """Let everything that is on its way out be gone, pods first; and pods that are nobody's."""
        for deployment in self.deployments():
            if is_terminating(deployment):
                for pod in self.pods_of(deployment):
                    self.remove("Pod", pod["metadata"]["name"])
                self.remove("Deployment", deployment["metadata"]["name"])
        owned = {pod["metadata"]["name"] for one in self.deployments() for pod in self.pods_of(one)}
        for pod in self.pods():
            if pod["metadata"]["name"] not in owned:
                self.remove("Pod", pod["metadata"]["name"])

    def lease(self) -> Obj:
        """Return the Lease."""
        return self.get("Lease", self.child())

    def hold(
        self, pod: str | None, *, epoch: int, ago: float = 1, record: Obj | None = None
    ) -> None:
        """Let a pod hold the Lease (None: it was given back), last renewed `ago` seconds ago."""
        renewed = (self.now - timedelta(seconds=ago)).isoformat().replace("+00:00", "Z")
        uid = self.get("Pod", pod)["metadata"]["uid"] if pod else ""
        lease = self.lease()
        lease["spec"] = {
            "holderIdentity": f"{uid}_61e3dcbf63" if pod else "",
            "renewTime": renewed,
            "acquireTime": renewed,
            "leaseTransitions": epoch,
            "leaseDurationSeconds": 15,
        }
        known = {"epoch": epoch, "state": "held" if pod else "released", **(record or {})}
        notes = lease["metadata"].setdefault("annotations", {})
        notes[constants.ANNOTATION_ELECTOR_RECORD] = json.dumps(known)

    def remember(self, **memory: Any) -> None:
        """Let `dpe_memory` write its annotation."""
        notes = self.lease()["metadata"].setdefault("annotations", {})
        notes[constants.ANNOTATION_MEMORY] = json.dumps(memory)

    def well(self, *, epoch: int = 1) -> None:
        """Bring the component up: pods ready, in Standby mode one of them acting."""
        self.work()
        self.start()
        if self.get(self.kind, NAME)["spec"]["mode"] == "Standby":
            self.hold(self.child("-0"), epoch=epoch)
        self.work()
