# SPDX-License-Identifier: Apache-2.0
"""Whether a trigger of a Standby scheduler fell into a time in which nobody acted.

DPE catches up with nothing: such a trigger is lost. Seen from outside only two moments are certain:
when a holder last wrote the Lease, or was told to stop, and when the next one took it. A holder
that was killed may have acted for some seconds after its last word, and a program that has only
just been started may not be listening yet. So what is said is that a trigger was most likely
missed, and never that none was.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from dpe_operator.planning.holding import Holding
from dpe_operator.planning.schedules import last_run

# Programs of DPE's kind take seconds to start; a trigger in them finds nobody.
STARTING: Final = timedelta(seconds=10)
# Far enough back for any schedule that fires at all, and bounded.
_LONGEST: Final = timedelta(days=400)


@dataclass(frozen=True, slots=True)
class Gap:
    """A time in which nobody acted; `end` None: it goes on."""

    begin: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class Missed:
    """The last trigger in a gap, and the first that came after it, if one has."""

    trigger: datetime
    gap: Gap
    came_since: datetime | None = None


def latest_gap(holding: Holding) -> Gap | None:
    """Return the time in which nobody acted last; None where nobody has said."""
    if not holding.active:
        return Gap(holding.heard, None) if holding.heard else None
    if holding.before is None or holding.since is None:
        return None
    return Gap(holding.before, max(holding.since, holding.before))


def missed_trigger(schedule: str, zone: str, gap: Gap, *, now: datetime) -> Missed | None:
    """Return the last trigger that fell into a gap; None: none did.

    Args:
        schedule: the declared cron line.
        zone: its time zone.
        gap: when nobody acted.
        now: the time.
    """
    begin = max(gap.begin, now - _LONGEST)
    end = now if gap.end is None else min(gap.end + STARTING, now)
    found = last_run(schedule, zone, before=end, after=begin)
    if found is None:
        return None
    since = last_run(schedule, zone, before=now, after=end) if gap.end is not None else None
    return Missed(found, gap, since)
