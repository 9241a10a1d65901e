# SPDX-License-Identifier: Apache-2.0
"""Copies the self-contained elector into a pod: `dpe-elector-install FOLDER`, an init container.

FOLDER is a volume that the main container mounts at the same path. Whoever the main container runs
as can read and start what lies there: nothing depends on owner, group or umask. A restart of the
init container (a reboot of the node) finds a whole copy and leaves it, or makes it anew: the copy
is compared byte by byte, as a power cut may leave files that look whole.
"""

import contextlib
import errno
import hashlib
import os
import stat
import sys
from collections.abc import Iterator, Sequence

# What the tree consists of, in the order of copying: the loader last, without it nothing starts.
PARTS = ("lib", "bin", "packages", "ld.so")
DIRECTORY, PROGRAM, FILE = 0o755, 0o555, 0o444
_NEW = ".new-"
_CHUNK = 1 << 20


def main(arguments: Sequence[str], source: str) -> int:
    """Copy the tree `source` to the folder in `arguments`; returns the exit status."""
    if len(arguments) != 1 or not os.path.isabs(arguments[0]):
        print("usage: dpe-elector-install FOLDER (an absolute path)", file=sys.stderr)
        return 2
    target = arguments[0]
    try:
        done = install(source, target)
    except OSError as error:
        print(
            f"dpe-elector-install: {error.filename or target}: {error.strerror}{_cure(error)}",
            file=sys.stderr,
        )
        return 1
    print(f"dpe-elector-install: {target}: {done}")
    return 0


def install(source: str, target: str) -> str:
    """Make `target` hold a copy of the tree `source`; returns what was done, in words.

    Each part gets its name only when it is whole. Raises OSError.
    """
    os.makedirs(target, DIRECTORY, exist_ok=True)
    with contextlib.suppress(OSError):  # a volume's root may belong to somebody else
        os.chmod(target, DIRECTORY)
    for name in os.listdir(target):
        if name.startswith(_NEW):
            remove(os.path.join(target, name))
    copied = 0
    for part in PARTS:
        old, new = os.path.join(target, part), os.path.join(target, _NEW + part)
        whole = os.path.join(source, part)
        if os.path.lexists(old):
            if fingerprint(old) == fingerprint(whole):
                continue
            remove(old)
        copy(whole, new)
        os.rename(new, old)
        copied += 1
    return f"copied {copied} of {len(PARTS)} parts" if copied else "everything is there already"


def copy(source: str, target: str) -> None:
    """Copy a file or a folder with all that is in it, with modes that suit any user."""
    if os.path.isdir(source):
        os.mkdir(target)
        os.chmod(target, DIRECTORY)
        for name in sorted(os.listdir(source)):
            copy(os.path.join(source, name), os.path.join(target, name))
        return
    with open(source, "rb") as reader, open(target, "xb") as writer:
        while part := reader.read(_CHUNK):
            writer.write(part)
    os.chmod(target, PROGRAM if os.stat(source).st_mode & stat.S_IXUSR else FILE)


def fingerprint(path: str) -> str:
    """Return a hash of the names, modes and contents of all files at or below `path`."""
    found = hashlib.sha256()
    for name, file in _files(path, ""):
        state = os.lstat(file)
        found.update(f"{name}\0{stat.S_IFMT(state.st_mode)}\0".encode())
        if stat.S_ISREG(state.st_mode):
            executable = bool(state.st_mode & stat.S_IXUSR)
            found.update(b"program\0" if executable else b"file\0")
            with open(file, "rb") as reader:
                while part := reader.read(_CHUNK):
                    found.update(part)
    return found.hexdigest()


def remove(path: str) -> None:
    """Remove a file or a folder with all that is in it; follows no link."""
    if stat.S_ISDIR(os.lstat(path).st_mode):
        for name in os.listdir(path):
            remove(os.path.join(path, name))
        os.rmdir(path)
    else:
        os.unlink(path)


def _files(path: str, name: str) -> Iterator[tuple[str, str]]:
    if not stat.S_ISDIR(os.lstat(path).st_mode):
        yield name, path
        return
    for entry in sorted(os.listdir(path)):
        yield from _files(os.path.join(path, entry), f"{name}/{entry}")


def _cure(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return ": the elector takes 20 MB: give the volume more room"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return ": mount an emptyDir there that this container may write"
    return ""
