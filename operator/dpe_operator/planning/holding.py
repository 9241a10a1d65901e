# SPDX-License-Identifier: Apache-2.0
"""Reads the Lease of a Standby component: who acts, since when, and what became of its memory.

The elector writes it, and `dpe_memory` its own annotation on it. What cannot be read counts as not
said.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.planning.objects import Obj, annotations, dig, moment, object_from_json, uid_of
from dpe_operator.planning.status_limits import short

# A holder renews every second or two. Much longer than any Lease lasts, because the clocks of nodes
# differ, and a wrong "nobody acts" would be worse than a late one.
SILENCE: Final = timedelta(seconds=60)
# A take-over after the loss of a node takes 17 s with the slower timings, plus the start.
TAKE_OVER: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Holding:
    """Who acts, as the Lease says.

    `active`: somebody holds it and has been heard lately. `pod` is the holder's name (None: nobody
    holds it). `since`: when this holding began. `heard`: when a holder last wrote, be it to give
    the Lease back. `before`: when the holder before this one last wrote. `silent_in`: seconds until
    the holder counts as silent if it says nothing more. `crash_looping`: commands keep ending.
    `ends` are pods and exit statuses of those that ended of late, the latest last.
    """

    exists: bool = False
    active: bool = False
    pod: str | None = None
    epoch: int | None = None
    since: datetime | None = None
    heard: datetime | None = None
    before: datetime | None = None
    silent_in: float | None = None
    crash_looping: bool = False
    ends: tuple[tuple[str, int], ...] = ()
    memory: Mapping[str, Any] = field(default_factory=dict)

    def idle_for(self, now: datetime) -> timedelta | None:
        """Return for how long nobody has acted; None while somebody does, or nobody ever did."""
        return None if self.active or self.heard is None else now - self.heard

    def has_run_for(self, time: timedelta, now: datetime) -> bool:
        """Whether the present holder has acted for so long already."""
        return self.active and self.since is not None and now - self.since >= time


def read_holding(lease: Mapping[str, Any] | None, pods: Iterable[Obj], *, now: datetime) -> Holding:
    """Read the Lease.

    Args:
        lease: the live Lease, None if there is none of ours.
        pods: the candidates' pods, to find the holder's name where the record lacks it.
        now: the time.
    """
    if lease is None:
        return Holding()
    notes = annotations(lease)
    record = object_from_json(notes.get(constants.ANNOTATION_ELECTOR_RECORD))
    identity = str(dig(lease, "spec", "holderIdentity", default=""))
    heard = moment(dig(lease, "spec", "renewTime"))
    silent_in = (SILENCE - (now - heard)).total_seconds() if identity and heard else None
    active = silent_in is not None and silent_in > 0
    epoch = dig(lease, "spec", "leaseTransitions")
    return Holding(
        exists=True,
        active=active,
        pod=_pod(identity, record, pods) if identity else None,
        epoch=epoch if isinstance(epoch, int) else None,
        since=moment(dig(lease, "spec", "acquireTime")) if identity else None,
        heard=heard,
        before=moment(record.get("before")),
        silent_in=silent_in if active else None,
        crash_looping=record.get("crashLooping") is True,
        ends=tuple(_ends(record.get("ends"))),
        memory=object_from_json(notes.get(constants.ANNOTATION_MEMORY)),
    )


def _pod(identity: str, record: Mapping[str, Any], pods: Iterable[Obj]) -> str:
    """Return the holder's name; the identity begins with its uid."""
    for pod in pods:
        if uid_of(pod) and identity.startswith(uid_of(pod)):
            return str(pod["metadata"]["name"])
    written_by = record.get("identity") == identity
    return short(record["pod"] if written_by and record.get("pod") else identity)


def _ends(found: object) -> Iterator[tuple[str, int]]:
    for entry in found if isinstance(found, list) else ():
        if isinstance(entry, list) and len(entry) == 3 and isinstance(entry[2], int):
            yield str(entry[1]), entry[2]
