# SPDX-License-Identifier: Apache-2.0
"""Faults of whole machines, by the cluster tool; every fault is taken back at the end."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.kubectl import Kubectl, eventually

ROOT = Path(__file__).resolve().parents[2]


class Nodes:
    """The nodes of the test cluster."""

    def __init__(self, kube: Kubectl) -> None:
        self._kube = kube
        self._faults: dict[str, str] = {}  # node: what takes its fault back
        self._drained: set[str] = set()

    def drain(self, node: str) -> None:
        """kubectl drain, with the PodDisruptionBudgets respected."""
        self._drained.add(node)
        self._kube.run(
            "drain",
            node,
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--force",
            "--timeout=120s",
            timeout=130,
        )

    def cut(self, node: str) -> None:
        """Pull the node's network cable; `repair` plugs it in again."""
        self._break(node, "cut", cure="heal")

    def kill(self, node: str) -> None:
        """Cut its power; `repair` switches it on again and waits until it is Ready."""
        self._break(node, "kill", cure="start")

    def freeze(self, node: str) -> None:
        """Stop all its processes; `repair` lets them go on."""
        self._break(node, "freeze", cure="thaw")

    def repair(self, node: str) -> None:
        """Take the node's fault back."""
        if cure := self._faults.get(node):
            _tool(cure, node)
            del self._faults[node]
            eventually(self._api_answers, timeout=60, what="the API server answers")

    def repair_all(self) -> None:
        """Take back every fault and wait until all nodes are Ready."""
        for node in sorted(self._faults):  # the control plane first: the others report to it
            self.repair(node)
        for node in self._drained:
            self._kube.run("uncordon", node)
        self._drained.clear()
        self._kube.run(
            "wait", "--for=condition=Ready", "nodes", "--all", "--timeout=240s", timeout=250
        )

    def _api_answers(self) -> bool:
        return (
            self._kube.run("get", "--raw", "/readyz", "--request-timeout=5s", check=False) == "ok"
        )

    def _break(self, node: str, fault: str, *, cure: str) -> None:
        self._faults[node] = cure
        _tool(fault, node)


def _tool(*arguments: str) -> None:
    done = subprocess.run(
        [ROOT / "hack" / "cluster", *arguments], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stdout + done.stderr
