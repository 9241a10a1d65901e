# SPDX-License-Identifier: Apache-2.0
"""What `helm test` runs: are the DPE kinds served, do all operator pods answer, is one at work?

Standard library only, so that it runs in the operator's image as it is. Without the metrics Service
the pods cannot be found from here; then only the kinds are checked, and the output says so.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

GROUP_VERSION = "dpe.dev/v1alpha1"
KINDS = {
    *("DpeCluster", "DpeServer", "ParStore", "ProcessorFarm", "WorkflowWorker"),
    *("WorkflowScheduler", "WorkflowTableWatcher", "WorkflowFolderWatcher"),
}
ELECTOR_PORT = 8081
PATIENCE_SECONDS = 60
SECRETS = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def missing_kinds() -> str:
    """Return what is wrong with the kinds that the API server serves, or "" when all are there."""
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    request = urllib.request.Request(
        f"https://{host}:{port}/apis/{GROUP_VERSION}",
        headers={"Authorization": f"Bearer {(SECRETS / 'token').read_text()}"},
    )
    context = ssl.create_default_context(cafile=str(SECRETS / "ca.crt"))
    try:
        with urllib.request.urlopen(request, timeout=5, context=context) as answer:  # noqa: S310
            served = {item["kind"] for item in json.load(answer)["resources"]}
    except urllib.error.HTTPError as error:
        return f"the API server answers {error.code} for {GROUP_VERSION}: are the CRDs installed?"
    except OSError as error:
        return f"the API server does not answer: {error}"
    missing = sorted(KINDS - served)
    return f"not served: {', '.join(missing)}: apply the CRDs" if missing else ""


def answers(address: str, *, port: int, path: str) -> bool:
    """Tell whether http://address:port/path answers 200 within 2 s."""
    host = f"[{address}]" if ":" in address else address
    try:
        url = f"http://{host}:{port}{path}"
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def operator_trouble(service: str, *, metrics_port: int, replicas: int) -> str:
    """Return what is wrong with the operator's pods behind *service*, or "" when all is well."""
    try:
        found = socket.getaddrinfo(service, ELECTOR_PORT, type=socket.SOCK_STREAM)
    except OSError as error:
        return f"{service} has no address: {error}"
    addresses = sorted({str(item[4][0]) for item in found})
    if len(addresses) < replicas:
        return f"{len(addresses)} of {replicas} operator pods are there"
    silent = [a for a in addresses if not answers(a, port=ELECTOR_PORT, path="/readyz")]
    if silent:
        return f"not ready: {', '.join(silent)}: see their logs"
    if not any(answers(a, port=metrics_port, path="/livez") for a in addresses):
        return "no operator pod is at work: see the Lease of the release and the pods' logs"
    return ""


def main() -> int:
    """Check again until all is well or the patience is used up; return the exit status."""
    service = os.environ.get("METRICS_SERVICE", "")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        trouble = missing_kinds()
        if not trouble and service:
            trouble = operator_trouble(
                service,
                metrics_port=int(os.environ["METRICS_PORT"]),
                replicas=int(os.environ["REPLICAS"]),
            )
        if not trouble or time.monotonic() > deadline:
            break
        time.sleep(1)
    if trouble:
        print(f"FAILED: {trouble}")
        return 1
    print(f"ok: {', '.join(sorted(KINDS))} are served")
    print(
        "ok: all operator pods answer, one is at work"
        if service
        else "pods: not checked, no metrics Service"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
