# SPDX-License-Identifier: Apache-2.0
"""What rounds have left behind, kept in their folders and judged again: of either rig."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.chaos.judge import Verdict

_FILE = "seen.pickle"


def keep(folder: Path, seen: object) -> None:
    """Write down all that is judged of a round."""
    (folder / _FILE).write_bytes(pickle.dumps(seen))


def judge_again(
    folder: Path, judge: Callable[[Any], tuple[Verdict, str]], say: Callable[[str], None] = print
) -> Verdict:
    """Judge a run once more that was played before, all its rounds together.

    Args:
        folder: the one that the run was given, or printed.
        judge: gives the verdict on what was kept of a round, and a line about it.
        say: is told what is found.
    """
    found = Verdict()
    for path in sorted(folder.glob(f"round-*/{_FILE}")):
        verdict, told = judge(pickle.loads(path.read_bytes()))
        for line in verdict.violations:
            say(f"VIOLATION {line}")
        say(f"{path.parent.name}: {told}")
        found.add(verdict)
    return found
