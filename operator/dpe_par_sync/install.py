# SPDX-License-Identifier: Apache-2.0
"""Carrying out a decision: every file appears, is replaced or goes in one step of the file system.

A new file is renamed into its place from the staging folder. What it replaces, and what is deleted,
is kept in the history of the run. Right before each step the file is looked at once more: what was
edited after the plan is left in place.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from dpe_par_sync.decision import Decision
from dpe_par_sync.facts import Facts, Observer
from dpe_par_sync.files import (
    Stamp,
    Thing,
    digest,
    keep_copy,
    look,
    sync_folder,
    take_group,
)
from dpe_par_sync.manifest import Entries, Entry
from dpe_par_sync.result import Refused, shown
from dpe_par_sync.rsync import Answer

# what a server that was not heard says of a rename that it has made: the kept version may be the
# only one
_MAYBE_DONE = (errno.ENOENT, errno.EIO, errno.ESTALE, errno.ETIMEDOUT)


@dataclass
class Done:
    """What has been done, path by path; `failed` has the reason for each."""

    copied: set[bytes] = field(default_factory=set)
    deleted: set[bytes] = field(default_factory=set)
    retimed: set[bytes] = field(default_factory=set)
    divergent: set[bytes] = field(default_factory=set)
    deferred: set[bytes] = field(default_factory=set)
    failed: dict[bytes, str] = field(default_factory=dict)
    untimed: int = 0


@dataclass(frozen=True)
class Roots:
    """The folders of a run: `staging` has the new files, `history` takes the old ones."""

    master: bytes
    current: bytes
    staging: bytes
    history: bytes


def staged_entry(roots: Roots, path: bytes, size: int, answer: Answer) -> Entry | str:
    """Return what lies ready, or why it is not to be used.

    rsync fills what it cannot read with zeros and tells that by its exit status alone; the plan
    does not tell it. So after one bad status each file is read once more, here.
    """
    lies = os.path.join(roots.staging, path)
    found = look(lies)
    if found is None or found.thing is not Thing.FILE or found.size != size:
        return answer.errors or "rsync left it out"
    entry = Entry(found.size, found.mtime_ns, digest(lies))
    try:
        if not answer.complete and digest(os.path.join(roots.master, path)) != entry.digest:
            return "the master was read with errors"
    except OSError as wrong:
        return f"the master cannot be read: {os.strerror(wrong.errno or 0)}"
    return entry


class _Edited(Exception):
    """The file on the redundant side is no longer as it was in the plan."""


class _Moving(Exception):
    """The master is being changed at this path."""


class _Untimed(Exception):
    """The file system lets nobody but the owner set a file's time."""


class Installer:
    """Carries out one decision."""

    def __init__(self, roots: Roots, facts: Facts, observer: Observer) -> None:
        self._roots = roots
        self._facts = facts
        self._observer = observer
        self.done = Done()

    def run(self, decision: Decision, staged: Entries) -> Done:
        """Do all of it; `staged` are the files that lie ready.

        Order: what is in the way, folders, new content, and only then what is to go. So a reader
        that follows a renamed file finds it twice for a moment, and never not at all.
        """
        done = self.done
        self._each(decision.clear, self._delete, done.deleted)
        self._observer.forget_folders()
        for path in decision.folders:
            self._try(path, self._make_folder)
        self._each((path for path in decision.copy if path in staged), self._copy, done.copied)
        self._each(decision.retime, self._retime, done.retimed)
        self._each(decision.delete, self._delete, done.deleted)
        for path in decision.remove_folders:
            self._try(path, self._remove_folder)
        sync_folder(self._roots.current)
        return done

    def entries(self, decision: Decision, staged: Entries, before: Entries) -> Entries:
        """Return the manifest that describes the redundant side now, as far as we made it.

        Files that are equal but unknown are not in it: their content has to be read first. Those
        that the plan did not speak of (excluded now, or in a folder that could not be read) stay
        in it for as long as they are there.
        """
        planned = {
            *(*decision.same, *decision.retime, *decision.copy, *decision.delete, *decision.clear),
            *(*decision.divergent, *decision.deferred, *decision.skipped, *decision.forget),
        }
        left: Entries = {}
        for path in before.keys() - self.done.deleted - self.done.copied:
            if path in planned or self._observer.on_redundant_side(path) is not None:
                left[path] = before[path]
        for path in self.done.copied:
            found = look(self._target(path))
            if found is not None:
                left[path] = Entry(found.size, found.mtime_ns, staged[path].digest)
        return left

    def _each(
        self, paths: Iterable[bytes], work: Callable[[bytes], None], into: set[bytes]
    ) -> None:
        for path in paths:
            if self._try(path, work):
                into.add(path)

    def _try(self, path: bytes, work: Callable[[bytes], None]) -> bool:
        """Do one step; a file that cannot be handled does not stop the others."""
        try:
            work(path)
        except _Edited:
            self.done.divergent.add(path)
        except _Moving:
            self.done.deferred.add(path)
        except _Untimed:
            self.done.untimed += 1
        except OSError as wrong:
            if wrong.errno == errno.EXDEV:
                raise Refused(
                    "NotOneFileSystem",
                    f"{shown(path)} cannot be renamed from .dpe-par into its place: something is "
                    f"mounted inside the redundant volume. Mount its root only.",
                ) from wrong
            self.done.failed[path] = os.strerror(wrong.errno or 0)
        else:
            return True
        return False

    def _target(self, path: bytes) -> bytes:
        return os.path.join(self._roots.current, path)

    def _check_unchanged(self, path: bytes) -> Stamp | None:
        found = self._observer.on_redundant_side(path)
        if found is None or found.thing is Thing.FOLDER:
            return found
        if found != self._facts.redundant.get(path):
            raise _Edited
        return found

    def _copy(self, path: bytes) -> None:
        target = self._target(path)
        found = self._check_unchanged(path)
        if found is not None and found.thing is Thing.FOLDER:
            self._clear_folder(target)
        elif found is not None:
            with self._kept(path) as kept:
                keep_copy(target, kept)
                self._put(path)
            return
        self._put(path)

    def _put(self, path: bytes) -> None:
        staged, target = os.path.join(self._roots.staging, path), self._target(path)
        os.makedirs(os.path.dirname(target), exist_ok=True)
        take_group(staged, target)
        os.replace(staged, target)

    @contextmanager
    def _kept(self, path: bytes) -> Iterator[bytes]:
        """Give the place for a file in the history; a step that fails leaves nothing there.

        A run that has replaced nothing would push out one that has. What a kill leaves, one more
        name of the file in `current`, does no other harm.
        """
        kept, target = os.path.join(self._roots.history, path), self._target(path)
        before, is_new = os.lstat(target), not os.path.lexists(kept)
        try:
            os.makedirs(os.path.dirname(kept), exist_ok=True)
            yield kept
        except OSError as wrong:
            with contextlib.suppress(OSError):
                untouched = os.path.samestat(before, os.lstat(target))
                if is_new and untouched and wrong.errno not in _MAYBE_DONE:
                    os.unlink(kept)
            self._drop_empty(os.path.dirname(kept))
            raise

    def _drop_empty(self, folder: bytes) -> None:
        """Remove a folder of this run's history and those above it, as far as nothing is in."""
        with contextlib.suppress(OSError):
            while folder.startswith(self._roots.history):
                os.rmdir(folder)
                folder = os.path.dirname(folder)

    def _clear_folder(self, target: bytes) -> None:
        """Remove the empty folders where a file has to be; with files in them it is an edit."""
        for folder, _, _ in os.walk(target, topdown=False):
            try:
                os.rmdir(folder)
            except OSError as wrong:
                raise _Edited from wrong

    def _delete(self, path: bytes) -> None:
        source = look(os.path.join(self._roots.master, path))
        if source is not None and source.thing is not Thing.FOLDER:
            raise _Moving  # it is back
        if self._check_unchanged(path) is None:
            return
        with self._kept(path) as kept:
            os.rename(self._target(path), kept)

    def _retime(self, path: bytes) -> None:
        time = self._facts.master[path].mtime_ns
        self._check_unchanged(path)
        try:
            os.utime(self._target(path), ns=(time, time), follow_symlinks=False)
        except PermissionError as wrong:
            raise _Untimed from wrong

    def _make_folder(self, path: bytes) -> None:
        os.makedirs(self._target(path), exist_ok=True)

    def _remove_folder(self, path: bytes) -> None:
        try:
            os.rmdir(self._target(path))
        except OSError as wrong:
            # files that stay, or that are excluded, are in it
            if wrong.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.ENOTDIR):
                raise
