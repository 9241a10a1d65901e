# SPDX-License-Identifier: Apache-2.0
"""The three calls of rsync: what differs, copy these files, are these files equal."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dpe_par_sync.config import Compare
from dpe_par_sync.identity import MASTER_MARK
from dpe_par_sync.itemize import FORMAT, Kind, Plan, PlanUnreadable, parse
from dpe_par_sync.result import Failed, shortened, volume_full
from dpe_par_sync.supervisor import die_with_parent

# Files only: no links, owners, groups or modes, which SMB and NFS without root cannot keep; times
# only as exact as FAT and SMB have them. `-8`: names as they are.
_ALWAYS = ("--times", "--modify-window=2", "--8-bit-output")
_LIST = ("--dry-run", "-ii", f"--out-format={FORMAT}")
# exit statuses of rsync(1)
_PARTIAL = 23
_VANISHED = 24
_MESSAGE = 500


@dataclass(frozen=True)
class Answer:
    """What a call came to; `complete` is False when rsync could not read something."""

    output: bytes
    complete: bool
    errors: str


class Rsync:
    """rsync between the two locations of a run."""

    def __init__(self, master: Path, current: Path) -> None:
        """Raises Failed (RsyncMissing) where there is no such program."""
        self._master = f"{master}/"
        self._current = f"{current}/"
        self._program = shutil.which("rsync") or ""
        if not self._program:
            raise Failed("RsyncMissing", "The program rsync is not installed in this image.")

    def plan(self, compare: Compare, exclude: Sequence[str]) -> tuple[Plan, Answer]:
        """List the whole managed tree and how the copy differs; changes nothing.

        Raises Failed (PlanFailed).
        """
        checksum = ("--checksum",) if compare is Compare.CHECKSUM else ()
        # the second name exists for a moment while the mark is written
        ours = (f"--exclude=/{MASTER_MARK}", f"--exclude=/{MASTER_MARK}.new")
        theirs = (f"--exclude={pattern}" for pattern in exclude)
        answer = self._call(
            "PlanFailed",
            (*_LIST, "--recursive", "--delete", *checksum, *ours, *theirs),
            self._current,
        )
        return self._parsed(answer), answer

    def stage(self, paths: Iterable[bytes], staging: Path) -> Answer:
        """Copy these files of the master into the folder `staging`, with their folders.

        Those that could not be read are missing there afterwards. Raises Failed (CopyFailed).
        """
        return self._call(
            "CopyFailed",
            # private until it is moved: no further temporary name is needed
            ("--inplace", "--chmod=ugo=rwX", "--files-from=-", "--from0"),
            f"{staging}/",
            paths,
        )

    def unequal(self, paths: Iterable[bytes]) -> list[bytes]:
        """Compare these files of both sides by checksum and return those that differ.

        Raises Failed (VerificationFailed) if that cannot be done.
        """
        answer = self._call(
            "VerificationFailed",
            (*_LIST, "--checksum", "--files-from=-", "--from0"),
            self._current,
            wanted := sorted(paths),
        )
        equal = {
            item.path
            for item in self._parsed(answer).items
            if item.kind in (Kind.SAME, Kind.RETIME)
        }
        return [path for path in wanted if path not in equal]

    def _parsed(self, answer: Answer) -> Plan:
        try:
            return parse(answer.output)
        except PlanUnreadable as wrong:
            raise Failed("PlanFailed", str(wrong)) from wrong

    def _call(
        self, reason: str, options: Sequence[str], target: str, paths: Iterable[bytes] = ()
    ) -> Answer:
        done = subprocess.run(
            [self._program, *_ALWAYS, *options, "--", self._master, target],
            # "./" keeps a name that begins with # or ; from being taken for a comment
            input=b"".join(b"./" + path + b"\0" for path in paths),
            env={"PATH": os.defpath, "LC_ALL": "C"},
            capture_output=True,
            check=False,
            preexec_fn=die_with_parent,
        )
        errors = shortened(" ".join(done.stderr.decode("utf-8", "replace").split()), _MESSAGE)
        if os.strerror(errno.ENOSPC).encode() in done.stderr:
            raise volume_full()
        if done.returncode not in (0, _PARTIAL, _VANISHED):
            raise Failed(reason, f"rsync ended with status {done.returncode}: {errors}")
        return Answer(done.stdout, done.returncode != _PARTIAL, errors)
