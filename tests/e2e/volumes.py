# SPDX-License-Identifier: Apache-2.0
"""Volumes that all nodes mount at once, and what is in them, seen from outside of every pod."""

from __future__ import annotations

import shutil
import string
import subprocess
from pathlib import Path

import yaml
from tests.e2e.kubectl import Kubectl

ROOT = Path(__file__).resolve().parents[2]
MANIFEST = ROOT / "hack" / "simulator" / "manifests" / "shared-volume.yaml"


class SharedVolumes:
    """The shared volumes of one namespace. A folder of this machine stands in for a file server."""

    def __init__(self, kube: Kubectl) -> None:
        self._kube = kube
        cluster = kube.kubeconfig.parent
        self._folder = cluster / "shared" / "volumes" / kube.namespace

    def make(self, *claims: str) -> None:
        """Make an empty volume for each claim, which somebody will make."""
        for claim in claims:
            # a claim that a failed test has left would hold its volume for ever
            self._kube.run("delete", "pvc", claim, "--ignore-not-found", timeout=90)
            self._kube.run("delete", "pv", f"{self._kube.namespace}-{claim}", "--ignore-not-found")
            folder = self.folder(claim)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            folder.chmod(0o777)  # pods write under a user of their own
            text = string.Template(MANIFEST.read_text(encoding="utf-8")).substitute(
                NAMESPACE=self._kube.namespace, CLAIM=claim
            )
            self._kube.apply(*(item for item in yaml.safe_load_all(text) if item))

    def folder(self, claim: str) -> Path:
        """Where the content of a claim lies on this machine."""
        return self._folder / claim

    def write(self, claim: str, files: dict[str, str]) -> None:
        """Write files into a volume as another computer would, old enough not to be "being changed"."""
        for name, text in files.items():
            path = self.folder(claim) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            path.chmod(0o666)
            subprocess.run(["touch", "-d", "10 minutes ago", str(path)], check=True)

    def read(self, claim: str) -> dict[str, str]:
        """All files of a volume by their paths, hidden ones left out."""
        root = self.folder(claim)
        return {
            str(path.relative_to(root)): path.read_text(encoding="utf-8")
            for path in sorted(root.rglob("*"))
            if path.is_file()
            and not any(part.startswith(".") for part in path.relative_to(root).parts)
        }
