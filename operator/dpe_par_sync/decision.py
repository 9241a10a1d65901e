# SPDX-License-Identifier: Apache-2.0
"""What is done with each path of the plan. Pure: no file is touched here.

Rules, in the order in which they count:
- a name that cannot be told from another one on the redundant side is skipped and reported;
- a file edited on the redundant side is left in place (`Keep`), kept in the history and replaced
  (`Overwrite`), or ends the run (`Stop`);
- a file that the master changed a moment ago is left for the next run;
- more deletions than allowed end the run before anything is done.
"""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from dpe_par_sync.config import DeletionLimit, OnDivergence
from dpe_par_sync.identity import ANNOTATION_ADOPT
from dpe_par_sync.itemize import Kind, parents
from dpe_par_sync.result import Refused, some


class There(StrEnum):
    """What is at a path on the redundant side."""

    NOTHING = "nothing"
    OURS = "ours"  # a file as a run left it
    FOREIGN = "foreign"  # a file that somebody has made or edited, or a symbolic link
    FOLDER = "folder"


@dataclass(frozen=True)
class Subject:
    """A path of the plan with all that decides about it.

    `changed` is when the master last changed it, in seconds since 1970 (of a deleted file: its
    folder); None if that cannot be told any more. `known` says that a run has left a file there.
    """

    path: bytes
    kind: Kind
    there: There = There.NOTHING
    changed: float | None = 0.0
    known: bool = False


@dataclass(frozen=True)
class Rules:
    """The settings that decide, at the time `now` (seconds since 1970).

    `limit` is None when a person has accepted any number of deletions. `complete` is False when
    rsync could not read all of the master: nothing is deleted then. `one_name` says that the
    redundant side cannot tell `a` from `A`, or two forms of the same accented letter. `spent` says
    why an accepting text that is set did not count.
    """

    now: float
    on_divergence: OnDivergence = OnDivergence.KEEP
    limit: DeletionLimit | None = field(default_factory=DeletionLimit)
    quiet: float = 60.0
    complete: bool = True
    one_name: bool = False
    spent: str = ""


@dataclass(frozen=True)
class Decision:
    """Every path in one of these, each tuple in the order in which it is to be worked off.

    `clear` are deletions that make room for something else and so come first (a file in the place
    of a folder is in `folders` too); `forget` are deletions of a name that the redundant side
    cannot tell from one of the master's: no action.
    """

    folders: tuple[bytes, ...] = ()
    clear: tuple[bytes, ...] = ()
    copy: tuple[bytes, ...] = ()
    retime: tuple[bytes, ...] = ()
    delete: tuple[bytes, ...] = ()
    remove_folders: tuple[bytes, ...] = ()
    same: tuple[bytes, ...] = ()
    divergent: tuple[bytes, ...] = ()
    overwritten: tuple[bytes, ...] = ()  # also in `copy`, `clear` or `delete`
    deferred: tuple[bytes, ...] = ()
    skipped: tuple[bytes, ...] = ()
    forget: tuple[bytes, ...] = ()
    restored: int = 0

    @property
    def deletions(self) -> int:
        """Number of files that go."""
        return len(self.clear) + len(self.delete)


class _Fate(StrEnum):
    """A field of Decision."""

    FOLDERS = "folders"
    CLEAR = "clear"
    COPY = "copy"
    RETIME = "retime"
    DELETE = "delete"
    REMOVE_FOLDERS = "remove_folders"
    SAME = "same"
    DIVERGENT = "divergent"
    DEFERRED = "deferred"
    SKIPPED = "skipped"
    FORGET = "forget"


# clocks of machines are seldom further apart than a time zone
_CLOCKS_APART = 86400.0
_IN_MASTER = (Kind.COPY, Kind.SAME, Kind.RETIME, Kind.FOLDER)


def decide(subjects: Sequence[Subject], rules: Rules) -> Decision:
    """Decide on all paths of a plan; raises Refused (RedundantEdited, TooManyDeletions)."""
    fates = _first_fates(subjects, rules)
    edited = [
        subject.path
        for subject in subjects
        if subject.there is There.FOREIGN
        and fates[subject.path] is not _Fate.SKIPPED
        and subject.kind in (Kind.COPY, Kind.DELETE, Kind.FOLDER)
    ]
    if edited and rules.on_divergence is OnDivergence.STOP:
        raise Refused(
            "RedundantEdited",
            f"{len(edited)} files were edited on the redundant side: {some(edited)}. Bring the "
            f"edits into the master or delete those files; or set sync.onDivergence to Keep or "
            f"Overwrite.",
            edited,
        )
    _block(subjects, fates)
    decision = _collect(subjects, fates)
    if rules.on_divergence is OnDivergence.OVERWRITE:
        gone = {*decision.copy, *decision.clear, *decision.delete}
        decision = replace(decision, overwritten=tuple(path for path in edited if path in gone))
    _check_deletions(subjects, decision, rules)
    return decision


def folded(path: bytes) -> str:
    """Return what is left of a path where case and the forms of accented letters do not count."""
    return unicodedata.normalize("NFC", os.fsdecode(path).casefold())


def _first_fates(subjects: Sequence[Subject], rules: Rules) -> dict[bytes, _Fate]:
    """What would happen to each path if there were no other."""
    master = Counter(folded(subject.path) for subject in subjects if subject.kind in _IN_MASTER)
    fates = {}
    for subject in subjects:
        twins = master[folded(subject.path)] if rules.one_name else 0
        if subject.kind in _IN_MASTER and subject.kind is not Kind.FOLDER and twins > 1:
            fates[subject.path] = _Fate.SKIPPED
        elif subject.kind in (Kind.DELETE, Kind.DELETE_FOLDER) and twins:
            fates[subject.path] = _Fate.FORGET
        else:
            fates[subject.path] = _fate(subject, rules)
    return fates


def _fate(subject: Subject, rules: Rules) -> _Fate:
    plain = {
        Kind.SKIP: _Fate.SKIPPED,
        Kind.SAME: _Fate.SAME,
        Kind.DELETE_FOLDER: _Fate.REMOVE_FOLDERS,
    }.get(subject.kind)
    if plain is not None:
        return plain
    if subject.kind is Kind.FOLDER and subject.there in (There.NOTHING, There.FOLDER):
        return _Fate.FOLDERS
    # equal content overwrites nobody's work: RETIME is never divergent
    foreign = subject.there is There.FOREIGN and subject.kind is not Kind.RETIME
    if foreign and rules.on_divergence is not OnDivergence.OVERWRITE:
        return _Fate.DIVERGENT
    removes = subject.kind in (Kind.DELETE, Kind.FOLDER)
    if _is_fresh(subject, rules) or (removes and not rules.complete):
        return _Fate.DEFERRED
    return {
        Kind.COPY: _Fate.COPY,
        Kind.RETIME: _Fate.RETIME,
        Kind.DELETE: _Fate.DELETE,
        Kind.FOLDER: _Fate.CLEAR,  # a file lies where a folder must be
    }[subject.kind]


def _is_fresh(subject: Subject, rules: Rules) -> bool:
    """Whether the master may have changed it a moment ago.

    A time in the future comes from another machine's clock: it may mean just now, and has passed
    when the next night comes. One far in the future says nothing, and waiting for it would leave
    the file out for ever.
    """
    if subject.changed is None:
        return True
    return rules.quiet > 0 and -_CLOCKS_APART < rules.now - subject.changed < rules.quiet


def _block(subjects: Sequence[Subject], fates: dict[bytes, _Fate]) -> None:
    """Take back what cannot be done because something in its place stays.

    Below a file that stays no folder can be made; where a folder keeps files none can be put.
    """
    staying = {
        path: fate for path, fate in fates.items() if fate in (_Fate.DIVERGENT, _Fate.DEFERRED)
    }
    walls = {
        subject.path: staying[subject.path]
        for subject in subjects
        if subject.kind is Kind.FOLDER and subject.path in staying
    }
    filled: dict[bytes, _Fate] = {}
    for subject in subjects:
        if subject.kind is Kind.DELETE and subject.path in staying:
            for folder in parents(subject.path):
                filled[folder] = staying[subject.path]
    for subject in subjects:
        wall = next((walls[above] for above in parents(subject.path) if above in walls), None)
        if wall is not None and subject.kind in (*_IN_MASTER, Kind.SKIP):
            fates[subject.path] = wall
        elif subject.there is There.FOLDER and subject.kind is Kind.COPY:
            if subject.path in filled:
                fates[subject.path] = filled[subject.path]


def _collect(subjects: Sequence[Subject], fates: dict[bytes, _Fate]) -> Decision:
    found: dict[_Fate, list[bytes]] = {fate: [] for fate in _Fate}
    replaced = {
        subject.path
        for subject in subjects
        if fates[subject.path] is _Fate.COPY and subject.there is There.FOLDER
    }
    for subject in subjects:
        fate = fates[subject.path]
        if fate is _Fate.DELETE and any(above in replaced for above in parents(subject.path)):
            fate = _Fate.CLEAR
        found[fate].append(subject.path)
        if fate is _Fate.CLEAR and subject.kind is Kind.FOLDER:
            found[_Fate.FOLDERS].append(subject.path)
    ordered = {str(fate): tuple(sorted(paths)) for fate, paths in found.items()}
    # the deepest first, so that a folder is empty when its turn comes
    ordered["remove_folders"] = tuple(reversed(ordered["remove_folders"]))
    copied = set(found[_Fate.COPY])
    restored = sum(
        subject.path in copied and subject.known and subject.there is There.NOTHING
        for subject in subjects
    )
    return Decision(**ordered, restored=restored)


def files_on_redundant_side(subjects: Iterable[Subject]) -> int:
    """Number of files there that the plan speaks of."""
    return sum(
        subject.kind in (Kind.SAME, Kind.RETIME, Kind.DELETE)
        or (
            subject.kind in (Kind.COPY, Kind.FOLDER)
            and subject.there in (There.OURS, There.FOREIGN)
        )
        for subject in subjects
    )


def _check_deletions(subjects: Sequence[Subject], decision: Decision, rules: Rules) -> None:
    limit = rules.limit
    files = files_on_redundant_side(subjects)
    if limit is not None and decision.deletions > limit.allowed(files):
        going = sorted((*decision.clear, *decision.delete))
        raise Refused(
            "TooManyDeletions",
            f"The run would delete {len(going)} of {files} files on the redundant side, and "
            f"sync.maxDeletions is {limit}: {some(going)}. If the master is right, accept that "
            f"once (set the annotation {ANNOTATION_ADOPT} to a new text{rules.spent}) or raise "
            f"sync.maxDeletions; if not, restore the master.",
        )
