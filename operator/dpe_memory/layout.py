# SPDX-License-Identifier: Apache-2.0
"""What lies on the volume: names and the two small files of our own. Pure.

```
<volume>/<folder>/OWNER              whose memory this is
<volume>/<folder>/epoch-<n>/files/   what the watcher of epoch n sees, and nothing else
<volume>/<folder>/epoch-<n>/COMPLETE the copy at its start was finished, and what it was
<volume>/<folder>/.epoch-<n>.new     being made
<volume>/<folder>/.epoch-<n>.removed being removed
<volume>/<folder>/.OWNER-<n>.new     being written by the start of epoch n
```
Names of any other form are not ours and never touched.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

OWNER = "OWNER"
COMPLETE = "COMPLETE"
NEW_COMPLETE = ".COMPLETE.new"
FILES = "files"

# What cannot be known is written like this where a user has to name an owner.
UNKNOWN_OWNER = "unknown"

_NUMBER = r"([1-9][0-9]{0,17})"
_EPOCH = re.compile(rf"epoch-{_NUMBER}", re.ASCII)
_NEW = re.compile(rf"\.epoch-{_NUMBER}\.new", re.ASCII)
_REMOVED = re.compile(rf"\.epoch-{_NUMBER}\.removed", re.ASCII)
_NEW_OWNER = re.compile(rf"\.OWNER-{_NUMBER}\.new", re.ASCII)


@dataclass(frozen=True)
class Memory:
    """A memory as it was when a watcher was started with it.

    `source` is the epoch it was copied from (0: from nothing), `bytes` the sum of all files' sizes,
    `digest` a hash of names and contents, `at` the time in UTC.
    """

    epoch: int
    source: int = 0
    files: int = 0
    bytes: int = 0
    digest: str = ""
    at: str = ""


@dataclass(frozen=True)
class Mark:
    """The content of a COMPLETE: the memory, whose it is, and what could not be copied.

    `settled` is false when the source was still changing after the last look at it.
    """

    memory: Memory
    owner: str
    skipped: int = 0
    settled: bool = True

    def encode(self) -> bytes:
        """Return the file's content."""
        found = {
            **memory_as_json(self.memory),
            "owner": self.owner,
            "skipped": self.skipped,
            "settled": self.settled,
        }
        return json.dumps(found, indent=1).encode() + b"\n"


@dataclass(frozen=True)
class Owner:
    """The content of an OWNER: `name` is namespace/Kind/name, `memory` the newest that was complete
    (None: there was none yet)."""

    name: str
    memory: Memory | None = None

    def encode(self) -> bytes:
        """Return the file's content."""
        found: dict[str, Any] = {"owner": self.name}
        if self.memory is not None:
            found["memory"] = memory_as_json(self.memory)
        found["note"] = "Made by dpe-memory: tells whose memory this is, and that there was one."
        return json.dumps(found, indent=1).encode() + b"\n"


def epoch_name(epoch: int) -> str:
    """Name of an epoch's directory."""
    return f"epoch-{epoch}"


def new_name(epoch: int) -> str:
    """Name of an epoch's directory while it is made."""
    return f".epoch-{epoch}.new"


def removed_name(epoch: int) -> str:
    """Name of an epoch's directory while it is removed."""
    return f".epoch-{epoch}.removed"


def new_owner_name(epoch: int) -> str:
    """Name of OWNER while the start of this epoch writes it."""
    return f".OWNER-{epoch}.new"


def new_owner_of(name: str) -> int:
    """Return the epoch whose start writes OWNER under this name, 0 for any other name."""
    return _matched(_NEW_OWNER, name)


def epoch_of(name: str) -> int:
    """Return the epoch whose directory has this name, 0 for any other name."""
    return _matched(_EPOCH, name)


def new_of(name: str) -> int:
    """Return the epoch that is made under this name, 0 for any other name."""
    return _matched(_NEW, name)


def removed_of(name: str) -> int:
    """Return the epoch that is removed under this name, 0 for any other name."""
    return _matched(_REMOVED, name)


def memory_as_json(memory: Memory) -> dict[str, Any]:
    """Return the fields as they are written everywhere."""
    return {
        "epoch": memory.epoch,
        "from": memory.source,
        "files": memory.files,
        "bytes": memory.bytes,
        "digest": memory.digest,
        "at": memory.at,
    }


def memory_of(found: Mapping[str, Any]) -> Memory | None:
    """Read the fields of `memory_as_json`; None without an epoch."""
    epoch = _number(found.get("epoch"))
    if not epoch:
        return None
    return Memory(
        epoch=epoch,
        source=_number(found.get("from")),
        files=_number(found.get("files")),
        bytes=_number(found.get("bytes")),
        digest=_text(found.get("digest")),
        at=_text(found.get("at")),
    )


def decode_mark(content: bytes) -> Mark | None:
    """Read a COMPLETE; None if it is none."""
    found = read_object(content)
    memory = memory_of(found)
    if memory is None:
        return None
    return Mark(
        memory=memory,
        owner=_text(found.get("owner")) or UNKNOWN_OWNER,
        skipped=_number(found.get("skipped")),
        settled=found.get("settled") is not False,
    )


def decode_owner(content: bytes) -> Owner:
    """Read an OWNER; one that cannot be read belongs to `UNKNOWN_OWNER`."""
    found = read_object(content)
    memory = found.get("memory")
    return Owner(
        name=_text(found.get("owner")) or UNKNOWN_OWNER,
        memory=memory_of(memory) if isinstance(memory, dict) else None,
    )


def read_object(content: bytes | str) -> dict[str, Any]:
    """Read a JSON object; an empty one if it is none."""
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def loss_token(epoch: int, at: str) -> str:
    """Return the text by which a user accepts the loss of this memory, and of no other one."""
    # the time is in it because numbers come again when Lease and volume are both made anew
    digest = hashlib.sha256(f"{epoch} {at}".encode()).hexdigest()
    return f"{epoch}-{digest[:6]}"


def _matched(pattern: re.Pattern[str], name: str) -> int:
    found = pattern.fullmatch(name)
    return int(found.group(1)) if found else 0


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        return 0
    return max(value, 0)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
