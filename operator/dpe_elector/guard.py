# SPDX-License-Identifier: Apache-2.0
"""The guard: PID 1 of the container. Starts the command, and ends it when its permit ends.

One thread, no network, no volume, no log that can block: whatever happens to the elector, to the
API server or to kubelet, this loop goes on and counts down. See docs/adr/0002.
"""

import os
import select
import signal
from collections.abc import Callable, Mapping
from types import FrameType

from dpe_elector import clock, exits
from dpe_elector.backoff import Backoff
from dpe_elector.election import Mode
from dpe_elector.environment import inherited, without_own
from dpe_elector.log import Log
from dpe_elector.messages import Order, Phase, Pipe, Status, Verb, decode_order, pipes
from dpe_elector.permit import Permit, why_ended
from dpe_elector.processes import STOPS, Processes, forget_signals, kill, stops
from dpe_elector.settings import Settings
from dpe_elector.single_run import SingleRun

# Seconds for the elector to give the Lease back, before (hot) or after (exclusive) the command
# ends.
RELEASE_SECONDS = 3.0
# An elector that was silent for so long is hung, and is killed and started again.
SILENCE_SECONDS = 15.0
# How often the guard looks: under a permit, while it kills, otherwise.
PERMIT_TICK, CLEARING_TICK, IDLE_TICK = 0.1, 0.02, 0.5
_FORWARDED = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


ElectorMain = Callable[[Settings, Pipe, Permit | None], int]


class Guard:
    """Runs the elector and the command; `run` returns the exit status of the container."""

    def __init__(self, settings: Settings, elector_main: ElectorMain, log: Log) -> None:
        """`elector_main` is what the elector's process does, given its pipe and a running
        permit."""
        self._settings = settings
        self._elector_main = elector_main
        self._log = log
        self._processes = Processes()
        self._environment = without_own(inherited())
        self._hot = settings.mode is Mode.HOT
        self._single = SingleRun(settings) if settings.once else None
        self._phase = Phase.NONE
        self._command = 0
        self._epoch = 0
        self._starts = 0
        self._code = 0
        self._permit: Permit | None = None
        # a permit has ended: nobody is listened to until nothing of what it killed is left
        self._fenced = False
        self._backoff = Backoff(0.2, 10.0)
        self._kill_at = float("inf")
        self._elector = 0
        self._pipe: Pipe | None = None
        self._elector_backoff = Backoff(0.2, 5.0)
        self._silent = 0.0
        self._order = 0
        self._signals: list[int] = []
        self._stopping_since: float | None = None
        self._cleared_at: float | None = None
        self._wake = os.pipe()

    def run(self) -> int:
        """Guard until the container is stopped; under --once also until the permit ends, from which
        it does not return."""
        self._catch_signals()
        try:
            return self._loop()
        except BaseException:
            # a guard that fails must not leave anything behind that acts
            self._processes.kill_all(self._elector)
            raise

    def _loop(self) -> int:
        before = clock.boot()
        while True:
            # What has come in counts first: after a freeze of the guard alone the newest permit may
            # be good. What is late then is killed before anything else.
            orders = self._receive()
            for order in orders:
                if order.permit is not None:
                    self._renew(order.permit)
            self._check_permit()
            self._obey(orders)
            self._reap()
            self._take_signals()
            self._advance()
            self._tend_elector(min(clock.boot() - before, 1.0))
            if self._finished():
                self._processes.kill_all(self._elector)
                return 0 if self._single is None else self._single.status
            before = clock.boot()
            self._wait()

    # --- what comes in

    def _catch_signals(self) -> None:
        for descriptor in self._wake:
            os.set_blocking(descriptor, False)
        signal.set_wakeup_fd(self._wake[1], warn_on_full_buffer=False)

        def note(number: int, _frame: FrameType | None) -> None:
            self._signals.append(number)

        for number in (*stops(), signal.SIGCHLD, *_FORWARDED):
            signal.signal(number, note)

    def _wait(self) -> None:
        now = clock.boot()
        seconds = IDLE_TICK
        if self._phase is Phase.CLEARING:
            seconds = CLEARING_TICK
        elif self._permit is not None and self._phase is not Phase.NONE:
            seconds = min(PERMIT_TICK, self._permit.until - now)
        for until in (self._kill_at, self._backoff.next_start, self._elector_backoff.next_start):
            if until > now:
                seconds = min(seconds, until - now)
        poll = select.poll()
        poll.register(self._wake[0], select.POLLIN)
        if self._pipe is not None and not self._pipe.ended:
            poll.register(self._pipe.read_from, select.POLLIN)
        # rounded up: a poll that ends a little early would come around again and again
        poll.poll(max(0, int(seconds * 1000) + 1))
        try:
            os.read(self._wake[0], 4096)
        except BlockingIOError:
            pass

    def _receive(self) -> list[Order]:
        if self._pipe is None or self._pipe.ended:
            return []
        orders = []
        for line in self._pipe.receive():
            try:
                orders.append(decode_order(line))
            except ValueError:
                self._log(f"an order of the elector cannot be read: {line[:80]!r}")
        if orders:
            self._silent = 0.0
        return orders

    def _renew(self, permit: Permit) -> None:
        if self._phase is not Phase.NONE and permit.epoch == self._epoch and not self._fenced:
            self._permit = permit

    def _check_permit(self) -> None:
        if self._permit is None or self._phase is Phase.NONE:
            return
        why = why_ended(self._permit, clock.boot(), clock.wall_offset())
        if why is None:
            return
        # The elector too: what it was told before a pause is old. First kill, then speak or end: a
        # process that is stuck in a hung volume would keep the container alive through _exit.
        self._processes.kill_all(self._elector)
        self._log(f"killed the command: {why}")
        if self._single is not None:
            os._exit(exits.PERMIT_ENDED)
        # The container stays (docs/adr/0017): once nothing is left a new elector stands by.
        self._phase, self._permit, self._fenced = Phase.CLEARING, None, True

    def _obey(self, orders: list[Order]) -> None:
        for order in orders:
            self._order = order.number
            if order.verb is Verb.RUN and order.permit is not None:
                self._start_under(order.permit)
            elif order.verb is Verb.KILL and self._phase in (Phase.RUNNING, Phase.STOPPING):
                self._log("the Lease is lost: killing the command")
                if self._single is not None:
                    self._single.lost()
                self._phase = Phase.CLEARING
            elif order.verb is Verb.STOP and self._stopping_since is not None:
                self._ask_to_end()
        if orders:
            self._report()

    def _take_signals(self) -> None:
        signals, self._signals = self._signals, []
        for number in signals:
            if number in STOPS:
                if self._stopping_since is None:
                    self._log("the container is being stopped")
                    self._stopping_since = clock.boot()
                    self._report()
                    if self._single is not None:
                        self._single.stopped(number)
                    if not self._hot:
                        self._ask_to_end()
            elif number in _FORWARDED and self._phase is Phase.RUNNING:
                kill(self._command, number)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            if pid == self._elector:
                self._elector_ended(code)
            elif pid == self._command:
                self._command = 0
                self._code = exits.as_shell(code)
                self._log(f"the command ended with {_outcome(code)}")
                if self._single is not None:
                    self._single.ended(code)
                if self._phase in (Phase.RUNNING, Phase.STOPPING):
                    self._phase = Phase.CLEARING
                    self._report()

    # --- the command

    def _start_under(self, permit: Permit) -> None:
        if (
            self._phase is not Phase.NONE
            or permit.epoch <= self._epoch
            or self._stopping_since is not None
            or (self._single is not None and self._starts > 0)
            or why_ended(permit, clock.boot(), clock.wall_offset()) is not None
        ):
            return
        self._permit = permit
        self._epoch = permit.epoch
        self._start({"DPE_ELECTOR_EPOCH": str(permit.epoch)})

    def _start(self, more: Mapping[str, str]) -> None:
        self._phase = Phase.RUNNING
        self._starts += 1
        self._backoff.started = clock.boot()
        try:
            self._command = self._processes.start(
                self._settings.command, {**self._environment, **more}
            )
        except OSError as error:  # no more processes: as good as a command that ended at once
            self._log(f"the command cannot be started: {error.strerror}")
            self._phase = Phase.CLEARING
            self._code = exits.NOT_STARTED
            if self._single is not None:
                self._single.ended(exits.NOT_STARTED)
            return
        epoch = f" with epoch {self._epoch}" if self._epoch else ""
        self._log(f"started the command{epoch}, PID {self._command}")
        self._report()

    def _ask_to_end(self) -> None:
        if self._phase is Phase.RUNNING:
            self._phase = Phase.STOPPING
            self._kill_at = clock.boot() + self._settings.grace
            kill(self._command, signal.SIGTERM)
            self._report()

    def _advance(self) -> None:
        now = clock.boot()
        if self._hot and self._stopping_since is not None:
            if now - self._stopping_since >= RELEASE_SECONDS:
                self._ask_to_end()
        if self._phase is Phase.STOPPING and now >= self._kill_at:
            self._log(f"the command did not end within {self._settings.grace:g} s: killing it")
            self._phase = Phase.CLEARING
        if (
            self._single is not None
            and self._stopping_since is None
            and self._single.overdue(now, self._starts)
        ):
            self._log("gave up: the elector did not take the Lease in time")
            self._stopping_since = now
            self._report()
        if self._phase is Phase.CLEARING and self._processes.kill_left(keep=self._elector):
            if self._fenced:
                self._log("nothing of it is left: standing by")
            self._phase = Phase.NONE
            self._permit, self._fenced = None, False
            self._kill_at = float("inf")
            self._cleared_at = now
            self._backoff.ended(now)
            if self._single is not None and self._stopping_since is None:
                self._stopping_since = now
            self._report()
        if (
            self._hot
            and self._phase is Phase.NONE
            and self._stopping_since is None
            and now >= self._backoff.next_start
        ):
            self._start({})

    # --- the elector

    def _tend_elector(self, seconds: float) -> None:
        now = clock.boot()
        if not self._elector:
            ending = self._stopping_since is not None and self._phase is Phase.NONE
            if now >= self._elector_backoff.next_start and not ending and not self._fenced:
                self._start_elector()
            return
        # counted by own rounds, so that a frozen guard does not blame the elector for its sleep
        self._silent += seconds
        if self._silent > SILENCE_SECONDS:
            self._log(f"the elector was silent for {SILENCE_SECONDS:g} s: killing it")
            self._silent = 0.0
            kill(self._elector, signal.SIGKILL)

    def _start_elector(self) -> None:
        permit = self._permit if self._phase is not Phase.NONE else None
        if permit is None:
            # It knows of no command, and the Lease may have been made anew with lower epochs.
            self._epoch = 0
        self._elector_backoff.started = clock.boot()
        ends: tuple[Pipe, ...] = ()
        try:
            ours, theirs = ends = pipes()
            pid = os.fork()
        except OSError as error:
            self._log(f"the elector cannot be started: {error.strerror}")
            self._elector_backoff.ended(clock.boot())
            for end in ends:
                end.close()
            return
        if pid == 0:
            self._be_elector(ours, theirs, permit)
        theirs.close()
        self._pipe = ours
        self._elector = pid
        self._silent = 0.0
        self._order = 0
        self._report()

    def _be_elector(self, ours: Pipe, theirs: Pipe, permit: Permit | None) -> None:
        status = 1
        try:
            forget_signals()
            # only the guard ends the elector: until then it has to renew
            for number in STOPS:
                signal.signal(number, signal.SIG_IGN)
            ours.close()
            status = self._elector_main(self._settings, theirs, permit)
        except Exception as error:  # whatever it is, the guard starts a new one
            self._log.named("elector")(f"failed: {type(error).__name__}: {error}")
        finally:
            os._exit(status)

    def _elector_ended(self, code: int) -> None:
        self._elector = 0
        if self._pipe is not None:
            # what it said with its last breath still counts
            orders = self._receive()
            for order in orders:
                if order.permit is not None:
                    self._renew(order.permit)
            self._obey(orders)
            self._pipe.close()
            self._pipe = None
        self._elector_backoff.ended(clock.boot())
        if self._single is not None and self._single.gave_up(code, self._starts):
            self._stopping_since = clock.boot()
        if self._stopping_since is None:
            self._log(f"the elector ended with {_outcome(code)}, starting a new one")

    def _report(self) -> None:
        if self._pipe is not None:
            stopping = self._stopping_since is not None
            status = Status(
                self._order, self._phase, self._epoch, self._starts, stopping, self._code
            )
            self._pipe.send(status.encode())

    def _finished(self) -> bool:
        if self._stopping_since is None or self._phase is not Phase.NONE:
            return False
        if self._hot or not self._elector:
            return True
        # exclusive: only now, with nothing left that could act, the Lease is given back
        since = max(self._stopping_since, self._cleared_at or 0.0)
        return clock.boot() - since >= RELEASE_SECONDS


def _outcome(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"status {code}"
