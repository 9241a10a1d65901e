# SPDX-License-Identifier: Apache-2.0
"""What runs have replaced and deleted, a folder for each run; and one line for each result."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable

from dpe_par_sync.files import is_folder, write_whole
from dpe_par_sync.places import run_id

_LINES_KEPT = 1000


def history_folder(state: bytes) -> bytes:
    """Return the folder that holds a folder for each run."""
    return os.path.join(state, b"history")


def prune(folder: bytes, runs: int, own: str) -> None:
    """Delete the oldest runs until `runs` are left, but never `own`; raises OSError.

    Runs that kept nothing go, too: one that was cut off must not push out one that has a version.
    Names begin with the time, so their order is that of the runs, except where a clock was wrong.
    What has another name was put there by a person and stays.
    """
    if not is_folder(folder):
        return
    found = sorted(filter(run_id, map(os.fsdecode, os.listdir(folder))))
    names = [name for name in found if not _gone_if_bare(os.path.join(folder, os.fsencode(name)))]
    others = [name for name in names if name != own]
    for name in others[: max(0, len(names) - runs)]:
        shutil.rmtree(os.path.join(folder, os.fsencode(name)))


def _gone_if_bare(folder: bytes) -> bool:
    """Remove a folder that has only folders in it, and say whether it is gone.

    By rmdir alone, which no file (or link, or folder that cannot be read) lets pass.
    """
    if not is_folder(folder):
        return False
    for inner, _, _ in os.walk(folder, topdown=False):
        try:
            os.rmdir(inner)
        except OSError:
            break
    return not os.path.lexists(folder)


def drop_links(folder: bytes, paths: Iterable[bytes], current: bytes) -> None:
    """Remove from the history what still is in its place, the same file under two names.

    A run that was killed between keeping and replacing left it; runs that are killed again and
    again would push out all that was really replaced. Raises OSError.
    """
    if not is_folder(folder):
        return
    runs = [name for name in os.listdir(folder) if run_id(os.fsdecode(name))]
    for kept, path in ((os.path.join(folder, run, path), path) for run in runs for path in paths):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found, served = os.lstat(kept), os.lstat(os.path.join(current, path))
            if found.st_nlink > 1 and os.path.samestat(found, served):
                os.unlink(kept)


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
