# SPDX-License-Identifier: Apache-2.0
"""The folder of one watcher on the volume: looking at it, and making this start's epoch in it.

Only directories with the number of this start are written to, only those with a lower number are
removed. So two starts, of which one is believed dead, never touch what the other one makes.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import time
from dataclasses import dataclass

from dpe_memory import layout
from dpe_memory.copying import Copied, Copying, Look, Sleep, empty, has_files, listing
from dpe_memory.decision import Epoch, View, newest_complete
from dpe_memory.keeping import removable, text_of
from dpe_memory.plain_files import (
    is_folder,
    is_gone,
    read_small,
    sync_folder,
    write_new,
    write_small,
)
from dpe_memory.removal import Removal, Say


class Taken(Exception):
    """The number of this start is used on the volume by another one."""


@dataclass
class Volume:
    """The folder `path` of the watcher `owner`; `epoch` is this start's, raised by `renumber`."""

    root: str
    path: str
    owner: str
    epoch: int
    has_place: bool = False

    # --- looking

    def look(self) -> View:
        """Look at the folder. Raises OSError, FileNotFoundError if the volume itself is missing."""
        if not stat.S_ISDIR(os.stat(self.root).st_mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), self.root)
        owner = self._read_owner()
        try:
            with os.scandir(self.path) as entries:
                names = [entry.name for entry in entries]
        except OSError as error:
            if is_gone(error):
                return View()
            raise
        numbers = sorted(number for number in map(layout.epoch_of, names) if number)
        seen = (self._epoch(number) for number in numbers)
        epochs = tuple(epoch for epoch in seen if epoch is not None)
        newest = newest_complete(epochs)
        return View(
            owner=owner,
            epochs=epochs,
            highest=self._highest(names),
            has_files=newest is not None and has_files(self.files(newest.number)),
        )

    def _epoch(self, number: int) -> Epoch | None:
        path = self._at(layout.epoch_name(number))
        if not is_folder(path):
            return None
        content = read_small(os.path.join(path, layout.COMPLETE))
        mark = None if content is None else layout.decode_mark(content)
        # one that was copied here by hand from another epoch proves nothing
        return Epoch(number, mark if mark is not None and mark.memory.epoch == number else None)

    def _highest(self, names: list[str]) -> int:
        own = layout.new_name(self.epoch) if self.has_place else ""
        return max(
            (
                max(layout.epoch_of(name), layout.new_of(name), layout.removed_of(name))
                for name in names
                if name != own
            ),
            default=0,
        )

    def _read_owner(self) -> layout.Owner | None:
        content = read_small(self._at(layout.OWNER))
        return None if content is None else layout.decode_owner(content)

    def files(self, epoch: int) -> str:
        """Return the directory with the memory files of an epoch."""
        return os.path.join(self._at(layout.epoch_name(epoch)), layout.FILES)

    def looks(self, epoch: int) -> dict[str, Look]:
        """Return what is seen of each file of an epoch; nothing if they are just being replaced.

        Raises OSError.
        """
        try:
            return listing(self.files(epoch))
        except OSError as error:
            if is_gone(error):
                return {}
            raise

    def _at(self, name: str) -> str:
        return os.path.join(self.path, name)

    # --- claiming

    def claim(self, owner: layout.Owner | None) -> bool:
        """Make the folder ours; `owner` is what was seen in it, and judged.

        Returns False if somebody else has claimed it meanwhile. Raises OSError.
        """
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.path)
            sync_folder(self.root)
        if owner is not None and owner.name == self.owner:
            return True
        ours = layout.Owner(self.owner, owner.memory if owner else None)
        if owner is not None:
            if self._read_owner() != owner:
                return False
            self._write_owner(ours)
            return True
        try:
            write_new(self._at(layout.OWNER), ours.encode())
        except FileExistsError:
            if self._read_owner() is None:
                raise
            return False
        sync_folder(self.path)
        return True

    def make_place(self) -> None:
        """Make the directory in which this start's epoch is prepared, unless it is there.

        It is made before the decisive look: a change of one's own makes a client of a network file
        system read the folder anew, instead of trusting what it has read some time ago. Raises
        Taken if the number is used already, OSError.
        """
        if self.has_place:
            return
        if os.path.lexists(self._at(layout.epoch_name(self.epoch))):
            raise Taken
        try:
            os.mkdir(self._at(layout.new_name(self.epoch)))
        except FileExistsError:
            raise Taken from None
        self.has_place = True

    def renumber(self, epoch: int) -> None:
        """Go on as a higher epoch."""
        self.drop_place()
        self.epoch = epoch

    def drop_place(self) -> None:
        """Remove what was prepared, as far as possible."""
        if self.has_place:
            Removal(None, lambda _: None).clear(self._at(layout.new_name(self.epoch)))
            self.has_place = False

    # --- making this start's epoch

    def prepare(self, source: int, sleep: Sleep = time.sleep) -> Copied:
        """Copy epoch `source` (0: nothing) into the place of this start. Raises OSError."""
        place = self._at(layout.new_name(self.epoch))
        target = os.path.join(place, layout.FILES)
        os.mkdir(target)
        copied = Copying(self.files(source), target).run(sleep) if source else empty(target)
        sync_folder(target)
        sync_folder(place)
        return copied

    def commit(self, source: int, copied: Copied) -> layout.Mark:
        """Give what was prepared its name, and say that it is complete. Raises OSError."""
        place, path = self._at(layout.new_name(self.epoch)), self._at(layout.epoch_name(self.epoch))
        os.rename(place, path)
        self.has_place = False
        sync_folder(self.path)
        memory = layout.Memory(
            epoch=self.epoch,
            source=source,
            files=copied.files,
            bytes=copied.bytes,
            digest=copied.digest,
            at=text_of(time.time()),
        )
        mark = layout.Mark(memory, self.owner, len(copied.skipped), copied.settled)
        complete = os.path.join(path, layout.COMPLETE)
        try:
            write_small(complete, mark.encode(), layout.NEW_COMPLETE)
        except OSError:
            # not to fill a full volume with one copy more at each try
            if not os.path.lexists(complete):
                self._discard(self.epoch, Removal(None, lambda _: None))
            raise
        return mark

    def _discard(self, epoch: int, removal: Removal) -> None:
        under = self._at(layout.removed_name(epoch))
        removal.remove(self._at(layout.epoch_name(epoch)), under)

    def remember(self, memory: layout.Memory) -> None:
        """Note in OWNER that there is a memory of this epoch. Raises OSError."""
        owner = self._read_owner()
        if owner is not None and owner.memory is not None and owner.memory.epoch > memory.epoch:
            return  # this start is believed dead, and a newer one has been here
        self._write_owner(layout.Owner(self.owner, memory))

    def _write_owner(self, owner: layout.Owner) -> None:
        under = layout.new_owner_name(self.epoch)
        write_small(self._at(layout.OWNER), owner.encode(), under)

    # --- removing

    def tidy(self, seconds: float | None, say: Say) -> None:
        """Remove what is certainly not needed, for at most `seconds`. Never fails."""
        try:
            self._tidy(Removal(seconds, say))
        except OSError as error:
            say(f"old epochs cannot be removed now: {error}")

    def _tidy(self, removal: Removal) -> None:
        with os.scandir(self.path) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            if 0 < layout.removed_of(name) < self.epoch:
                removal.clear(self._at(name))
            elif 0 < layout.new_of(name) < self.epoch:
                number = layout.new_of(name)
                removal.remove(self._at(name), self._at(layout.removed_name(number)))
            elif 0 < layout.new_owner_of(name) < self.epoch:
                os.unlink(self._at(name))
        epochs = self.look().epochs
        for number in removable(epochs, self.epoch, time.time()):
            self._discard(number, removal)


def volume_of(root: str, folder: str, owner: str, epoch: int) -> Volume:
    """Return the folder of a watcher; nothing is touched yet."""
    return Volume(root, os.path.join(root, folder), owner, epoch)
