# SPDX-License-Identifier: Apache-2.0
"""Whether a place is mounted, and whether two places are the same: from /proc/self/mountinfo. Pure.

Two mounts of one folder have different paths but the same device and the same path inside of the
file system; a sub-path of a volume claim, too, is such a mount.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

MOUNT_INFO = "/proc/self/mountinfo"


@dataclass(frozen=True)
class Mount:
    """One line: where it is seen, on which device, and which folder of its file system it is."""

    point: Path
    device: str
    root: Path


@dataclass(frozen=True)
class Spot:
    """A place inside of a file system: the same Spot is the same folder."""

    device: str
    path: Path

    def overlaps(self, other: Spot) -> bool:
        """Whether one is the other, or lies inside of it."""
        return self.device == other.device and (
            self.path.is_relative_to(other.path) or other.path.is_relative_to(self.path)
        )


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Read mountinfo (proc(5)); lines that are none are left out."""
    mounts = []
    for line in text.splitlines():
        words = line.split(" ")
        if len(words) > 6:
            point, root = (Path(_unescape(word)) for word in (words[4], words[3]))
            mounts.append(Mount(point, words[2], root))
    return tuple(mounts)


def is_mount_point(path: Path, mounts: Sequence[Mount]) -> bool:
    """Whether something is mounted exactly at `path`."""
    return any(mount.point == path for mount in mounts)


def spot(path: Path, mounts: Sequence[Mount]) -> Spot | None:
    """Return where `path` (without symbolic links) lies; None without any mount above it."""
    above = [mount for mount in mounts if path.is_relative_to(mount.point)]
    if not above:
        return None
    # of mounts at the same point the last one is seen
    nearest = max(enumerate(above), key=lambda pair: (len(pair[1].point.parts), pair[0]))[1]
    return Spot(nearest.device, nearest.root / path.relative_to(nearest.point))


def _unescape(word: str) -> str:
    plain = re.sub(
        rb"\\([0-7]{3})",
        lambda found: bytes([int(found[1], 8) & 0xFF]),
        word.encode("utf-8", "surrogateescape"),
    )
    return plain.decode("utf-8", "surrogateescape")
