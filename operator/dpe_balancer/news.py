# SPDX-License-Identifier: Apache-2.0
"""What a person looks for in the log after an incident: pure functions from two looks to lines."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from dpe_balancer.drain import Place
from dpe_balancer.model import Choice, Seen, Site

Line = tuple[int, str]


def lines(
    site: Site, before: Choice, after: Choice, last: Seen | None, seen: Seen
) -> Iterator[Line]:
    """Level and text of what is new with this look; `last`: the look before it, if any."""
    if last is None or last.states != seen.states:
        states = " ".join(f"{name}={seen.states[name]}" for name in site.members)
        yield logging.INFO, f"members: {states}"
    if after.pending is not None and after.pending != before.pending:
        target = after.pending.target
        yield (
            logging.WARNING,
            f"{after.active} is DOWN: requests go to {target}, to be counted soon",
        )
    moved = before.pending
    if moved is not None and after.pending is None and after.active != moved.target:
        down = seen.states.get(moved.target) == "DOWN"
        why = f"{moved.target} is DOWN too" if down else "another balancer decides"
        yield logging.WARNING, f"requests go back to {after.active}, no switch: {why}"
    if begins_outage(before, after):
        text = f"both members went DOWN together: no switch, {after.active} stays"
        yield logging.WARNING, text
    if after.active != before.active:
        switch = after.last_switch
        why = switch.cause if switch and switch.target == after.active else "first choice"
        text = f"active member: {after.active}, before: {before.active} ({why})"
        yield logging.WARNING, text


def begins_outage(before: Choice, after: Choice) -> bool:
    """Whether both members were found DOWN together with this look."""
    return after.outage is not None and before.outage is None


def sent_to(place: Place, drain_seconds: float) -> str:
    """Where clients are sent to now, and what becomes of those that are here."""
    return {
        Place.HERE: "clients are sent here",
        Place.ELSEWHERE: "clients are sent to another balancer: connections that are still "
        f"open here have {drain_seconds:g} s, to the active member only",
        Place.UNSURE: "the Lease ran out and the API server is not reached: going on, but "
        "clients connect anew, as another balancer may be routed by now",
    }[place]
