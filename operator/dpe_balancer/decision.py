# SPDX-License-Identifier: Apache-2.0
"""Which member is active: a pure function from what was seen to what is to be done.

The balancer that clients are routed to decides alone, by the health checks of its own HAProxy. It
needs no API server for that. The other balancer follows what is written on the EndpointSlice, so
that a take-over moves no client to another member.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from dpe_balancer.model import (
    Action,
    Choice,
    CutSessions,
    Enable,
    HoldBack,
    Moment,
    Record,
    Release,
    Seen,
    SetActive,
    Site,
    Step,
    Switch,
)
from dpe_balancer.switching import held_back, judged, switched

_Held = TypeVar("_Held", Choice, Record)


def decide(site: Site, choice: Choice, moment: Moment) -> Step:
    """What is active from now on, and what HAProxy must be told.

    Asked again with nothing changed it gives no action: it compares, it does not remember.
    """
    choice = _settle(site, choice, moment)
    if choice.active is not None and decides(site, choice, moment):
        choice = judged(site, choice, moment)
    elif choice.pending is not None or choice.outage is not None:
        choice = replace(choice, pending=None, outage=None)
    return Step(choice, _actions(site, choice, moment))


def decides(site: Site, choice: Choice, moment: Moment) -> bool:
    """Whether this balancer decides: clients are routed to it, or it is about to publish itself.

    Without an API server the Lease runs out but nobody can take over, so the routed one goes on.
    """
    role = moment.role
    return is_mine(site, moment.record) or (role.holder and choice.epoch == role.epoch)


def is_checked(seen: Seen) -> bool:
    """Whether HAProxy uses both members and has checked them at least once."""
    return not seen.disabled and "UNKNOWN" not in seen.states.values()


def is_settled(choice: Choice, seen: Seen) -> bool:
    """Whether HAProxy does what was chosen and knows both members: fit to get clients."""
    return choice.active is not None and seen.entry == choice.serving and is_checked(seen)


def is_ready(site: Site, choice: Choice, record: Record | None, seen: Seen) -> bool:
    """Whether this pod may count as ready: settled, or there is nothing yet to settle on.

    On the first start of a site nothing is recorded, after a change of the pair nothing usable. A
    balancer that were not ready until then would not be given the Lease, and so nobody could
    record anything.
    """
    if choice.active is None:
        unrecorded = record is not None and record.active not in site.members
        return unrecorded and is_checked(seen)
    return is_settled(choice, seen)


def is_mine(site: Site, record: Record | None) -> bool:
    """Whether clients are routed to this pod, by the last news there was."""
    return record is not None and record.routed_to == site.pod_uid


def is_newer(site: Site, kept: Record, record: Record) -> bool:
    """Whether what the agent before this one kept is newer than the record: clients are sent to
    this pod all the time, so it decided, but it ended before it could write that down."""
    mine = record.routed_to == kept.routed_to == site.pod_uid
    return mine and kept.switch_count > record.switch_count


def with_word(site: Site, record: Record | None, told: Record | None) -> Record | None:
    """The record, corrected by what the pod that clients are sent to says itself, where that is
    newer: it decides without an API server, and may have switched without being able to write it
    down. A take-over that does not know of it would move all clients back (docs/adr/0016).

    `told`: its word, None without one. The word of any other pod, or of a member that is not part
    of the pair, counts for nothing.
    """
    if record is None or told is None or told.routed_to != record.routed_to:
        return record
    if told.active not in site.members or told.switch_count <= record.switch_count:
        return record
    return as_recorded(record, told)


def as_recorded(held: _Held, record: Record) -> _Held:
    """A choice, or an older record, with everything about the active member taken over."""
    return replace(
        held,
        active=record.active,
        since=record.since,
        switch_count=record.switch_count,
        last_switch=record.last_switch,
        unplanned=record.unplanned,
    )


def _settle(site: Site, choice: Choice, moment: Moment) -> Choice:
    """Take over what is recorded, where the record and not this balancer has the say."""
    role, record = moment.role, moment.record
    if record is None:
        return choice
    known = record.active in site.members
    if not role.holder:
        # The routed balancer keeps what it decided itself: it may be newer than the record.
        follow = known and (choice.active is None or not is_mine(site, record))
        return _adopted(choice, record, moment.now) if follow else choice
    if choice.epoch == role.epoch or record.fresh_for != role.epoch:
        return choice
    if known and (choice.active is None or not is_mine(site, record)):
        choice = _adopted(choice, record, moment.now)
    elif choice.active is None:
        choice = _first(site, record, moment)
    return replace(choice, epoch=role.epoch) if choice.active is not None else choice


def _adopted(choice: Choice, record: Record, now: float) -> Choice:
    changed_at = choice.changed_at if record.active == choice.active else now
    return replace(as_recorded(choice, record), changed_at=changed_at)


def _first(site: Site, record: Record, moment: Moment) -> Choice:
    """Nothing usable is recorded: the first member that is up, in the listed order.

    A member that was not checked yet is waited for, or chance would decide.
    """
    for member in site.members:
        if moment.seen.states.get(member) == "UNKNOWN":
            break
        if moment.seen.states.get(member) == "UP" and member not in moment.terminating:
            fresh = Choice(
                member,
                moment.at,
                record.switch_count,
                record.last_switch,
                unplanned=record.unplanned,
            )
            if record.active is None:
                return replace(fresh, changed_at=moment.now)
            # The recorded member is no longer part of the pair.
            gone = Switch(record.active, member, "Adopted", moment.at)
            return switched(site, fresh, gone, moment)
    return Choice()


def _actions(site: Site, choice: Choice, moment: Moment) -> tuple[Action, ...]:
    seen = moment.seen
    actions: list[Action] = []
    serving = choice.serving
    if serving is not None and seen.entry != serving:
        actions.append(SetActive(serving))
    held = held_back(site, choice, moment) if decides(site, choice, moment) else frozenset()
    actions += [HoldBack(member) for member in site.members if member in held - seen.held]
    # Only after the entry is set and who must wait is held back: until then the other member must
    # not be used at all, and an HAProxy that finds the active one DOWN uses it at once.
    actions += [Enable(member) for member in site.members if member in seen.disabled]
    actions += [Release(member) for member in site.members if member in seen.held - held]
    if serving is None or seen.states.get(serving) != "UP":
        return tuple(actions)
    # A TCP connection stays on its member, so it has to be cut. An HTTP request goes to the active
    # member each time; only one that lasts (a tunnel) is cut, after the time to finish.
    late = moment.now - choice.changed_at >= site.drain_seconds
    for member in site.members:
        if member != serving and seen.sessions.get(member, 0) > 0 and (site.tcp or late):
            actions.append(CutSessions(member))
    return tuple(actions)
