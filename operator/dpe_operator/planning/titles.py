# SPDX-License-Identifier: Apache-2.0
"""The titles that watchers give to workflows: DPE's only guard against starting one twice.

DPE starts no second workflow of the same type and title while one is scheduled or running. So two
watchers that see one change must give it the same title, and two changes must get different ones.
The placeholders are those of DPE's manual. In Concurrent mode the API server refuses what is
certainly wrong; in Standby mode, where a second workflow appears only around a take-over, it is a
finding.
"""

import re
from collections.abc import Iterator
from typing import Final

from dpe_operator.api import constants

_NEEDED: Final = {
    constants.KIND_TABLE_WATCHER: ("%tableid%", "%entryid%"),
    constants.KIND_FOLDER_WATCHER: ("%filename%",),
}
_THINGS: Final = {
    constants.KIND_TABLE_WATCHER: "entries",
    constants.KIND_FOLDER_WATCHER: "files",
}
_KNOWN: Final = {
    constants.KIND_TABLE_WATCHER: frozenset(
        {"%event%", "%tableid%", "%tablealias%", "%entryid%", "%guid%", "%id%"}
    ),
    constants.KIND_FOLDER_WATCHER: frozenset(
        {"%event%", "%filter%", "%filename%", "%guid%", "%id%"}
    ),
}
_ALWAYS_NEW: Final = ("%guid%", "%id%")
# the columns of a table watcher's entry, such as %entry.TITLE%
_COLUMN: Final = re.compile(r"%entry\.[^%]+%", re.IGNORECASE)
_PLACEHOLDER: Final = re.compile(r"%[^%\s]+%")


def title_findings(kind: str, template: str) -> Iterator[str]:
    """Yield what is wrong with a title, each with its cure; nothing for other kinds than watchers.

    Args:
        kind: the kind of the watcher.
        template: its titleTemplate.
    """
    if kind not in _NEEDED:
        return
    low = template.lower()
    if template.strip().startswith("!0"):
        yield (
            "a leading !0 turns DPE's check for an equal title off, so every change may start two"
            " workflows: leave it out"
        )
    always_new = [name for name in _ALWAYS_NEW if name in low]
    if always_new:
        make = "make" if len(always_new) > 1 else "makes"
        yield (
            f"{' and '.join(always_new)} {make} every title different, so every change may start"
            f" two workflows: leave {'them' if len(always_new) > 1 else 'it'} out"
        )
    missing = [name for name in _NEEDED[kind] if name not in low]
    if missing:
        yield (
            f"without {' and '.join(missing)} workflows of different {_THINGS[kind]} get one title"
            " and hold each other up: write it into it"
        )
    yield from _unknown(kind, template)


def _unknown(kind: str, template: str) -> Iterator[str]:
    """Find placeholders that would stay in the title as they are, and then tell nothing apart."""
    known = _KNOWN[kind]
    for name in dict.fromkeys(_PLACEHOLDER.findall(template)):
        if kind == constants.KIND_TABLE_WATCHER and _COLUMN.fullmatch(name):
            continue
        if name.lower() not in known:
            shown = ", ".join(sorted(known - set(_ALWAYS_NEW)))
            yield (
                f"{name} is no placeholder of this kind of watcher in DPE's manual ({shown}): take"
                " one of these, or make sure that DPE fills it in"
            )


def title_notes(kind: str, template: str) -> Iterator[str]:
    """Yield what only the site can know about a title that is not wrong in itself.

    For the message of a condition, never a reason for it to be False.

    Args:
        kind: the kind of the watcher.
        template: its titleTemplate.
    """
    if kind == constants.KIND_FOLDER_WATCHER and "%filename%" in template.lower():
        yield (
            "%filename% holds no folder, so of two files of one name in two folders DPE starts only"
            " the first while its workflow runs: give each folder a watcher of its own, with the"
            " folder's name in its title"
        )
        if "%filter%" in template.lower():
            yield (
                "%filter% gives a file that two filters match two titles: let no two filters of"
                " this watcher match one file"
            )
