# SPDX-License-Identifier: Apache-2.0
"""What the check is told to look at: written by the operator, read by the command in the Job."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Reference:
    """One reference to look at.

    `keys`: the keys that must be there. `connection_key`: the one that says where the database is,
    None: find it. `compared`: it must name another database than all others that are compared.
    """

    engine: str
    keys: tuple[str, ...] = ()
    connection_key: str | None = None
    compared: bool = False

    def to_data(self) -> dict[str, Any]:
        """Return what the command is given; names of keys, no names of Secrets."""
        found: dict[str, Any] = {"engine": self.engine, "keys": list(self.keys)}
        if self.connection_key is not None:
            found["connectionKey"] = self.connection_key
        if self.compared:
            found["compared"] = True
        return found


def references_of(text: str) -> tuple[Reference, ...]:
    """Read what the command is given.

    Raises:
        ValueError: it is not a list of references.
    """
    body = json.loads(text)
    if not isinstance(body, list) or not all(isinstance(entry, dict) for entry in body):
        raise ValueError("a list of references is needed")
    return tuple(
        Reference(
            str(entry.get("engine", "Other")),
            tuple(str(key) for key in entry.get("keys", ())),
            entry.get("connectionKey"),
            bool(entry.get("compared", False)),
        )
        for entry in body
    )
