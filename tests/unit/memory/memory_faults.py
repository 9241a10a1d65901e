# SPDX-License-Identifier: Apache-2.0
"""Starts in a process of their own, which dies, or freezes, before its Nth change of anything.

A change is whatever alters the volume, the pod's link or the Lease. The process really ends: no
`finally` of the program runs, as under the guard's SIGKILL.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

from tests.unit.memory.memory_site import Site

from dpe_memory.run import Stopped

KILLED = 99
CRASHED = 98
CHANGES = (
    *("mkdir", "write", "rename", "replace", "unlink", "rmdir", "symlink"),
    *("fsync", "utime", "chmod", "fchmod", "open"),
)


class Child:
    """A start under way in another process; `at` is the number of its fatal change (0: none)."""

    def __init__(self, site: Site, epoch: int, pod: str, at: int, *, freeze: bool = False) -> None:
        self.epoch = epoch
        self.pid = os.fork()
        if self.pid == 0:
            _start_and_end(site, epoch, pod, at, freeze)
        self.frozen = False
        self.status = -1
        self._wait()

    def thaw(self) -> None:
        """Let it go on to its end."""
        self.frozen = False
        os.kill(self.pid, signal.SIGCONT)
        self._wait()

    @property
    def ready(self) -> bool:
        """Whether it came to where the command is started."""
        return self.status == 0

    def _wait(self) -> None:
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            self.frozen = True
            return
        self.status = os.waitstatus_to_exitcode(status)
        assert self.status != CRASHED, "the start failed in a way that nobody thought of"


def _start_and_end(site: Site, epoch: int, pod: str, at: int, freeze: bool) -> None:
    status = CRASHED
    try:
        _arm(site, at, freeze)
        site.run(epoch, pod).prepare()
        status = 0
    except Stopped as stopped:
        status = stopped.status
    except BaseException:
        import traceback  # noqa: PLC0415 - only in the child

        traceback.print_exc()
    finally:
        os._exit(status)


def _arm(site: Site, at: int, freeze: bool) -> None:
    count = 0

    def change() -> None:
        nonlocal count
        count += 1
        if count != at:
            return
        if freeze:
            os.kill(os.getpid(), signal.SIGSTOP)
        else:
            os._exit(KILLED)

    for name in CHANGES:
        setattr(os, name, _wrapped(name, getattr(os, name), change))
    site.api.before_put = change


def _wrapped(name: str, real: Callable[..., Any], change: Callable[[], None]) -> Callable[..., Any]:
    def call(*words: Any, **more: Any) -> Any:
        if name != "open" or words[1] & os.O_CREAT:
            change()
        if name == "write" and len(words[1]) > 1:
            # a write may be half done
            written = real(words[0], bytes(words[1])[: len(words[1]) // 2], **more)
            change()
            return written
        return real(*words, **more)

    return call
