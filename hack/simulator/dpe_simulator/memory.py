# SPDX-License-Identifier: Apache-2.0
"""A watcher's memory file: what it has seen, so that it knows what is new.

Path, name and format of DPE's are not public, nor how they are written. This one is a JSON file
with a counter and the epoch under which it was written, by which a stale copy can be told.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

FILE = "memory.json"
CREATED, UPDATED, DELETED = "Created", "Updated", "Deleted"


@dataclass(frozen=True)
class Memory:
    """What has been seen: state (Created, Updated, Deleted) and version of each entry or file.

    generation: one more with each writing; 0 stands for no memory.
    """

    generation: int = 0
    epoch: int | None = None
    process: str | None = None
    entries: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def after(
        self, changes: Mapping[str, tuple[str, str]], *, epoch: int | None, process: str
    ) -> "Memory":
        """The next generation, in which `changes` have been seen."""
        return Memory(self.generation + 1, epoch, process, {**self.entries, **changes})


class UnreadableMemory(Exception):
    """There is a memory file, and it cannot be understood: writing it was interrupted."""


def read_memory(folder: Path) -> Memory | None:
    """Read the memory; None when there is none.

    Raises:
        UnreadableMemory: it is torn.
        OSError: the folder cannot be read.
    """
    try:
        text = (folder / FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as problem:
        raise UnreadableMemory(str(problem)) from problem
    try:
        found = json.loads(text)
        entries = {
            name: (str(state), str(seen)) for name, (state, seen) in found["entries"].items()
        }
        return Memory(int(found["generation"]), found["epoch"], found["process"], entries)
    except (ValueError, TypeError, KeyError, AttributeError) as problem:
        raise UnreadableMemory(f"{len(text)} characters: {problem!r}") from problem


def write_memory(folder: Path, memory: Memory, *, in_place: bool) -> None:
    """Write the memory, without fsync: nobody knows of DPE that it does one.

    Args:
        folder: where it lies.
        memory: what to write.
        in_place: over the old one, half by half, so that a crash between leaves a torn file;
            otherwise beside it, and renamed.

    Raises:
        OSError: it could not be written.
    """
    text = json.dumps({
        "generation": memory.generation, "epoch": memory.epoch, "process": memory.process,
        "entries": memory.entries,
    })  # fmt: skip
    path = folder / FILE
    if not in_place:
        beside = folder / f".{FILE}.new"
        beside.write_text(text, encoding="utf-8")
        beside.replace(path)
        return
    half = len(text) // 2
    with open(path, "w", encoding="utf-8") as file:
        file.write(text[:half])
        file.flush()
        time.sleep(0.02)
        file.write(text[half:])
