# SPDX-License-Identifier: Apache-2.0
"""Looking at and writing single files, never through a symbolic link.

Paths are bytes: names in a PAR tree need not be UTF-8, and none of them may make a run fail that
only lists it.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import stat
from dataclasses import dataclass
from enum import StrEnum

_READ_BYTES = 1 << 20
_libc = ctypes.CDLL(None, use_errno=True)


class Thing(StrEnum):
    """What a path is."""

    FILE = "file"
    FOLDER = "folder"
    OTHER = "other"  # a symbolic link, pipe, socket or device


@dataclass(frozen=True)
class Stamp:
    """What `look` found; times in nanoseconds since 1970."""

    thing: Thing
    size: int
    mtime_ns: int


def look(path: bytes) -> Stamp | None:
    """Return what is at `path`; None if nothing, or if a folder above it is none."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    mode = found.st_mode
    thing = Thing.FILE if stat.S_ISREG(mode) else Thing.OTHER
    if stat.S_ISDIR(mode):
        thing = Thing.FOLDER
    return Stamp(thing, found.st_size, found.st_mtime_ns)


def digest(path: bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal; raises OSError."""
    found = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        try:
            while part := file.read(_READ_BYTES):
                found.update(part)
        except OSError as wrong:
            wrong.filename = path  # read(2) does not know it
            raise
    return found.hexdigest()


def write_whole(path: bytes, content: bytes) -> None:
    """Write a file so that a reader, and a crash, see the old content or the new one."""
    new = path + b".new"
    descriptor = os.open(
        new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666
    )
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    sync_folder(os.path.dirname(path))


def sync_folder(path: bytes) -> None:
    """Make names in a folder durable, where the file system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def sync_volume(path: bytes) -> None:
    """Write everything of one file system to its disk or server; raises OSError.

    One call for thousands of files: a `fsync` for each takes minutes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fsdecode(path))
    finally:
        os.close(descriptor)


def keep_copy(path: bytes, kept: bytes) -> None:
    """Keep the file (or link) at `path` as `kept`, while `path` stays where it is.

    A hard link where there are any, else a copy. Raises OSError, and then leaves no part of one.
    """
    os.makedirs(os.path.dirname(kept), exist_ok=True)
    if os.path.islink(path):
        os.symlink(os.readlink(path), kept)
        return
    try:
        os.link(path, kept, follow_symlinks=False)
    except FileExistsError:
        raise  # that version must stay
    except OSError:
        # FAT, SMB and some others have no hard links, and do not agree on how to say so
        try:
            shutil.copyfile(path, kept, follow_symlinks=False)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(kept)
            raise
        with contextlib.suppress(OSError):  # some let nobody but the owner set times
            found = os.lstat(path)
            os.utime(kept, ns=(found.st_atime_ns, found.st_mtime_ns))


def take_group(path: bytes, target: bytes) -> None:
    """Give a file the group that it would have if it had been made at `target`.

    That of the folder if its set-group-id bit says so, else of the file it replaces; where the file
    system or the user's rights do not let it, the group stays as it is.
    """
    with contextlib.suppress(OSError):
        folder = os.stat(os.path.dirname(target))
        if folder.st_mode & stat.S_ISGID:
            group = folder.st_gid
        elif os.path.lexists(target):
            group = os.lstat(target).st_gid
        else:
            return
        if os.lstat(path).st_gid != group:
            os.chown(path, -1, group, follow_symlinks=False)


def is_folder(path: bytes) -> bool:
    """Whether `path` is a real folder, and not a link to one."""
    found = look(path)
    return found is not None and found.thing is Thing.FOLDER


def remove_tree(path: bytes) -> None:
    """Delete a folder of our own and all in it; nothing happens if there is none."""
    if is_folder(path):
        shutil.rmtree(path)
