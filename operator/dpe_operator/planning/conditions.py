# SPDX-License-Identifier: Apache-2.0
"""Builds `status.conditions`: stable order, transition times that move only when a status flips."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final, Literal

from dpe_operator.planning.objects import Obj
from dpe_operator.planning.status_limits import short

Truth = Literal["True", "False", "Unknown"]
MAX_MESSAGE: Final = 1024


def truth(value: bool | None) -> Truth:
    """Return the word for a yes, a no, or a cannot-be-known (None)."""
    return "Unknown" if value is None else "True" if value else "False"


def timestamp(moment: datetime) -> str:
    """Return a time as Kubernetes writes it, whole seconds, UTC."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


class Conditions:
    """Collects the conditions of one reconcile."""

    def __init__(
        self, *, generation: int, previous: Iterable[Mapping[str, Any]], now: datetime
    ) -> None:
        self._generation = generation
        self._previous = {str(entry.get("type")): entry for entry in previous}
        self._now = timestamp(now)
        self._entries: dict[str, Obj] = {}

    def set(self, kind: str, value: bool | None, reason: str, message: str) -> None:
        """State something. `value` None: it cannot be known."""
        status = truth(value)
        before = self._previous.get(kind, {})
        same = before.get("status") == status and before.get("lastTransitionTime")
        self._entries[kind] = {
            "type": kind,
            "status": status,
            "observedGeneration": self._generation,
            "lastTransitionTime": before["lastTransitionTime"] if same else self._now,
            "reason": short(reason),
            "message": shortened(message),
        }

    def status(self, kind: str) -> Truth | None:
        """Return what was stated in this reconcile, or None."""
        entry = self._entries.get(kind)
        return entry["status"] if entry else None

    def message(self, kind: str) -> str:
        """Return the sentence of a condition of this reconcile, empty without it."""
        return str(self._entries.get(kind, {}).get("message", ""))

    def before(self, kind: str) -> Mapping[str, Any]:
        """Return the condition of the reconcile before; empty without one."""
        return self._previous.get(kind, {})

    def flipped(self, kind: str) -> bool:
        """Whether the status differs from the one before (a first statement counts)."""
        return self.status(kind) != self.before(kind).get("status")

    def entries(self) -> list[Obj]:
        """Return the conditions in the order in which they were stated."""
        return list(self._entries.values())


def shortened(text: str) -> str:
    """Cut a message to a length that a table and an etcd can bear."""
    return text if len(text) <= MAX_MESSAGE else text[: MAX_MESSAGE - 3] + "..."
