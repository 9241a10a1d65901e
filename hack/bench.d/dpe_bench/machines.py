# SPDX-License-Identifier: Apache-2.0
"""The API server taken away; and what machine this is."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from typing import Any

from tests.e2e.kubectl import Kubectl, eventually
from tests.e2e.processes import on_node

from dpe_bench.cases import API_STARTS_WITHIN_SECONDS

_MANIFEST = "/etc/kubernetes/manifests/kube-apiserver.yaml"
_PUT_ASIDE = "/etc/kubernetes/kube-apiserver.yaml.dpe-bench"


def control_plane(kube: Kubectl) -> str:
    """Name of the node that runs the API server."""
    found = kube.list("nodes", {"node-role.kubernetes.io/control-plane": ""})
    return str(found[0]["metadata"]["name"])


def stop_api_server(node: str) -> None:
    """End the API server for good: its manifest is put aside, so that nobody starts it again.

    It is killed first, as by a power cut: one that kubelet ends in order takes itself out of the
    Service `kubernetes`, and kube-proxy, which asks again less and less often, then lets no pod
    reach it for up to a minute after it has come back.
    """
    # kubelet may start it once more until it has seen that the manifest is gone
    on_node(node, "end() { for p in /proc/[0-9]*; do "
            "[ \"$(cat $p/comm 2>/dev/null)\" != kube-apiserver ] || kill -9 ${p##*/}; done; }; "
            f"end; mv {_MANIFEST} {_PUT_ASIDE}; "
            "for i in 1 2 3 4 5 6; do end; sleep 0.5; done")  # fmt: skip


def start_api_server(node: str) -> None:
    """Undo `stop_api_server`, if it was done; does not wait."""
    on_node(node, f"[ ! -e {_PUT_ASIDE} ] || mv {_PUT_ASIDE} {_MANIFEST}")


def wait_api_server(kube: Kubectl, *, timeout: float = API_STARTS_WITHIN_SECONDS) -> None:
    """Wait until the API server answers."""

    def ready() -> bool:
        try:
            return kube.run("get", "--raw", "/readyz", check=False, timeout=10).strip() == "ok"
        except subprocess.TimeoutExpired:
            return False

    eventually(ready, timeout=timeout, what="the API server is ready", every=1)


def wait_nodes(kube: Kubectl) -> None:
    """Wait until all nodes are Ready, and were seen so by a report of after now.

    Only needed after something was done to a node, since it takes a moment.
    """
    time.sleep(2)
    kube.run("wait", "--for=condition=Ready", "nodes", "--all", "--timeout=150s", timeout=160)


def machine() -> dict[str, Any]:
    """What the runs are taken on."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpus": os.cpu_count(),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }


def versions(kube: Kubectl) -> dict[str, str]:
    """Versions of what is measured with."""
    node = kube.list("nodes")[0]["status"]["nodeInfo"]
    return {
        "Kubernetes": node["kubeletVersion"],
        "container runtime": node["containerRuntimeVersion"],
        "Python": platform.python_version(),
    }
