# SPDX-License-Identifier: Apache-2.0
"""What the check may say: codes, and how they travel in a pod's termination message.

The operator puts nothing of that message into conditions but its own sentences about these codes,
so not even a manipulated check can carry a Secret's content, or a text of its own, into a status.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

FORMAT: Final = 1
# Kubelet cuts termination messages at 4096 bytes.
MAX_BYTES: Final = 4096
# Missing keys that are named for a reference; more would not make the cure clearer.
MAX_MISSING: Final = 8

Code = Literal[
    "SeveralHosts", "MultiSubnetFailover", "FailoverPartner", "PrimaryService", "FailoverMode",
    "OneHost", "LocalHost", "ReadOnlyService", "ReadOnlyTarget", "AnyTarget", "FailoverOff",
    "OneInstance",
    "ListenerOrHost", "ScanOrHost", "Alias", "ServiceRecord", "OtherEngine", "NotUnderstood",
    "NoConnection", "Missing",
]  # fmt: skip
GOOD: Final[frozenset[str]] = frozenset(
    {"SeveralHosts", "MultiSubnetFailover", "FailoverPartner", "PrimaryService", "FailoverMode"}
)
FINDINGS: Final[frozenset[str]] = frozenset(
    {
        "OneHost", "LocalHost", "ReadOnlyService", "ReadOnlyTarget", "AnyTarget", "FailoverOff",
        "OneInstance",
    }
)  # fmt: skip
UNKNOWN: Final[frozenset[str]] = frozenset(
    {
        "ListenerOrHost", "ScanOrHost", "Alias", "ServiceRecord", "OtherEngine", "NotUnderstood",
        "NoConnection", "Missing",
    }
)  # fmt: skip

Likeness = Literal["Same", "Different", "Unknown"]
LIKENESSES: Final = (None, "Same", "Different", "Unknown")


@dataclass(frozen=True)
class Seen:
    """What was seen of one reference.

    `found`: its Secret is there and holds something. `missing`: positions, in the list of keys that
    were asked for, of those that are not there. `code`: whether it names one host.
    """

    found: bool
    missing: tuple[int, ...]
    code: str


@dataclass(frozen=True)
class Report:
    """The result: one entry a reference, in the order asked, and how the core databases compare."""

    seen: tuple[Seen, ...]
    likeness: Likeness | None = None


def encode(report: Report) -> str:
    """Return the termination message."""
    body = {
        "v": FORMAT,
        "seen": [[int(entry.found), list(entry.missing), entry.code] for entry in report.seen],
        "likeness": report.likeness,
    }
    return json.dumps(body, separators=(",", ":"))


def decode(text: str) -> Report | None:
    """Read a termination message; None when it is not exactly such a report."""
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict) or body.get("v") != FORMAT:
        return None
    seen, likeness = body.get("seen"), body.get("likeness")
    if not isinstance(seen, list) or likeness not in LIKENESSES:
        return None
    entries = [_entry(item) for item in seen]
    found = [entry for entry in entries if entry is not None]
    return Report(tuple(found), likeness) if len(found) == len(entries) else None


def _entry(item: object) -> Seen | None:
    if not isinstance(item, list) or len(item) != 3:
        return None
    found, missing, code = item
    if found not in (0, 1) or not isinstance(missing, list) or not _positions(missing):
        return None
    if not isinstance(code, str) or code not in GOOD | FINDINGS | UNKNOWN:
        return None
    return Seen(bool(found), tuple(missing), code)


def _positions(items: Sequence[object]) -> bool:
    """Whether these are as many positions as are ever named, none of them twice."""
    few = len(set(map(str, items))) == len(items) <= MAX_MISSING
    return few and all(type(item) is int and item >= 0 for item in items)
