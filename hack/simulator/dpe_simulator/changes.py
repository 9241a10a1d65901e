# SPDX-License-Identifier: Apache-2.0
"""What is new: the comparison of what is there with what a watcher remembers. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dpe_simulator.memory import CREATED, DELETED, UPDATED


@dataclass(frozen=True)
class Seen:
    """An entry or file as it is now.

    subject: number of the entry, name of the file.
    version: changes with each change of it; a later one sorts behind an earlier one.
    deleted: marked as deleted. What is not there at all is deleted too.
    values: what placeholders of the title stand for.
    """

    subject: str
    version: str
    deleted: bool = False
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One thing to start a workflow for; event: Created, Updated or Deleted."""

    subject: str
    event: str
    version: str
    values: Mapping[str, str] = field(default_factory=dict)


def find_changes(remembered: Mapping[str, tuple[str, str]], there: Sequence[Seen]) -> list[Change]:
    """Return what has changed since: first what is there, in its order, then what is gone."""
    found = [change for seen in there if (change := _change(seen, remembered.get(seen.subject)))]
    names = {seen.subject for seen in there}
    gone = [
        Change(subject, DELETED, version)
        for subject, (state, version) in remembered.items()
        if state != DELETED and subject not in names
    ]
    return found + gone


def _change(seen: Seen, remembered: tuple[str, str] | None) -> Change | None:
    state, version = remembered or (None, "")
    if seen.deleted:
        # Never seen alive: for this watcher it never was.
        event = None if state in (None, DELETED) else DELETED
    elif state in (None, DELETED):
        event = CREATED
    else:
        event = UPDATED if seen.version != version else None
    return Change(seen.subject, event, seen.version, seen.values) if event else None
