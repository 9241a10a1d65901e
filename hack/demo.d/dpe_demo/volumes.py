# SPDX-License-Identifier: Apache-2.0
"""The demo's shared volumes: folders that all nodes see, in place of a file server."""

from __future__ import annotations

import string
from pathlib import Path

from dpe_demo.tools import ROOT, STUDIO, Kube

MANIFEST = ROOT / "hack/simulator/manifests/shared-volume.yaml"
CLAIMS = (
    "ingest",
    "radio-ingest-folder-watcher-memory-1",
    "radio-ingest-folder-watcher-memory-2",
    "radio-news-entries-table-watcher-memory",
    "radio-par-master",
    "radio-par-redundant-nightly",
)
PAR_FILES = {
    "GLOBAL.PAR": "[Common]\nDpeServiceRoot=https://radio-balancer.studio.svc/DpeWebApplication\n",
    "STUDIO1.PAR": "[Audio]\nDevice=1\n",
}


def folder(kube: Kube, claim: str) -> Path:
    """Return where the content of a claim lies on this machine."""
    return Path(kube.kubeconfig).parent / "shared/volumes" / STUDIO / claim


def make_volumes(kube: Kube) -> None:
    """Make the volumes that are not there yet, some PAR files, and the folder that is watched."""
    for claim in CLAIMS:
        name = f"{STUDIO}-{claim}"
        found = kube.get("pv", name)
        if found and found.get("status", {}).get("phase") in ("Released", "Failed"):
            # its claim was deleted; a volume waits for that very claim for ever
            kube.kubectl("delete", "pv", name)
        place = folder(kube, claim)
        place.mkdir(parents=True, exist_ok=True)
        if place.stat().st_mode & 0o777 != 0o777:
            place.chmod(0o777)  # pods write under a user of their own
        values = {"NAMESPACE": STUDIO, "CLAIM": claim}
        kube.apply(string.Template(MANIFEST.read_text()).substitute(values))
    master = folder(kube, "radio-par-master")
    for file, text in PAR_FILES.items():
        if not (master / file).exists():
            (master / file).write_text(text)
    kube.apply(INGEST)


INGEST = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: ingest}
spec:
  accessModes: [ReadWriteMany]
  storageClassName: dpe-shared
  resources: {requests: {storage: 1Gi}}
"""
