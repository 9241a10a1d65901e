# SPDX-License-Identifier: Apache-2.0
"""Changes files in a watched folder, as people and programs of a station do."""

import os
import secrets
from pathlib import Path

from dpe_simulator.changes import Change
from dpe_simulator.memory import CREATED, DELETED, UPDATED
from dpe_simulator.sources import file_version


def change_files(folder: Path, *, add: int, update: int, delete: int, suffix: str) -> list[Change]:
    """Update and delete the oldest files with the suffix, no file both, and add new ones.

    Files are written beside and renamed: a watcher never sees a half-written one.

    Raises:
        OSError: the folder cannot be read or written.
    """
    there = sorted((path for path in folder.iterdir() if _is_ours(path, suffix)), key=file_version)
    done = [_write(path, UPDATED) for path in there[:update]]
    for path in there[update : update + delete]:
        version = file_version(path)
        path.unlink()
        done.append(Change(path.name, DELETED, version))
    done += [_write(folder / f"clip-{secrets.token_hex(4)}{suffix}", CREATED) for _ in range(add)]
    return done


def _is_ours(path: Path, suffix: str) -> bool:
    return path.name.endswith(suffix) and not path.name.startswith(".") and path.is_file()


def _write(path: Path, event: str) -> Change:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(secrets.token_hex(16), encoding="ascii")
    version = file_version(beside)
    beside.replace(path)
    return Change(path.name, event, version)
