# SPDX-License-Identifier: Apache-2.0
"""Processes of pods, from the machine that the nodes' containers run on.

Kubernetes is not asked: all of it works while a node is cut off and while the API server is away.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.kubectl import Object

_CONTAINER = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Tree:
    """Processes of a pod's first container. guard: its first one; elector: 0 where there is none."""

    guard: int
    elector: int
    commands: Sequence[int]

    def of(self, detail: str) -> list[int]:
        """Those that a fault's detail names: all, command, elector or guard.

        Where there is no elector all of them are the command's; where no command runs, as in a
        candidate that stands by, all of them stand in for it.
        """
        everything = [pid for pid in (self.guard, self.elector, *self.commands) if pid]
        if not self.elector:
            return everything
        parts = {"command": [*self.commands], "elector": [self.elector], "guard": [self.guard]}
        return parts.get(detail) or everything


def processes(pod: Object, *, proc: Path = Path("/proc")) -> Tree:
    """Find them by the container's id in their control groups.

    The elector is forked from the guard, so both have the same command line. None is found while
    the container has no id: an empty one would fit everything on this machine.
    """
    states = pod["status"].get("containerStatuses") or [{}]
    container = str(states[0].get("containerID", "")).rpartition("/")[2]
    if not _CONTAINER.fullmatch(container):
        return Tree(0, 0, [])
    found: dict[int, bytes] = {}
    guard = 0
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):  # ended meanwhile
            if container not in (folder / "cgroup").read_text(encoding="utf-8"):
                continue
            found[int(folder.name)] = (folder / "cmdline").read_bytes()
            inside = re.search(r"^NSpid:.*\s(\d+)$", (folder / "status").read_text(), re.MULTILINE)
            if inside and inside[1] == "1":
                guard = int(folder.name)
    same = [pid for pid, words in found.items() if pid != guard and words == found.get(guard)]
    elector = min(same, default=0) if b"\0--\0" in found.get(guard, b"") else 0
    return Tree(guard, elector, sorted(set(found) - {guard, elector}))
