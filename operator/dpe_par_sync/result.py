# SPDX-License-Identifier: Apache-2.0
"""What a run came to: one JSON object, and the exit status that goes with it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

LONGEST_MESSAGE = 1000
LONGEST_NAME = 200
MOST_NAMES = 20
MOST_WARNINGS = 5
EXIT_CONFIG = 2
FULL = (errno.ENOSPC, errno.EDQUOT)


class Outcome(StrEnum):
    """How a run ended."""

    SUCCEEDED = "Succeeded"
    REFUSED = "Refused"
    FAILED = "Failed"


EXIT_STATUS = {Outcome.SUCCEEDED: 0, Outcome.FAILED: 1, Outcome.REFUSED: 3}


class Refused(Exception):
    """The run must not go on; a person has to look. Trying again gives the same answer.

    `divergent` are the files because of which it must not, if they were edited.
    """

    def __init__(self, reason: str, message: str, divergent: Sequence[bytes] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.divergent = tuple(divergent)


class Failed(Exception):
    """The run could not go on; trying again may help."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def volume_full() -> Failed:
    """Return what is raised when nothing more can be written."""
    return Failed(
        "RedundantFull",
        "The redundant volume is full. What was copied so far is complete, the rest is as before. "
        "Enlarge the volume, make room on it, or keep fewer runs in the history "
        "(sync.history.runs).",
    )


@dataclass(frozen=True)
class Names:
    """A number of files, and the first of their names as they can be shown."""

    count: int = 0
    names: tuple[str, ...] = ()

    @classmethod
    def of(cls, paths: Iterable[bytes]) -> Names:
        """Make it of paths; what is not UTF-8 or cannot be printed is escaped."""
        found = sorted(paths)
        return cls(len(found), tuple(shown(path) for path in found[:MOST_NAMES]))


@dataclass(frozen=True)
class Figures:
    """What was done; `files` and `bytes` are those of the master.

    `divergent` are edited files that are still on the redundant side, `overwritten` those that are
    in the history now.
    """

    files: int = 0
    bytes: int = 0
    copied: int = 0
    deleted: int = 0
    restored: int = 0
    retimed: int = 0
    divergent: Names = field(default_factory=Names)
    overwritten: Names = field(default_factory=Names)
    deferred: int = 0
    skipped: Names = field(default_factory=Names)
    verified: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """A run's result; `about` says which run, store, location, pod and Job it was."""

    outcome: Outcome
    reason: str
    message: str
    started_at: str
    finished_at: str
    seconds: float
    about: tuple[tuple[str, str], ...] = ()
    figures: Figures = field(default_factory=Figures)

    @property
    def exit_status(self) -> int:
        """0, 1 or 3, and 2 for a config that cannot be used."""
        return EXIT_CONFIG if self.reason == "ConfigInvalid" else EXIT_STATUS[self.outcome]

    def as_json(self) -> dict[str, Any]:
        """Return the object that is written everywhere."""
        figures = self.figures
        return {
            "startedAt": self.started_at,
            "finishedAt": self.finished_at,
            **dict(self.about),
            "result": str(self.outcome),
            "reason": self.reason,
            "message": shortened(self.message, LONGEST_MESSAGE),
            "files": figures.files,
            "bytes": figures.bytes,
            "copied": figures.copied,
            "deleted": figures.deleted,
            "restored": figures.restored,
            "retimed": figures.retimed,
            "divergent": _names(figures.divergent),
            "overwritten": _names(figures.overwritten),
            "deferred": figures.deferred,
            "skipped": _names(figures.skipped),
            "verified": figures.verified,
            "warnings": [shortened(text, LONGEST_NAME * 2) for text in figures.warnings],
            "seconds": round(self.seconds, 3),
        }

    def line(self) -> str:
        """Return the object as one line."""
        return _line(self.as_json())

    def within(self, size: int) -> str:
        """Return the line in at most `size` bytes: fewer names, then a shorter message."""
        for names in (MOST_NAMES, 5, 1, 0):
            line = _line(self._with_names(names).as_json())
            if len(line.encode()) <= size:
                return line
        figures = replace(self._with_names(0).figures, warnings=())
        return _line(replace(self, figures=figures, message=self.message[:200]).as_json())

    def _with_names(self, most: int) -> Result:
        figures = replace(
            self.figures,
            divergent=_fewer(self.figures.divergent, most),
            overwritten=_fewer(self.figures.overwritten, most),
            skipped=_fewer(self.figures.skipped, most),
        )
        return replace(self, figures=figures)


def shown(path: bytes) -> str:
    """Return a path as text for people: one line, printable, at most 200 characters."""
    text = path.decode("utf-8", "backslashreplace")
    plain = "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
    return shortened(plain, LONGEST_NAME)


def told(wrong: OSError) -> str:
    """Return an error as text for people, with the file if it is known."""
    if not isinstance(wrong.filename, str | bytes):
        return str(wrong)
    return f"{shown(os.fsencode(wrong.filename))}: {wrong.strerror}"


def some(paths: Sequence[bytes], most: int = 3) -> str:
    """Return the first paths for a message, and how many more there are."""
    listed = ", ".join(shown(path) for path in paths[:most])
    return listed + (f" and {len(paths) - most} more" if len(paths) > most else "")


def shortened(text: str, most: int) -> str:
    """Return `text` in at most `most` characters."""
    return text if len(text) <= most else text[: most - 3] + "..."


def _names(names: Names) -> dict[str, Any]:
    return {"count": names.count, "names": list(names.names)}


def _fewer(names: Names, most: int) -> Names:
    return Names(names.count, names.names[:most])


def _line(found: dict[str, Any]) -> str:
    line = json.dumps(found, ensure_ascii=False, separators=(",", ":"))
    # half a character (of a path that is not UTF-8) becomes an escape that JSON knows
    return line.encode("utf-8", "backslashreplace").decode()
