# SPDX-License-Identifier: Apache-2.0
"""Who belongs to whom: the mark in the master, the mark beside the redundant copy. Pure.

A copy into the wrong place destroys what is there, and one from the wrong place what is to be
protected. So both places carry a mark. Only the very first run, from a master with files into an
empty redundant location, may make them by itself; all else a person has to accept, by a text that
counts once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from dpe_par_sync.result import Refused

MASTER_MARK = ".dpe-par-id"
ANNOTATION_ADOPT = "dpe.dev/adopt-par"
_MOST_TEXTS = 20


@dataclass(frozen=True)
class Mark:
    """A mark; `master` is the master's id (in its own mark: `id` itself).

    `complete` is False in a redundant mark from its writing until the master has its own, and in
    one that cannot be read.
    """

    id: str
    master: str
    store: str = ""
    complete: bool = True
    adopted: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Return the file's content."""
        found = {
            "id": self.id,
            "master": self.master,
            "store": self.store,
            "complete": self.complete,
            "adopted": list(self.adopted[-_MOST_TEXTS:]),
            "note": "Made by dpe-par-sync. Deleting this file stops the nightly copy.",
        }
        return json.dumps(found, indent=1).encode() + b"\n"


UNREADABLE = Mark("", "", complete=False)


class Pairing(StrEnum):
    """What the marks and the accepting text allow."""

    PAIRED = "paired"
    ACCEPTED = "accepted"  # paired, and a person accepts any number of deletions, once
    FIRST = "first"
    ADOPT = "adopt"


def decode(content: bytes) -> Mark:
    """Read a mark; UNREADABLE if it is none."""
    try:
        found: Any = json.loads(content)
        mark = Mark(
            id=_text(found["id"]),
            master=_text(found["master"]),
            store=str(found.get("store", "")),
            complete=found["complete"] is True,
            adopted=tuple(str(text) for text in found.get("adopted", [])),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return UNREADABLE
    return mark


@dataclass(frozen=True)
class Marks:
    """What was found: the two marks (None: no such file), and whether the copy is empty."""

    master: Mark | None
    redundant: Mark | None
    empty: bool


def judge(marks: Marks, adopt: str, used: frozenset[str]) -> Pairing:
    """Say what may be done; `adopt` is the accepting text, `used` are those that have counted.

    A text accepts one thing: a pair that does not fit or, where it fits, the deletions. Raises
    Refused with the reason and the cure.
    """
    fresh = bool(adopt) and adopt not in used
    master, redundant = marks.master, marks.redundant
    readable = UNREADABLE not in (master, redundant)
    if readable and master and redundant and redundant.master == master.id:
        return Pairing.ACCEPTED if fresh else Pairing.PAIRED
    begun = redundant is not None and readable and not redundant.complete
    if master is None and marks.empty and (redundant is None or begun):
        return Pairing.FIRST
    if fresh:
        return Pairing.ADOPT
    raise _refusal(marks, adopt)


def _refusal(marks: Marks, adopt: str) -> Refused:
    reason, found = _finding(marks)
    spent = f" (its present text {adopt!r} has been used before)" if adopt else ""
    return Refused(
        reason,
        f"{found} If both volumes are the right ones, accept them: set the annotation "
        f"{ANNOTATION_ADOPT} to a new text{spent}.",
    )


def _finding(marks: Marks) -> tuple[str, str]:
    master, redundant = marks.master, marks.redundant
    if UNREADABLE in (master, redundant):
        where = "master" if master == UNREADABLE else "redundant volume"
        return "MarkUnreadable", f"The mark of the {where} cannot be read."
    if master is None and redundant is not None:
        return "MasterNotMarked", (
            f"The master has no {MASTER_MARK}, but this redundant copy was made from one that has: "
            f"the master is not mounted, was restored without it, or is another folder."
        )
    if master is None:
        return "NotPaired", (
            "The redundant location has files already, and neither side has a mark of this copy."
        )
    if redundant is None:
        return "RedundantNotMarked", (
            "The master was copied before, but this redundant volume has no mark: it is new, was "
            "emptied, or is not mounted."
        )
    return "WrongPair", (
        f"This redundant copy belongs to the master {redundant.master} (store "
        f"{redundant.store or 'unknown'}), but the master here is {master.id} (store "
        f"{master.store or 'unknown'})."
    )


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("not a text")
    return value
