# SPDX-License-Identifier: Apache-2.0
"""What is said to people: reasons and messages, each with its cure. Pure."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from dpe_memory.decision import Foreign, Loss, Lost, Start, Why
from dpe_memory.layout import FILES, Mark, epoch_name
from dpe_memory.report import ACCEPT, ADOPT, Report, State, shortened

_MOST_NAMES = 3
_LONGEST_NAME = 100

_FAILURES = {
    errno.ENOSPC: ("DiskFull", "Make room on the volume, or enlarge its claim"),
    errno.EDQUOT: ("DiskFull", "Make room on the volume, or raise its quota"),
    errno.EACCES: (
        "NotAllowed",
        "Let all pods of the watcher run as one user, or give them a group (fsGroup) that may "
        "read and write there",
    ),
    errno.EPERM: ("NotAllowed", "Let all pods of the watcher run as one user"),
    errno.EROFS: ("ReadOnly", "Mount the claim for writing"),
    errno.ENOENT: ("Missing", "See that the claim is mounted, and that nobody else works in it"),
}
# Who starts with a part of it starts workflows again.
_AT_ONCE = "under another name, then rename it, so that all of it is there at once"
_OTHER = ("VolumeFailed", "See to the volume; the elector tries again")


def ready(mark: Mark, start: Start) -> Report:
    """Say that the command is about to be started with a memory."""
    memory = mark.memory
    if memory.source:
        what = (
            f"Epoch {memory.epoch} started with the {memory.files} files of epoch {memory.source}."
        )
    else:
        what = f"Epoch {memory.epoch} started with an empty memory."
    why = {
        Why.FIRST: " There was none before.",
        Why.CARRIED: "",
        Why.ACCEPTED: f" The loss of the memory of epoch {start.lost} was accepted.",
        Why.START_EMPTY: f" The memory of epoch {start.lost} was lost; onLoss is StartEmpty.",
    }[start.why]
    adopted = f" It was adopted from {start.adopted}." if start.adopted else ""
    mixed = "" if mark.settled else " The source was still changing at the last look."
    more: list[tuple[str, object]] = []
    if mark.skipped:
        more.append(("skipped", mark.skipped))
        mixed += f" Left out: {mark.skipped} links that lead out, or special files."
    if not mark.settled:
        more.append(("settled", False))
    if start.lost:
        more.append(("lost", start.lost))
    if start.adopted:
        more.append(("adopted", start.adopted))
    return Report(State.READY, str(start.why), what + why + adopted + mixed, memory, tuple(more))


def refusal(decision: Foreign | Lost, owner: str, path: str) -> Report:
    """Say why nobody is started, and what a person can do about it."""
    if isinstance(decision, Foreign):
        return Report(
            State.FOREIGN_OWNER,
            "ForeignOwner",
            f"The folder {path} holds the memory of {decision.owner}, not of {owner}. Two watchers "
            f"with one memory destroy it: give this one a claim of its own. If the other one is "
            f"gone for good, set the annotation {ADOPT}: {decision.owner} on this watcher.",
            more=(("owner", decision.owner),),
        )
    more: list[tuple[str, object]] = [("lost", decision.epoch), ("token", decision.token)]
    if decision.left:
        more.append(("left", decision.left))
    return Report(State.LOST, str(decision.loss), _lost(decision, path), more=tuple(more))


def _lost(lost: Lost, path: str) -> str:
    folder = f"{path}/{epoch_name(lost.epoch)}/{FILES}"
    had = f"the memory of epoch {lost.epoch}"
    accept = f"To accept the loss, set the annotation {ACCEPT}: {lost.token} on the watcher"
    if lost.loss is Loss.EMPTY:
        return (
            f"There was a memory of {lost.files} files, and now {folder} is empty. Copy the files "
            f"(older copies lie beside it) into another folder beside {FILES}, remove the empty "
            f"{FILES} and rename the other one to {FILES}, so that they are there at once. "
            f"{accept}: it starts with an empty memory and may take everything there is for new."
        )
    if lost.loss is Loss.GONE:
        return (
            f"There was a memory, and {had} is not on the volume any more, nor is an older one. "
            f"Restore {path} from a backup ({_AT_ONCE}), or mount the right claim. {accept}: it "
            f"starts with an empty memory and may take everything there is for new."
        )
    return (
        f"The newest memory is missing: {had} was in use, the volume has none newer than epoch "
        f"{lost.left}. It was restored from a backup, or another claim is mounted. Restore "
        f"{path}/{epoch_name(lost.epoch)} ({_AT_ONCE}). {accept}: it goes on with that of epoch "
        f"{lost.left}, and what happened since may start a workflow again."
    )


def restoring(start: Start, token: str, path: str, seconds: float) -> Report:
    """Say that a memory which was lost is coming back, and that it is waited for."""
    return Report(
        State.LOST,
        "Restoring",
        f"The memory was lost, and there are files in {path}/{epoch_name(start.source)}/{FILES} "
        f"again. The watcher starts with them when none of them has changed for {seconds:g} s. To "
        f"start at once with what is there, set the annotation {ACCEPT}: {token} on the watcher.",
        more=(("lost", start.source), ("token", token)),
    )


def failed(error: OSError) -> Report:
    """Say what the volume refused."""
    reason, cure = _FAILURES.get(error.errno or 0, _OTHER)
    return Report(State.FAILED, reason, f"{text_of(error)}. {cure}.")


def in_use(path: str) -> str:
    """Say that what this start made cannot be made again."""
    return f"What was prepared in {path} could not be removed again; the elector tries again."


def text_of(error: OSError) -> str:
    """Return an error as text, with the path where it is known."""
    strerror = error.strerror or type(error).__name__
    return f"{shown(os.fsdecode(error.filename))}: {strerror}" if error.filename else strerror


def shown(path: str) -> str:
    """Return a path as text for people."""
    return shortened(path, _LONGEST_NAME)


def some(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    listed = ", ".join(shown(name) for name in names[:_MOST_NAMES])
    return listed + (f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "")
