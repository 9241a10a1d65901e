# SPDX-License-Identifier: Apache-2.0
"""Runs that must not go on: they change nothing, and say what a person has to do."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from tests.support.mounts import MS_BIND, mounted, needs_root, unmount
from tests.support.par_sync import MARK, STATE, Ended, Site, stamps, tree

FILES: dict[str | bytes, str | bytes] = {f"file-{number:02}": f"{number}" for number in range(20)}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A master with twenty files and an empty redundant volume."""
    site = Site(tmp_path)
    site.write(site.master, FILES)
    return site


@pytest.fixture
def copied(site: Site) -> Site:
    """The same after its first run."""
    assert site.run().reason == "Succeeded/FirstCopy"
    return site


def refused(site: Site, reason: str, **options: object) -> Ended:
    """Run, be refused for `reason`, and find the served copy and the master untouched."""
    before = stamps(site.current), stamps(site.master)
    ended = site.run(**options)
    assert (ended.status, ended.reason) == (3, f"Refused/{reason}"), ended.log
    assert (stamps(site.current), stamps(site.master)) == before
    return ended


# the master is not what it was


def test_an_emptied_master_is_refused(copied: Site) -> None:
    for name in FILES:
        copied.remove(copied.master / os.fsdecode(name))
    ended = refused(copied, "MasterEmpty", maxDeletions="100%")
    assert "nothing is deleted" in ended.result["message"]
    assert len(tree(copied.current)) == 20
    refused(copied, "MasterEmpty", maxDeletions="100%", adopt="I mean it")


def test_a_master_of_empty_folders_is_empty(copied: Site) -> None:
    for name in FILES:
        copied.remove(copied.master / os.fsdecode(name))
    (copied.master / "folder").mkdir()
    refused(copied, "MasterEmpty", maxDeletions="100%")


def test_a_first_run_from_an_empty_master_writes_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    refused(site, "MasterEmpty")
    assert os.listdir(site.master) == os.listdir(site.volume) == []


def test_a_first_run_that_excludes_everything_deletes_and_copies_nothing(site: Site) -> None:
    ended = site.run(exclude=["*"])
    assert ended.reason == "Refused/MasterEmpty"
    assert tree(site.current) == {}


@needs_root
def test_an_unmounted_master_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with mounted("tmpfs", site.master, "tmpfs"), mounted("tmpfs", site.volume, "tmpfs"):
        site.write(site.master, FILES)
        assert site.run(requireMount=True).reason == "Succeeded/FirstCopy"
        unmount(site.master)
        ended = refused(site, "MasterNotMounted", requireMount=True)
        assert f"Nothing is mounted at {site.master}" in ended.result["message"]
        # what lies below the mount point is another folder, even with files in it
        refused(site, "MasterEmpty")
        site.write(site.master, FILES)
        refused(site, "MasterNotMarked")


@needs_root
def test_an_unmounted_redundant_volume_is_refused(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write(site.master, FILES)
    with mounted("tmpfs", site.master, "tmpfs"):
        site.write(site.master, FILES)
        refused(site, "RedundantNotMounted", requireMount=True)
    assert os.listdir(site.volume) == []


def test_a_folder_that_is_not_there_is_refused(site: Site) -> None:
    site.volume.rmdir()
    ended = refused(site, "RedundantMissing")
    assert f"{site.volume} is not a folder: create it" in ended.result["message"]
    shutil.rmtree(site.master)
    refused(site, "MasterMissing")


# both sides are one


@needs_root
@pytest.mark.parametrize("where", [".", "inside", "inside/deep"])
def test_one_folder_behind_both_mounts_is_refused(tmp_path: Path, where: str) -> None:
    site = Site(tmp_path)
    store = tmp_path / "store"
    (store / where).mkdir(parents=True)
    site.write(store / where, FILES)
    with (
        mounted(str(store / where), site.master, "", MS_BIND),
        mounted(str(store), site.volume, "", MS_BIND),
    ):
        ended = refused(site, "SameSource", requireMount=True)
        assert "a volume of its own" in ended.result["message"]
    assert STATE not in os.listdir(store)
    with (
        mounted(str(store), site.master, "", MS_BIND),
        mounted(str(store / where), site.volume, "", MS_BIND),
    ):
        refused(site, "SameSource", requireMount=True)


def test_a_link_to_the_master_is_refused(site: Site) -> None:
    site.volume.rmdir()
    site.volume.symlink_to(site.master)
    assert site.run().status == 3
    assert STATE not in os.listdir(site.master)


@needs_root
def test_one_folder_that_looks_like_two_is_found_by_the_marks(tmp_path: Path) -> None:
    """Two mounts of one network share may have different device numbers; so has an overlay."""
    site = Site(tmp_path)
    lower, work = tmp_path / "lower", tmp_path / "work"
    lower.mkdir()
    work.mkdir()
    site.write(site.master, FILES)
    options = f"lowerdir={lower},upperdir={site.master},workdir={work}"
    with mounted("overlay", site.volume, "overlay", 0, options):
        assert os.stat(site.volume).st_dev != os.stat(site.master).st_dev
        ended = site.run()
        assert ended.reason == "Refused/SameSource"
        assert sorted(os.listdir(site.master)) == sorted(map(str, FILES)), "nothing is left there"


@needs_root
def test_a_master_that_is_the_served_copy_is_found_by_the_marks(tmp_path: Path) -> None:
    site = Site(tmp_path)
    lower, work, hidden = tmp_path / "lower", tmp_path / "work", tmp_path / "hidden"
    for path in (lower, work, hidden, site.current):
        path.mkdir()
    site.write(site.current, FILES)
    options = f"lowerdir={lower},upperdir={site.current},workdir={work}"
    with mounted("overlay", site.master, "overlay", 0, options):
        assert site.run().reason == "Refused/NotPaired"
        assert site.run(adopt="both are right").reason == "Refused/SameSource"
        assert sorted(os.listdir(site.current)) == sorted(map(str, FILES))
        assert not (site.state / "id.json").exists()


def test_a_volume_seen_inside_of_the_master_is_refused(copied: Site) -> None:
    (copied.master / "sub" / STATE).mkdir(parents=True)
    (copied.master / "sub" / STATE / "x").write_text("x")
    refused(copied, "SameSource")


def test_one_file_system_behind_both_is_said(site: Site) -> None:
    assert "same file system" in site.run().result["warnings"][0]


@needs_root
def test_two_file_systems_are_nothing_to_talk_about(tmp_path: Path) -> None:
    site = Site(tmp_path)
    with mounted("tmpfs", site.volume, "tmpfs"):
        site.write(site.master, FILES)
        assert site.run().result["warnings"] == []


@pytest.mark.parametrize("sub_path", ["current", "deep/current"])
def test_a_linked_copy_is_refused(site: Site, sub_path: str) -> None:
    elsewhere = site.root / "elsewhere"
    site.write(elsewhere, {"current/precious": "x"})
    first = sub_path.split("/", maxsplit=1)[0]
    (site.volume / first).symlink_to(elsewhere)
    ended = site.run(redundant={"name": "n", "volumePath": str(site.volume), "subPath": sub_path})
    assert ended.reason == "Refused/RedundantNotFolder"
    assert tree(elsewhere) == {b"current/precious": b"x"}
    assert not (site.master / MARK).exists()


# they do not belong together


def test_a_redundant_side_with_files_has_to_be_adopted(site: Site) -> None:
    site.write(site.current, {"file-00": "0", "file-01": "older", "mine": "x"})
    ended = refused(site, "NotPaired")
    assert "dpe.dev/adopt-par" in ended.result["message"]
    assert not (site.master / MARK).exists() and not site.state.exists()
    ended = site.run(adopt="2026-11-24")
    assert ended.reason == "Succeeded/Adopted"
    # what differs may be the only copy of somebody's work: it stays until a person has looked
    assert ended.counts() == {"copied": 18, "divergent": 2}
    assert ended.result["divergent"]["names"] == ["file-01", "mine"]
    assert tree(site.current)[b"file-01"] == b"older"
    site.settle(site.master)  # the mark has just been written into it
    ended = site.run(adopt="2026-11-24", onDivergence="Overwrite")
    assert ended.counts() == {"copied": 1, "deleted": 1, "overwritten": 2}
    assert site.history() == {b"file-01": b"older", b"mine": b"x"}
    assert tree(site.current) == tree(site.master)


def test_a_new_redundant_volume_has_to_be_adopted(copied: Site) -> None:
    shutil.rmtree(copied.volume)
    copied.volume.mkdir()
    refused(copied, "RedundantNotMarked")
    ended = copied.run(adopt="new disk")
    assert (ended.reason, ended.counts()) == ("Succeeded/Adopted", {"copied": 20})


def test_a_restored_master_has_to_be_adopted(copied: Site) -> None:
    (copied.master / MARK).unlink()
    refused(copied, "MasterNotMarked")
    assert copied.run(adopt="restored").reason == "Succeeded/Adopted"
    assert copied.run().reason == "Succeeded/UpToDate"


def test_a_lost_master_is_made_anew_from_the_copy(copied: Site) -> None:
    """As docs/how-to/par-files.md says: with the edits that were made there meanwhile."""
    copied.write(copied.current, {"file-00": "edited meanwhile", "made": "meanwhile"})
    shutil.rmtree(copied.master)
    shutil.copytree(copied.current, copied.master)
    refused(copied, "MasterNotMarked")
    ended = copied.run(adopt="new master")
    assert (ended.reason, ended.counts()) == ("Succeeded/Adopted", {})
    copied.write(copied.master, {"file-00": "next"})
    copied.remove(copied.master / "made")
    assert copied.run().counts() == {"copied": 1, "deleted": 1}
    assert tree(copied.current) == tree(copied.master)


def test_the_volume_of_another_store_is_refused_by_name(copied: Site, tmp_path: Path) -> None:
    other = Site(tmp_path / "other")
    other.write(other.master, FILES)
    other.run(store="other")
    for mark in (MARK,):
        shutil.copy2(other.master / mark, copied.master / mark)
    ended = refused(copied, "WrongPair")
    assert "store studio/radio" in ended.result["message"]
    assert "store studio/other" in ended.result["message"]


@pytest.mark.parametrize("side", ["master", "redundant"])
def test_a_mark_that_cannot_be_read_is_refused(copied: Site, side: str) -> None:
    mark = copied.master / MARK if side == "master" else copied.state / "id.json"
    mark.write_bytes(mark.read_bytes()[:30])
    ended = refused(copied, "MarkUnreadable")
    assert side in ended.result["message"]
    assert copied.run(adopt="yes").reason == "Succeeded/Adopted"
    assert copied.run(adopt="yes").reason == "Succeeded/UpToDate"


def test_a_text_counts_once(copied: Site) -> None:
    (copied.master / MARK).unlink()
    assert copied.run(adopt="yes").reason == "Succeeded/Adopted"
    (copied.master / MARK).unlink()
    ended = refused(copied, "MasterNotMarked", adopt="yes")
    assert "'yes' has been used before" in ended.result["message"]
    assert copied.run(adopt="yes again").reason == "Succeeded/Adopted"


def test_a_text_that_cannot_be_checked_is_not_obeyed(copied: Site) -> None:
    """The Lease knows which texts have counted, when both marks are lost."""
    (copied.master / MARK).unlink()
    before = stamps(copied.current)
    ended = copied.run(adopt="yes", lease="radio-par-sync", environment={"DPE_API_SERVER": ""})
    assert (ended.status, ended.reason) == (1, "Failed/LeaseUnreachable")
    assert stamps(copied.current) == before
    assert not (copied.master / MARK).exists()


# too much would go


def test_a_mass_deletion_is_refused_and_allowed_by_the_limit(copied: Site) -> None:
    for number in range(5):
        copied.remove(copied.master / f"file-{number:02}")
    ended = refused(copied, "TooManyDeletions")
    assert "delete 5 of 20 files" in ended.result["message"]
    assert "sync.maxDeletions is 10%" in ended.result["message"]
    refused(copied, "TooManyDeletions", maxDeletions=4)
    assert copied.run(maxDeletions=5).counts() == {"deleted": 5}
    assert len(copied.history()) == 5


def test_a_mass_deletion_is_accepted_once_by_a_new_text(copied: Site) -> None:
    for number in range(5):
        copied.remove(copied.master / f"file-{number:02}")
    refused(copied, "TooManyDeletions")
    assert copied.run(adopt="they may go").counts() == {"deleted": 5}
    for number in range(5, 10):
        copied.remove(copied.master / f"file-{number:02}")
    refused(copied, "TooManyDeletions", adopt="they may go")


def test_a_text_that_accepts_a_pair_does_not_accept_its_deletions(copied: Site) -> None:
    (copied.master / MARK).unlink()
    for number in range(5):
        copied.remove(copied.master / f"file-{number:02}")
    ended = copied.run(adopt="restored", quietPeriodSeconds=0)
    assert ended.reason == "Refused/TooManyDeletions"
    assert "its present text 'restored' has accepted the pair of" in ended.result["message"]
    assert len(tree(copied.current)) == 20
    copied.settle(copied.master)
    refused(copied, "TooManyDeletions", adopt="restored")
    assert copied.run(adopt="and those may go").counts() == {"deleted": 5}


def test_a_text_is_not_used_up_by_a_run_that_did_nothing_with_it(copied: Site) -> None:
    for number in range(5):
        copied.remove(copied.master / f"file-{number:02}")
    # refused for another reason, and with a Lease that cannot be read
    copied.write(copied.current, {"file-10": "edit"})
    refused(copied, "RedundantEdited", adopt="they may go", onDivergence="Stop")
    ended = copied.run(
        adopt="they may go", lease="radio-par-sync", environment={"DPE_API_SERVER": ""}
    )
    assert ended.reason == "Refused/TooManyDeletions"
    assert "cannot be told, as the Lease cannot be read" in ended.result["message"]
    assert copied.run(adopt="they may go").counts() == {"deleted": 5, "divergent": 1}


def test_a_text_that_was_not_needed_has_counted(copied: Site) -> None:
    assert copied.run(adopt="not needed").status == 0
    for number in range(5):
        copied.remove(copied.master / f"file-{number:02}")
    refused(copied, "TooManyDeletions", adopt="not needed")


def test_a_half_restored_master_is_a_mass_deletion(copied: Site) -> None:
    shutil.rmtree(copied.master / "file-00", ignore_errors=True)
    mark = (copied.master / MARK).read_bytes()
    shutil.rmtree(copied.master)
    copied.master.mkdir()
    (copied.master / MARK).write_bytes(mark)
    copied.write(copied.master, dict(list(FILES.items())[:10]))
    refused(copied, "TooManyDeletions")


def test_what_was_refused_is_told_on_the_volume_too(copied: Site) -> None:
    for name in FILES:
        copied.remove(copied.master / os.fsdecode(name))
    ended = copied.run()
    lines = (copied.state / "results.jsonl").read_text().splitlines()
    assert json.loads(lines[-1]) == ended.result
