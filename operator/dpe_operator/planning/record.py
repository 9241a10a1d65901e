# SPDX-License-Identifier: Apache-2.0
"""Reads the fail-over record: what the routed balancer wrote into its slice and Lease."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.planning.objects import Obj, annotations, dig, from_json, object_from_json
from dpe_operator.planning.rollout import State
from dpe_operator.planning.status_limits import is_count, rfc3339, short

# The holder renews twice a second. Much longer than the Lease lasts, because the clocks of nodes
# differ, and a wrong "nobody holds it" would be worse than a late one.
SILENCE: Final = timedelta(seconds=60)
# A holder that was silent and is heard again wakes nobody: renewals are no events. So long after an
# outage of the API server a status may still say that nobody holds it.
LISTEN_SECONDS: Final = 10.0
# With more digits a number does not fit into 64 bits, and so into no status.
_DIGITS: Final = 18
_STATES: Final[dict[str, State]] = {"UP": "Up", "DOWN": "Down"}


@dataclass(frozen=True, slots=True)
class Record:
    """Who is routed and who serves, as far as somebody alive has said so.

    `fresh` is False when nobody holds the Lease or its holder has been silent: then `states` are
    of the past, and unknown. `silent_in`: seconds until that silence if the holder says nothing
    more; None when not fresh. `gap_ms`: how long clients had no answer at the last switch.
    `unplanned`: when the latest switches away from a member that was down happened.
    """

    exists: bool = False
    fresh: bool = False
    active: str | None = None
    since: str | None = None
    count: int = 0
    states: Mapping[str, State] = field(default_factory=dict)
    routed: str | None = None
    last_switch: Obj | None = None
    gap_ms: int | None = None
    unplanned: tuple[datetime, ...] = ()
    request: str | None = None
    silent_in: float | None = None

    def state(self, member: str) -> State:
        """Return the member's state; Unknown when nobody tells."""
        return self.states.get(member, "Unknown") if self.fresh else "Unknown"

    def served_for(self, now: datetime) -> float:
        """Return for how many seconds the active member has been that; infinity: nobody says."""
        if self.since is None:
            return math.inf
        return (now - datetime.fromisoformat(self.since)).total_seconds()

    def went_down_serving(self, member: str) -> datetime | None:
        """Return when clients had to leave this member, if that was the last switch."""
        last = self.last_switch or {}
        if last.get("cause") != "MemberDown" or last.get("from") != member:
            return None
        return rfc3339(last.get("at"))

    @property
    def requested(self) -> tuple[str, int] | None:
        """The member and number of the switch request on the slice, or None."""
        member, _, text = (self.request or "").rpartition("@")
        number = _number(text)
        return (member, number) if member and number is not None else None


def read_record(
    slice_: Mapping[str, Any] | None, lease: Mapping[str, Any] | None, *, now: datetime
) -> Record:
    """Read slice and Lease; what cannot be read counts as not said."""
    if slice_ is None:
        return Record()
    notes = annotations(slice_)
    last = object_from_json(notes.get(constants.ANNOTATION_LAST_SWITCH))
    since = notes.get(constants.ANNOTATION_ACTIVE_SINCE)
    states = object_from_json(notes.get(constants.ANNOTATION_MEMBER_STATES))
    routed = dig(slice_, "endpoints", 0, "targetRef", "name")
    silent_in = _silent_in(lease, now) if routed is not None else None
    return Record(
        exists=True,
        fresh=silent_in is not None,
        active=short(notes.get(constants.ANNOTATION_ACTIVE_MEMBER, "")) or None,
        since=since if rfc3339(since) else None,
        count=_number(notes.get(constants.ANNOTATION_SWITCH_COUNT, "0")) or 0,
        states={name: _STATES.get(str(value), "Unknown") for name, value in states.items()},
        routed=None if routed is None else short(routed),
        last_switch=_last_switch(last),
        gap_ms=_gap_ms(last),
        unplanned=_times(notes.get(constants.ANNOTATION_UNPLANNED_SWITCHES)),
        request=notes.get(constants.ANNOTATION_SWITCH_REQUEST),
        silent_in=silent_in,
    )


def _silent_in(lease: Mapping[str, Any] | None, now: datetime) -> float | None:
    """Return the seconds until the holder counts as silent; None without one that is heard."""
    renewed = dig(lease, "spec", "renewTime")
    if not dig(lease, "spec", "holderIdentity") or not renewed:
        return None
    age = now - datetime.fromisoformat(str(renewed).replace("Z", "+00:00"))
    return (SILENCE - age).total_seconds() if age < SILENCE else None


def _number(text: str) -> int | None:
    usable = text.isascii() and text.isdigit() and len(text) <= _DIGITS
    return int(text) if usable else None


def _last_switch(entry: Mapping[str, Any]) -> Obj | None:
    """Keep what the status knows, and only in the forms that its schema takes."""
    kept: Obj = {
        key: short(entry[key]) for key in ("from", "to", "cause") if entry.get(key) is not None
    }
    if rfc3339(entry.get("at")) is not None:
        kept["at"] = entry["at"]
    gap = _gap_ms(entry)
    if kept and gap is not None:
        kept["gap"] = f"{gap}ms"
    return kept or None


def _gap_ms(entry: Mapping[str, Any]) -> int | None:
    gap = entry.get("gapMs")
    return gap if is_count(gap) else None


def _times(text: str | None) -> tuple[datetime, ...]:
    found = from_json(text)
    if not isinstance(found, list):
        return ()
    return tuple(at for at in map(rfc3339, found) if at is not None)
