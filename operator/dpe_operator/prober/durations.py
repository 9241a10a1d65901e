# SPDX-License-Identifier: Apache-2.0
"""Times as people and the operator's client profile write them: 250ms, 2s, 1.5s, 1m, 0.5."""

import re

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SHAPE = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)?")


def parse_duration(text: str, *, field: str) -> float:
    """Read a time and return it in seconds.

    Args:
        text: a number with ms, s, m or h behind it; a bare number means seconds.
        field: name of the setting, for the message.

    Raises:
        ValueError: when the text is not such a time; names field, value and cure.
    """
    match = _SHAPE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{field}: {text!r} is not a time; write for example 250ms, 2s or 1m")
    return float(match[1]) * _UNITS[match[2] or ""]
