# SPDX-License-Identifier: Apache-2.0
"""The title rule as DPE's public pages state it."""

import pytest

from dpe_simulator.titles import parse_title


@pytest.mark.parametrize(
    ("text", "checked"), [("News", True), ("!0News", False), ("!News 0", True)]
)
def test_only_a_leading_mark_turns_the_check_off(text: str, checked: bool) -> None:
    assert parse_title(text).checked is checked


def test_placeholders_are_found_whatever_their_case() -> None:
    assert parse_title("%FileName%-%event% 100% sure").placeholders == {"filename", "event"}


def test_known_placeholders_are_filled_in_and_others_stay() -> None:
    title = parse_title("%GUID%/%entry.Title%/%id%")
    assert title.expand({"guid": "g-1", "id": "7"}) == "g-1/%entry.Title%/7"


@pytest.mark.parametrize("text", ["", "   ", "x" * 401])
def test_an_empty_or_endless_title_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="title"):
        parse_title(text)
