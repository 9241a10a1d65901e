# SPDX-License-Identifier: Apache-2.0
"""File operations that last, on any file system, as any user: no locks, no owners, no hard links.

What a file system cannot do and nobody needs (fsync of a directory on SMB, a mode on SMB) is
passed over. What it should have done and did not is an OSError.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Sequence

# what file systems answer that have no such operation
_NOT_THERE = (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EISDIR)
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)

_LARGEST_SMALL_FILE = 65536
_FEW = 16
_THREADS = 8


def is_gone(error: OSError) -> bool:
    """Whether the error says that there is no such file (any more)."""
    return error.errno in _GONE


def sync(descriptor: int) -> None:
    """Have the file or directory written through; raises OSError if that fails."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NOT_THERE:
            raise


def sync_files(paths: Sequence[str]) -> None:
    """Have files written through; raises the first OSError.

    Many are done by several threads: each waits for the disk or the server and for little else.
    """
    failed: list[OSError] = []
    pending = list(paths)

    def work() -> None:
        while not failed:
            try:
                path = pending.pop()
            except IndexError:
                return
            try:
                _sync_file(path)
            except OSError as error:
                failed.append(error)

    if len(pending) <= _FEW:
        work()
    else:
        threads = [threading.Thread(target=work, daemon=True) for _ in range(_THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if failed:
        raise failed[0]


def _sync_file(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: str) -> None:
    """Have the names in a directory written through."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (*_NOT_THERE, errno.EACCES):
            return
        raise
    try:
        sync(descriptor)
    finally:
        os.close(descriptor)


def read_small(path: str) -> bytes | None:
    """Return the content of one of our own small files, None if there is none.

    A link or anything else in its place counts as none. Raises OSError.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if is_gone(error) or error.errno in (errno.ELOOP, errno.ENXIO):
            return None
        raise
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        return os.read(descriptor, _LARGEST_SMALL_FILE)
    finally:
        os.close(descriptor)


def write_small(path: str, content: bytes, under: str) -> None:
    """Put a small file in its place, whole or not at all; meanwhile it is called `under`.

    Raises OSError.
    """
    fresh = os.path.join(os.path.dirname(path), under)
    _write(fresh, content, os.O_TRUNC)
    os.replace(fresh, path)
    sync_folder(os.path.dirname(path))


def write_new(path: str, content: bytes) -> None:
    """Make a file that is not there yet. Raises FileExistsError and other OSErrors."""
    _write(path, content, os.O_EXCL)


def _write(path: str, content: bytes, how: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags | how, 0o666)
    try:
        write_all(descriptor, content)
        sync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, content: bytes) -> None:
    """Write all of it."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def is_folder(path: str) -> bool:
    """Whether there is a directory (a link to one is none). Raises OSError."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError as error:
        if is_gone(error):
            return False
        raise
