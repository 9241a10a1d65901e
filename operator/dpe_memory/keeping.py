# SPDX-License-Identifier: Apache-2.0
"""Which epochs are kept: the newest ones, one a day for a week, equal ones once. Pure."""

from __future__ import annotations

import re
import time
from calendar import timegm
from collections.abc import Sequence
from dataclasses import dataclass

from dpe_memory.decision import Epoch

NEWEST_KEPT = 5
DAYS_KEPT = 7
_DAY = 86400.0
_FORM = "%Y-%m-%dT%H:%M:%SZ"
_READ = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)Z", re.ASCII)


@dataclass(frozen=True)
class _Content:
    """What an epoch's directory holds since its watcher ended: `key` is equal for equal contents,
    `at` is the time of that state (seconds since 1970)."""

    key: str
    at: float


def removable(epochs: Sequence[Epoch], own: int, now: float) -> list[int]:
    """Return the epochs that are certainly not needed, oldest first.

    `own` is the epoch of this start, `now` in seconds since 1970. Nothing from `own` on is ever in
    the answer: if there is such a thing, this start is not the newest one.
    """
    older = sorted((epoch for epoch in epochs if epoch.number < own), key=lambda one: -one.number)
    contents = _contents(epochs)
    newest_kept = NEWEST_KEPT - (own in contents)
    kept: list[int] = []
    keys: set[str] = set()
    days: set[int] = set()
    for epoch in older:
        if epoch.mark is None:
            continue
        content = contents[epoch.number]
        if content.key in keys:
            continue
        day = int(content.at // _DAY)
        if len(kept) < newest_kept or (now - content.at < DAYS_KEPT * _DAY and day not in days):
            kept.append(epoch.number)
            keys.add(content.key)
            days.add(day)
    # An incomplete one goes when it lies behind the newest that are kept: until then somebody may
    # still want to look at it, as its COMPLETE may have been deleted by mistake.
    debris_below = kept[newest_kept - 1] if len(kept) >= newest_kept else 0
    return sorted(
        epoch.number
        for epoch in older
        if (epoch.number not in kept if epoch.mark else epoch.number < debris_below)
    )


def _contents(epochs: Sequence[Epoch]) -> dict[int, _Content]:
    """What each complete epoch holds. A COMPLETE tells the state at the start of its epoch, which
    is the state at the end of the epoch that was copied."""
    found = {}
    for epoch in sorted(epochs, key=lambda one: one.number):
        if epoch.mark is None:
            continue
        memory = epoch.mark.memory
        found[epoch.number] = _Content(f"epoch {epoch.number}", seconds_of(memory.at))
        if memory.source in found and memory.digest:
            found[memory.source] = _Content(memory.digest, seconds_of(memory.at))
    return found


def text_of(seconds: float) -> str:
    """Return a time as it is written everywhere."""
    return time.strftime(_FORM, time.gmtime(seconds))


def seconds_of(text: str) -> float:
    """Read a time; one that cannot be read is so far in the future that nothing is removed."""
    # by hand: time.strptime imports a module that an injected interpreter does not have
    found = _READ.fullmatch(text)
    return float(timegm(tuple(map(int, found.groups())))) if found else float(2**40)
