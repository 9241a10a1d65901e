# SPDX-License-Identifier: Apache-2.0
"""The two spellings of `key=value` in connection strings, each with its own rules of quoting.

ADO.NET and ODBC separate by semicolons; ADO.NET quotes with ' or " (doubled inside), ODBC and
Microsoft's JDBC driver with braces ( }} inside). libpq separates by white space and quotes with ',
a backslash before what is meant literally.
"""

from __future__ import annotations

import re
from typing import Final

Pairs = list[tuple[str, str]]

_LIBPQ: Final = re.compile(
    r"\s*([a-z_]+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\;]|\\.)*))(?=\s|$)", re.DOTALL
)
_LIBPQ_PLACES: Final = frozenset({"host", "hostaddr", "service"})
_ESCAPED: Final = re.compile(r"\\(.)", re.DOTALL)
_KEY: Final = re.compile(r"[\s;]*([A-Za-z][A-Za-z0-9 _.-]{0,60}?)\s*=(?!=)\s*")
_ODBC: Final = re.compile(r"(^|;)\s*(driver|dsn|filedsn)\s*=", re.IGNORECASE)


def key_values(text: str) -> Pairs | None:
    """Read a connection string of either spelling; None when it is neither."""
    found = libpq_pairs(text)
    if found is None:
        found = semicolon_pairs(text, quotes="{" if _ODBC.search(text) else "'\"")
    return found


def libpq_pairs(text: str) -> Pairs | None:
    """Read `host=a port=5432 dbname='my db'`; None when it is not that."""
    found: Pairs = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _LIBPQ.match(text, at)
        if match is None:
            return None
        value = match[3] if match[2] is None else match[2]
        found.append((match[1], _ESCAPED.sub(r"\1", value)))
        at = match.end()
    # `server=HOST\INSTANCE` has the same shape, but there a backslash is no escape
    return found if _LIBPQ_PLACES & {key for key, _ in found} else None


def semicolon_pairs(text: str, *, quotes: str) -> Pairs | None:
    """Read `Server=a;Database="b;c"`; None when it is not that.

    Args:
        text: the string.
        quotes: the characters that open a quoted value: `'"` or `{`.
    """
    found: Pairs = []
    at = 0
    while text[at:].strip("; \t\r\n"):
        match = _KEY.match(text, at)
        if match is None:
            return None
        value = _value(text, match.end(), quotes)
        if value is None:
            return None
        found.append((match[1], value[0]))
        at = value[1]
    return found


def _value(text: str, at: int, quotes: str) -> tuple[str, int] | None:
    """Return the value that begins at `at` and where it ends; None when a quote is not closed."""
    mark = text[at : at + 1]
    if not mark or mark not in quotes:
        end = text.find(";", at)
        end = len(text) if end < 0 else end
        return text[at:end].strip(), end
    closing = "}" if mark == "{" else mark
    pattern = re.compile(f"((?:[^{re.escape(closing)}]|{re.escape(closing * 2)})*)"
                         f"{re.escape(closing)}\\s*(?=;|$)")  # fmt: skip
    match = pattern.match(text, at + 1)
    if match is None:
        return None
    return match[1].replace(closing * 2, closing), match.end()
