# SPDX-License-Identifier: Apache-2.0
"""What the guard keeps in mind for --once: whether to wait any longer, and the exit status."""

from dpe_elector import exits
from dpe_elector.settings import Settings


class SingleRun:
    """The fate of a command that runs a single time; `status` is the exit status so far."""

    def __init__(self, settings: Settings) -> None:
        """Begin with a Lease that was not taken."""
        self.status = exits.NOT_TAKEN
        self._lost = False
        self._ended = False
        # The elector gives up by itself, after the call that is under way and one more to give the
        # Lease back. This is for one that hangs.
        self._overdue = settings.give_up_at + 2 * settings.timings.call_timeout + 1.0

    def overdue(self, now: float, starts: int) -> bool:
        """Whether an elector that has not got the command started at boot time `now` hangs."""
        return starts == 0 and now >= self._overdue

    def gave_up(self, code: int, starts: int) -> bool:
        """Whether an elector that ended with `code` did so because its time was over."""
        if starts or code not in (exits.NOT_TAKEN, exits.NOT_FOUND):
            return False
        self.status = code
        return True

    def stopped(self, number: int) -> None:
        """The container is being stopped by a signal; the command's own status counts, before and
        after."""
        if not (self._lost or self._ended):
            self.status = exits.as_shell(-number)

    def lost(self) -> None:
        """The Lease was lost under the command, which is being killed for it."""
        self._lost = True
        self.status = exits.PERMIT_ENDED

    def ended(self, code: int) -> None:
        """The command ended with `code` (negative: by that signal)."""
        self._ended = True
        if not self._lost:
            self.status = exits.as_shell(code)
