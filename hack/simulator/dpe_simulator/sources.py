# SPDX-License-Identifier: Apache-2.0
"""What watchers look at: a table of the content database, a folder."""

import asyncio
import fnmatch
from collections.abc import Mapping
from pathlib import Path

from dpe_simulator.changes import Change, Seen
from dpe_simulator.watcher import SourceUnavailable


class FolderSource:
    """Files of one folder, by patterns; no subfolders, nothing that begins with a dot."""

    def __init__(self, folder: Path, *, patterns: str) -> None:
        """Take a folder and patterns such as ``*.wav|*.mp3``.

        Raises:
            ValueError: there is no pattern.
        """
        self.name = str(folder)
        self.constants: Mapping[str, str] = {}
        self._folder = folder
        self._patterns = [one.strip() for one in patterns.split("|") if one.strip()]
        if not self._patterns:
            raise ValueError(f"--filter: {patterns!r} has no pattern, such as *.wav|*.mp3")

    async def read(self) -> list[Seen]:
        """Return the files that a pattern matches, by name."""
        try:
            return await asyncio.to_thread(self._look)
        except OSError as problem:
            raise SourceUnavailable(str(problem)) from problem

    def values(self, change: Change) -> dict[str, str]:
        """%event%, %filter% (the pattern that matched) and %filename% (without the folder)."""
        return {
            "event": change.event, "filename": change.subject,
            "filter": self._matching(change.subject) or "",
        }  # fmt: skip

    def _look(self) -> list[Seen]:
        found = []
        for path in sorted(self._folder.iterdir()):
            if path.name.startswith(".") or self._matching(path.name) is None:
                continue
            try:
                if path.is_file():
                    found.append(Seen(path.name, file_version(path)))
            except FileNotFoundError:
                continue  # gone meanwhile
        return found

    def _matching(self, name: str) -> str | None:
        return next((one for one in self._patterns if fnmatch.fnmatchcase(name, one)), None)


def file_version(path: Path) -> str:
    """The time of a file's last change, in a form that sorts."""
    return f"{path.stat().st_mtime_ns:020d}"
