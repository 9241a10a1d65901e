# SPDX-License-Identifier: Apache-2.0
"""Reading the plan of rsync: the lines of `--dry-run -ii --delete --out-format='%i %n'`. Pure.

rsync prints one line an item: eleven characters that say what it would do, a space, the name. It
writes control characters (and a backslash that could be taken for the mark) as `\\#ooo`, three
octal digits; with `-8` all other bytes come as they are. So a line ends where it ends, whatever a
file is called. Twice `-i` lists files that are equal too: the list is the whole managed tree.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

FORMAT = "%i %n"
_FLAGS = 11
_ESCAPED = re.compile(rb"\\#([0-3][0-7]{2})")
_SKIPPED = re.compile(rb'skipping non-regular file "(.*)"')
_DELETING = b"*deleting"


class PlanUnreadable(ValueError):
    """A line that looks like an item and is none: nothing may be decided on such a plan."""


class Kind(StrEnum):
    """What rsync would do with a path."""

    COPY = "copy"
    SAME = "same"
    RETIME = "retime"  # equal content, another time
    FOLDER = "folder"
    DELETE = "delete"
    DELETE_FOLDER = "delete-folder"
    SKIP = "skip"  # symbolic links, pipes, sockets, devices


@dataclass(frozen=True, order=True)
class Item:
    """One line; `path` is relative to both locations and has no slash at its end."""

    path: bytes
    kind: Kind


@dataclass(frozen=True)
class Plan:
    """All items, in rsync's order, and the lines that were no items (hints for a person)."""

    items: tuple[Item, ...]
    notes: tuple[str, ...] = ()


def parse(output: bytes) -> Plan:
    """Read rsync's standard output; raises PlanUnreadable."""
    items: list[Item] = []
    notes: list[str] = []
    for line in output.split(b"\n"):
        skipped = _SKIPPED.fullmatch(line)
        if skipped:
            items.append(Item(_path(skipped[1]), Kind.SKIP))
        elif _is_item(line):
            path = line[_FLAGS + 1 :]
            if path != b"./":
                items.append(Item(_path(path), _kind(line)))
        elif line:
            notes.append(line.decode("utf-8", "backslashreplace"))
    return Plan(tuple(items), tuple(notes))


def unescape(name: bytes) -> bytes:
    """Return the name as it is on the disk."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 8)]), name)


def parents(path: bytes) -> Iterable[bytes]:
    """Yield the folders above `path`, the nearest first, without the root."""
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def _is_item(line: bytes) -> bool:
    if line.startswith(_DELETING):
        return True
    return len(line) > _FLAGS and line[:1] in b"<>ch." and line[1:2] in b"fdLDS"


def _kind(line: bytes) -> Kind:
    if line.startswith(_DELETING):
        return Kind.DELETE_FOLDER if line.endswith(b"/") else Kind.DELETE
    does, what, flags = line[:1], line[1:2], line[2:_FLAGS]
    if what == b"d":
        return Kind.FOLDER
    if what != b"f":
        return Kind.SKIP
    if does != b".":
        return Kind.COPY
    return Kind.RETIME if b"t" in flags or b"T" in flags else Kind.SAME


def _path(name: bytes) -> bytes:
    path = unescape(name).removesuffix(b"/")
    parts = path.split(b"/")
    if b"" in parts or b"." in parts or b".." in parts or b"\0" in path:
        raise PlanUnreadable(f"rsync printed the name {name!r}, which is no path inside a folder")
    return path
