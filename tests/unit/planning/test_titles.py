# SPDX-License-Identifier: Apache-2.0
"""The lint of workflow titles: what is wrong, what is right, what only the site can know."""

from __future__ import annotations

import pytest

from dpe_operator.api import constants
from dpe_operator.planning.titles import title_findings, title_notes

TABLE, FOLDER = constants.KIND_TABLE_WATCHER, constants.KIND_FOLDER_WATCHER


@pytest.mark.parametrize(
    ("kind", "title"),
    [
        (TABLE, "%tableid%-%entryid%"),
        (TABLE, "News %TableId% %EntryId% %event% %tablealias% %entry.TITLE% 100 %"),
        (TABLE, "%entryid%/%tableid% !0"),
        (FOLDER, "%filename%"),
        (FOLDER, "ingest %filename% (%event%)"),
        (constants.KIND_WORKER, "!0 %guid%"),
        (constants.KIND_SCHEDULER, "%id%"),
    ],
)
def test_nothing_is_wrong(kind: str, title: str) -> None:
    assert list(title_findings(kind, title)) == []


@pytest.mark.parametrize(
    ("kind", "title", "said"),
    [
        (TABLE, "!0%tableid%-%entryid%", "leading !0"),
        (TABLE, "  !0 %tableid%-%entryid%", "leading !0"),
        (TABLE, "%tableid%-%entryid%-%guid%", "%guid% makes every title different"),
        (TABLE, "%tableid%-%entryid%-%GUID%-%Id%", "%guid% and %id% make every title"),
        (FOLDER, "%filename% %id%", "%id% makes every title different"),
        (TABLE, "%tableid%", "without %entryid% workflows of different entries"),
        (TABLE, "%entryid%", "without %tableid% workflows of different entries"),
        (TABLE, "News", "without %tableid% and %entryid%"),
        (FOLDER, "ingest %event%", "without %filename% workflows of different files"),
        (FOLDER, "%filename%-%tableid%", "%tableid% is no placeholder of this kind"),
        (FOLDER, "%filename%-%entry.TITLE%", "%entry.TITLE% is no placeholder of this kind"),
        (TABLE, "%tableid%-%entryid%-%filename%", "%filename% is no placeholder of this kind"),
    ],
)
def test_exactly_this_is_wrong(kind: str, title: str, said: str) -> None:
    [finding] = title_findings(kind, title)

    assert said in finding
    assert ": " in finding, "a finding has its cure behind a colon"


def test_all_that_is_wrong_is_said_at_once() -> None:
    assert len(list(title_findings(FOLDER, "!0%guid%%nonsense%"))) == 4


def test_what_only_the_site_can_know() -> None:
    assert list(title_notes(TABLE, "%tableid%-%entryid%")) == []
    [folders] = title_notes(FOLDER, "%filename%")
    assert "two folders" in folders
    assert len(list(title_notes(FOLDER, "%FileName%-%filter%"))) == 2
