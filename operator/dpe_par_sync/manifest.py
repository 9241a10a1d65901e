# SPDX-License-Identifier: Apache-2.0
"""What the last run left on the redundant side: how an edit there is told from one in the master.

The journal is written before files are put in their places, the manifest afterwards. A run that is
killed in between leaves files that only the journal knows; the next run takes those that are really
there into the manifest. So a file of our own is never taken for somebody's edit.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from dpe_par_sync.files import Stamp, Thing, digest, look, sync_folder, write_whole

_VERSION = 1


@dataclass(frozen=True)
class Entry:
    """One file as we left it; `digest` is the SHA-256 of its content."""

    size: int
    mtime_ns: int
    digest: str

    def stands_at(self, found: Stamp | None) -> bool:
        """Whether size and time are still ours, so that nobody has written since."""
        return (
            found is not None
            and found.thing is Thing.FILE
            and (found.size, found.mtime_ns) == (self.size, self.mtime_ns)
        )


Entries = dict[bytes, Entry]


def load(path: bytes) -> Entries | None:
    """Read a manifest or journal; empty if there is none, None if it cannot be understood."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read())
        if found["version"] != _VERSION:
            return None
        return {
            os.fsencode(name): Entry(int(size), int(mtime), str(checksum))
            for name, (size, mtime, checksum) in found["files"].items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def save(path: bytes, entries: Mapping[bytes, Entry]) -> None:
    """Write a manifest or journal, whole or not at all."""
    # names that are not UTF-8 become lone surrogates, which JSON can carry as escapes
    files = {
        os.fsdecode(name): [entry.size, entry.mtime_ns, entry.digest]
        for name, entry in sorted(entries.items())
    }
    content = json.dumps({"version": _VERSION, "files": files}, separators=(",", ":"))
    write_whole(path, content.encode("ascii"))


def remove(path: bytes) -> None:
    """Delete a journal that is done with."""
    if os.path.lexists(path):
        os.unlink(path)
        sync_folder(os.path.dirname(path))


def recover(entries: Mapping[bytes, Entry], journal: Mapping[bytes, Entry], root: bytes) -> Entries:
    """Return `entries` with those of the journal that are in place below `root`."""
    merged = dict(entries)
    for path, entry in journal.items():
        target = os.path.join(root, path)
        try:
            found = look(target)
        except OSError:
            continue  # rsync names it, too
        if found is not None and is_ours(entry, found, partial(digest, target)):
            merged[path] = Entry(found.size, found.mtime_ns, entry.digest)
    return merged


def is_ours(
    entry: Entry | None, found: Stamp | None, content: Callable[[], str], *, trust: bool = False
) -> bool:
    """Whether the file `found` has the content that we left there.

    `content` returns its digest and is asked only where the size does not settle it; with `trust`
    the same size and time are enough, and so they are where the content cannot be read any more: a
    bad sector is no edit.
    """
    if entry is None or found is None or found.thing is not Thing.FILE:
        return False
    if found.size != entry.size:
        return False
    if trust and entry.stands_at(found):
        return True
    try:
        return content() == entry.digest
    except PermissionError:
        return False  # we leave files that we can read
    except OSError:
        return entry.stands_at(found)
