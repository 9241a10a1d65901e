# SPDX-License-Identifier: Apache-2.0
"""One start: look, decide, copy, report. What it ends with is a memory, or a reason to stop."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from dpe_memory import words
from dpe_memory.copying import Copied, Look
from dpe_memory.decision import (
    Decision,
    Foreign,
    Lost,
    Said,
    Start,
    View,
    Wanted,
    Why,
    decide,
    highest,
)
from dpe_memory.handover import LinkBlocked, make_way, point
from dpe_memory.holding import LeaseFailed, NotHolder
from dpe_memory.layout import Mark
from dpe_memory.report import Report, State
from dpe_memory.settings import Settings
from dpe_memory.volume import Taken, Volume

EXIT_LOST = 80
EXIT_FOREIGN = 81
EXIT_AHEAD = 82
EXIT_VOLUME = 83
EXIT_LEASE = 84

# How often Lease and volume are looked at while a user is waited for.
LOOK_SECONDS = 2.0
# A memory that comes back must not have changed for so long: somebody may still be copying it.
QUIET_SECONDS = 10.0
# Other starts that use the same number at the same time: each try finds a higher one.
MOST_TRIES = 5
TIDY_SECONDS = 5.0
REPORT_SECONDS = 5.0
_FULL = (errno.ENOSPC, errno.EDQUOT)

Say = Callable[[str], None]


class Lease(Protocol):
    """What is needed of `holding.Holding`."""

    def read(self) -> Said:
        """Return what the Lease says."""
        ...

    def lift(self, above: int) -> int:
        """Have the Lease's epoch above `above` and return it."""
        ...

    def report(self, report: Report, patience: float = ...) -> None:
        """Write the report."""
        ...


class Stopped(Exception):
    """The command is not to be started; the message says why, and what to do."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Quiet:
    """Whether files that are looked at every LOOK_SECONDS stay as they are."""

    seen: tuple[int, dict[str, Look]] | None = None
    seconds: float = 0.0

    def look(self, epoch: int, found: dict[str, Look]) -> bool:
        """Take in how the files of an epoch look now; whether nothing changed for long enough."""
        same = self.seen == (epoch, found)
        self.seconds = self.seconds + LOOK_SECONDS if same else 0.0
        self.seen = (epoch, found)
        return self.seconds >= QUIET_SECONDS


@dataclass
class Run:
    """Prepares the memory of one start; `sleep` waits for so many seconds."""

    settings: Settings
    volume: Volume
    lease: Lease
    say: Say
    sleep: Callable[[float], None] = time.sleep
    told: Report | None = None
    adopted: str = ""
    loss: str = ""
    quiet: Quiet = field(default_factory=Quiet)

    def prepare(self) -> int:
        """Have the link point to this start's memory; returns the epoch in force.

        Raises Stopped.
        """
        try:
            start = self._agreed()
            make_way(self.settings.link)
            mark = self._make(start)
            self._take_over(mark)
            self._report(words.ready(mark, start))
            self.volume.tidy(TIDY_SECONDS, self.say)
        except OSError as error:
            raise self._failed(words.failed(error)) from error
        except LinkBlocked as blocked:
            raise self._failed(Report(State.FAILED, "LinkBlocked", str(blocked))) from blocked
        except Taken as taken:
            raise self._failed(
                Report(State.FAILED, "InUse", words.in_use(self.volume.path))
            ) from taken
        except NotHolder as over:
            raise Stopped(EXIT_LEASE, f"{over}: nothing is started") from over
        except LeaseFailed as failure:
            message = f"{failure}. The Lease is needed to know which memory was the last"
            raise Stopped(EXIT_LEASE, message) from failure
        finally:
            self.volume.drop_place()
        return self.volume.epoch

    # --- deciding

    def _agreed(self) -> Start:
        """Look until there is a place for this start's epoch and leave to go on."""
        until = time.monotonic() + self.settings.wait
        for _ in range(MOST_TRIES):
            said, view, decision = self._settle(until)
            if not self.volume.claim(view.owner):
                continue
            if decision.adopted:
                self.adopted = decision.adopted
                self.say(f"adopted the memory of {self.adopted}")
            try:
                self.volume.make_place()
            except Taken:
                self._lift(max(highest(self.volume.look(), said), self.volume.epoch))
                continue
            view = self.volume.look()
            if highest(view, said) >= self.volume.epoch:
                self._lift(highest(view, said))
                continue
            # the look that counts: after the first change of our own, see Volume.make_place
            decided = decide(view, said, self._wanted())
            if isinstance(decided, Start):
                return replace(decided, adopted=self.adopted)
        raise self._ahead(f"{MOST_TRIES} times in a row another start had made a newer epoch")

    def _settle(self, until: float) -> tuple[Said, View, Start]:
        """Wait for leave to go on; returns what it was given for, too. Raises Stopped after the
        time allowed."""
        while True:
            said, view = self.lease.read(), self.volume.look()
            decision: Decision = decide(view, said, self._wanted())
            if isinstance(decision, Lost) and self._look_closer():
                view = self.volume.look()
                decision = decide(view, said, self._wanted())
            if isinstance(decision, Start):
                if not self._is_coming_back(decision, said):
                    return said, view, decision
                self._report(words.restoring(decision, self.loss, self.volume.path, QUIET_SECONDS))
            else:
                self._refuse(decision, until)
            self.sleep(LOOK_SECONDS)

    def _is_coming_back(self, start: Start, said: Said) -> bool:
        """Whether a memory that was lost may not be there altogether yet.

        The Lease tells of the loss too, as this pod may see the first of the files only.
        """
        self.loss = said.loss or self.loss
        if not self.loss or start.why is not Why.CARRIED or said.accepts == self.loss:
            return False
        return not self.quiet.look(start.source, self.volume.looks(start.source))

    def _refuse(self, decision: Foreign | Lost, until: float) -> None:
        """Say why nobody is started; raises Stopped after the time allowed."""
        self.quiet = Quiet()
        if isinstance(decision, Lost):
            self.loss = decision.token
        report = words.refusal(decision, self.settings.owner, self.volume.path)
        self._report(report)
        if time.monotonic() >= until:
            status = EXIT_FOREIGN if isinstance(decision, Foreign) else EXIT_LOST
            raise Stopped(status, report.message)

    def _look_closer(self) -> bool:
        """Before a memory is called lost: change the folder, so that it is read anew."""
        try:
            self.volume.make_place()
        except (OSError, Taken):
            return False
        return True

    def _lift(self, above: int) -> None:
        """Go on with an epoch above one that the volume knows."""
        self.say(
            f"epoch {above} was there already, this start is {self.volume.epoch}: the Lease was "
            f"deleted or restored. Raising its epoch"
        )
        try:
            epoch = self.lease.lift(above)
        except LeaseFailed as failure:
            raise self._ahead(
                f"epoch {above} was there already, and the Lease's cannot be raised: {failure}"
            ) from failure
        self.volume.renumber(epoch)
        self.say(f"goes on as epoch {epoch}")

    def _wanted(self) -> Wanted:
        return Wanted(self.settings.owner, self.settings.on_loss)

    # --- doing

    def _make(self, start: Start) -> Mark:
        began = time.monotonic()
        try:
            copied = self.volume.prepare(start.source, self.sleep)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            self.say(f"{words.text_of(error)}: removing old epochs, then trying once more")
            self.volume.drop_place()
            self.volume.tidy(None, self.say)
            self.volume.make_place()
            copied = self.volume.prepare(start.source, self.sleep)
        mark = self.volume.commit(start.source, copied)
        self._say_made(mark, copied, time.monotonic() - began)
        return mark

    def _take_over(self, mark: Mark) -> None:
        """Have OWNER name the memory that was made, and the link lead to it."""
        try:
            self.volume.remember(mark.memory)
            point(self.settings.link, self.volume.files(self.volume.epoch))
        except (OSError, LinkBlocked):
            # not to fill the volume with one copy more at each try
            self.volume.tidy(TIDY_SECONDS, self.say)
            raise

    def _say_made(self, mark: Mark, copied: Copied, seconds: float) -> None:
        memory = mark.memory
        what = f"copied from epoch {memory.source}" if memory.source else "new and empty"
        self.say(
            f"memory of epoch {memory.epoch}: {what}, {memory.files} files, {memory.bytes} bytes, "
            f"{seconds:.2f} s"
        )
        if copied.skipped:
            self.say(f"left out, as no watcher may share it: {words.some(copied.skipped)}")
        if not copied.settled:
            self.say("the source was still changing at the last look: the copy may be mixed")

    # --- telling

    def _report(self, report: Report) -> None:
        """Tell the Lease; that it cannot be told now stops nobody."""
        if report != self.told:
            self.say(report.message)
        self.told = report
        try:
            self.lease.report(report, REPORT_SECONDS)
        except LeaseFailed as failure:
            self.say(f"not reported: {failure}")

    def _failed(self, report: Report) -> Stopped:
        return self._stopped(EXIT_VOLUME, report)

    def _ahead(self, message: str) -> Stopped:
        return self._stopped(EXIT_AHEAD, Report(State.EPOCH_AHEAD, "LiftFailed", message))

    def _stopped(self, status: int, report: Report) -> Stopped:
        try:
            self.lease.report(report, REPORT_SECONDS)
        except (LeaseFailed, NotHolder) as failure:
            self.say(f"not reported: {failure}")
        return Stopped(status, report.message)
