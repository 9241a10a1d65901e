# SPDX-License-Identifier: Apache-2.0
"""Histories of components that the tests of the checker share, and how they are judged."""

import dataclasses
from typing import Any

from dpe_simulator.checker import ChangeSeen, EntrySeen, Evidence, Expectation, check

NOW = 1000.0
TABLE = "dpe_entries"
Detail = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Who:
    """A process of a component."""

    process: str
    epoch: int | None
    role: str = "table-watcher"
    member: str | None = None
    component: str = "news"

    def line(self, kind: str, at: float, until: float | None = None, **detail: Any) -> EntrySeen:
        told = {"component": self.component, **detail}
        return EntrySeen(
            self.process, at, until, kind, self.member, None, None, told, self.role, self.epoch
        )

    def start(self, at: float, **detail: Any) -> EntrySeen:
        if self.role.endswith("watcher"):
            usual = {"source": TABLE, "order": "effect-first", "writes": "renamed",
                     "firstStart": "trigger", "memory": memory(0, None, found="absent")}  # fmt: skip
            detail = {**usual, **detail}
        return self.line("start", at, **detail)

    def acting(self, begin: float, end: float) -> list[EntrySeen]:
        """A proof of life every half second."""
        return [
            self.line("acting", begin + number / 2, min(end, begin + number / 2 + 0.5))
            for number in range(int((end - begin) * 2 + 0.99))
        ]

    def effect(
        self, at: float, number: int, *, kind: str = "workflow-created", sent: float | None = None,
        title: str = "t", request: str | None = None, **why: Any,
    ) -> EntrySeen:  # fmt: skip
        by = {"role": self.role, "component": self.component, "member": self.member,
              "process": self.process, "epoch": self.epoch,
              "sentAt": at - 0.01 if sent is None else sent, **why}  # fmt: skip
        detail = {"title": title, "requestId": request or f"r-{number}", "by": by}
        return EntrySeen("server-a", at, None, kind, "a", None, f"workflow:{number}", detail)

    def change(
        self, at: float, number: int, subject: str, event: str, version: str, generation: int,
        **more: Any,
    ) -> EntrySeen:  # fmt: skip
        return self.effect(
            at, number, generation=generation, change=told(subject, event, version), **more
        )

    def wrote(self, at: float, generation: int, *change: str) -> EntrySeen:
        detail = {"change": told(*change)} if change else {}
        return self.line("memory-written", at, generation=generation, **detail)


def told(subject: str, event: str, version: str) -> Detail:
    return {"source": TABLE, "subject": subject, "event": event, "version": version}


def memory(generation: int, epoch: int | None, *, found: str = "read") -> Detail:
    return {"found": found, "generation": generation, "epoch": epoch, "entries": generation}


def happened(at: float, subject: str, event: str, version: str) -> ChangeSeen:
    return ChangeSeen(TABLE, subject, event, version, at)


def evidence(*parts: EntrySeen | list[EntrySeen], changes: Any = ()) -> Evidence:
    lines = [one for part in parts for one in (part if isinstance(part, list) else [part])]
    lines.sort(key=lambda one: one.at)
    return Evidence([], [], lines, NOW, changes=changes)


def judged(seen: Evidence, **expectation: Any) -> list[tuple[str, str]]:
    return [(one.kind, one.rule) for one in check(seen, Expectation(0, **expectation))]


A, B, C = Who("pod-a/1", 1), Who("pod-b/1", 2), Who("pod-c/1", 3)
# Two epochs of a Standby watcher: two entries before the take-over, one after it.
FIRST = [
    A.start(100), A.acting(100, 120),
    A.change(105, 1, "7", "Created", "v1", 0), A.wrote(105.1, 1, "7", "Created", "v1"),
    A.change(110, 2, "8", "Created", "v1", 1), A.wrote(110.1, 2, "8", "Created", "v1"),
]  # fmt: skip
SECOND = [
    B.start(121, memory=memory(2, 1)), B.acting(121, 140),
    B.change(130, 3, "7", "Updated", "v2", 2), B.wrote(130.1, 3, "7", "Updated", "v2"),
    B.line("stop", 140),
]  # fmt: skip
CHANGES = [
    happened(104, "7", "Created", "v1"), happened(109, "8", "Created", "v1"),
    happened(120.5, "7", "Updated", "v2"),
]  # fmt: skip


def began_with(found: Detail, **detail: Any) -> list[EntrySeen]:
    return [B.start(121, memory=found, **detail), B.line("stop", 122)]
