# SPDX-License-Identifier: Apache-2.0
"""The operator as its chart installs it, for tests that turn it off, on, or look into it."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.kubectl import Kubectl, eventually

ROOT = Path(__file__).resolve().parents[2]
NAMESPACE = "dpe-system"
RELEASE = "dpe-operator"


class OperatorRelease:
    """One Helm release that watches all namespaces."""

    def __init__(self, cluster: Kubectl, helm: Path, images: Mapping[str, str]) -> None:
        self.kube = cluster.within(NAMESPACE)
        self._helm = helm
        self._values: dict[str, str] = {
            "image.registry": "localhost/dpe",
            # of this very checkout, also while its generated files are not made anew yet
            "image.operator.tag": images["dpe-operator"].rpartition(":")[2],
            "image.balancer.tag": images["dpe-balancer"].rpartition(":")[2],
            "image.elector.tag": images["dpe-elector"].rpartition(":")[2],
            "image.parSync.tag": images["dpe-par-sync"].rpartition(":")[2],
            "watch.allNamespaces": "true",
            # the cluster may have the CRDs of another checkout, with fields that this one lacks
            "crds.allowFieldLoss": "true",
        }

    def install(self) -> None:
        """Install or upgrade, and wait until both pods are ready."""
        settings = [
            part
            for key, value in self._values.items()
            for part in (_set_flag(key), f"{key}={value}")
        ]
        self.helm(
            "upgrade", "--install", RELEASE, str(ROOT / "charts" / "dpe-operator"),
            "--create-namespace", "--reset-values", "--wait", "--timeout", "180s", *settings,
        )  # fmt: skip

    def helm(self, *arguments: str) -> str:
        """Run a Helm command in the operator's namespace and return what it printed."""
        place = ["--kubeconfig", str(self.kube.kubeconfig), "--namespace", NAMESPACE]
        command = [str(self._helm), *arguments, *place]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def value(self, key: str) -> str:
        """What one value of the chart is set to."""
        return self._values[key]

    def set_value(self, key: str, value: object) -> None:
        """Change one value of the chart."""
        self.set_values({key: value})

    def set_values(self, values: Mapping[str, object]) -> None:
        """Change values of the chart, all at once."""
        self._values.update({key: str(value) for key, value in values.items()})
        self.install()

    def scale(self, replicas: int) -> None:
        """Set the number of operator pods and wait until it is so."""
        self.kube.run("scale", f"deployment/{RELEASE}", f"--replicas={replicas}")
        if replicas:
            words = (f"deployment/{RELEASE}", "--timeout=180s")
            self.kube.run("rollout", "status", *words, timeout=190)
            return
        eventually(lambda: not self._pods(), timeout=120, what="no operator pod is left")

    @contextmanager
    def absent(self) -> Iterator[None]:
        """No operator pod meanwhile."""
        try:
            self.scale(0)
            yield
        finally:
            self.scale(2)

    def settle(self, seconds: float = 12) -> None:
        """Give new pods the time to take the Lease and to look at everything once."""
        self.leader_pod()
        time.sleep(seconds)

    def leader_pod(self) -> str:
        """Name of the pod that holds the Lease."""

        def leader() -> str | None:
            lease = self.kube.find("lease", RELEASE) or {}
            holder = str(lease.get("spec", {}).get("holderIdentity") or "")
            names = {pod["metadata"]["uid"]: pod["metadata"]["name"] for pod in self._pods()}
            return next((name for uid, name in names.items() if holder.startswith(uid)), None)

        return eventually(leader, timeout=60, what="an operator pod holds the Lease")

    def wait_leader_is_not(self, name: str, *, timeout: float) -> None:
        """Wait until another pod leads."""
        eventually(
            lambda: self.leader_pod() != name, timeout=timeout, what="another operator pod leads"
        )

    def metric(self, name: str) -> float:
        """Sum of a metric of the leader over all its labels."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{self.leader_pod()}:8080/proxy/metrics"
        text = self.kube.run("get", "--raw", path)
        values = re.findall(rf"^{name}(?:{{[^}}]*}})? ([0-9.e+-]+)$", text, flags=re.MULTILINE)
        return sum(float(value) for value in values)

    def _pods(self) -> list[dict[str, dict[str, str]]]:
        return self.kube.list("pod", {"app.kubernetes.io/name": RELEASE})


def _set_flag(key: str) -> str:
    # a tag of digits and one "e" would be read as a number
    return "--set-string" if key.endswith(".tag") else "--set"
