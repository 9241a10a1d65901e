# SPDX-License-Identifier: Apache-2.0
"""The check itself: folders with mounted Secrets in, a report of codes out."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dpe_operator.database_check.connection import Connection
from dpe_operator.database_check.redundancy import compare, judge
from dpe_operator.database_check.reference import Reference
from dpe_operator.database_check.report import MAX_MISSING, Code, Likeness, Report, Seen
from dpe_operator.database_check.secrets import (
    connection_of,
    connection_text,
    has_connection,
    keys_of,
    values_of,
)


def run_check(references: tuple[Reference, ...], root: Path) -> Report:
    """Look at all references; the Secret of number N is mounted at `root`/N."""
    seen: list[Seen] = []
    compared: list[_Place] = []
    for number, reference in enumerate(references):
        folder = root / str(number)
        values = values_of(folder)
        place = _place(values, reference)
        seen.append(_see(folder, values, reference, place.connection))
        if reference.compared:
            compared.append(place)
    return Report(tuple(seen), _likeness(compared))


@dataclass(frozen=True)
class _Place:
    """Where a reference leads, and the text that says so, kept in this process only."""

    engine: str
    connection: Connection | None
    text: str | None


def _place(values: Mapping[str, str], reference: Reference) -> _Place:
    key = reference.connection_key
    connection = connection_of(values, key, reference.engine)
    return _Place(reference.engine, connection, connection_text(values, key))


def _see(
    folder: Path, values: Mapping[str, str], reference: Reference, connection: Connection | None
) -> Seen:
    keys = keys_of(folder)
    missing = tuple(n for n, key in enumerate(reference.keys) if key not in keys)
    return Seen(bool(keys), missing[:MAX_MISSING], _code(keys, values, reference, connection))


def _code(
    keys: frozenset[str],
    values: Mapping[str, str],
    reference: Reference,
    connection: Connection | None,
) -> Code:
    key = reference.connection_key
    if not keys or (key is not None and key not in keys):
        return "Missing"
    if reference.engine != "Other" and not has_connection(values, key):
        return "NoConnection"
    return judge(connection, reference.engine)


def _likeness(places: list[_Place]) -> Likeness | None:
    """Compare each with each: one pair that is the same decides, then one that is unknown."""
    if len(places) < 2:
        return None
    found = {_compare(first, second) for first, second in itertools.combinations(places, 2)}
    if "Same" in found:
        return "Same"
    return "Unknown" if "Unknown" in found else "Different"


def _compare(first: _Place, second: _Place) -> Likeness:
    if first.text is not None and first.text == second.text:
        return "Same"
    return compare(first.connection, second.connection, first.engine)
