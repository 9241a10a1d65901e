# SPDX-License-Identifier: Apache-2.0
"""What fits into a status: anybody may write anything into an annotation, but not into a status.

The schema of a status bounds its texts, numbers and times. With one value beyond them the API
server refuses the whole of it, and conditions would say for ever what was true before.
"""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final, TypeGuard

# As the schemas have it: `ShortText` of the models, and what 64 bits hold.
MAX_TEXT: Final = 256
MAX_NUMBER: Final = 2**63 - 1
# Longer ones have more digits than any clock.
_MAX_TIME: Final = 40
# RFC 3339 as the API server checks it. `fromisoformat` alone takes a blank for the T, and weeks.
_TIME: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})"
)


def short(text: object) -> str:
    """Return it as text, cut where it is too long."""
    return str(text)[:MAX_TEXT]


def is_count(value: object) -> TypeGuard[int]:
    """Whether it is a number that a status can hold, and not below zero."""
    return type(value) is int and 0 <= value <= MAX_NUMBER


def rfc3339(text: object) -> datetime | None:
    """Read an RFC 3339 time that a status can hold; None where it is none."""
    written = str(text)
    if len(written) > _MAX_TIME or not _TIME.fullmatch(written):
        return None
    try:
        return datetime.fromisoformat(written)
    except ValueError:  # 30 February
        return None


def some_names(names: Sequence[str], most: int) -> list[str]:
    """Return the names; where there are more than `most`, the last entry says how many more."""
    if len(names) <= most:
        return list(names)
    kept = names[: most - 1]
    return [*kept, f"and {len(names) - len(kept)} more"]
