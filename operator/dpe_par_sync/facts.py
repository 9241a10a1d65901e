# SPDX-License-Identifier: Apache-2.0
"""Looking at both sides for what the plan does not say: edited by whom, changed when."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from dpe_par_sync.decision import Subject, There
from dpe_par_sync.files import Stamp, Thing, digest, look
from dpe_par_sync.itemize import Item, Kind, Plan, parents
from dpe_par_sync.manifest import Entry, is_ours

_NANO = 1e9
_UNTOUCHABLE = Stamp(Thing.OTHER, 0, 0)


@dataclass(frozen=True)
class Facts:
    """The subjects of a decision, and what was seen at their paths while planning."""

    subjects: tuple[Subject, ...]
    master: Mapping[bytes, Stamp]
    redundant: Mapping[bytes, Stamp]

    @property
    def files(self) -> int:
        """Number of the master's files that are to be copied at all."""
        return len(self.master)

    @property
    def bytes(self) -> int:
        """Their size."""
        return sum(stamp.size for stamp in self.master.values())


class Observer:
    """Looks at the two locations; `trust` as in `manifest.is_ours`."""

    def __init__(
        self, master: bytes, current: bytes, entries: Mapping[bytes, Entry], *, trust: bool
    ) -> None:
        self._master = master
        self._current = current
        self._entries = entries
        self._trust = trust
        self._real: dict[bytes, bool] = {}

    def facts(self, plan: Plan) -> Facts:
        """Return what is to be known about each item of the plan."""
        subjects = []
        master: dict[bytes, Stamp] = {}
        redundant: dict[bytes, Stamp] = {}
        for item in plan.items:
            source = None
            if item.kind in (Kind.COPY, Kind.SAME, Kind.RETIME):
                source = look(os.path.join(self._master, item.path))
                if source is not None and source.thing is Thing.FILE:
                    master[item.path] = source
                else:
                    source = None
            target = self.on_redundant_side(item.path)
            if target is _UNTOUCHABLE:
                pass  # what is above it decides; if that goes, nothing was there
            elif target is not None:
                redundant[item.path] = target
            elif item.kind in (Kind.DELETE, Kind.DELETE_FOLDER):
                continue  # gone since rsync looked
            subjects.append(self._subject(item, source, target))
        return Facts(tuple(subjects), master, redundant)

    def on_redundant_side(self, path: bytes) -> Stamp | None:
        """Return what is at `path` there; what lies behind a symbolic link, or in a folder that
        cannot be entered, is neither ours nor the same as anything seen before."""
        try:
            for folder in parents(path):
                if not self._is_real(folder):
                    return _UNTOUCHABLE
            return look(os.path.join(self._current, path))
        except OSError:
            return _UNTOUCHABLE

    def forget_folders(self) -> None:
        """Look at the folders anew: a link among them may have been cleared away."""
        self._real.clear()

    def _is_real(self, folder: bytes) -> bool:
        """Whether nothing but a folder (or nothing) is there, so that no link leads away."""
        if folder not in self._real:
            found = look(os.path.join(self._current, folder))
            self._real[folder] = found is None or found.thing is not Thing.OTHER
        return self._real[folder]

    def _subject(self, item: Item, source: Stamp | None, target: Stamp | None) -> Subject:
        return Subject(
            item.path,
            item.kind,
            there=self._there(item, target),
            changed=self._changed(item, source),
            known=item.path in self._entries,
        )

    def _there(self, item: Item, target: Stamp | None) -> There:
        if target is None or target is _UNTOUCHABLE:
            return There.NOTHING
        if target.thing is Thing.FOLDER:
            return There.FOLDER
        if item.kind in (Kind.SAME, Kind.RETIME):
            return There.OURS  # has the master's content: nobody's work can be lost
        ours = is_ours(
            self._entries.get(item.path),
            target,
            partial(digest, os.path.join(self._current, item.path)),
            trust=self._trust,
        )
        return There.OURS if ours else There.FOREIGN

    def _changed(self, item: Item, source: Stamp | None) -> float | None:
        if item.kind in (Kind.COPY, Kind.SAME, Kind.RETIME):
            return None if source is None else source.mtime_ns / _NANO
        if item.kind is Kind.DELETE:
            # the change that took the file away is the last one of its folder, or of the nearest
            # folder that is left
            for folder in (*parents(item.path), b""):
                found = look(os.path.join(self._master, folder))
                if found is not None:
                    return found.mtime_ns / _NANO
        return 0.0
