# SPDX-License-Identifier: Apache-2.0
"""The imagined cluster for PAR files: claims that bind, runs that end as told."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import datetime
from typing import Any

from tests.support.planning_world import NAMESPACE, World, cluster

from dpe_operator.api import constants
from dpe_operator.planning.objects import Obj, Ref
from dpe_operator.planning.plan import Plan

STORE = constants.KIND_PAR_STORE
CLAIM = "PersistentVolumeClaim"
NAME = "radio"
SYNC = f"{NAME}-par-sync"


def par_store(**spec: Any) -> Obj:
    """A ParStore of DpeCluster radio whose claims are made by the operator; None removes a field."""
    whole = {
        "clusterRef": {"name": "radio"},
        "master": {"size": "2Gi"},
        "redundant": [{"name": "nightly", "size": "2Gi"}],
        "sync": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin"},
        **spec,
    }
    return {
        "apiVersion": constants.API_VERSION,
        "kind": STORE,
        "metadata": {"name": NAME, "namespace": NAMESPACE},
        "spec": {key: value for key, value in whole.items() if value is not None},
    }


def stamp(moment: datetime) -> str:
    """A time as the runs write it."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class ParWorld(World):
    """A site called radio, accepted, and its ParStore."""

    def __init__(self, store: Obj | None = None) -> None:
        super().__init__(cluster(), store or par_store())
        self.environment = replace(self.environment, par_sync_image="localhost/dpe/par-sync:1")
        self.carry_out(constants.KIND_CLUSTER, "radio")

    def work(self) -> Plan:
        """Reconcile the ParStore until nothing changes any more."""
        return self.settle(STORE, NAME)

    def change(self, **spec: Any) -> None:
        """Edit the store's spec; None takes a field away."""
        obj = copy.deepcopy(self.get(STORE, NAME))
        merged = {**obj["spec"], **spec}
        obj["spec"] = {key: value for key, value in merged.items() if value is not None}
        self.put(obj)

    def said(self, condition: str) -> tuple[str, str, str]:
        """Return status, reason and message of a condition."""
        found = self.condition(STORE, NAME, condition)
        return found["status"], found["reason"], found["message"]

    def states(self, condition: str) -> bool:
        """Whether a condition is stated at all."""
        return condition in {entry["type"] for entry in self.status["conditions"]}

    @property
    def status(self) -> Obj:
        """The store's status."""
        found: Obj = self.get(STORE, NAME)["status"]
        return found

    def kinds(self) -> list[str]:
        """Return kind and name of all children."""
        skipped = (constants.KIND_CLUSTER, constants.KIND_SERVER, constants.KIND_FARM, STORE)
        return [
            f"{ref.kind} {ref.name}"
            for ref in sorted(self.objects)
            if ref.kind not in skipped and ref.name.startswith(f"{NAME}-par")
        ]

    # --- what controllers and runs do

    def bind(self) -> None:
        """Give every claim a volume."""
        for ref, claim in self.objects.items():
            if ref.kind == CLAIM:
                claim["spec"]["volumeName"] = f"pv-{ref.name}"
                claim["status"] = {"phase": "Bound"}

    def ran(self, result: str = "Succeeded", *, job: str = "nightly", **fields: Any) -> None:
        """Let a run write its result into the Lease, as `dpe_par_sync` does."""
        run = {
            "startedAt": stamp(self.now),
            "finishedAt": stamp(self.now),
            "result": result,
            "reason": "Copied" if result == "Succeeded" else "MasterEmpty",
            "message": "12 files, 3 copied, 0 deleted.",
            "job": job,
            "files": 12,
            "bytes": 4096,
            "copied": 3,
            "deleted": 0,
            "divergent": {"count": 0, "names": []},
            "verified": True,
            **fields,
        }
        notes = self.get("Lease", SYNC)["metadata"].setdefault("annotations", {})
        notes[constants.ANNOTATION_PAR_RESULT] = json.dumps(run)
        if result == "Succeeded":
            notes[constants.ANNOTATION_PAR_LAST_SUCCESS] = json.dumps(run)

    def job(self, name: str, ended: str | None = None, **status: Any) -> Obj:
        """Put a Job of the CronJob's there; `ended` is Complete or Failed."""
        cron_job = self.get("CronJob", SYNC)
        template, uid = cron_job["spec"]["jobTemplate"], cron_job["metadata"]["uid"]
        conditions = (
            [
                {
                    "type": ended,
                    "status": "True",
                    "lastTransitionTime": stamp(self.now),
                    "reason": "BackoffLimitExceeded",
                    "message": "Job has reached the specified backoff limit",
                }
            ]
            if ended
            else []
        )
        return self.put(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {
                    "name": name,
                    "labels": dict(template["metadata"]["labels"]),
                    "ownerReferences": [
                        {"kind": "CronJob", "name": SYNC, "uid": uid, "controller": True}
                    ],
                },
                "spec": template["spec"],
                "status": {"conditions": conditions, **status},
            }
        )

    def pod(self, job: str, **status: Any) -> Obj:
        """Put a pod of a Job there."""
        template = self.get("CronJob", SYNC)["spec"]["jobTemplate"]["spec"]["template"]
        labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": job}
        meta = {"name": f"{job}-x", "labels": labels, "creationTimestamp": stamp(self.now)}
        return self.put(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": meta,
                "spec": template["spec"],
                "status": {"phase": "Pending", **status},
            }
        )

    def runs(self) -> list[str]:
        """Return the names of the Jobs."""
        return [ref.name for ref in sorted(self.objects) if ref.kind == "Job"]

    def here(self, kind: str, name: str) -> bool:
        """Whether an object is there."""
        return Ref(kind, NAMESPACE, name) in self.objects
