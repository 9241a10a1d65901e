# SPDX-License-Identifier: Apache-2.0
"""What runs have replaced and deleted, a folder for each run; and one line for each result."""

from __future__ import annotations

import os
import shutil

from dpe_par_sync.files import is_folder, write_whole
from dpe_par_sync.places import run_id

_LINES_KEPT = 1000


def history_folder(state: bytes) -> bytes:
    """Return the folder that holds a folder for each run."""
    return os.path.join(state, b"history")


def prune(folder: bytes, runs: int, own: str) -> None:
    """Delete the oldest runs until `runs` are left, but never `own`; raises OSError.

    Names begin with the time, so their order is that of the runs, except where a clock was wrong.
    What has another name was put there by a person and stays.
    """
    if not is_folder(folder):
        return
    names = sorted(filter(run_id, map(os.fsdecode, os.listdir(folder))))
    others = [name for name in names if name != own]
    for name in others[: max(0, len(names) - runs)]:
        shutil.rmtree(os.path.join(folder, os.fsencode(name)))


def append_result(path: bytes, line: str) -> None:
    """Add a line to the file of results, which keeps the last thousand; raises OSError."""
    try:
        with open(path, "rb") as file:
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        lines = []
    # the last line of a run that was killed may be half a one
    whole = [found for found in lines if found.startswith(b"{") and found.endswith(b"}")]
    write_whole(path, b"\n".join([*whole, line.encode()][-_LINES_KEPT:]) + b"\n")
