# SPDX-License-Identifier: Apache-2.0
"""The elector's process: carries out what the election decides.

One thread talks to the API server, to the guard and to the state file; two more only wake it (the
watch) or answer probes. Every call has a deadline, every wait is at most a second long.
"""

import contextlib
import json
import os
import select
import time
from collections import deque
from dataclasses import dataclass

from dpe_elector import clock, exits, lease
from dpe_elector.api_client import ApiClient, ApiError, ApiFailure
from dpe_elector.election import Mode, Rules, State, observe
from dpe_elector.environment import inherited, without_own
from dpe_elector.link import Link
from dpe_elector.log import Log
from dpe_elector.messages import Pipe, Status
from dpe_elector.peer import NO_SIGN, read_sign
from dpe_elector.permit import Permit
from dpe_elector.presence import Presence
from dpe_elector.probes import Health, Probes, file_is_fresh
from dpe_elector.settings import Settings
from dpe_elector.steps import (
    Able,
    Action,
    CommandEnded,
    Conflict,
    Create,
    Finish,
    Found,
    Nothing,
    Observation,
    Read,
    Silent,
    Stop,
    Unreachable,
    Wait,
    Woken,
    Write,
    Wrote,
)
from dpe_elector.watcher import Watcher

_LONGEST_WAIT = 1.0
# How often a ready file is looked at while the command is not ready, and a peer file always.
_READY_TICK = 0.2
# How often the guard is told to have the command end.
_STOP_AGAIN = 0.5


@dataclass(frozen=True)
class _Role:
    """What the state file says."""

    role: str
    epoch: int
    holder: str
    valid_until: float


def main(settings: Settings, pipe: Pipe, permit: Permit | None) -> int:
    """Be the elector until the Lease is given back or the guard is gone; returns the exit status.

    `permit` is that of a command which is running already, if an elector before this one died.
    """
    log = Log("elector")
    elector = Elector(settings, Link(pipe), log)
    if permit is not None:
        elector.resume(permit)
    return elector.run()


class Elector:
    """Joins the election to the API server, the guard, the state file and the probes."""

    def __init__(self, settings: Settings, link: Link, log: Log) -> None:
        """Read the environment of the pod; nothing is sent yet."""
        self._settings = settings
        self._link = link
        self._log = log
        self._hot = settings.mode is Mode.HOT
        self._rules = Rules(
            settings.identity,
            settings.mode,
            settings.timings,
            create_lease=settings.create_lease,
            once=settings.once,
            give_up_at=settings.give_up_at,
        )
        self._state = State()
        # exclusive: what a candidate needs before it may take the Lease
        self._presence = (
            None
            if self._hot
            else Presence(settings.command, settings.needs, without_own(inherited()))
        )
        self._end: lease.End | None = None
        self._stopping_at: float | None = None
        self._client = ApiClient.from_environment()
        self._leases = f"/apis/coordination.k8s.io/v1/namespaces/{settings.namespace}/leases"
        self._path = f"{self._leases}/{settings.lease}"
        self._watcher = Watcher(
            ApiClient.from_environment(),
            namespace=settings.namespace,
            name=settings.lease,
            pause=settings.timings.retry_period,
        )
        self._health = Health(settings.lease, settings.timings.duration, hot=self._hot)
        self._queue: deque[Observation] = deque()
        self._offset = 0.0
        self._told_until = 0.0
        self._was_able = False
        self._sign = NO_SIGN
        self._role: _Role | None = None
        self._trouble = ""
        self._trouble_at = 0.0

    def resume(self, permit: Permit) -> None:
        """Go on with a command that was started by an elector before this one."""
        # the guard starts no epoch that is not above this one, whatever a new Lease says
        self._state = State(
            epoch=permit.epoch, until=permit.until, running=True, top_epoch=permit.epoch
        )
        self._told_until = permit.until
        self._link.resumed(permit)

    def run(self) -> int:
        """Take part until there is nothing more to do."""
        if self._settings.probe_port:
            try:
                Probes(self._settings.probe_port, self._health).start()
            except OSError as error:
                self._log(f"--probe-port {self._settings.probe_port}: {error.strerror}")
        self._watcher.start()
        self._link.beat()
        self._look()
        observation: Observation = Nothing()
        while not self._link.ended:
            before = self._state
            now = clock.boot()
            self._state, action = observe(self._rules, before, observation, now)
            self._tell(before, now)
            if isinstance(action, Finish):
                return self._finish()
            observation = self._perform(action)
        return 0

    def _finish(self) -> int:
        """Exclusive: end. Hot: let the guard stop the command, and answer probes until it is
        done."""
        if self._hot:
            while not self._link.ended:
                self._link.stop()
                # The guard answers each order: without a pause the two would keep a processor busy.
                self._pause(_STOP_AGAIN)
        if self._settings.once and not (self._state.started or self._state.stopping):
            eye = self._presence
            missing = eye.missing if eye and eye.looked else None
            why = missing or f"the Lease {self._settings.lease} was not free in time"
            self._log(f"gave up: {why}")
            return exits.NOT_FOUND if missing else exits.NOT_TAKEN
        return 0

    def _pause(self, seconds: float) -> None:
        """Wait for all of that time or until the guard is gone, whatever it says meanwhile."""
        until = clock.boot() + seconds
        while not self._link.ended and (now := clock.boot()) < until:
            self._health.turned = now
            self._sleep(until - now)
            self._link.receive()
            self._watcher.rang()

    # --- carrying out

    def _perform(self, action: Action) -> Observation:
        if isinstance(action, Wait):
            return self._wait(action.until)
        started = clock.boot()
        # taken before the call, like the time that the permit is counted from
        self._offset = clock.wall_offset()
        timeout = self._settings.timings.call_timeout
        try:
            observation = self._call(action, timeout)
        except ApiFailure as failure:
            return self._failed(action, failure)
        if self._trouble:
            self._log("the API server answers again")
            self._trouble = ""
        if isinstance(action, Write):
            self._end = None
            self._health.early += action.early
            self._health.renewals += 1
            self._health.renew_last = clock.boot() - started
            self._health.renew_total += self._health.renew_last
        return observation

    def _call(self, action: Action, timeout: float) -> Observation:
        settings = self._settings
        if isinstance(action, Write) and action.early:
            silent = clock.boot() - self._state.since
            self._log(
                f"breaking the Lease of {action.base.holder} early: not renewed for {silent:.1f} s,"
                f" and its pod does not answer"
            )
        if isinstance(action, Create):
            body = lease.empty(settings.namespace, settings.lease)
            return Wrote(lease.view(self._client.post(self._leases, body, timeout=timeout)))
        if isinstance(action, Write):
            writing = lease.Writing(
                identity=settings.identity,
                holder=action.holder,
                epoch=action.epoch,
                duration=settings.timings.duration,
                fresh=action.fresh,
                pod=settings.pod,
                end=self._end,
                stopping=self._stopping_at,
            )
            body = lease.written(action.base.raw, writing, time.time())
            return Wrote(lease.view(self._client.put(self._path, body, timeout=timeout)))
        assert isinstance(action, Read)
        return Found(lease.view(self._client.get(self._path, timeout=timeout)))

    def _failed(self, action: Action, failure: ApiFailure) -> Observation:
        if isinstance(failure, ApiError):
            if failure.status == 404 and isinstance(action, Read):
                self._complain(f"there is no Lease {self._settings.lease}")
                return Found(None)
            if failure.status == 409 or (failure.status == 404 and isinstance(action, Write)):
                self._health.conflicts += 1
                return Conflict()
        self._health.failures += 1
        self._complain(str(failure))
        return Unreachable()

    def _complain(self, trouble: str) -> None:
        """Log trouble when it is new, and twice a minute while it lasts."""
        now = clock.boot()
        if trouble != self._trouble or now - self._trouble_at >= 30.0:
            self._log(trouble)
            self._trouble, self._trouble_at = trouble, now

    def _wait(self, until: float) -> Observation:
        self._listen()
        if not self._queue:
            looks = self._hot and (not self._was_able or self._settings.peer_file)
            tick = _READY_TICK if looks else _LONGEST_WAIT
            if self._presence is not None and not self._state.running:
                until = min(until, self._presence.due)
            self._sleep(min(until - clock.boot(), tick))
            self._listen()
        return self._queue.popleft() if self._queue else Nothing()

    def _sleep(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self._link.descriptor, select.POLLIN)
        poll.register(self._watcher.descriptor, select.POLLIN)
        if self._presence is not None and self._presence.descriptor >= 0:
            poll.register(self._presence.descriptor, select.POLLIN)
        poll.poll(max(0, int(seconds * 1000) + 1))

    def _listen(self) -> None:
        """Queue what guard, watch and ready file have to say."""
        if self._link.beat_is_due():
            self._link.beat()
        ended_now = False
        for status in self._link.receive():
            ended = self._link.command_ended(status, self._state)
            ended_now = ended_now or ended
            # told twice, the second telling would be taken for the end of the next command
            if ended and CommandEnded() not in self._queue:
                self._queue.append(CommandEnded())
                self._note_end(status)
            # after the end of the command, or the Lease is renewed before it is given back
            if status.stopping and not self._state.stopping and Stop() not in self._queue:
                self._log("stopping: giving the Lease back" if self._state.epoch else "stopping")
                self._stopping_at = time.time()
                self._queue.append(Stop())
        if self._watcher.rang():
            self._queue.append(Woken())
        # Hot: its end makes the election take it for unable. Noted here too, so that the next round
        # finds a change, and says so, if the command runs again already.
        able = self._look() and not (self._hot and ended_now)
        if able != self._was_able:
            self._was_able = able
            self._queue.append(Able(able))
        if self._settings.peer_file:
            self._look_at_peer()

    def _look(self) -> bool:
        """Say whether the command is fit (hot), or could be started (exclusive)."""
        if self._presence is None:
            ready_file = self._settings.ready_file
            return self._link.running and (not ready_file or file_is_fresh(ready_file))
        before = self._presence.missing
        running = self._state.running
        if not running or self._presence.descriptor >= 0:
            self._presence.look()
        missing = self._presence.missing
        if missing and missing != before:
            self._log(f"{missing}: not taking part")
        self._health.missing = "" if running else missing or ""
        return missing is None

    def _look_at_peer(self) -> None:
        """Queue what the command found out about the holder's pod, when that is news."""
        sign = read_sign(self._settings.peer_file, clock.boot())
        if sign == self._sign:
            return
        self._sign = sign
        self._queue = deque(item for item in self._queue if not isinstance(item, Silent))
        self._queue.append(sign)

    def _note_end(self, status: Status) -> None:
        """Keep in mind, for the next write, that the command ended though nobody asked it to."""
        asked = status.stopping or not self._state.epoch
        if not (asked or self._hot or self._settings.once):
            self._end = lease.End(time.time(), status.code)

    # --- telling

    def _tell(self, before: State, now: float) -> None:
        state = self._state
        if before.epoch != state.epoch:
            self._tell_change(before, state)
        if state.running and not self._hot:
            if not state.epoch:
                self._link.kill()
            elif state.acting(now) and state.until != self._told_until:
                self._told_until = state.until
                self._link.run(Permit(state.epoch, state.until, self._offset))
        self._tell_health(now)
        if self._settings.state_file:
            self._tell_role(now)

    def _tell_change(self, before: State, state: State) -> None:
        if state.epoch and not before.epoch:
            self._health.takeovers += 1
            self._log(f"holds the Lease {self._settings.lease}, epoch {state.epoch}")
        elif state.epoch:
            self._log(f"the epoch was lifted to {state.epoch}")
        elif state.seen is not None and state.seen.released and not state.absent:
            self._log("gave the Lease back")
        else:
            self._health.losses += 1
            holder = "nobody" if state.absent or state.seen is None else state.seen.holder
            self._log(f"lost the Lease to {holder or 'nobody'}")

    def _tell_health(self, now: float) -> None:
        health, state = self._health, self._state
        health.turned = now
        health.contact = state.contact
        health.able = self._was_able
        health.holder = state.acting(now)
        health.epoch = state.epoch
        health.running = self._link.running
        health.starts = self._link.starts

    def _tell_role(self, now: float) -> None:
        state = self._state
        known = now - state.contact <= self._settings.timings.duration
        role = "standby" if known else "unknown"
        if state.epoch:
            role = "holder" if state.acting(now) else "unknown"
        holder = state.seen.holder if known and state.seen and not state.absent else ""
        told = _Role(role, state.epoch, holder, state.until if state.epoch else 0.0)
        if role == "unknown" and self._role is None and self._is_told(now):
            return
        if told != self._role and self._write_role(told):
            self._role = told

    def _is_told(self, now: float) -> bool:
        """Whether an elector before this one, in the same container, said up to when this pod is
        the holder: that stays true until the Lease was read."""
        try:
            with open(self._settings.state_file, "rb") as file:
                found = json.load(file)
            until = float(found["validUntil"])
            return found["identity"] == self._settings.identity and now < until
        except (OSError, ValueError, KeyError, TypeError):
            return False

    def _write_role(self, role: _Role) -> bool:
        content = {
            "role": role.role,
            "epoch": role.epoch,
            "identity": self._settings.identity,
            "holder": role.holder,
            "validUntil": role.valid_until,
            "lease": self._settings.lease,
        }
        path = self._settings.state_file
        try:
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                json.dump(content, file)
            os.replace(f"{path}.new", path)
        except OSError as error:
            self._complain(f"--state-file {path} cannot be written: {error.strerror}")
            with contextlib.suppress(OSError):
                # better no file than one that says holder
                os.unlink(path)
            return False
        return True
