# SPDX-License-Identifier: Apache-2.0
"""Kill the active server under load, and say what a client saw; once or n times."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from pathlib import Path
from typing import Any

from dpe_demo import client
from dpe_demo.progress import DemoError, Progress
from dpe_demo.site import CLUSTER
from dpe_demo.tools import STUDIO, Kube, columns, image_tags, wait_for

# Kills all processes of a container from its node, as the kernel does when memory runs out: no
# signal that the program could handle, nothing that Kubernetes was told before. They are found by
# the container's id in their cgroup.
KILL = 'for p in /proc/[0-9]*; do grep -qs {id} "$p/cgroup" && kill -9 "${{p##*/}}"; done; true'


def record(kube: Kube) -> dict[str, str]:
    """Return the fail-over record, which the routed balancer writes: no operator is needed for it.

    Names without their prefix.
    """
    found = kube.get("endpointslice", f"{CLUSTER}-balancer", "-n", STUDIO)
    notes = found.get("metadata", {}).get("annotations") or {}
    return {name.removeprefix("dpe.dev/"): value for name, value in notes.items()}


def active_member(kube: Kube) -> str:
    """Return the active member as the fail-over record says."""
    found = record(kube).get("active-member", "")
    if not found:
        raise DemoError("no member is active", cure=f"kubectl describe dpe {CLUSTER} -n {STUDIO}")
    return found


def pair_is_redundant(kube: Kube) -> bool:
    """Tell whether both servers and both balancers could be lost: by pods and record alone.

    The status of the DpeCluster would do while an operator runs; without one it is that of before.
    """
    states = json.loads(record(kube).get("member-states") or "{}")
    names = [f"{CLUSTER}-balancer", *(f"{CLUSTER}-member-{name}" for name in states)]
    deployments = [kube.get("deployment", name, "-n", STUDIO) for name in names]
    complete = all(
        one.get("status", {}).get("readyReplicas", 0) == one.get("spec", {}).get("replicas")
        for one in deployments
    )
    return len(states) == 2 and set(states.values()) == {"UP"} and complete


def wait_until_redundant(kube: Kube, *, seconds: float) -> None:
    """Wait for the pair; a failure shows the record and the pods."""
    if not wait_for(lambda: pair_is_redundant(kube), seconds=seconds):
        pods = kube.kubectl("get", "pods", "-n", STUDIO, "-o", "wide")
        raise DemoError(
            f"not all of the pair is ready after {seconds:.0f} s: {record(kube)}\n{pods}",
            cure=f"kubectl describe dpe {CLUSTER} -n {STUDIO}",
        )


def member_pod(kube: Kube, member: str) -> dict[str, Any]:
    """Return the running pod of a member."""
    selector = f"app.kubernetes.io/instance={CLUSTER},dpe.dev/member={member}"
    pods = kube.get("pods", "-n", STUDIO, "-l", selector).get("items", [])
    present = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    running = [pod for pod in present if pod["status"].get("phase") == "Running"]
    if not running:
        raise DemoError(f"member {member} has no running pod", cure=f"kubectl get pods -n {STUDIO}")
    found: dict[str, Any] = running[0]
    return found


def kill(pod: dict[str, Any]) -> None:
    """Kill the program of a pod with SIGKILL, on its node."""
    container = pod["status"]["containerStatuses"][0]["containerID"].split("://")[-1]
    command = ["docker", "exec", pod["spec"]["nodeName"], "sh", "-c", KILL.format(id=container)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise DemoError(
            f"the process could not be killed: {done.stderr.strip()}",
            cure="docker ps: do the nodes run?",
        )


def replace_killed(kube: Kube, member: str) -> None:
    """Give a killed member, which is the standby now, a new pod.

    Kubernetes restarts a container that ends again and again after ever longer pauses; a new pod
    begins without one, so that the next run need not wait for minutes.
    """
    pod = member_pod(kube, member)["metadata"]["name"]
    kube.kubectl("delete", "pod", pod, "-n", STUDIO, "--wait=true", "--timeout=120s")


def one_run(kube: Kube, tags: dict[str, str]) -> dict[str, Any]:
    """Kill the active member under load once; return the client's figures and who was active."""
    before = active_member(kube)
    victim = member_pod(kube, before)
    seen = client.run(
        kube, client.Load(connections=10, seconds=14), tags=tags, strike=lambda: kill(victim)
    )
    wait_for(lambda: active_member(kube) != before, seconds=15)
    kept = seen["classes"]["keepAlive"]
    return {
        "killed": before,
        "activeAfterwards": active_member(kube),
        "longestGapMilliseconds": kept["longestGapMilliseconds"],
        "requests": seen["requests"],
        "failedWithoutRetry": seen["failedWithoutRetry"],
        "failedAfterRetries": seen["failedAfterRetries"],
        "switches": len(seen["switches"]),
    }


def failover(*, runs: int, json_file: str | None) -> None:
    """Take *runs* runs, print what a client saw, and write the figures to *json_file* if given."""
    progress = Progress(2 * runs)
    kube, tags = Kube(), image_tags()
    results: list[dict[str, Any]] = []
    for number in range(1, runs + 1):
        of = f" ({number} of {runs})" if runs > 1 else ""
        with progress.step(f"Wait until both servers are ready{of}"):
            if results:
                replace_killed(kube, results[-1]["killed"])
            wait_until_redundant(kube, seconds=420)
        with progress.step(
            f"Ten connections send; the active server is killed after four seconds{of}"
        ):
            results.append(one_run(kube, tags))
    print(report(results))
    print(kube.kubectl("get", "dpe", "-n", STUDIO))
    print(f"Active, says the balancers' own record: {active_member(kube)}")
    print("(The table above is the operator's view; without an operator it is that of before.)\n")
    if json_file:
        Path(json_file).write_text(json.dumps(figures(results), indent=1) + "\n")
        print(f"figures: {json_file}")


def report(results: list[dict[str, Any]]) -> str:
    """Lay the runs out for a person."""
    head = [
        "killed",
        "then active",
        "longest gap",
        "requests",
        "failed at first",
        "failed for good",
    ]
    rows = [
        [
            run["killed"],
            run["activeAfterwards"],
            f"{run['longestGapMilliseconds']:.0f} ms",
            str(run["requests"]),
            str(run["failedWithoutRetry"]),
            str(run["failedAfterRetries"]),
        ]
        for run in results
    ]
    gaps = [run["longestGapMilliseconds"] for run in results]
    lost = sum(run["failedAfterRetries"] for run in results)
    last = f"Longest time without an answer: {max(gaps):.0f} ms. Requests lost for good: {lost}."
    return (
        f"\nWhat a client saw over the balancer's one address:\n{columns([head, *rows])}\n{last}\n"
    )


def figures(results: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the runs with their summary and the machine they were taken on."""
    gaps = [run["longestGapMilliseconds"] for run in results]
    return {
        "case": "active server process killed (SIGKILL), 10 kept connections of which one is slow",
        "entry": "ClusterIP, client pod in the cluster",
        "n": len(results),
        "gapMilliseconds": {"min": min(gaps), "median": statistics.median(gaps), "max": max(gaps)},
        "failedWithoutRetry": {"max": max(run["failedWithoutRetry"] for run in results)},
        "failedAfterRetries": sum(run["failedAfterRetries"] for run in results),
        "machine": {"cpus": os.cpu_count(), "system": platform.platform()},
        "runs": results,
    }
