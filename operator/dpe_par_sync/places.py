# SPDX-License-Identifier: Apache-2.0
"""The two locations of a run: are they there, are they two, do they belong together.

Until `Places.pair` has said yes nothing is written on either side.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import uuid
from dataclasses import dataclass, replace
from pathlib import Path

from dpe_par_sync import identity
from dpe_par_sync.config import Config
from dpe_par_sync.files import Thing, is_folder, look, write_whole
from dpe_par_sync.identity import MASTER_MARK, Mark, Marks, Pairing
from dpe_par_sync.itemize import Plan
from dpe_par_sync.mounts import Mount, is_mount_point, spot
from dpe_par_sync.result import Failed, Refused, shown

STATE = ".dpe-par"
MARK = "id.json"
_TWINS = (("a", "A"), ("\u00e9", "e\u0301"))
_RIGHTS = (
    "give the sync pod the user or group that owns the files (sync.podTemplate: securityContext "
    "with runAsUser, runAsGroup or fsGroup), or change the folder's owner (kubelet makes a missing "
    "sub-path as root)"
)
_CURES = {
    errno.EROFS: "mount the redundant volume writable for the sync pod",
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
}
_SAME = (
    "The copy must lie on other storage, so that the loss of one leaves the other: give the "
    "redundant location a volume of its own."
)


@dataclass(frozen=True)
class Adoption:
    """The accepting text and whether it has counted before.

    `used` are the texts known from elsewhere (the Lease), None if that cannot be told.
    """

    text: str
    used: frozenset[str] | None

    def spent(self, pairing: Pairing) -> str:
        """Return why the text did not accept what is refused, for the message; "" without one."""
        if not self.text:
            return ""
        if pairing is Pairing.ADOPT:
            return f"; its present text {self.text!r} has accepted the pair of volumes, no more"
        if self.used is None:
            return (
                f"; whether its present text {self.text!r} has been used before cannot be told, as "
                f"the Lease cannot be read"
            )
        return f"; its present text {self.text!r} has been used before"


class Places:
    """Master and redundant location of one run, as paths in bytes."""

    def __init__(self, config: Config, mounts: tuple[Mount, ...]) -> None:
        self._config = config
        self._mounts = mounts
        self.master = os.fsencode(config.master)
        self.volume = os.fsencode(config.redundant.volume)
        self.current = os.fsencode(config.redundant.current)
        self.state = os.path.join(self.volume, os.fsencode(STATE))
        self._master_mark = os.path.join(self.master, os.fsencode(MASTER_MARK))
        self._redundant_mark = os.path.join(self.state, os.fsencode(MARK))
        self._counted: Mark | None = None

    def in_state(self, *names: str) -> bytes:
        """Return a path of the program's own on the redundant volume."""
        return os.path.join(self.state, *map(os.fsencode, names))

    def check(self) -> list[str]:
        """Raise Refused unless both are mounted, real, and two; returns warnings."""
        config = self._config
        for where, path, point in (
            ("Master", config.master, config.master_mount_point),
            ("Redundant", config.redundant.volume, config.redundant.mount_point),
        ):
            if config.require_mount and not is_mount_point(point, self._mounts):
                raise Refused(
                    f"{where}NotMounted",
                    f"Nothing is mounted at {point}: check the volume of the "
                    f"{where.lower()} location and the sync pod's mounts.",
                )
            if not is_folder(os.fsencode(path)):
                raise Refused(
                    f"{where}Missing",
                    f"{path} is not a folder: create it on the volume or correct the subPath.",
                )
        self._check_no_link()
        return self._check_two()

    def _check_no_link(self) -> None:
        """Raise Refused if the copy would land somewhere else than below the volume."""
        for path in (self.state, self.current, *map(os.fsencode, self._config.redundant.above)):
            found = look(path)
            if found is not None and found.thing is not Thing.FOLDER:
                raise Refused(
                    "RedundantNotFolder",
                    f"{shown(path)} is a link or a file: the copy must lie in a folder of the "
                    f"volume itself. Move it away, or give redundant.subPath another name.",
                )

    def _check_two(self) -> list[str]:
        config = self._config
        master, volume = config.master.resolve(), config.redundant.volume.resolve()
        one, two = os.stat(master), os.stat(volume)
        spots = spot(master, self._mounts), spot(volume, self._mounts)
        overlap = spots[0] is not None and spots[1] is not None and spots[0].overlaps(spots[1])
        same = (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)
        if is_folder(self.current):
            served = os.stat(self.current)
            same = same or (one.st_dev, one.st_ino) == (served.st_dev, served.st_ino)
        if same or overlap:
            raise Refused(
                "SameSource",
                f"The master {config.master} and the redundant volume {config.redundant.volume} "
                f"are the same folder, or one lies in the other. {_SAME}",
            )
        self.check_marks_apart()
        if one.st_dev == two.st_dev:
            return [
                "master and redundant location are on the same file system: its loss takes both"
            ]
        return []

    def check_marks_apart(self) -> None:
        """Raise Refused if a mark of one side is seen on the other.

        Finds one folder that is mounted twice over the network, with different device numbers.
        """
        mirrored = os.path.join(self.master, os.fsencode(STATE), os.fsencode(MARK))
        served = os.path.join(self.current, os.fsencode(MASTER_MARK))
        if look(mirrored) is not None:
            raise Refused(
                "SameSource",
                f"The master {self._config.master} has a folder {STATE}, which only the volume of "
                f"a redundant copy has. {_SAME}",
            )
        if look(served) is not None:
            raise Refused(
                "SameSource",
                f"{self._config.redundant.current} has the file {MASTER_MARK}, which only a master "
                f"has: both sides are the same folder, or the file was copied there by hand; then "
                f"delete it. {_SAME}",
            )

    def check_plan(self, plan: Plan) -> None:
        """Raise Refused if the redundant volume is seen inside of the master or the copy."""
        name = os.fsencode(STATE)
        for item in plan.items:
            if name in item.path.split(b"/"):
                raise Refused(
                    "SameSource",
                    f"There is a folder {STATE} inside of the master or of the copy: one volume "
                    f"is seen inside of the other. {_SAME}",
                )

    def read_marks(self) -> Marks:
        """Read both marks, and whether the copy has anything in it; raises Failed."""
        try:
            empty = not is_folder(self.current) or not os.listdir(self.current)
            return Marks(_read(self._master_mark), _read(self._redundant_mark), empty)
        except OSError as wrong:
            raise Failed("MarkUnreadable", f"A mark cannot be read: {wrong}") from wrong

    def pair(self, marks: Marks, adoption: Adoption) -> Pairing:
        """Judge the marks and write those that are missing; raises Refused or Failed."""
        used = set(adoption.used or ())
        for mark in (marks.master, marks.redundant):
            # one that is not complete is from an adoption that was cut off: it goes on
            used.update(mark.adopted if mark and mark.complete else ())
        pairing = identity.judge(marks, adoption.text, frozenset(used))
        if pairing is Pairing.ACCEPTED and adoption.used is None:
            pairing = Pairing.PAIRED  # whether the text has counted before cannot be told
        if pairing is Pairing.ADOPT and adoption.used is None:
            raise Failed(
                "LeaseUnreachable",
                f"The annotation {identity.ANNOTATION_ADOPT} can only be obeyed when the Lease "
                f"{self._config.lease!r}, which tells whether its text has been used before, can "
                f"be read.",
            )
        self._make_folders()
        fresh = adoption.text and adoption.text not in used and adoption.used is not None
        text = (adoption.text,) if fresh else ()
        mark = marks.redundant
        if pairing in (Pairing.PAIRED, Pairing.ACCEPTED) and mark is not None:
            if not mark.complete:
                write_whole(self._redundant_mark, replace(mark, complete=True).encode())
            if text:
                self._counted = replace(mark, complete=True, adopted=mark.adopted + text)
        else:
            self._write_marks(marks, text, pairing)
        return pairing

    def count_text(self) -> None:
        """Write down that the accepting text of a pair that fits has counted.

        Also where it was not needed: it must not accept the next accident. But not before the run
        changes something: one that ends earlier has done nothing with it.
        """
        if self._counted is not None:
            write_whole(self._redundant_mark, self._counted.encode())

    def _make_folders(self) -> None:
        """Make the folders of the redundant volume; raises Refused if nothing can be written."""
        for path in (self.state, self.current):
            try:
                os.makedirs(path, exist_ok=True)
                if not os.access(path, os.W_OK | os.X_OK):
                    read_only = os.statvfs(path).f_flag & os.ST_RDONLY
                    raise OSError(errno.EROFS if read_only else errno.EACCES, "", path)
            except OSError as wrong:
                if wrong.errno not in _CURES:
                    raise
                cure = _CURES[wrong.errno]
                raise Refused(
                    "RedundantNotWritable",
                    f"User {os.getuid()} cannot write into {shown(path)} "
                    f"({os.strerror(wrong.errno)}): {cure}.",
                ) from wrong
        if os.stat(self.state).st_dev != os.stat(self.current).st_dev:
            raise Refused(
                "NotOneFileSystem",
                f"{self._config.redundant.current} is a mount of its own inside of the redundant "
                f"volume: mount the volume's root only.",
            )

    def _write_marks(self, marks: Marks, text: tuple[str, ...], pairing: Pairing) -> None:
        """Write the redundant mark, incomplete, then the master's, then complete the first.

        A run that is killed in between is carried on by the next one.
        """
        store = f"{self._config.namespace}/{self._config.store}"
        old = marks.redundant if marks.redundant and marks.redundant.id else None
        known = marks.master if marks.master and marks.master.id else None
        begun = old.master if old and pairing is Pairing.FIRST else _new_id()
        master = known or Mark(begun, begun, store)
        master = replace(master, adopted=master.adopted + text)
        redundant = Mark(
            id=old.id if old else _new_id(),
            master=master.id,
            store=store,
            complete=False,
            adopted=(old.adopted if old else ()) + text,
        )
        try:
            write_whole(self._redundant_mark, redundant.encode())
            self.check_marks_apart()
            if master != marks.master:
                self._write_master_mark(master)
            self.check_marks_apart()
        except Refused:
            self._take_back(marks)
            raise
        write_whole(self._redundant_mark, replace(redundant, complete=True).encode())

    def _take_back(self, marks: Marks) -> None:
        """Leave nothing of a pair that is none: the next try must find both sides as they were."""
        for path, mark in (
            (self._master_mark, marks.master),
            (self._redundant_mark, marks.redundant),
        ):
            if mark is None and look(path) is not None:
                os.unlink(path)
            elif mark is not None and mark.id:
                write_whole(path, mark.encode())
        for path in (self.state, self.current):
            with contextlib.suppress(OSError):  # not empty: then it is not from this run alone
                os.rmdir(path)

    def _write_master_mark(self, mark: Mark) -> None:
        try:
            write_whole(self._master_mark, mark.encode())
        except OSError as wrong:
            cure = _RIGHTS if wrong.errno in (errno.EACCES, errno.EPERM) else "mount it writable"
            raise Refused(
                "MasterNotWritable",
                f"The mark {MASTER_MARK}, the one file that is ever written there, cannot be "
                f"written into the master ({wrong.strerror}): {cure}.",
            ) from wrong

    def one_name(self) -> bool:
        """Whether the redundant side takes two names for one: `a` and `A` (SMB, FAT), or the two
        forms of an accented letter (some SMB and ZFS)."""
        return any(self._takes_for_one(first, second) for first, second in _TWINS)

    def _takes_for_one(self, first: str, second: str) -> bool:
        probe = self.in_state(f"probe-{first}")
        write_whole(probe, b"")
        try:
            return look(self.in_state(f"probe-{second}")) is not None
        finally:
            os.unlink(probe)


def run_id(name: str) -> bool:
    """Whether a folder's name is that of a run, so that it may be deleted with the history."""
    return re.fullmatch(r"[0-9]{8}T[0-9]{6}Z-[0-9a-f]{4}", name) is not None


def _read(path: bytes) -> Mark | None:
    try:
        with open(Path(os.fsdecode(path)), "rb") as file:
            return identity.decode(file.read())
    except FileNotFoundError:
        return None


def _new_id() -> str:
    return str(uuid.uuid4())
