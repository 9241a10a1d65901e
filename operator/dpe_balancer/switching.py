# SPDX-License-Identifier: Apache-2.0
"""When the active member changes, and when not: the rules for the balancer that decides.

One member DOWN is a reason to switch. Both DOWN at nearly the same time is not: then something that
both need is away (a core database that fails over), and the recorded member stays the active one.
As that is known only afterwards, requests are moved at once and the switch is counted later.
"""

from __future__ import annotations

import datetime
from dataclasses import replace

from dpe_balancer.model import Cause, Choice, Moment, Pending, Site, Switch, SwitchRequest

# Both members DOWN within this time is an outage of something both need; also how long a move is
# provisional at most.
TOGETHER_SECONDS = 5.0
# After such an outage only the recorded member may serve for as long as the outage was, at most so
# long; then whoever is up.
HEAD_START_SECONDS = 3.0
# For so long after such an outage all who waited come at once. A member that is DOWN then may only
# be busy with them, so it is given a head start once more; another would be as busy.
RUSH_SECONDS = 10.0
# While the pair flaps: how long a member must have been UP to be trusted with the clients.
STEADY_SECONDS = 10.0


def judged(site: Site, choice: Choice, moment: Moment) -> Choice:
    """The choice from now on; `choice.active` must be set."""
    pending = choice.pending
    states = moment.seen.states
    if pending is not None:
        if states.get(pending.target) != "DOWN":
            return _counted(site, choice, pending, moment)
        both = states.get(choice.active or "") == "DOWN"
        choice = replace(choice, pending=None, outage=moment.now if both else None)
    outage = _outage(site, choice, moment)
    is_over = choice.outage is not None and outage is None
    choice = replace(choice, outage=outage, back_at=moment.now if is_over else choice.back_at)
    active, other = _both(site, choice)
    if choice.outage is not None or states.get(other) != "UP":
        return choice
    if states.get(active) == "DOWN":
        if not _may_take_over(site, choice, moment):
            return choice
        goods = moment.seen.goods.get(other, 0)
        return replace(choice, pending=Pending(other, moment.at, moment.now, goods))
    cause = _planned(site, choice, moment)
    if cause is None:
        return choice
    return switched(site, choice, Switch(active, other, cause, moment.at), moment)


def switched(site: Site, choice: Choice, switch: Switch, moment: Moment) -> Choice:
    """The choice after a switch that counts."""
    unplanned = choice.unplanned
    if switch.cause == "MemberDown":
        unplanned = (*unplanned, switch.at)[-(site.flap_switches + 1) :]
    return replace(
        choice,
        active=switch.target,
        since=switch.at,
        switch_count=choice.switch_count + 1,
        last_switch=switch,
        changed_at=moment.now,
        unplanned=unplanned,
        pending=None,
    )


def held_back(site: Site, choice: Choice, moment: Moment) -> frozenset[str]:
    """The members that HAProxy must not fall back to by itself when the active one is DOWN."""
    if choice.active is None or choice.pending is not None:
        return frozenset()
    _, other = _both(site, choice)
    barred = choice.outage is not None or not _may_take_over(site, choice, moment)
    return frozenset({other}) if barred else frozenset()


def is_flapping(site: Site, choice: Choice, at: str) -> bool:
    """Whether more than the allowed number of unplanned switches lie within the period before
    `at` (RFC 3339). One that lies ahead by a period or more was noted while a clock was wrong."""
    if len(choice.unplanned) <= site.flap_switches:
        return False
    now = seconds(at)
    if now is None:
        return False
    ages = [now - then for then in map(seconds, choice.unplanned) if then is not None]
    return sum(abs(age) < site.flap_seconds for age in ages) > site.flap_switches


def seconds(at: str) -> float | None:
    """Seconds since 1970 of an RFC 3339 time; None for any other text."""
    try:
        found = datetime.datetime.fromisoformat(at)
    except ValueError:
        return None
    return found.timestamp() if found.tzinfo is not None else None


def _both(site: Site, choice: Choice) -> tuple[str, str]:
    """The active member and the other one."""
    first, second = site.members
    assert choice.active is not None
    return choice.active, second if choice.active == first else first


def _counted(site: Site, choice: Choice, pending: Pending, moment: Moment) -> Choice:
    """Make the provisional move a switch once it is sure that not both members went DOWN."""
    seen = moment.seen
    if seen.states.get(pending.target) != "UP":  # not checked yet by an HAProxy started anew
        return choice
    checked = seen.goods.get(pending.target, 0) != pending.goods
    if not checked and moment.now - pending.began < TOGETHER_SECONDS:
        return choice
    assert choice.active is not None
    switch = Switch(choice.active, pending.target, "MemberDown", pending.at)
    return switched(site, choice, switch, moment)


def _outage(site: Site, choice: Choice, moment: Moment) -> float | None:
    """Since when both members are out together; None: they are not, or the head start is over."""
    active, other = _both(site, choice)
    states, watch, now = moment.seen.states, moment.watch, moment.now
    if choice.outage is not None:
        if states.get(active) == "UP":
            return None
        if states.get(active) != "DOWN" or states.get(other) != "UP":
            return choice.outage
        back_at = watch.up.get(other, now)
        is_over = now - back_at >= min(HEAD_START_SECONDS, back_at - choice.outage)
        return None if is_over else choice.outage
    if states.get(active) != "DOWN" or states.get(other) != "DOWN":
        return None
    apart = watch.down.get(active, now) - watch.down.get(other, now)
    return now if abs(apart) <= TOGETHER_SECONDS else None


def _may_take_over(site: Site, choice: Choice, moment: Moment) -> bool:
    """Whether the other member may stand in for the active one.

    While the pair flaps it has to be UP for a while, or two half-dead members would hand the
    clients to and fro. But clients are not left alone for longer than that.
    """
    if _is_rushed(choice, moment):
        return False
    if not is_flapping(site, choice, moment.at):
        return True
    active, other = _both(site, choice)
    now, watch = moment.now, moment.watch
    return max(now - watch.up.get(other, now), now - watch.down.get(active, now)) >= STEADY_SECONDS


def _is_rushed(choice: Choice, moment: Moment) -> bool:
    """Whether the active member, which was UP after an outage of both, may only be busy."""
    now, down_at = moment.now, moment.watch.down.get(choice.active or "", moment.now)
    if choice.back_at is None or down_at < choice.back_at:
        return False
    return now - choice.back_at < RUSH_SECONDS and now - down_at < HEAD_START_SECONDS


def _planned(site: Site, choice: Choice, moment: Moment) -> Cause | None:
    """Why to switch between two members of which the active one is not DOWN; None: no reason."""
    active, other = _both(site, choice)
    request = None if moment.record is None else moment.record.request
    if other in moment.terminating:
        return None
    if active in moment.terminating:
        return "Terminating"
    if request == SwitchRequest(other, choice.switch_count):
        return "Requested"
    if request is not None and request.count == choice.switch_count:
        return None  # somebody is about to switch: no time for a switch of our own
    return "Failback" if _is_failback_due(site, choice, moment) else None


def _is_failback_due(site: Site, choice: Choice, moment: Moment) -> bool:
    """Whether the first listed member is to be active again.

    A switch that somebody asked for is not undone: it was meant.
    """
    quiet, preferred, now = site.failback_seconds, site.members[0], moment.now
    if quiet is None or choice.active == preferred or moment.seen.states.get(preferred) != "UP":
        return False
    if choice.last_switch is not None and choice.last_switch.cause == "Requested":
        return False
    if is_flapping(site, choice, moment.at):
        return False
    up_for = now - moment.watch.up.get(preferred, now)
    return min(up_for, now - choice.changed_at) >= quiet
