# SPDX-License-Identifier: Apache-2.0
"""Removing directories of ours: never through a link, never for longer than allowed, never fatal.

A directory is renamed first. So what is half removed is never taken for a memory with few files.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable

from dpe_memory.plain_files import is_folder

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

Say = Callable[[str], None]


class _OutOfTime(Exception):
    pass


class Removal:
    """Removes within `seconds` (None: for as long as it takes); what is left waits for the next
    start."""

    def __init__(self, seconds: float | None, say: Say) -> None:
        self._until = None if seconds is None else time.monotonic() + seconds
        self._say = say

    def remove(self, path: str, under: str) -> bool:
        """Rename the directory `path` to `under`, and remove that; returns whether it is gone."""
        try:
            if not is_folder(path):
                return False
            if is_folder(under) and not self.clear(under):
                return False
            os.rename(path, under)
        except OSError as error:
            self._say(f"{path} cannot be removed now: {error.strerror}")
            return False
        return self.clear(under)

    def clear(self, path: str) -> bool:
        """Remove the directory `path` and everything in it; returns whether it is gone."""
        try:
            descriptor = os.open(path, _FOLDER)
            try:
                self._empty(descriptor)
            finally:
                os.close(descriptor)
            os.rmdir(path)
        except _OutOfTime:
            self._say(f"{path} is large: the rest of it is removed at a later start")
            return False
        except OSError as error:
            self._say(f"{path} cannot be removed now: {error.strerror}")
            return False
        return True

    def _empty(self, folder: int) -> None:
        with contextlib.suppress(OSError):
            os.fchmod(folder, 0o700)
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            if self._until is not None and time.monotonic() > self._until:
                raise _OutOfTime
            if stat.S_ISDIR(os.lstat(name, dir_fd=folder).st_mode):
                inner = os.open(name, _FOLDER, dir_fd=folder)
                try:
                    self._empty(inner)
                finally:
                    os.close(inner)
                os.rmdir(name, dir_fd=folder)
            else:
                os.unlink(name, dir_fd=folder)
