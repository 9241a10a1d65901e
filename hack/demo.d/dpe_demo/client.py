# SPDX-License-Identifier: Apache-2.0
"""A client of the demo: a pod that sends requests through the balancer and says what it saw."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dpe_demo.progress import DemoError
from dpe_demo.tools import STUDIO, Kube, wait_for

PROFILE = "radio-client-profile"


@dataclass(frozen=True)
class Load:
    """How much a client sends: kept connections (one of them slow), seconds, requests a second."""

    connections: int = 10
    seconds: int = 20
    rate: int = 200


def job(name: str, load: Load, *, image: str) -> dict[str, Any]:
    """Build the Job of one client; it finds the balancer by the published client profile."""
    arguments = [
        "dpe-simulator",
        "client",
        "--progress",
        "--json",
        "-",
        "--connections",
        str(load.connections),
    ]
    arguments += ["--rate", str(load.rate), "--seconds", f"{load.seconds}s"]
    container = {
        "name": "client",
        "image": image,
        "command": arguments,
        "envFrom": [{"configMapRef": {"name": PROFILE}}],
        "env": [{"name": "DPE_CA_FILE", "value": "/ca/ca.crt"}],
        "volumeMounts": [{"name": "ca", "mountPath": "/ca", "readOnly": True}],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    pod = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
        "volumes": [{"name": "ca", "secret": {"secretName": "studio-ca"}}],
    }
    labels = {"app": "demo-client"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": STUDIO, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "ttlSecondsAfterFinished": 600,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }


def run(
    kube: Kube,
    load: Load,
    *,
    tags: dict[str, str],
    strike: Callable[[], None] | None = None,
    strike_after: float = 4.0,
) -> dict[str, Any]:
    """Run a client to its end and return its summary.

    *strike* is called once the client has been sending for *strike_after* seconds.
    """
    name = f"demo-client-{secrets.token_hex(3)}"
    image = f"localhost/dpe/dpe-simulator:{tags['dpe-simulator']}"
    kube.apply(json.dumps(job(name, load, image=image)))
    look = f"kubectl describe pods -n {STUDIO} -l job-name={name}"
    if not wait_for(lambda: _is_sending(kube, name), seconds=60, every=0.5):
        raise DemoError("the client does not start sending", cure=look)
    if strike:
        time.sleep(strike_after)
        strike()
    kube.kubectl(
        *("wait", f"job/{name}", "-n", STUDIO, "--for=condition=Complete"),
        *(f"--timeout={load.seconds + 60}s",),
        cure=look,
    )
    seen = _summary(kube.kubectl("logs", "-n", STUDIO, f"job/{name}"))
    kube.kubectl(
        "delete", "job", name, "-n", STUDIO, "--wait=false"
    )  # a failed one is kept to look at
    return seen


def _is_sending(kube: Kube, name: str) -> bool:
    pods = kube.get("pods", "-n", STUDIO, "-l", f"job-name={name}").get("items", [])
    phases = [pod["status"].get("phase") for pod in pods]
    if "Failed" in phases:
        said = kube.kubectl("logs", "-n", STUDIO, f"job/{name}")
        raise DemoError(
            f"the client failed: {said}",
            cure=f"kubectl describe pods -n {STUDIO} -l job-name={name}",
        )
    return bool({"Running", "Succeeded"} & set(phases)) and "s  " in kube.kubectl(
        "logs", "-n", STUDIO, f"job/{name}"
    )


def _summary(log: str) -> dict[str, Any]:
    """Find the JSON object at the end of a log that begins with lines of progress."""
    start = log.find("\n{") + 1 if not log.startswith("{") else 0
    try:
        found: dict[str, Any] = json.loads(log[start:])
    except ValueError as error:
        raise DemoError(
            f"the client's summary cannot be read: {error}\n{log[-500:]}", cure="run it again"
        ) from error
    return found
