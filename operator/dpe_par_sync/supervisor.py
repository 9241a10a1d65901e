# SPDX-License-Identifier: Apache-2.0
"""The process that never touches a volume: it waits for the one that does, and not for ever.

A volume whose server is gone stops every process that looks at it, and such a process cannot even
be killed. So the work is done by a child with a deadline, and the result is reported by the parent.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import select
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from dpe_par_sync.result import Failed

_READ_BYTES = 65536
# how long a killed child may take to be gone; one that is stuck in a volume is left behind
_REAP_SECONDS = 3.0
_PR_SET_PDEATHSIG = 1
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_libc = ctypes.CDLL(None)


class _Stopped(Exception):
    """SIGTERM has come."""


def supervised(work: Callable[[], bytes], seconds: float) -> bytes:
    """Run `work` in a child process and return what it returns.

    Raises Failed: TimedOut after `seconds`, Interrupted at SIGTERM or SIGINT, WorkerDied when the
    child ends without an answer. Whatever is left of the child is killed.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    read_end, write_end = os.pipe()
    # a signal that comes between fork and the handlers waits, or it would end us without a word
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(read_end)
        _be_child(work, write_end, parent)
    os.close(write_end)
    try:
        with _stop_signals():
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            answer = _receive(read_end, time.monotonic() + seconds)
    except TimeoutError:
        raise Failed(
            "TimedOut",
            f"The run was not done after {seconds:g} s and was ended: a volume may hang, or "
            f"sync.maxRunTime is too short. The next run goes on where it ended.",
        ) from None
    except _Stopped:
        raise Failed(
            "Interrupted",
            "The run was ended by a signal (its pod is being deleted). The next run goes on where "
            "it ended.",
        ) from None
    finally:
        os.close(read_end)
        status = _end(child)
    if not answer or status != 0:
        raise Failed(
            "WorkerDied",
            f"The process that copies ended without a result ({_why(status)}). The next run goes "
            f"on where it ended.",
        )
    return answer


def encode(found: object) -> bytes:
    """Return an object as bytes for the parent, which is the same program."""
    return pickle.dumps(found)


def decode(content: bytes) -> object:
    """Return the object of `encode`; only for what our own child has sent."""
    return pickle.loads(content)  # noqa: S301 - both ends are this program


def die_with_parent() -> None:
    """In a new process: nobody is to copy on when the one who would report it is gone."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _be_child(work: Callable[[], bytes], write_end: int, parent: int) -> None:
    status = 1
    try:
        os.setsid()
        die_with_parent()
        if os.getppid() == parent:
            answer = work()
            while answer:
                answer = answer[os.write(write_end, answer) :]
            status = 0
    finally:
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(status)


def _receive(read_end: int, until: float) -> bytes:
    parts: list[bytes] = []
    while True:
        left = until - time.monotonic()
        if left <= 0 or not select.select([read_end], [], [], left)[0]:
            raise TimeoutError
        part = os.read(read_end, _READ_BYTES)
        if not part:
            return b"".join(parts)
        parts.append(part)


@contextmanager
def _stop_signals() -> Iterator[None]:
    """Have SIGTERM and SIGINT raise _Stopped."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stopped

    old = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _end(child: int) -> int | None:
    """Kill the child and all it has started; returns its wait status, None if it is stuck."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)
    until = time.monotonic() + _REAP_SECONDS
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        time.sleep(0.005)
    return None


def _why(status: int | None) -> str:
    if status is None:
        return "it is stuck"
    code = os.waitstatus_to_exitcode(status)
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
