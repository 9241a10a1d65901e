# SPDX-License-Identifier: Apache-2.0
"""Judges which server answered clients: each change needs a reason in the balancers' records or
logs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tests.chaos.faults import Struck
from tests.chaos.judge import Verdict
from tests.chaos.moves import ASLEEP, REPLACED, STARTED, TAKEN_BACK, Move, Recorded, Said, other_of

from dpe_operator.prober.measure import Change

# A switch of which only the record was seen is recorded so long after the first request at most.
_RECORD_SECONDS = 10.0
# Clocks of client and log are one; this is for the second that the guard's log counts in.
_SEEN_SECONDS = 1.0
# So long after the end of a balancer another one may take its place, with both in a crash loop.
_BACK_SECONDS = 60.0
_AGENT_STOPPED = {"agent frozen", "command frozen", "pod frozen"}
# Moves that were never recorded: by which rule that is explained, and why.
_UNRECORDED = {
    TAKEN_BACK: ("move-taken-back", "{0.target} stood in for {0.source}, and was DOWN before that "
                 "counted as a switch"),
    REPLACED: (
        "balancer-replaced",
        "{0.target} stood in for {0.source}, and balancer {0.pod} ended, or another took its place, "
        "before it could record that, so the next one could not know",
    ),
    STARTED: (
        "haproxy-started",
        "the HAProxy of {0.pod} was started anew while {0.source} was DOWN; {0.target} stood in, "
        "and {0.source} was UP again before that counted as a switch",
    ),
    ASLEEP: ("agent-asleep", "{0.source} was DOWN and UP again, and the agent of {0.pod} was "
             "stopped meanwhile"),
}  # fmt: skip
# Between the moment at which a server is left and the one at which the former balancer drains.
_TAKES_OVER_SECONDS = 2.0
# In which order reasons are used: what a client sees but once, and while two balancers answer, and
# the way back of a move.
_DRAINING, _BACK = 1, 2
# So long what struck a balancer may show afterwards.
_SHOWS_SECONDS = 20.0


@dataclass
class _Reason:
    """Why a client may see `before` answer no more but `after`, between which times (seconds since
    1970). rule: that it is counted as; "": recorded. then: what the client may see after that. rank:
    the lowest is used up first; _DRAINING ones never are."""

    before: str
    after: str
    begin: float
    end: float
    rule: str = ""
    text: str = ""
    then: _Reason | None = None
    rank: int = 0

    def fits(self, change: Change) -> bool:
        right = change.after == self.after and self.before in ("", change.before)
        return right and self.begin <= change.at <= self.end


def judge_switches(
    changes: Iterable[Change],
    words: Said,
    struck: Sequence[Struck],
    verdict: Verdict,
    *,
    offset: float,
) -> None:
    """Each change of the server that answers needs a reason, and a reason is good for one change;
    but for those of clients that are still connected to a balancer that drains.

    changes: as a client saw them, by the time of the first answer.
    words: what the balancers wrote into the record (the same switch more than once is one), what
        they did and did not record, and when they drained.
    offset: what to add to the times of all that to get the boot time.
    """
    changes = list(changes)
    reasons = [*_reasons(words, struck, offset=offset), *_draining(words)]
    # A change may have two reasons, of which a later one needs the other.
    recorded_first = _explain(changes, reasons, moves_first=False)
    moves_first = _explain(changes, reasons, moves_first=True)
    found = min(recorded_first, moves_first, key=lambda one: one.count(None))
    strange = []
    for change, reason in zip(changes, found, strict=True):
        told = f"from {change.before} to {change.after} at {change.at + offset:.3f}"
        if reason is None:
            strange.append(f"{told}, which nobody has recorded")
        elif reason.rule:
            verdict.explained.append((reason.rule, f"{told}: {reason.text}"))
    if strange:
        text = f"old-member: {len(strange)} changes of the server that answers: "
        verdict.violations.append(text + "; ".join(strange[:5]))


def _explain(
    changes: Iterable[Change], reasons: Iterable[_Reason], *, moves_first: bool
) -> list[_Reason | None]:
    """The reason of each change, each used once; None: there is none."""
    left, found = list(reasons), []
    for change in changes:
        fitting = [one for one in left if one.fits(change)]
        reason = min(
            fitting,
            key=lambda one: (one.rank, (not one.rule) == moves_first, one.rule, one.end),
            default=None,
        )
        found.append(reason)
        if reason is not None and reason.rank != _DRAINING:
            left.remove(reason)
            if reason.then is not None:
                left.append(reason.then)
    return found


def _switches(words: Said) -> Iterator[tuple[str, float, float]]:
    """Member, begin and time of each switch that was recorded, however often."""
    switches: dict[tuple[int, str], list[Recorded]] = {}
    for one in words.recorded:
        switches.setdefault((one.count, one.member), []).append(one)
    for (_, member), told in switches.items():
        at = min(one.at for one in told)
        begins = [one.begin for one in told if one.begin is not None]
        decided = [
            one.at
            for one in words.decided
            if one.member == member and at - _RECORD_SECONDS <= one.at <= at
        ]
        yield member, min([*begins, *decided]) if begins else at - _RECORD_SECONDS, at


def _reasons(words: Said, struck: Sequence[Struck], *, offset: float) -> list[_Reason]:
    found = []
    for member, begin, at in _switches(words):
        found.append(_Reason("", member, begin - _SEEN_SECONDS, at + _SHOWS_SECONDS))
    for move in words.moves:
        if move.how == ASLEEP and not _slept(move, struck, offset=offset):
            continue
        rule, text = _UNRECORDED[move.how]
        text = text.format(move)
        late = move.end + _BACK_SECONDS
        back = _Reason(move.target, move.source, move.begin, late, rule, text, rank=_BACK)
        begin, end = move.begin - _SEEN_SECONDS, move.end + _SHOWS_SECONDS
        found.append(_Reason(move.source, move.target, begin, end, rule, text, then=back))
    return found


def _draining(words: Said) -> Iterator[_Reason]:
    """Where a server is left just as a balancer takes over, the one before it does not know yet: for
    a moment its clients are answered by that server if it is up again, the others by its stand-in."""
    left = [(member, begin, "") for member, begin, _ in _switches(words)]
    left += [(move.target, move.begin, move.pod) for move in words.moves]
    for target, begin, pod in left:
        for drain in words.drains:
            near = drain.begin - _TAKES_OVER_SECONDS <= begin <= drain.end
            if near and drain.pod != pod:
                source, since = other_of(target), max(begin, drain.begin) - _SEEN_SECONDS
                text = f"{drain.pod} drained, and knew of {source} only"
                for before, after in ((source, target), (target, source)):
                    until = drain.end + _SEEN_SECONDS
                    yield _Reason(before, after, since, until, "draining", text, rank=_DRAINING)


def _slept(move: Move, struck: Sequence[Struck], *, offset: float) -> bool:
    """Whether somebody had stopped the agent meanwhile."""
    begin, end = move.begin + offset, move.end + offset
    return any(
        one.fault.kind in _AGENT_STOPPED
        and one.pod == move.pod
        and one.begun <= end
        and one.ended >= begin
        for one in struck
    )
