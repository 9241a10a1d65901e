# SPDX-License-Identifier: Apache-2.0
"""What a start is to do, from what the volume and the Lease say. Pure.

Two places remember that there was a memory: the Lease (annotation `dpe.dev/memory`) and the OWNER
on the volume. If neither does, this is a first start. If one of them knows a memory that the volume
does not have any more, it was lost, and nobody may start as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from dpe_memory.layout import UNKNOWN_OWNER, Mark, Memory, Owner, loss_token


class OnLoss(StrEnum):
    """What to do when a memory that was there is gone."""

    STOP = "Stop"
    START_EMPTY = "StartEmpty"


@dataclass(frozen=True)
class Epoch:
    """An epoch's directory on the volume; `mark` is None without a (readable) COMPLETE."""

    number: int
    mark: Mark | None


@dataclass(frozen=True)
class View:
    """What is on the volume.

    `owner` is None without an OWNER, `epochs` are in rising order, `highest` is the highest number
    in any name of ours but the place this start has made for itself, `has_files` says whether the
    newest complete epoch has any file in it now.
    """

    owner: Owner | None = None
    epochs: tuple[Epoch, ...] = ()
    highest: int = 0
    has_files: bool = False

    def newest(self) -> Epoch | None:
        """Return the newest complete epoch."""
        return newest_complete(self.epochs)


@dataclass(frozen=True)
class Said:
    """What the Lease says: the last memory that a watcher was started with, and what the user
    accepts. `loss` is the token of a loss that was told and has not been followed by a start."""

    memory: Memory | None = None
    accepts: str = ""
    adopts: str = ""
    loss: str = ""


@dataclass(frozen=True)
class Wanted:
    """What this start is told by its flags."""

    owner: str
    on_loss: OnLoss


class Loss(StrEnum):
    """What has become of a memory that was there."""

    GONE = "Gone"  # nothing of it is left on the volume
    EMPTY = "Empty"  # its directory is there, its files are not
    OLDER = "Older"  # only an older one is left


class Why(StrEnum):
    """Why a start may go on."""

    FIRST = "FirstStart"
    CARRIED = "Carried"
    ACCEPTED = "LossAccepted"
    START_EMPTY = "StartedEmpty"


@dataclass(frozen=True)
class Start:
    """Go on with a copy of epoch `source` (0: empty); `adopted` is the owner that gave it up."""

    source: int
    why: Why
    adopted: str = ""
    loss: Loss | None = None
    lost: int = 0


@dataclass(frozen=True)
class Foreign:
    """The folder belongs to `owner`."""

    owner: str


@dataclass(frozen=True)
class Lost:
    """The memory of `epoch` is gone; `token` accepts it, `left` is an older one (0: none)."""

    loss: Loss
    epoch: int
    token: str
    left: int
    files: int


Decision = Start | Foreign | Lost


def decide(view: View, said: Said, wanted: Wanted) -> Decision:
    """Say what this start is to do."""
    adopted = ""
    foreign = _foreign_owner(view, wanted.owner)
    if foreign:
        if said.adopts != foreign:
            return Foreign(foreign)
        adopted = foreign
    newest = view.newest()
    known = _known(view.owner.memory if view.owner else None, said.memory)
    if newest is None and known is None:
        return Start(0, Why.FIRST, adopted)
    lost = _loss(view, newest, known)
    if lost is None:
        assert newest is not None
        return Start(newest.number, Why.CARRIED, adopted)
    source = lost.left if lost.loss is Loss.OLDER else 0
    if wanted.on_loss is OnLoss.START_EMPTY:
        return Start(source, Why.START_EMPTY, adopted, lost.loss, lost.epoch)
    if said.accepts == lost.token:
        return Start(source, Why.ACCEPTED, adopted, lost.loss, lost.epoch)
    return lost


def highest(view: View, said: Said) -> int:
    """Return the highest epoch that anything knows, lost ones included: no number comes twice."""
    known = _known(view.owner.memory if view.owner else None, said.memory)
    return max(view.highest, known.epoch if known else 0)


def newest_complete(epochs: Sequence[Epoch]) -> Epoch | None:
    """Return the newest complete one of `epochs`."""
    complete = [epoch for epoch in epochs if epoch.mark is not None]
    return max(complete, key=lambda epoch: epoch.number, default=None)


def _foreign_owner(view: View, own: str) -> str:
    """Return the owner whose leave is needed; empty if it is ours or nobody's."""
    if view.owner is not None:
        # without any epoch an OWNER that cannot be read is one whose first start died writing it
        nobodys = view.owner.name == UNKNOWN_OWNER and not view.epochs
        return "" if nobodys or view.owner.name == own else view.owner.name
    newest = view.newest()
    if newest is not None and newest.mark is not None:
        # OWNER was deleted; each COMPLETE names the owner too
        return "" if newest.mark.owner == own else newest.mark.owner
    return UNKNOWN_OWNER if view.epochs else ""


def _known(*memories: Memory | None) -> Memory | None:
    found = [memory for memory in memories if memory is not None]
    return max(found, key=lambda memory: memory.epoch, default=None)


def _loss(view: View, newest: Epoch | None, known: Memory | None) -> Lost | None:
    if newest is None or newest.mark is None:
        assert known is not None
        return _lost(Loss.GONE, known, 0)
    emptied = newest.mark.memory.files > 0 and not view.has_files
    if known is not None and known.epoch > newest.number:
        if emptied:
            return _lost(Loss.GONE, known, 0)
        return _lost(Loss.OLDER, known, newest.number)
    if emptied:
        return _lost(Loss.EMPTY, newest.mark.memory, 0)
    return None


def _lost(loss: Loss, memory: Memory, left: int) -> Lost:
    token = loss_token(memory.epoch, memory.at)
    return Lost(loss, memory.epoch, token, left, memory.files)
