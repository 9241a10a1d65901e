# SPDX-License-Identifier: Apache-2.0
"""The agent's loop: look at HAProxy, decide, tell HAProxy, say what the record shall be.

Everything in here stays on the machine; only `keeper` waits for the API server. So a fail-over
takes the same time whether that is there or not.
"""

from __future__ import annotations

import logging
import signal
import socket
import time
from dataclasses import replace

from dpe_balancer import local_files, news
from dpe_balancer.bell import Bell
from dpe_balancer.blind import is_blind, may_be_blind, may_give_way
from dpe_balancer.certificates import Certificates
from dpe_balancer.config import AgentConfig
from dpe_balancer.decision import (
    as_recorded,
    decide,
    is_mine,
    is_newer,
    is_ready,
    is_settled,
    with_word,
)
from dpe_balancer.drain import Drain, Place, drain
from dpe_balancer.haproxy import Child, Runtime
from dpe_balancer.haproxy_text import HaproxyFailure
from dpe_balancer.keeper import Board
from dpe_balancer.late import DOUBT_SECONDS, QUIET_SECONDS, is_kept
from dpe_balancer.liveness import HUNG_SECONDS, Liveness
from dpe_balancer.metrics import Figures
from dpe_balancer.model import Choice, KeepUp, Moment, Record, Role, Seen, SetActive, Site, Watch
from dpe_balancer.peer import Peer, SignFile
from dpe_balancer.record import Publication
from dpe_balancer.switching import is_flapping, seconds
from dpe_balancer.watch import Meter, measured, watched

log = logging.getLogger("dpe_balancer")

TICK_SECONDS = 0.1
SECOND = 1.0
# How long to wait for the record at the start, before what was kept of it has to do.
FIRST_READ_SECONDS = 3.0
START_SECONDS = 3.0
SHORT_LIFE_SECONDS = 2.0
SHORT_LIVES = 3
# After SIGTERM: how long at most until another balancer has published itself, and how long all
# nodes may then take to follow.
HANDOVER_SECONDS = 6.0
CONVERGE_SECONDS = 1.0


class Fatal(Exception):
    """The agent cannot go on: it ends, and the elector gives the Lease back."""


class Agent:
    """One balancer pod's agent. `run` returns when SIGTERM was carried out."""

    def __init__(
        self,
        config: AgentConfig,
        pod_uid: str,
        board: Board,
        *,
        runtime: Runtime,
        listener: socket.socket,
        peer: Peer,
    ) -> None:
        self._config = config
        self._site = Site(
            config.names,
            pod_uid,
            config.tcp,
            config.drain_seconds,
            config.failback_seconds,
            config.flap_switches,
            config.flap_seconds,
            config.late_seconds,
        )
        self._board = board
        self._runtime = runtime
        self._listener = listener
        self._child = Child(config, listener)
        self._certificates = Certificates(config.certificate_file, config.member_ca_file)
        run = config.run_directory
        self._role_file, self._ready_file = run / "role.json", run / "ready"
        self._kept_file = run / "choice.json"
        self._peer, self._sign = peer, SignFile(run / "peer.json")
        self._choice = Choice()
        self._kept: tuple[Choice, str | None] | None = None
        self._drain = Drain(given_at=time.monotonic())
        self._blind = False
        self._role = Role()
        self._seen: Seen | None = None
        self._watch, self._meter = Watch(), Meter()
        self._kept_at = -QUIET_SECONDS
        self._outages = 0
        self._ready = False
        self._restarts = -1
        self._liveness = Liveness(config.listen_address, config.listen_port)
        self._started_at = self._second_at = 0.0
        self._short_lives = 0
        self._stop_at: float | None = None
        self._left_at: float | None = None
        self._away_since: float | None = None
        self._bell = Bell()

    def run(self) -> None:
        """Work until SIGTERM; raises Fatal when HAProxy hangs or does not start, or when the other
        balancer has to take the clients."""
        signal.signal(signal.SIGTERM, self._on_stop)
        signal.signal(signal.SIGINT, self._on_stop)
        signal.signal(signal.SIGCHLD, self._on_child)
        self._take_back()
        try:
            if self._first_record():
                while not self._is_done():
                    self._tick()
                    self._bell.wait(TICK_SECONDS)
        finally:
            self._take_back()
            self._child.kill()

    def _take_back(self) -> None:
        """Say neither "ready" nor anything about the other balancer."""
        local_files.remove(self._ready_file)
        self._sign.clear()

    def figures(self) -> Figures:
        """The state for the metrics; may be asked by another thread."""
        record, _ = self._board.read()
        choice, last = self._choice, self._choice.last_switch
        states = {} if self._seen is None else self._seen.states
        return Figures(
            active=choice.serving,
            since=seconds(choice.since),
            last_gap=None if last is None or last.gap_ms is None else last.gap_ms / 1000,
            last_switch=last,
            outages=self._outages,
            outage=choice.outage is not None,
            flapping=is_flapping(self._site, choice, local_files.timestamp()),
            states=tuple((name, states.get(name, "UNKNOWN")) for name in self._site.members),
            holder=self._role.holder,
            routed=is_mine(self._site, record),
            ready=self._ready,
            full=self._liveness.full,
            peer_silent=bool(self._peer.silent),
            blind=self._blind,
            switch_count=choice.switch_count,
            haproxy_restarts=max(0, self._restarts),
            record_writes=self._board.writes,
            record_failures=self._board.failed_writes,
            certificate_renewals=self._certificates.renewals,
            certificate_failures=self._certificates.failures,
        )

    def word(self, sees_up: bool) -> str:
        """What the other balancer is told, by another thread: which member is active; empty while
        clients are not sent here, as then it is not this pod that decides.

        `sees_up`: what it says of itself, see `blind`.
        """
        if sees_up:
            self._peer.other_sees_up()
        record, _ = self._board.read()
        if not is_mine(self._site, record):
            return ""
        return local_files.word_text(self._choice, self._site.pod_uid, sees_up=self._peer.sees_up)

    def _on_stop(self, *_: object) -> None:
        if self._stop_at is None:
            self._stop_at = time.monotonic()
        self._bell.ring()

    def _on_child(self, *_: object) -> None:
        self._bell.ring()

    def _first_record(self) -> bool:
        """Wait until the active member is known, before HAProxy may serve; False: told to stop."""
        begin = time.monotonic()
        warned = False
        while self._stop_at is None:
            record, _ = self._board.read()
            if record is None and time.monotonic() - begin > FIRST_READ_SECONDS:
                record = local_files.load_record(self._kept_file)
                if record is not None:
                    log.warning("no answer from the API server, going on with what was kept")
                    self._board.show(record)
            if record is not None:
                kept = local_files.load_record(self._kept_file)
                if kept is not None and is_newer(self._site, kept, record):
                    log.warning("%s is active, which could not be recorded before", kept.active)
                    record = kept
                if record.active in self._site.members:
                    self._choice = as_recorded(self._choice, record)
                return True
            if not warned and time.monotonic() - begin > FIRST_READ_SECONDS:
                log.warning("waiting for the API server: which member is active is not known yet")
                warned = True
            self._bell.wait(TICK_SECONDS)
        return False

    def _tick(self) -> None:
        now = time.monotonic()
        self._liveness.tick(now)
        self._role = local_files.read_role(self._role_file, local_files.boot_time())
        if not self._child.running:
            if self._left_at is not None:
                return
            self._start_haproxy(now)
        try:
            seen = self._runtime.look()
            self._liveness.answered(full=seen.full)
            self._decide(seen)
        except HaproxyFailure as failure:
            log.warning("%s", failure)
            self._ready = False
        self._probe()
        self._tell_elector()
        if now - self._second_at >= SECOND:
            self._second_at = now
            self._each_second()

    def _start_haproxy(self, now: float) -> None:
        """Start HAProxy and wait until it answers; the recorded member is the only one enabled."""
        self._restarts += 1
        if self._restarts:
            log.error("HAProxy ended; starting it again with %s active", self._choice.active)
            short = now - self._started_at < SHORT_LIFE_SECONDS
            self._short_lives = self._short_lives + 1 if short else 0
            if self._short_lives >= SHORT_LIVES:
                raise Fatal(f"HAProxy ended {SHORT_LIVES} times right after its start")
        self._certificates.started()
        self._child.start(self._choice.serving)
        self._started_at = now
        self._liveness.started(now)
        while time.monotonic() - now < START_SECONDS and self._child.running:
            try:
                self._runtime.look()
            except HaproxyFailure:
                time.sleep(0.005)
            else:
                return

    def _decide(self, seen: Seen) -> None:
        record, terminating = self._board.read()
        record = with_word(self._site, record, self._peer.told)
        now = time.monotonic()
        self._watch = watched(self._watch, seen.states, now)
        moment = Moment(
            now, local_files.timestamp(), self._role, record, seen, terminating, self._watch
        )
        step = decide(self._site, self._choice, moment)
        tcp = self._config.tcp
        self._meter, choice = measured(self._meter, self._choice, step.choice, moment, tcp=tcp)
        self._tell(choice, seen)
        leaving = self._stop_at is not None
        drained, more = drain(self._site, self._drain, choice, moment, leaving=leaving)
        self._runtime.act([*step.actions, *more, *self._kept_up(choice, moment)])
        self._note_drain(drained)
        if any(isinstance(action, SetActive) for action in step.actions):
            seen = replace(seen, entry=choice.serving)
        self._keep(choice, record)
        self._seen = seen
        useless = self._sees_nothing(moment) and drained.place is Place.ELSEWHERE
        ready = is_ready(self._site, choice, record, seen) and not useless
        if ready and not self._ready:
            self._second_at = 0.0  # say so at once
        self._ready = ready
        self._board.ask(self._role, self._publication(moment, seen))
        busy = leaving or seen.full  # a full one is not cut off, and the other would be as full
        if self._blind and not busy and may_give_way(self._site, moment, drained):
            raise Fatal("giving way to the other balancer, which reaches a member")

    def _kept_up(self, choice: Choice, moment: Moment) -> tuple[KeepUp, ...]:
        """What keeps the only server, which is late with its checks."""
        member = choice.serving
        if member is None or not is_kept(self._site, choice, moment, self._meter):
            return ()
        if moment.now - self._kept_at >= QUIET_SECONDS:
            log.warning("%s is late with its checks: it is kept, as no other is up", member)
        self._kept_at = moment.now
        return (KeepUp(member),)

    def _keep(self, choice: Choice, record: Record | None) -> None:
        """Take the choice for the present one, and keep it for an agent that is started anew: with
        whom clients are sent to, which changes without it at a take-over."""
        self._choice = choice
        kept = (choice, None if record is None else record.routed_to)
        if choice.active is not None and kept != self._kept:
            local_files.save_choice(self._kept_file, *kept)
            self._kept = kept

    def _note_drain(self, drained: Drain) -> None:
        """Keep it; log where clients are sent to, when that is news."""
        before, self._drain = self._drain, drained
        if before.place is not drained.place:
            log.warning("%s", news.sent_to(drained.place, self._config.drain_seconds))

    def _sees_nothing(self, moment: Moment) -> bool:
        """Note whether this balancer is blind; return whether the other one sees more. For one that
        is not ready yet a suspicion will do: it would be ready for some seconds, and given the
        clients."""
        sight, before = self._peer.sight, self._blind
        self._blind = is_blind(self._site, moment, sight)
        if self._blind and not before:
            log.warning("no member is reached from here, but the other balancer reaches one")
        return self._blind or (not self._ready and may_be_blind(self._site, moment, sight))

    def _tell_elector(self) -> None:
        """Say whether the routed balancer is silent, if this one could take its place: it sees a
        member that is up, so it is not the one that is cut off."""
        states = {} if self._seen is None else self._seen.states
        fit = self._ready and self._stop_at is None and "UP" in states.values()
        self._peer.sees_up = fit and time.monotonic() - self._kept_at >= DOUBT_SECONDS
        self._peer.could_serve = fit and self._role.known
        self._sign.say(self._peer.silent if fit else "")

    def _publication(self, moment: Moment, seen: Seen) -> Publication | None:
        """What the record shall say; None while it is not ours or we are not fit to get clients."""
        choice, role = self._choice, moment.role
        fit = is_settled(choice, seen) and self._stop_at is None
        if not role.holder or choice.epoch != role.epoch or not fit:
            return None
        states = tuple((name, seen.states[name]) for name in self._site.members)
        # what is of the moment is nobody else's business, and would only cause requests
        recorded = replace(choice, pending=None, outage=None, back_at=None)
        return Publication(role.epoch, recorded, states)

    def _tell(self, choice: Choice, seen: Seen) -> None:
        """Log what a person would look for after an incident."""
        for level, text in news.lines(self._site, self._choice, choice, self._seen, seen):
            log.log(level, "%s", text)
        self._outages += news.begins_outage(self._choice, choice)

    def _probe(self) -> None:
        """Find out whether HAProxy hangs: on its socket or on the port that clients use."""
        listens = self._left_at is None
        if listens:
            self._liveness.probe(time.monotonic())
        if self._liveness.hangs(listens=listens) and self._child.running:
            raise Fatal(f"HAProxy (pid {self._child.pid}) hangs: no answer for {HUNG_SECONDS:g} s")

    def _each_second(self) -> None:
        if self._ready and self._stop_at is None:
            local_files.touch(self._ready_file)
        if self._child.running and self._stop_at is None:
            self._certificates.renew(self._load)

    def _load(self, kind: str, name: str, pem: str) -> None:
        """Have HAProxy use a file that changed; raises HaproxyFailure when it would not.

        An authority needs a new HAProxy, which the next look starts: over its socket it says
        "Success", but servers without a client certificate go on with the old one.
        """
        if kind == "cert":
            self._runtime.load_certificate(name, pem)
            return
        self._child.check()
        log.warning("%s has changed: HAProxy is started anew to use it", name)
        self._child.kill()

    def _is_done(self) -> bool:
        """Carry out SIGTERM step by step; True when nothing is left to do.

        Make before break: the elector has given the Lease back, so another balancer publishes
        itself while this one still serves; only then new connections are no longer taken.
        """
        if self._stop_at is None:
            return False
        now = time.monotonic()
        if self._left_at is None:
            if self._may_leave(now):
                self._leave(now)
            return False
        if not self._child.running or now - self._left_at >= self._config.drain_seconds:
            log.info("ending, whatever is still open")
            return True
        try:
            left = self._runtime.clients()
        except HaproxyFailure:
            return False
        if left == 0:
            log.info("ending, no connection is open any more")
        return left == 0

    def _may_leave(self, now: float) -> bool:
        assert self._stop_at is not None
        record, _ = self._board.read()
        if is_mine(self._site, record):
            self._away_since = None
        elif self._away_since is None:
            self._away_since = now
        if self._away_since is not None and now - self._away_since >= CONVERGE_SECONDS:
            return True
        return now - self._stop_at >= HANDOVER_SECONDS

    def _leave(self, now: float) -> None:
        log.info("taking no new connections; open ones have %g s", self._config.drain_seconds)
        self._left_at = now
        try:
            self._runtime.stop_listening()
        except HaproxyFailure as failure:
            log.warning("%s", failure)
        self._listener.close()
