# SPDX-License-Identifier: Apache-2.0
"""The election as a pure state machine: `observe(rules, state, observation, now) -> (state,
action)`.

It knows neither clocks nor sockets nor processes: the caller carries out the action and comes back
with what it saw. The same code runs in production and in the model test (tests/unit/elector).

The rules, in the order in which they matter:

* A holder may act until `until`, counted from the *start* of its last successful write.
* A Lease is taken only by a PUT on the very version that was seen unchanged for the longest of the
  durations involved, or on one that its holder gave back itself. A Lease that is new, cleared or
  edited by hand is waited for like a held one: somebody who has not noticed yet may still be
  acting.
* Every holding has an epoch of its own, higher than any that was ever seen.
* A holder that reads another name in the Lease, or finds no Lease, has lost it.
* In hot mode holding is only a role, so nobody waits for a Lease without a holder. And there a
  Lease may be broken early, on two signs at once: three renewals were left out, which the write
  itself proves (it is bound to the version that was seen all that time, so it fails if the holder
  did renew, or if it was this pod that could not reach the API server), and the holder's pod does
  not answer when it is asked directly. Not before the holder was seen holding for 30 s.
* In hot mode a Lease that was not renewed counts only if the API server has answered this pod for
  the time of three renewals. When it comes back after an outage, a holder that lives goes on.
* A single run (`once`) takes the Lease until `give_up_at` and never again after its command ran.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

from dpe_elector.lease import LeaseView
from dpe_elector.steps import (
    Able,
    Action,
    CommandEnded,
    Conflict,
    Create,
    Finish,
    Found,
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
from dpe_elector.timings import EARLY_PAUSE, Timings

# A command that ran for this long was healthy: its next failure is the first one again.
HEALTHY_SECONDS = 60.0
FIRST_BACKOFF = 1.0
LONGEST_BACKOFF = 60.0
# Between two calls, however long they take, there is a moment to hear what guard and watch have to
# say, and to let the guard know that this process is alive.
LISTEN_SECONDS = 0.02


class Mode(StrEnum):
    """`exclusive`: the command runs only for a holder. `hot`: it always runs, holding is a role."""

    EXCLUSIVE = "exclusive"
    HOT = "hot"


@dataclass(frozen=True)
class Rules:
    """What does not change while a process lives.

    `once`: the command runs a single time; a Lease that was not taken by `give_up_at` (boot time in
    seconds) is given up.
    """

    identity: str
    mode: Mode
    timings: Timings
    create_lease: bool = False
    once: bool = False
    give_up_at: float = float("inf")


class Call(StrEnum):
    """The call to the API server that is under way."""

    NONE = ""
    READ = "read"
    CREATE = "create"
    TAKE = "take"
    RENEW = "renew"
    RELEASE = "release"


@dataclass(frozen=True)
class State:
    """All that an elector remembers; times are boot time in seconds.

    `epoch` is that of its own holding (0: it holds nothing) and `until` the end of its permission
    to act. `running` (exclusive mode): the command was handed to the guard and its end has not been
    seen; `started`: that happened at least once. `seen` is the Lease as last read, `since` the time
    at which this version was first seen, `holder_since` that at which its holder was. `silent` is
    the uid of the pod that does not answer when asked directly, good up to `silent_until`.
    `contact` is when the API server answered last, `in_touch_since` the first of the answers that
    came one soon after the other (infinity: the last one is too long ago).
    `attempt` is the epoch of a take-over, begun at `attempted_at`, to which no answer has come (0:
    none).
    """

    epoch: int = 0
    until: float = 0.0
    running: bool = False
    started: bool = False
    able: bool = False
    stopping: bool = False
    releasing: bool = False
    seen: LeaseView | None = None
    absent: bool = False
    since: float = 0.0
    holder_since: float = 0.0
    silent: str = ""
    silent_until: float = 0.0
    longest: float = 0.0
    top_epoch: int = 0
    contact: float = float("-inf")
    in_touch_since: float = float("inf")
    call: Call = Call.NONE
    called_at: float = float("-inf")
    stale: bool = True
    attempt: int = 0
    attempted_at: float = 0.0
    next_at: float = float("-inf")
    failures: int = 0
    not_before: float = float("-inf")
    began: float = 0.0

    def acting(self, now: float) -> bool:
        """Whether this pod is the holder and may act at `now`."""
        return self.epoch > 0 and now < self.until


def observe(
    rules: Rules, state: State, observation: Observation, now: float
) -> tuple[State, Action]:
    """Take in one observation and say what to do next.

    `now` is the boot time in seconds at which the caller hands over the observation. Every action
    is answered by exactly one observation (Wait: by any).
    """
    if now - state.contact > rules.timings.out_of_touch:
        state = replace(state, in_touch_since=float("inf"))
    state = _learn(rules, state, observation, now)
    if state.silent and now >= state.silent_until:
        state = replace(state, silent="")
    if state.running and state.acting(now):
        state = replace(state, started=True)
    return _decide(rules, state, now)


def _learn(rules: Rules, state: State, observation: Observation, now: float) -> State:
    match observation:
        case Found(lease):
            state = _found(rules, replace(_answered(state, now), call=Call.NONE), lease, now)
        case Wrote(lease):
            state = _wrote(rules, _answered(state, now), lease, now)
        case Conflict():
            state = replace(_answered(state, now), call=Call.NONE, stale=True, next_at=now)
        case Unreachable():
            state = _unreachable(rules, state, now)
        case Woken():
            state = replace(state, stale=True, next_at=now)
        case CommandEnded():
            state = _command_ended(rules, state, now)
        case Able(able):
            state = replace(state, able=able, next_at=now if able else state.next_at)
        case Silent(pod, until):
            state = replace(state, silent=pod, silent_until=until)
            state = replace(state, next_at=min(state.next_at, max(now, _early_at(rules, state))))
        case Stop():
            state = _stop(state, now)
    return state


def _answered(state: State, now: float) -> State:
    return replace(state, contact=now, in_touch_since=min(state.in_touch_since, now))


def _stop(state: State, now: float) -> State:
    releasing = state.epoch > 0 and not state.running
    return replace(state, stopping=True, releasing=releasing, next_at=now)


def _found(rules: Rules, state: State, lease: LeaseView | None, now: float) -> State:
    state = replace(state, stale=False, absent=lease is None)
    if lease is not None:
        state = _remember(rules, state, lease, now)
    if state.epoch:
        if lease is None or lease.holder != rules.identity:
            state = replace(state, epoch=0, until=0.0, releasing=False)
            return replace(state, next_at=_look_again(rules, state, now))
        if rules.mode is Mode.HOT:
            # somebody lifted the epoch, as the balancer's agent does for a record ahead of it
            state = replace(state, epoch=max(state.epoch, lease.epoch))
        return replace(state, next_at=now)
    return replace(state, next_at=_look_again(rules, state, now))


def _remember(rules: Rules, state: State, lease: LeaseView, now: float) -> State:
    """Take over what a Lease that was just read or written says."""
    before = state.seen
    if before is None or (before.uid, before.version) != (lease.uid, lease.version):
        state = replace(state, since=now)
    if before is None or (before.uid, before.holder) != (lease.uid, lease.holder):
        state = replace(state, holder_since=now)
    if before is None or (lease.holder and lease.holder != before.holder):
        # a new holder's own duration counts, not that of the one before
        longest = lease.duration
    else:
        longest = max(state.longest, lease.duration)
    return replace(state, seen=lease, longest=longest, top_epoch=max(state.top_epoch, lease.epoch))


def _wrote(rules: Rules, state: State, lease: LeaseView, now: float) -> State:
    call = state.call
    state = replace(_remember(rules, state, lease, now), call=Call.NONE, stale=False, absent=False)
    next_at = _after_call(rules, state, now)
    if call is Call.CREATE:
        return replace(state, next_at=_look_again(rules, state, now))
    if call is Call.RELEASE:
        state = replace(state, epoch=0, until=0.0, releasing=False)
        return replace(state, next_at=_look_again(rules, state, now))
    state = replace(state, until=state.called_at + rules.timings.renew_deadline, next_at=next_at)
    if not state.epoch:
        state = replace(
            state,
            epoch=lease.epoch,
            attempt=0,
            running=rules.mode is Mode.EXCLUSIVE,
            began=now,
        )
    if now >= state.until:
        # the answer came too late to act on it, but the Lease is ours: renew it at once
        state = replace(state, next_at=now)
    return state


def _unreachable(rules: Rules, state: State, now: float) -> State:
    tried = state.call
    return replace(
        state,
        call=Call.NONE,
        # A holder tries the same write again, its version makes that harmless. A candidate looks
        # whether its write was carried out after all.
        stale=state.stale or tried in (Call.TAKE, Call.CREATE),
        next_at=_after_call(rules, state, now),
    )


def _after_call(rules: Rules, state: State, now: float) -> float:
    """The time of the next call: a retry period after the last one, and never at once."""
    return max(now + LISTEN_SECONDS, state.called_at + rules.timings.retry_period)


def _command_ended(rules: Rules, state: State, now: float) -> State:
    if rules.mode is Mode.HOT:
        return replace(state, able=False, releasing=state.epoch > 0, next_at=now)
    if rules.once and state.started:
        state = replace(state, stopping=True)
    if not state.epoch or not state.running:
        return replace(state, running=False, next_at=now)
    failures = 1 if now - state.began >= HEALTHY_SECONDS else state.failures + 1
    backoff = min(LONGEST_BACKOFF, FIRST_BACKOFF * 2 ** min(failures - 1, 10))
    return replace(
        state,
        running=False,
        releasing=True,
        failures=failures,
        not_before=now + backoff,
        next_at=now,
    )


def _decide(rules: Rules, state: State, now: float) -> tuple[State, Action]:
    if state.stopping and not state.epoch:
        # a command that is being killed is waited for
        return (state, Wait(now + 1.0)) if state.running else (state, Finish())
    if rules.once and not state.started and now >= rules.give_up_at:
        if not state.epoch or state.releasing:
            return state, Finish()
        # taken, but the answer came too late to act on it: one attempt to give it back
        state = replace(state, running=False, releasing=True, next_at=now)
    if now < state.next_at:
        return state, Wait(state.next_at)
    return _act(rules, state, now)


def _act(rules: Rules, state: State, now: float) -> tuple[State, Action]:
    unknown = state.stale or (state.seen is None and not state.absent)
    if state.epoch and not unknown:
        return _hold(rules, state, now)
    if unknown or (state.absent and not (rules.create_lease and not state.running)):
        return _call(state, Call.READ, now), Read()
    if state.absent:
        return _call(state, Call.CREATE, now), Create()
    return _stand_by(rules, state, now)


def _hold(rules: Rules, state: State, now: float) -> tuple[State, Action]:
    assert state.seen is not None
    epoch = max(state.epoch, state.seen.epoch)
    if state.releasing:
        write = Write(state.seen, holder="", epoch=epoch, fresh=False)
        return _call(state, Call.RELEASE, now), write
    write = Write(state.seen, holder=rules.identity, epoch=epoch, fresh=False)
    return _call(state, Call.RENEW, now), write


def _stand_by(rules: Rules, state: State, now: float) -> tuple[State, Action]:
    assert state.seen is not None
    free = _free(rules, state, now)
    early = not free and _early_at(rules, state) <= now
    if not (free or early) or not _fit(rules, state):
        return _call(state, Call.READ, now), Read()
    if _own_attempt(rules, state):
        write = Write(state.seen, holder=rules.identity, epoch=state.seen.epoch, fresh=False)
        return _call(state, Call.TAKE, now), write
    epoch = max(state.top_epoch, state.seen.epoch) + 1
    write = Write(state.seen, holder=rules.identity, epoch=epoch, fresh=True, early=early)
    return replace(_call(state, Call.TAKE, now), attempt=epoch, attempted_at=now), write


def _call(state: State, call: Call, now: float) -> State:
    return replace(state, call=call, called_at=now)


def _fit(rules: Rules, state: State) -> bool:
    """Whether this pod could act if it were the holder."""
    return state.able and (rules.mode is Mode.HOT or not state.running)


def _free(rules: Rules, state: State, now: float) -> bool:
    """Whether the Lease may be taken at `now`."""
    return now >= _free_at(rules, state)


def _free_at(rules: Rules, state: State) -> float:
    """The time from which the Lease, if it stays as it is, may be taken."""
    lease = state.seen
    assert lease is not None
    if rules.mode is Mode.HOT and lease.holder in ("", rules.identity):
        return float("-inf")
    # what was given back before a later holding, and was put back by hand, says nothing of now
    if lease.released and lease.epoch >= state.top_epoch:
        return state.not_before
    if _own_attempt(rules, state):
        return float("-inf")
    # Not held back by one's own back-off: this holder is gone, and somebody has to run.
    expires = state.since + max(state.longest, rules.timings.duration)
    return max(expires, _in_touch_at(rules, state)) if rules.mode is Mode.HOT else expires


def _in_touch_at(rules: Rules, state: State) -> float:
    """The time from which a holder that lives would have renewed, as it could: the API server has
    answered for so long. Who was cut off from it saw no renewal for that reason alone, and after an
    outage of it nobody could renew."""
    return state.in_touch_since + rules.timings.silence


def _early_at(rules: Rules, state: State) -> float:
    """The time from which the Lease, if it stays as it is, may be broken early; infinity without
    the sign that its holder does not answer."""
    lease = state.seen
    if rules.mode is not Mode.HOT or lease is None or not state.silent or state.absent:
        return float("inf")
    if state.epoch or lease.holder.rpartition("_")[0] != state.silent:
        return float("inf")
    at = max(state.since + rules.timings.silence, state.holder_since + EARLY_PAUSE)
    at = max(at, _in_touch_at(rules, state))
    return at if at < state.silent_until else float("inf")


def _own_attempt(rules: Rules, state: State) -> bool:
    """Whether the Lease shows a take-over of our own whose answer was lost on the way.

    One that is seen late, or after a higher epoch, is waited for: somebody else may have held the
    Lease meanwhile and still be acting, and this is what it was, put back from a dump.
    """
    lease = state.seen
    return (
        lease is not None
        and state.attempt > 0
        and lease.holder == rules.identity
        and lease.epoch == state.attempt >= state.top_epoch
        and state.since < state.attempted_at + rules.timings.renew_deadline
        and lease.written_by == (rules.identity, state.attempt)
    )


def _look_again(rules: Rules, state: State, now: float) -> float:
    """When a candidate does its next call: at once if the Lease may be taken now."""
    usual = now + rules.timings.retry_period
    if state.absent:
        return now if rules.create_lease and not state.running else usual
    if not _fit(rules, state):
        return usual
    return max(now, min(usual, _free_at(rules, state), _early_at(rules, state)))
