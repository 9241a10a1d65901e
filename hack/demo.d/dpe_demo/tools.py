# SPDX-License-Identifier: Apache-2.0
"""Calls of the programs the demo is made of: hack/cluster, hack/images, kubectl and helm.

kubectl and helm are always told the demo's own kubeconfig: no other cluster is ever touched.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dpe_demo.progress import DemoError

ROOT = Path(__file__).resolve().parents[3]
SYSTEM = "dpe-system"
STUDIO = "studio"
RELEASE = "dpe-operator"


def output(*command: str | Path, cure: str, stdin: str | None = None) -> str:
    """Run a command and return what it prints; a failure shows what it said and *cure*."""
    done = subprocess.run(
        [str(part) for part in command], input=stdin, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        name = " ".join(Path(str(part)).name for part in command[:2])
        raise DemoError(f"{name} failed ({done.returncode}):\n{said}", cure=cure)
    return done.stdout


def hack(script: str, *arguments: str, cure: str) -> None:
    """Run one of the scripts under hack/, which tells its own progress."""
    done = subprocess.run([str(ROOT / "hack" / script), *arguments], check=False)
    if done.returncode:
        raise DemoError(f"hack/{script} {' '.join(arguments)} failed", cure=cure)


def image_tags() -> dict[str, str]:
    """Return the tags of this source tree's images by name."""
    printed = output(ROOT / "hack/images", "tags", cure="see what hack/images tags says")
    return dict(line.split("=", 1) for line in printed.split())


class Kube:
    """kubectl and helm for the demo's cluster."""

    def __init__(self) -> None:
        cure = "run 'make demo' first: it makes the cluster"
        folder = output(
            ROOT / "hack/tools/build", "kubectl", "helm", cure="see what it says"
        ).strip()
        self.kubeconfig = output(ROOT / "hack/cluster", "kubeconfig", cure=cure).strip()
        if not Path(self.kubeconfig).exists():
            raise DemoError("the demo's cluster is not there", cure=cure)
        self._kubectl = [f"{folder}/kubectl", "--kubeconfig", self.kubeconfig]
        self._helm = [f"{folder}/helm", "--kubeconfig", self.kubeconfig]

    def kubectl(self, *arguments: str, stdin: str | None = None, cure: str = "") -> str:
        """Run kubectl and return what it prints."""
        return output(*self._kubectl, *arguments, stdin=stdin, cure=cure or self.look(arguments))

    def helm(self, *arguments: str, cure: str) -> str:
        """Run helm and return what it prints."""
        return output(*self._helm, *arguments, cure=cure)

    def get(self, *arguments: str) -> dict[str, Any]:
        """Return one object, {} when it is not there."""
        printed = self.kubectl("get", *arguments, "--ignore-not-found", "-o", "json")
        found: dict[str, Any] = json.loads(printed) if printed.strip() else {}
        return found

    def apply(self, manifest: str, *, namespace: str = STUDIO) -> None:
        """Apply a manifest by server-side apply."""
        self.kubectl(
            "apply",
            "--server-side",
            "--force-conflicts",
            "-n",
            namespace,
            "-f",
            "-",
            stdin=manifest,
        )

    def look(self, arguments: tuple[str, ...]) -> str:
        """Say how to look into a kubectl command that failed."""
        return f"try it by hand: kubectl --kubeconfig {self.kubeconfig} {' '.join(arguments)}"


def wait_for(seen: Callable[[], bool], *, seconds: float, every: float = 1.0) -> bool:
    """Ask until *seen* says yes or the time is up; tell which."""
    deadline = time.monotonic() + seconds
    while not seen():
        if time.monotonic() > deadline:
            return False
        time.sleep(every)
    return True


def columns(rows: list[list[str]]) -> str:
    """Lay rows out in columns, as wide as needed."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = (
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "\n".join(f"  {line.rstrip()}" for line in lines)
