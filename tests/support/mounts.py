# SPDX-License-Identifier: Apache-2.0
"""Mounts of this machine, among them volumes that never answer: what a storage outage looks like."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
_MNT_DETACH = 2
_libc = ctypes.CDLL(None, use_errno=True)

# linux/fuse.h: the first request is INIT, answered here with protocol 7.31 and no extras.
_FUSE_INIT = 26
_REQUEST = struct.Struct("=IIQ")  # length, what, number; more follows
_ANSWER = struct.Struct("=IiQ")  # length, error, number
_INIT_ANSWER = struct.pack("=IIIIHHIIHHI7I", 7, 31, 0, 0, 0, 0, 4096, 1, 0, 0, 0, *[0] * 7)
_LONGEST_REQUEST = 1 << 18

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="mounts and other users need root")


def mount(source: str, point: Path, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2); the test is skipped where even root may not."""
    if _libc.mount(source.encode(), os.fsencode(point), kind.encode(), flags, data.encode()) != 0:
        number = ctypes.get_errno()
        pytest.skip(f"mount {kind} at {point}: {os.strerror(number)}")


def unmount(point: Path) -> None:
    """umount(2), also of what is in use or hangs."""
    _libc.umount2(os.fsencode(point), _MNT_DETACH)


@contextmanager
def mounted(source: str, point: Path, kind: str, flags: int = 0, data: str = "") -> Iterator[Path]:
    """Have something mounted for a while."""
    point.mkdir(parents=True, exist_ok=True)
    mount(source, point, kind, flags, data)
    try:
        yield point
    finally:
        unmount(point)


class HungVolume:
    """A FUSE volume that never answers: whoever looks at it waits until `end`.

    Nobody reads the requests, then SIGKILL ends the waiting. Or (`killable` is False) its server
    takes each request and hangs over it, then nothing ends the waiting, not even SIGKILL.
    """

    def __init__(self, point: Path, *, killable: bool = True) -> None:
        """Mount it at `point`; the test is skipped where there is no FUSE."""
        self.point = point
        point.mkdir(parents=True, exist_ok=True)
        try:
            self._device = os.open("/dev/fuse", os.O_RDWR | os.O_NONBLOCK)
        except OSError as wrong:
            pytest.skip(f"/dev/fuse: {wrong}")
        options = f"fd={self._device},rootmode=40000,user_id=0,group_id=0,allow_other"
        try:
            mount("hung", point, "fuse", 0, options)
        except BaseException:
            os.close(self._device)
            raise
        self._ending = threading.Event()
        self._server: threading.Thread | None = None
        self.taken = 0
        if not killable:
            self._server = threading.Thread(target=self._take, daemon=True)
            self._server.start()

    def end(self) -> None:
        """End all waiting with an error and unmount it; once more does nothing."""
        if self._ending.is_set():
            return
        self._ending.set()
        if self._server is not None:
            self._server.join()
        # A device that is closed ends all waiting, unless a child of this process has it too.
        self._abort()
        os.close(self._device)
        unmount(self.point)

    def _abort(self) -> None:
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            words = line.split()
            if words[4] == str(self.point):
                connection = words[2].partition(":")[2]
                with contextlib.suppress(OSError):  # not mounted everywhere
                    Path(f"/sys/fs/fuse/connections/{connection}/abort").write_text("1")

    def _take(self) -> None:
        poll = select.poll()
        poll.register(self._device, select.POLLIN)
        while not self._ending.is_set():
            if not poll.poll(50):
                continue
            try:
                request = os.read(self._device, _LONGEST_REQUEST)
            except BlockingIOError:
                continue
            except OSError:  # unmounted
                return
            _, what, number = _REQUEST.unpack_from(request)
            if what == _FUSE_INIT:
                length = _ANSWER.size + len(_INIT_ANSWER)
                os.write(self._device, _ANSWER.pack(length, 0, number) + _INIT_ANSWER)
            else:
                self.taken += 1


@contextmanager
def hanging(point: Path, *, killable: bool = True) -> Iterator[Path]:
    """Have a volume that never answers for a while, see HungVolume."""
    volume = HungVolume(point, killable=killable)
    try:
        yield point
    finally:
        volume.end()
