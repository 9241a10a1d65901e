# SPDX-License-Identifier: Apache-2.0
"""Copying the files of one epoch into another, until the source holds still.

The source should: its watcher is dead. But the machine it died with may still hand written pages to
the volume, so the source is looked at again after the copy, and what differs is copied again.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from dpe_memory.plain_files import is_gone, sync_files, sync_folder, write_all

PASSES = 6
PAUSE = 0.5
_CHUNK = 1 << 20

Sleep = Callable[[float], None]


@dataclass(frozen=True)
class Look:
    """What is seen of one path without opening it; `kind` is file, folder, link or other."""

    kind: str
    size: int = 0
    mtime_ns: int = 0
    target: str = ""


@dataclass(frozen=True)
class Copied:
    """What came of a copy: `skipped` are the names of what cannot be part of a memory, `settled` is
    false if the source was still changing at the last look."""

    files: int = 0
    bytes: int = 0
    digest: str = ""
    skipped: tuple[str, ...] = ()
    settled: bool = True


def listing(root: str) -> dict[str, Look]:
    """Look at everything below `root`; keys are relative paths. Raises OSError.

    What vanishes meanwhile is left out.
    """
    found: dict[str, Look] = {}
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(root, folder) if folder else root))
        except OSError as error:
            if folder and is_gone(error):
                found.pop(folder, None)
                continue
            raise
        for entry in entries:
            path = os.path.join(folder, entry.name)
            try:
                found[path] = look = _look(entry)
            except OSError as error:
                if is_gone(error):
                    continue
                raise
            if look.kind == "folder":
                pending.append(path)
    return found


def has_files(root: str) -> bool:
    """Whether there is any file below `root`, which may be missing altogether. Raises OSError."""
    pending = [root]
    while pending:
        try:
            entries = list(os.scandir(pending.pop()))
        except OSError as error:
            if is_gone(error):
                continue
            raise
        for entry in entries:
            if not entry.is_dir(follow_symlinks=False):
                return True
            pending.append(entry.path)
    return False


@dataclass
class Copying:
    """A copy under way: `done` is what was copied so far, as it looked when it was read, `unmade`
    are the links among it that the volume refused."""

    source: str
    target: str
    done: dict[str, Look] = field(default_factory=dict)
    hashes: dict[str, str] = field(default_factory=dict)
    unmade: set[str] = field(default_factory=set)

    def run(self, sleep: Sleep = time.sleep) -> Copied:
        """Copy everything into `target`, an empty directory, and have it written through.

        Raises OSError; then `target` holds something unfinished.
        """
        found = listing(self.source)
        settled = False
        for number in range(PASSES):
            if number:
                sleep(PAUSE)
                found = listing(self.source)
            self._follow(found)
            settled = listing(self.source) == self.done
            if settled:
                break
        self._finish()
        return self._copied(settled)

    def _follow(self, found: dict[str, Look]) -> None:
        """Make the target what `found` says, as far as it is still there."""
        for path in sorted(self.done, reverse=True):
            if found.get(path) != self.done[path]:
                self._drop(path)
        for path in sorted(found):
            if path not in self.done:
                self._take(path, found[path])

    def _drop(self, path: str) -> None:
        look = self.done.pop(path)
        self.hashes.pop(path, None)
        if look.kind == "folder":
            os.rmdir(os.path.join(self.target, path))
        elif self._is_copied(path, look):
            os.unlink(os.path.join(self.target, path))
        self.unmade.discard(path)

    def _is_copied(self, path: str, look: Look) -> bool:
        return look.kind != "other" and path not in self.unmade

    def _take(self, path: str, look: Look) -> None:
        source, target = os.path.join(self.source, path), os.path.join(self.target, path)
        if os.path.dirname(path) and os.path.dirname(path) not in self.done:
            return  # its folder vanished
        if look.kind == "folder":
            os.mkdir(target)
        elif look.kind == "link":
            if not _make_link(look.target, target):
                self.unmade.add(path)
        elif look.kind == "file":
            taken = _take_file(source, target)
            if taken is None:
                return
            look, self.hashes[path] = taken
        self.done[path] = look

    def _finish(self) -> None:
        """Give directories their modes, and have everything written through, deepest first."""
        files = [path for path, look in self.done.items() if look.kind == "file"]
        sync_files([os.path.join(self.target, path) for path in files])
        folders = [path for path, look in self.done.items() if look.kind == "folder"]
        for path in (*sorted(folders, reverse=True), ""):
            target = os.path.join(self.target, path) if path else self.target
            sync_folder(target)
            with contextlib.suppress(OSError):
                mode = os.lstat(os.path.join(self.source, path)).st_mode
                # inherited from the volume: what the watcher writes then belongs to its group
                inherited = os.lstat(target).st_mode & stat.S_ISGID
                os.chmod(target, stat.S_IMODE(mode) & 0o777 | 0o700 | inherited)

    def _copied(self, settled: bool) -> Copied:
        files = {path: look for path, look in self.done.items() if look.kind == "file"}
        return Copied(
            files=len(files),
            bytes=sum(look.size for look in files.values()),
            digest=self._digest(),
            skipped=tuple(
                sorted(path for path, look in self.done.items() if not self._is_copied(path, look))
            ),
            settled=settled,
        )

    def _digest(self) -> str:
        total = hashlib.sha256()
        for path in sorted(self.done):
            look = self.done[path]
            if self._is_copied(path, look):
                words = (look.kind, path, look.target, self.hashes.get(path, ""))
                total.update("\0".join(words).encode("utf-8", "surrogateescape") + b"\0\n")
        return f"sha256:{total.hexdigest()}"


def empty(target: str) -> Copied:
    """Return what a memory without any file is, in `target`, an empty directory."""
    return Copying("", target)._copied(settled=True)


def _look(entry: os.DirEntry[str]) -> Look:
    found = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(found.st_mode):
        return Look("folder")
    if stat.S_ISREG(found.st_mode):
        return Look("file", found.st_size, found.st_mtime_ns)
    if stat.S_ISLNK(found.st_mode):
        target = os.readlink(entry.path)
        # One that leads out could lead into another epoch, and the watcher would write there.
        inside = not target.startswith("/") and ".." not in target.split("/")
        return Look("link" if inside else "other", target=target)
    return Look("other")


def _make_link(points_to: str, target: str) -> bool:
    """Make a link; False if the volume has no links (then it is strange that there is one)."""
    try:
        os.symlink(points_to, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL):
            raise
        return False
    return True


def _take_file(source: str, target: str) -> tuple[Look, str] | None:
    """Copy one file; returns how it looked and a hash, None if it is not there any more."""
    try:
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        if is_gone(error) or error.errno in (errno.ELOOP, errno.ENXIO):
            return None
        raise
    try:
        before = os.fstat(reader)
        return _pour(reader, before, target) if stat.S_ISREG(before.st_mode) else None
    except _Vanished:
        os.unlink(target)
        return None
    finally:
        os.close(reader)


class _Vanished(Exception):
    """The file that is read was removed on another machine."""


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, _CHUNK)
    except OSError as error:
        if error.errno == errno.ESTALE:
            raise _Vanished from error
        raise


def _pour(reader: int, before: os.stat_result, target: str) -> tuple[Look, str]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    writer = os.open(target, flags, 0o666)
    try:
        total = hashlib.sha256()
        size = 0
        while chunk := _read(reader):
            total.update(chunk)
            size += len(chunk)
            write_all(writer, chunk)
        with contextlib.suppress(OSError):
            os.fchmod(writer, stat.S_IMODE(before.st_mode) & 0o777 | 0o600)
        with contextlib.suppress(OSError):
            os.utime(writer, ns=(before.st_atime_ns, before.st_mtime_ns))
    finally:
        os.close(writer)
    # with the size that was read: a file that grew meanwhile differs at the next look
    return Look("file", size, before.st_mtime_ns), total.hexdigest()
