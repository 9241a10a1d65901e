# SPDX-License-Identifier: Apache-2.0
"""Take the acting one of a Standby component away, and say how long nobody acted."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dpe_demo.failover import kill
from dpe_demo.progress import DemoError, Progress
from dpe_demo.site import local_image
from dpe_demo.tools import STUDIO, Kube, columns, image_tags, wait_for

KIND = "workflowworker"
# The ledger tells by whom and when, in seconds since 1970: proofs of life come twice a second.
LAST_ACT = "max(extract(epoch FROM coalesce(until, at)))"
FIRST_ACT = "min(extract(epoch FROM at)) FILTER (WHERE kind = 'start')"


@dataclass(frozen=True)
class Case:
    """One way to lose the acting one, under one profile of timings."""

    profile: str
    fault: str

    @property
    def name(self) -> str:
        """Name of the component that is used for it."""
        return f"takeover-{self.profile.lower()}"

    def strike(self, kube: Kube, pod: dict[str, Any]) -> None:
        """Do it."""
        if self.fault == "processes killed":
            kill(pod)
        else:
            kube.kubectl("delete", "pod", pod["metadata"]["name"], "-n", STUDIO, "--wait=false")


CASES = [
    Case(profile, fault)
    for profile in ("Safe", "Fast")
    for fault in ("pod deleted", "processes killed")
]


def manifest(case: Case, image: str) -> dict[str, Any]:
    """Build the component: two candidates of a worker."""
    return {
        "apiVersion": "dpe.dev/v1alpha1",
        "kind": "WorkflowWorker",
        "metadata": {"name": case.name, "namespace": STUDIO},
        "spec": {
            "clusterRef": {"name": "radio"},
            "mode": "Standby",
            "timings": {"profile": case.profile},
            "image": image,
            "command": ["dpe-simulator", "worker"],
            "terminationGracePeriodSeconds": 10,
            "env": [{"name": "DPE_CA_FILE", "value": "/ca/ca.crt"}],
        },
    }


def epoch_and_holder(kube: Kube, case: Case) -> tuple[int, str]:
    """Return the present holding and the name of its pod, empty without one."""
    lease = kube.get("lease", f"{case.name}-worker", "-n", STUDIO)
    spec = lease.get("spec", {})
    holder = spec.get("holderIdentity") or ""
    selector = f"app.kubernetes.io/instance={case.name}"
    pods = kube.get("pods", "-n", STUDIO, "-l", selector).get("items", [])
    names = [pod["metadata"]["name"] for pod in pods if holder.startswith(pod["metadata"]["uid"])]
    return int(spec.get("leaseTransitions") or 0), names[0] if holder and names else ""


def moment(kube: Kube, case: Case, what: str, epoch: int) -> float:
    """Ask the ledger for a moment of one epoch; 0.0: it knows none."""
    query = (
        f"SELECT {what} FROM dpe_ledger WHERE epoch = {epoch}"
        f" AND detail->>'component' = '{case.name}-worker'"
    )
    command = ("psql", "-h", "/run/postgresql", "-U", "dpe", "-d", "dpecore", "-tAc", query)
    printed = kube.kubectl("exec", "-n", STUDIO, "deploy/dpe-postgres", "--", *command)
    return float(printed.strip() or 0.0)


def one_run(kube: Kube, case: Case) -> dict[str, float]:
    """Take the acting one away once; seconds from the fault, and between the two processes."""
    epoch, holder = epoch_and_holder(kube, case)
    pod = kube.get("pod", holder, "-n", STUDIO)
    struck = time.time()
    case.strike(kube, pod)
    started = 0.0

    def told() -> bool:
        nonlocal started
        started = moment(kube, case, FIRST_ACT, epoch + 1)
        return started > 0

    if not wait_for(told, seconds=60, every=0.5):
        raise DemoError(
            f"nobody took over from {holder} within a minute",
            cure=f"kubectl describe workflowworker {case.name} -n {STUDIO}",
        )
    last = moment(kube, case, LAST_ACT, epoch)
    return {"fromFault": started - struck, "nobodyActed": started - last}


def settle(kube: Kube, case: Case, image: str) -> None:
    """Make the component, and wait until one acts and the other stands by."""
    kube.apply(json.dumps(manifest(case, image)))

    def ready() -> bool:
        found = kube.get(KIND, case.name, "-n", STUDIO).get("status", {})
        conditions = {one["type"]: one["status"] for one in found.get("conditions", [])}
        return conditions.get("Ready") == "True" and bool(epoch_and_holder(kube, case)[1])

    if not wait_for(ready, seconds=420):
        raise DemoError(
            f"{case.name} does not become Ready",
            cure=f"kubectl describe workflowworker {case.name} -n {STUDIO}",
        )


def takeover(*, runs: int, json_file: str | None) -> None:
    """Run all cases, print the figures, and write them to *json_file* if given."""
    progress = Progress(len(CASES))
    kube = Kube()
    image = local_image("dpe-simulator", image_tags())
    results: dict[Case, list[dict[str, float]]] = {}
    try:
        for case in CASES:
            with progress.step(f"{case.profile}: {case.fault}, {runs} times"):
                results[case] = []
                for _ in range(runs):
                    settle(kube, case, image)
                    results[case].append(one_run(kube, case))
    finally:
        for name in {case.name for case in CASES}:
            kube.kubectl("delete", KIND, name, "-n", STUDIO, "--ignore-not-found")
    print(report(results))
    if json_file:
        Path(json_file).write_text(json.dumps(figures(results), indent=1) + "\n")
        print(f"figures: {json_file}")


def report(results: dict[Case, list[dict[str, float]]]) -> str:
    """Lay the cases out for a person."""
    head = ["timings", "fault", "n", "from the fault to the successor's start", "nobody acted"]
    rows = [
        [case.profile, case.fault, str(len(runs)), *(spread(runs, key) for key in KEYS)]
        for case, runs in results.items()
    ]
    table = columns([head, *rows])
    return f"\nOne of two candidates acts; what its loss costs (median, longest):\n{table}\n"


KEYS = ("fromFault", "nobodyActed")


def spread(runs: list[dict[str, float]], key: str) -> str:
    """Return median and longest of one figure."""
    values = [run[key] for run in runs]
    return f"{statistics.median(values):.1f} s, {max(values):.1f} s"


def figures(results: dict[Case, list[dict[str, float]]]) -> dict[str, Any]:
    """Return all runs, and the machine they were taken on."""
    return {
        "machine": {"cpus": os.cpu_count(), "system": platform.platform()},
        "cases": [
            {"profile": case.profile, "fault": case.fault, "n": len(runs), "seconds": runs}
            for case, runs in results.items()
        ],
    }
