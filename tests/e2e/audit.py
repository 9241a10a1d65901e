# SPDX-License-Identifier: Apache-2.0
"""The API server's audit log: who wrote what, and when."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True)
class Write:
    """One write that reached the API server."""

    at: float
    user: str
    verb: str
    resource: str
    namespace: str
    name: str
    status: int


def audit_log() -> Path:
    """Where the cluster's audit log lies on this machine."""
    text = subprocess.run(
        [ROOT / "hack" / "cluster", "audit-log"], capture_output=True, text=True, check=True
    ).stdout
    return Path(text.strip())


def writes_between(begin: float, end: float) -> list[Write]:
    """All writes that were answered in a time span, given in seconds since 1970, refused ones too."""
    found = []
    with audit_log().open(encoding="utf-8") as lines:
        for line in lines:
            entry = json.loads(line)
            if entry["verb"] not in WRITES or entry["stage"] != "ResponseComplete":
                continue
            at = datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp()
            if begin <= at <= end:
                target = entry.get("objectRef", {})
                resource = target.get("resource", "") + (
                    f"/{target['subresource']}" if target.get("subresource") else ""
                )
                user = entry["user"]["username"]
                found.append(
                    Write(
                        at,
                        user,
                        entry["verb"],
                        resource,
                        target.get("namespace", ""),
                        target.get("name", ""),
                        int(entry.get("responseStatus", {}).get("code", 0)),
                    )
                )
    return found
