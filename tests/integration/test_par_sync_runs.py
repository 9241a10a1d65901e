# SPDX-License-Identifier: Apache-2.0
"""The life of a redundant copy: first run, nights with nothing to do, edits, deletions, restores."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from tests.support.par_sync import MARK, STATE, Site, stamps, tree

FILES: dict[str | bytes, str | bytes] = {
    "News.par": "news",
    "sport/Results.par": "results",
    "sport/deep/er/Tables.par": "tables",
    "Größe – Übergabe.par": "umlauts",
    "empty": "",
    "binary": bytes(range(256)) * 100,
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A master with a few files and an empty redundant volume."""
    site = Site(tmp_path)
    site.write(site.master, FILES)
    return site


@pytest.fixture
def copied(site: Site) -> Site:
    """The same after its first run."""
    assert site.run().reason == "Succeeded/FirstCopy"
    return site


def test_the_first_run_copies_everything_and_marks_both_sides(site: Site) -> None:
    ended = site.run()
    assert (ended.status, ended.reason) == (0, "Succeeded/FirstCopy")
    assert ended.counts() == {"copied": 6}
    assert ended.result["files"] == 6
    assert ended.result["bytes"] == sum(len(content) for content in tree(site.master).values())
    assert ended.result["verified"] is True
    assert tree(site.current) == tree(site.master)
    master = json.loads((site.master / MARK).read_text())
    redundant = json.loads((site.state / "id.json").read_text())
    assert redundant["master"] == master["id"] and redundant["complete"]
    assert sorted(os.listdir(site.volume)) == [STATE, "current"]
    assert sorted(os.listdir(site.state)) == ["id.json", "manifest.json", "results.jsonl"]
    assert json.loads(site.termination.read_text()) == ended.result
    assert json.loads((site.state / "results.jsonl").read_text()) == ended.result


def test_times_are_those_of_the_master_and_modes_let_the_group_write(copied: Site) -> None:
    for name in FILES:
        there = os.stat(copied.current / os.fsdecode(name))
        assert there.st_mtime == os.stat(copied.master / os.fsdecode(name)).st_mtime
        assert there.st_mode & 0o777 == 0o664
    assert os.stat(copied.current / "sport").st_mode & 0o777 == 0o775


def test_the_second_run_has_nothing_to_do_and_writes_nothing(copied: Site) -> None:
    before = stamps(copied.current), stamps(copied.master)
    ended = copied.run()
    assert (ended.status, ended.reason, ended.counts()) == (0, "Succeeded/UpToDate", {})
    assert ended.result["verified"] is True
    assert (stamps(copied.current), stamps(copied.master)) == before
    lines = (copied.state / "results.jsonl").read_text().splitlines()
    names = [json.loads(line)["run"] for line in lines]
    assert len(names) == 2 and names == sorted(names), "the history goes by the order of names"
    assert copied.history() == {}


def test_changes_of_the_master_arrive_and_what_they_replace_is_kept(copied: Site) -> None:
    copied.write(copied.master, {"News.par": "newer", "sport/New.par": "new"})
    ended = copied.run()
    assert (ended.reason, ended.counts()) == ("Succeeded/Copied", {"copied": 2})
    assert tree(copied.current) == tree(copied.master)
    assert copied.history() == {b"News.par": b"news"}
    assert os.listdir(copied.state / "history") == [ended.result["run"]]


def test_a_change_of_the_same_second_and_size_is_seen(copied: Site) -> None:
    before = (copied.master / "News.par").stat()
    (copied.master / "News.par").write_text("NEWS")
    os.utime(copied.master / "News.par", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert copied.run(compare="SizeAndTime").counts() == {}
    assert copied.run(compare="Checksum").counts() == {"copied": 1}
    assert tree(copied.current) == tree(copied.master)


def test_another_time_of_equal_content_is_set_without_a_copy(copied: Site) -> None:
    os.utime(copied.master / "News.par", (1_000_000, 1_000_000))
    ended = copied.run()
    assert (ended.reason, ended.counts()) == ("Succeeded/Copied", {"retimed": 1})
    assert (copied.current / "News.par").stat().st_mtime == 1_000_000
    assert copied.history() == {}
    assert copied.run().reason == "Succeeded/UpToDate"


def test_a_deleted_file_goes_and_can_be_taken_back_from_the_history(copied: Site) -> None:
    copied.remove(copied.master / "News.par")
    ended = copied.run()
    assert ended.counts() == {"deleted": 1}
    assert not (copied.current / "News.par").exists()
    kept = copied.state / "history" / ended.result["run"] / "News.par"
    assert kept.read_text() == "news"
    # the restore of docs/how-to/par-files.md
    shutil.copy2(kept, copied.master / "News.par")
    assert copied.run().counts() == {"copied": 1}
    assert tree(copied.current) == tree(copied.master)


def test_a_deleted_folder_goes_with_all_that_was_in_it(copied: Site) -> None:
    shutil.rmtree(copied.master / "sport/deep")
    copied.settle(copied.master)
    assert copied.run().counts() == {"deleted": 1}
    assert not (copied.current / "sport/deep").exists()
    assert copied.history() == {b"sport/deep/er/Tables.par": b"tables"}


def test_a_file_deleted_on_the_redundant_side_comes_back(copied: Site) -> None:
    (copied.current / "News.par").unlink()
    assert copied.run().counts() == {"copied": 1, "restored": 1}
    assert tree(copied.current) == tree(copied.master)


def test_a_file_becomes_a_folder_and_back(copied: Site) -> None:
    copied.remove(copied.master / "News.par")
    copied.write(copied.master, {"News.par/inside": "x"})
    assert copied.run().counts() == {"copied": 1, "deleted": 1}
    assert tree(copied.current) == tree(copied.master)
    shutil.rmtree(copied.master / "News.par")
    copied.write(copied.master, {"News.par": "a file again"})
    assert copied.run().counts() == {"copied": 1, "deleted": 1}
    assert tree(copied.current) == tree(copied.master)
    assert copied.run().reason == "Succeeded/UpToDate"


def edit(site: Site) -> None:
    """Three edits on the redundant side: one of a file, one new file, one of a file that the master
    changes, too."""
    site.write(site.current, {"News.par": "edited there", "sport/Mine.par": "made there"})
    site.write(site.current, {"sport/Results.par": "edited there"})
    site.write(site.master, {"sport/Results.par": "changed here"})


EDITED = ["News.par", "sport/Mine.par", "sport/Results.par"]


def test_keep_leaves_edits_and_reports_them_until_they_are_resolved(copied: Site) -> None:
    edit(copied)
    for _ in range(2):
        ended = copied.run()
        assert (ended.status, ended.counts()) == (0, {"divergent": 3})
        assert ended.result["divergent"]["names"] == EDITED
        assert "bring the edits into the master or delete those files" in ended.result["message"]
        assert (copied.current / "News.par").read_text() == "edited there"
        assert (copied.current / "sport/Mine.par").read_text() == "made there"
        assert (copied.current / "sport/Results.par").read_text() == "edited there"
    # one edit is brought into the master, one is dropped, one becomes equal by hand
    shutil.copy2(copied.current / "News.par", copied.master / "News.par")
    (copied.current / "sport/Mine.par").unlink()
    (copied.current / "sport/Results.par").write_text("changed here")
    ended = copied.run()
    assert ended.result["divergent"]["count"] == 0
    assert tree(copied.current) == tree(copied.master)
    # and from now on they are files like all others
    copied.write(copied.master, dict.fromkeys(("News.par", "sport/Results.par"), "next"))
    assert copied.run().counts() == {"copied": 2}


def test_overwrite_replaces_edits_and_keeps_them_in_the_history(copied: Site) -> None:
    edit(copied)
    ended = copied.run(onDivergence="Overwrite")
    assert ended.counts() == {"copied": 2, "deleted": 1, "overwritten": 3}
    assert ended.result["overwritten"]["names"] == EDITED
    assert tree(copied.current) == tree(copied.master)
    assert copied.history() == {
        b"News.par": b"edited there",
        b"sport/Mine.par": b"made there",
        b"sport/Results.par": b"edited there",
    }


def test_stop_changes_nothing_and_names_the_edits(copied: Site) -> None:
    edit(copied)
    copied.write(copied.master, {"other": "new"})
    before = stamps(copied.current)
    ended = copied.run(onDivergence="Stop")
    assert (ended.status, ended.reason) == (3, "Refused/RedundantEdited")
    assert ended.result["divergent"]["names"] == EDITED
    assert stamps(copied.current) == before


def test_an_edit_in_place_of_a_kept_file_does_not_change_the_history(copied: Site) -> None:
    copied.write(copied.master, {"News.par": "second"})
    copied.run()
    (copied.current / "News.par").write_text("edited there")
    assert copied.history() == {b"News.par": b"news"}


def test_links_on_either_side_are_left_alone(copied: Site, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (copied.master / "link").symlink_to(outside)
    shutil.rmtree(copied.current / "sport")
    (copied.current / "sport").symlink_to(outside)
    (copied.current / "foreign").symlink_to(outside / "secret")
    ended = copied.run()
    assert ended.status == 0
    assert ended.result["skipped"]["names"] == ["link"]
    assert "sport" in ended.result["divergent"]["names"]
    assert "foreign" in ended.result["divergent"]["names"]
    assert os.listdir(outside) == ["secret"], "nothing is written through a link"
    ended = copied.run(onDivergence="Overwrite", maxDeletions="100%")
    assert os.listdir(outside) == ["secret"]
    assert (copied.current / "sport/Results.par").read_text() == "results"
    assert (outside / "secret").read_text() == "secret"


def test_odd_names_go_through_all_steps(site: Site) -> None:
    names: list[str | bytes] = [
        "new\nline", " lead", "trail ", "tab\there", 'quote"\'', "back\\#012slash", "-rf", "#hash",
        ";semi", "*?[x]", "..a", b"\xff\xfe", "gro\u0308\u00dfe", "gr\u00f6\u00dfe",
        'skipping non-regular file "x"', "*deleting   victim", "x" * 255, "deep\n/in\n/it",
    ]  # fmt: skip
    site.write(site.master, dict.fromkeys(names, "1"))
    assert site.run().result["verified"] is True
    assert tree(site.current) == tree(site.master)
    assert site.run().counts() == {}
    site.write(site.master, dict.fromkeys(names, "2"))
    assert site.run().counts() == {"copied": len(names)}
    for name in names:
        os.unlink(os.path.join(os.fsencode(site.master), os.fsencode(name)))
    site.settle(site.master)
    ended = site.run(maxDeletions="100%")
    assert ended.counts() == {"deleted": len(names)}
    assert tree(site.current) == tree(site.master)
    assert set(site.history()) == {os.fsencode(name) for name in names}


def test_excluded_files_are_neither_copied_nor_deleted(site: Site) -> None:
    site.write(site.master, {"a.tmp": "x", "cache/b": "x", "sub/cache/c": "x"})
    site.write(site.current, {})
    ended = site.run(exclude=["*.tmp", "/cache/"])
    assert ended.result["files"] == len(FILES) + 1
    assert set(tree(site.master)) - set(tree(site.current)) == {b"a.tmp", b"cache/b"}
    site.write(site.current, {"mine.tmp": "y", "cache/mine": "y"})
    assert site.run(exclude=["*.tmp", "/cache/"]).counts() == {}
    assert (site.current / "mine.tmp").exists()


def test_files_that_were_excluded_for_a_while_are_not_taken_for_edited_ones(copied: Site) -> None:
    assert copied.run(exclude=["/sport/"]).counts() == {}
    copied.write(copied.master, {"sport/Results.par": "new"})
    copied.remove(copied.master / "sport/deep/er/Tables.par")
    assert copied.run(exclude=["/sport/"]).counts() == {}
    assert copied.run().counts() == {"copied": 1, "deleted": 1}
    assert tree(copied.current) == tree(copied.master)


def test_the_history_is_bounded(copied: Site) -> None:
    for number in range(5):
        copied.write(copied.master, {"News.par": f"version {number}"})
        assert copied.run(history={"runs": 2}).status == 0
    assert copied.versions() == {b"News.par": {b"version 2", b"version 3"}}
    copied.run(history={"runs": 2})
    assert len(os.listdir(copied.state / "history")) == 2, "a run that replaces nothing keeps all"


def test_a_file_of_the_last_minute_is_copied_by_the_next_run(copied: Site) -> None:
    copied.write(copied.master, {"fresh": "x"}, age=5)
    ended = copied.run()
    assert ended.counts() == {"deferred": 1}
    assert "left for the next run" in ended.result["message"]
    assert not (copied.current / "fresh").exists()
    os.utime(copied.master / "fresh", (time.time() - 90,) * 2)
    assert copied.run().counts() == {"copied": 1}


@pytest.mark.parametrize(("ahead", "waits"), [(30, True), (3600, True), (10 * 86400, False)])
def test_a_clock_that_is_ahead_defers_but_not_for_ever(
    copied: Site, ahead: float, waits: bool
) -> None:
    copied.write(copied.master, {"skewed": "x"}, age=-ahead)
    assert copied.run().counts() == ({"deferred": 1} if waits else {"copied": 1})


def test_a_deletion_of_a_moment_ago_waits_too(copied: Site) -> None:
    (copied.master / "sport/Results.par").unlink()
    assert copied.run().counts() == {"deferred": 1}
    assert (copied.current / "sport/Results.par").exists()
    copied.settle(copied.master)
    assert copied.run().counts() == {"deleted": 1}


def test_a_config_that_cannot_be_used_is_told(site: Site) -> None:
    ended = site.run(compare="md5")
    assert (ended.status, ended.reason) == (2, "Failed/ConfigInvalid")
    assert "compare is 'md5': write Checksum or SizeAndTime" in ended.result["message"]
    assert os.listdir(site.volume) == []
