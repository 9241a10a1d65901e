# SPDX-License-Identifier: Apache-2.0
"""Handing over to the command: the link to its memory, its environment, and becoming it."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
from collections.abc import Mapping, Sequence

from dpe_memory.plain_files import is_gone
from dpe_memory.settings import EPOCH, OWN_VARIABLES

EXIT_NOT_FOUND = 127
EXIT_NOT_STARTED = 126


class LinkBlocked(Exception):
    """Something that is not ours is where the link has to be."""


def make_way(link: str) -> None:
    """Have nothing but a symbolic link, or nothing at all, where `link` is to be.

    To be done before a memory is copied too: a copy that nobody can be given only takes up room.
    Raises LinkBlocked, OSError.
    """
    try:
        found = os.lstat(link)
    except OSError as error:
        if not is_gone(error):
            raise
    else:
        if stat.S_ISDIR(found.st_mode):
            _remove_empty(link)
        elif not stat.S_ISLNK(found.st_mode):
            raise LinkBlocked(
                f"{link} is a file, but the folder of memory files belongs there: set "
                f"memory.mountPath to the path of that folder"
            )


def point(link: str, target: str) -> None:
    """Make `link` a symbolic link to `target`, whatever it pointed to. Raises LinkBlocked,
    OSError."""
    make_way(link)
    fresh = os.path.join(os.path.dirname(link), f".{os.path.basename(link)}.new")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(fresh)
    os.symlink(target, fresh)
    os.replace(fresh, link)


def _remove_empty(link: str) -> None:
    try:
        os.rmdir(link)
    except OSError as error:
        raise LinkBlocked(
            f"{link} is a folder with files in it, not the link to the memory: the image brings it "
            f"along or the program has put it in the link's place; what is in it is not on the "
            f"common volume. Set memory.mountPath to the folder in which it keeps its files"
        ) from error


def environment_of(environment: Mapping[str, str], epoch: int) -> dict[str, str]:
    """Return the command's environment: ours without our own variables, with the epoch in force."""
    kept = {name: value for name, value in environment.items() if name not in OWN_VARIABLES}
    return {**kept, EPOCH: str(epoch)}


def become(command: Sequence[str], environment: Mapping[str, str]) -> int:
    """Become the command; returns an exit status if that cannot be done, as a shell does."""
    # Python ignores these, and what is ignored stays ignored in the new program
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.set_inheritable(int(name), False)
    try:
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - no shell wanted
    except FileNotFoundError:
        os.write(2, f"dpe-memory: no such command: {command[0]}\n".encode())
        return EXIT_NOT_FOUND
    except OSError as error:
        os.write(2, f"dpe-memory: {command[0]} cannot be started: {error}\n".encode())
        return EXIT_NOT_STARTED
