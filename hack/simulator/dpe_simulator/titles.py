# SPDX-License-Identifier: Apache-2.0
"""The title rule, the one guard against double workflows that DPE's public pages name.

An instance is created only if no other of the same type and title is scheduled or running. A title
that starts with !0 turns the check off, %guid% makes every title different, %id% counts up.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

UNCHECKED_MARK = "!0"
_PLACEHOLDER = re.compile(r"%([A-Za-z][A-Za-z0-9_.]*)%")


@dataclass(frozen=True)
class Title:
    """A title as given, with what the rule makes of it."""

    template: str
    checked: bool
    placeholders: frozenset[str]

    def expand(self, values: Mapping[str, str]) -> str:
        """Fill in the placeholders that `values` (lower-case names) has; others stay."""
        return _PLACEHOLDER.sub(lambda match: values.get(match[1].lower(), match[0]), self.template)


def parse_title(text: str) -> Title:
    """Read a title.

    Raises:
        ValueError: when it is empty or longer than 400 characters.
    """
    if not text.strip() or len(text) > 400:
        raise ValueError(f"title: {text[:40]!r} must have 1 to 400 characters and not only blanks")
    names = frozenset(match[1].lower() for match in _PLACEHOLDER.finditer(text))
    return Title(text, not text.startswith(UNCHECKED_MARK), names)
