# SPDX-License-Identifier: Apache-2.0
"""Whether the command could be started: looked at by a child that has a deadline.

A file may lie on a volume that hangs, and whoever asks for it then may hang as well, in a way that
not even SIGKILL ends. So neither guard nor elector ever does: the elector forks a child that looks
and says what it found by its exit status.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Mapping, Sequence

from dpe_elector import clock
from dpe_elector.processes import close_all_but

# How often a candidate looks while all is there, and while something is missing.
PRESENT_SECONDS, MISSING_SECONDS = 5.0, 1.0
DEADLINE_SECONDS = 2.0
_ALL_THERE, _FAILED = 0, 255


def first_missing(needs: Sequence[str], path: str) -> int:
    """Return the place of the first of `needs` that is missing, counted from 1; 0: all are there.

    A need is a folder that can be read, or a program that can be started; one without a slash is
    looked for in the folders of `path`, as at the start of the command.
    """
    for number, need in enumerate(needs, start=1):
        where = [need] if "/" in need else [f"{folder or '.'}/{need}" for folder in path.split(":")]
        if not any(_is_there(file) for file in where):
            return number
    return _ALL_THERE


def _is_there(path: str) -> bool:
    try:
        if not os.path.isdir(path):
            return os.access(path, os.X_OK)
        with os.scandir(path) as entries:  # a volume that is mounted may still not answer
            next(entries, None)
    except OSError:
        return False
    return True


class Presence:
    """Keeps an eye on what the command needs.

    `missing` says in words what is not there, None that all is; before the first look (`looked` is
    false) nothing is taken for granted.
    """

    def __init__(
        self,
        command: Sequence[str],
        needs: Sequence[str],
        environment: Mapping[str, str],
        boot: Callable[[], float] = clock.boot,
    ) -> None:
        """`needs` are programs and folders beside the command itself; nothing is looked at yet."""
        self._needs = (command[0], *needs)
        self._path = environment.get("PATH", os.defpath)
        self._boot = boot
        self._child = 0
        self._reader = -1
        self._began = 0.0
        self._next = float("-inf")
        self.looked = False
        self.missing: str | None = "it was not looked yet whether the command is there"

    @property
    def descriptor(self) -> int:
        """Readable when the child is done; -1 while there is none."""
        return self._reader

    @property
    def due(self) -> float:
        """The boot time at which `look` has something to do, at the latest."""
        return self._began + DEADLINE_SECONDS if self._child else self._next

    def look(self) -> None:
        """Start, read or end the child, whichever is due; never waits."""
        now = self._boot()
        if not self._child:
            if now >= self._next:
                self._start(now)
            return
        pid, status = os.waitpid(self._child, os.WNOHANG)
        if pid:
            os.close(self._reader)
            self._child, self._reader = 0, -1
            if os.WIFEXITED(status):  # a child that was killed has found out nothing
                self._found(os.waitstatus_to_exitcode(status))
            self._next = now + (MISSING_SECONDS if self.missing else PRESENT_SECONDS)
        elif now >= self._began + DEADLINE_SECONDS:
            # it may not even die of this: then there is no other child until it does
            os.kill(self._child, signal.SIGKILL)
            self._began = now
            self.looked = True
            self.missing = f"{self._names()} cannot be looked at: a volume does not answer"

    def _found(self, number: int) -> None:
        self.looked = True
        if number == _ALL_THERE:
            self.missing = None
        elif number <= len(self._needs):
            self.missing = f"{self._needs[number - 1]} is not there, or cannot be used"
        else:
            self.missing = f"{self._names()} could not be looked at"

    def _names(self) -> str:
        return " or ".join(self._needs)

    def _start(self, now: float) -> None:
        try:
            reader, writer = os.pipe()
        except OSError:  # no more files
            self._next = now + MISSING_SECONDS
            return
        try:
            pid = os.fork()
        except OSError:
            os.close(reader)
            os.close(writer)
            self._next = now + MISSING_SECONDS
            return
        if pid == 0:
            status = _FAILED
            with contextlib.suppress(BaseException):
                # a child that hangs must not keep the probes' port from the next elector
                close_all_but(0, 1, 2, writer)
                status = first_missing(self._needs, self._path)
            os._exit(status)
        os.close(writer)
        self._child, self._reader, self._began = pid, reader, now
