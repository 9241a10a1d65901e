# SPDX-License-Identifier: Apache-2.0
"""What rounds have left behind, kept in their folders and judged again: of either rig."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.chaos.judge import Verdict
from tests.chaos.record import Book
from tests.support.checkout import commit

_FILE = "seen.pickle"


def keep(folder: Path, seen: object) -> None:
    """Write down all that is judged of a round."""
    (folder / _FILE).write_bytes(pickle.dumps(seen))


def rounds(folders: Iterable[Path]) -> list[Path]:
    """The rounds in these folders of which something was kept, the files with that."""
    return [path for folder in folders for path in sorted(folder.glob(f"round-*/{_FILE}"))]


def judge_again(
    folders: Iterable[Path],
    judge: Callable[[Any], tuple[Verdict, str]],
    say: Callable[[str], None] = print,
) -> Verdict:
    """Judge a run once more that was played before, all its rounds together.

    Args:
        folders: those that the run was given, or printed; several where it was stopped and went on.
        judge: gives the verdict on what was kept of a round, and a line about it.
        say: is told what is found.
    """
    found = Verdict()
    for path in rounds(folders):
        verdict, told = judge(pickle.loads(path.read_bytes()))
        for line in verdict.violations:
            say(f"VIOLATION {line}")
        say(f"{path.parent.name}: {told}")
        found.add(verdict)
    return found


def put_down(book: Book, rig: str, seed: str, folders: Iterable[Path], verdict: Verdict) -> None:
    """Put down in the record what a run has come to, or end with a word about why that cannot be."""
    try:
        book.judge_anew(rig, seed, verdict, rounds=len(rounds(folders)), commit=commit())
    except LookupError as refused:
        sys.exit(f"chaos: {refused}")
