# SPDX-License-Identifier: Apache-2.0
"""What can only be told from several looks at HAProxy: since when, and how long without answers.

Pure, and the same for the balancer that decides and for the other one, which must know how long a
member has been UP when it takes over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dpe_balancer.model import Choice, MemberState, Moment, Seen, Watch

# A member that had answered nobody for so long before its last good check was idle: nobody asked.
IDLE_SECONDS = 1.0
# The new member is up: who has no answer of it so long after the switch has asked nothing.
WAIT_SECONDS = 5.0


def watched(before: Watch, states: Mapping[str, MemberState], now: float) -> Watch:
    """Since when the members are as they are in `states`."""
    up = {name: before.up.get(name, now) for name, state in states.items() if state == "UP"}
    down = {name: before.down.get(name, now) for name, state in states.items() if state == "DOWN"}
    return Watch(up, down)


@dataclass(frozen=True)
class Measuring:
    """A gap that is open: since `left_at` (monotonic seconds) no answer is known of.

    `at` names the switch (RFC 3339), `answers` is the target's counter before it.
    """

    at: str
    target: str
    left_at: float
    began: float
    answers: int


@dataclass(frozen=True)
class Meter:
    """The latest look at which each member's counters had grown, and the gap that is measured.

    Times are monotonic seconds. `found`: the last gap in ms, by the `at` of its switch.
    """

    seen: Seen | None = None
    answered: Mapping[str, float] = field(default_factory=dict)
    checked: Mapping[str, float] = field(default_factory=dict)
    measuring: Measuring | None = None
    found: tuple[str, int] | None = None


def measured(
    meter: Meter, before: Choice, after: Choice, moment: Moment, *, tcp: bool
) -> tuple[Meter, Choice]:
    """One look further: the meter, and `after` with the gap of its last switch where it is known.

    The gap is the time from the old member's last answer to the new one's first, to the 0.1 s
    between two looks. It is that of all clients together; a single one may wait longer, until it
    tries again. In TCP mode there are no answers to be seen: it is the time from the old member's
    last good check to the first connection to the new one. At a planned switch the old member
    serves until the switch.
    """
    now = moment.now
    if after.serving != before.serving:
        meter = replace(meter, measuring=_opened(meter, before, after, moment, tcp=tcp))
    meter = _looked(meter, moment.seen, now, tcp=tcp)
    gap = meter.measuring
    if gap is not None:
        if moment.seen.answers.get(gap.target, 0) > gap.answers:
            took = max(0, round((now - gap.left_at) * 1000))
            meter = replace(meter, measuring=None, found=(gap.at, took))
        elif now - gap.began > WAIT_SECONDS:
            meter = replace(meter, measuring=None)
    last = after.last_switch
    if last is not None and meter.found is not None and meter.found[0] == last.at:
        after = replace(after, last_switch=replace(last, gap_ms=meter.found[1]))
        meter = replace(meter, found=None)
    return meter, after


def _opened(
    meter: Meter, before: Choice, after: Choice, moment: Moment, *, tcp: bool
) -> Measuring | None:
    """Begin to measure, if the switch was decided at this moment and the old member had work."""
    source, target, last = before.serving, after.serving, after.last_switch
    planned = after.pending is None
    at = last.at if planned and last is not None else "" if planned else moment.at
    if source is None or target is None or at != moment.at or meter.seen is None:
        return None
    checked, answered = meter.checked.get(source), meter.answered.get(source)
    if checked is None or answered is None or checked - answered > IDLE_SECONDS:
        return None
    left_at = moment.now if planned else checked if tcp else answered
    return Measuring(at, target, left_at, moment.now, meter.seen.answers.get(target, 0))


def _looked(meter: Meter, seen: Seen, now: float, *, tcp: bool) -> Meter:
    before = meter.seen
    answered, checked = dict(meter.answered), dict(meter.checked)
    for name in seen.states:
        open_now = tcp and seen.sessions.get(name, 0) > 0 and seen.states[name] == "UP"
        if open_now or (before and seen.answers.get(name, 0) > before.answers.get(name, 0)):
            answered[name] = now
        if before and seen.goods.get(name, 0) > before.goods.get(name, 0):
            checked[name] = now
    return replace(meter, seen=seen, answered=answered, checked=checked)
