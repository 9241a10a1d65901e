# SPDX-License-Identifier: Apache-2.0
"""The annotation `dpe.dev/memory` on the Lease: what became of the memory. Pure.

Its form is an interface, described in docs/reference/memory.md.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dpe_memory.decision import Said
from dpe_memory.layout import Memory, memory_as_json, memory_of, read_object

ANNOTATION = "dpe.dev/memory"
ACCEPT = "dpe.dev/accept-memory-loss"
ADOPT = "dpe.dev/adopt-memory"

LONGEST_MESSAGE = 1000
# these change with every telling of the same thing
_WHEN_AND_WHO = ("since", "pod")
# A loss is over when a watcher was started: until then it stays told, whatever comes in between.
_LOSS = ("lost", "token")


class State(StrEnum):
    """What became of a start."""

    READY = "Ready"
    LOST = "Lost"
    FOREIGN_OWNER = "ForeignOwner"
    EPOCH_AHEAD = "EpochAhead"
    FAILED = "Failed"


@dataclass(frozen=True)
class Report:
    """What one start has to say; `more` are further fields of its state."""

    state: State
    reason: str
    message: str
    memory: Memory | None = None
    more: tuple[tuple[str, Any], ...] = ()


def said(annotations: Mapping[str, str]) -> Said:
    """Read what the Lease says."""
    found = read_object(annotations.get(ANNOTATION, ""))
    token = found.get("token")
    return Said(
        memory=memory_of(found),
        accepts=annotations.get(ACCEPT, ""),
        adopts=annotations.get(ADOPT, ""),
        loss=token if isinstance(token, str) else "",
    )


def with_report(
    annotations: Mapping[str, str], report: Report, *, pod: str, at: str
) -> dict[str, str] | None:
    """Return the annotations with the report in them, None if they say so already.

    A report without a memory leaves the one that was told before, and a loss.
    """
    before = read_object(annotations.get(ANNOTATION, ""))
    memory = report.memory or memory_of(before)
    is_over = State.READY in (report.state, before.get("state"))
    loss = {key: before[key] for key in _LOSS if key in before and not is_over}
    found: dict[str, Any] = {
        "state": str(report.state),
        "reason": report.reason,
        "message": shortened(report.message, LONGEST_MESSAGE),
        "since": at,
        "pod": pod,
        **(memory_as_json(memory) if memory else {}),
        **loss,
        **dict(report.more),
    }
    if _lasting(found) == _lasting(before):
        return None
    return {**annotations, ANNOTATION: json.dumps(found, separators=(",", ":"))}


def shortened(text: str, most: int) -> str:
    """Return `text`, printable, in at most `most` characters."""
    plain = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text)
    return plain if len(plain) <= most else plain[: most - 3] + "..."


def _lasting(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in _WHEN_AND_WHO}
