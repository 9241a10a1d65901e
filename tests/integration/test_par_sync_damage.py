# SPDX-License-Identifier: Apache-2.0
"""Sectors that cannot be read and steps that fail: the good copy and the history stay."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.support.mounts import MS_BIND, mount, mounted, needs_root, unmount
from tests.support.par_sync import Site, tree
from tests.support.par_sync_crash import run_here, run_until

from dpe_par_sync.rsync import Answer, Rsync

GOOD = b"good" * 1024  # as large as the file below says that it is
_UNREADABLE = "/sys/class/net/lo/speed"  # says 4096 bytes, and read(2) fails with EINVAL


@contextmanager
def unreadable(path: Path) -> Iterator[None]:
    """Have a file that looks like any other and cannot be read, as on a bad sector."""
    mount(_UNREADABLE, path, "", MS_BIND)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            path.read_bytes()
        os.utime(path, (1_700_000_000, 1_700_000_000))
        yield
    finally:
        unmount(path)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site that has been copied once."""
    site = Site(tmp_path)
    site.write(site.master, {"folder/bad": GOOD, "other": "old", "goes": "old"})
    assert run_here(site).reason == "FirstCopy"
    return site


def failing(
    monkeypatch: pytest.MonkeyPatch, name: str, part: str, number: int = errno.EACCES
) -> None:
    """Let a call of `os` fail for all paths that contain `part`."""
    call = getattr(os, name)

    def instead(*args: Any, **options: Any) -> Any:
        if any(part in os.fsdecode(arg) for arg in args if isinstance(arg, (str, bytes))):
            raise OSError(number, os.strerror(number))
        return call(*args, **options)

    monkeypatch.setattr(os, name, instead)


# a master that cannot be read


@needs_root
@pytest.mark.parametrize("compare", ["Checksum", "SizeAndTime"])
def test_a_bad_sector_in_the_master_never_replaces_the_good_copy(site: Site, compare: str) -> None:
    """rsync fills what it cannot read with zeros; the plan does not even tell that it did."""
    site.write(site.master, {"other": "newer"})
    with unreadable(site.master / "folder/bad"):
        result = run_here(site, quietPeriodSeconds=0, compare=compare)
    assert result.reason == "CopyIncomplete"
    assert "folder/bad: the master cannot be read: Invalid argument" in result.message
    assert not result.figures.verified
    assert tree(site.current)[b"folder/bad"] == GOOD
    assert tree(site.current)[b"other"] == b"newer"
    assert site.history() == {b"other": b"old"}
    assert run_here(site).reason in ("Copied", "UpToDate")
    assert tree(site.current) == tree(site.master)


@needs_root
def test_a_bad_sector_in_a_new_file_of_the_master_is_not_copied_as_zeros(site: Site) -> None:
    site.write(site.master, {"new": GOOD})
    with unreadable(site.master / "new"):
        assert run_here(site, quietPeriodSeconds=0).reason == "CopyIncomplete"
    assert b"new" not in tree(site.current)


def test_what_rsync_has_read_with_errors_is_compared_with_the_master(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the sector can be read again a moment later; the other files are good."""
    site.write(site.master, {"folder/bad": b"next" * 1024, "other": "new"})
    real = Rsync.stage

    def stage(self: Rsync, paths: Any, staging: Path) -> Answer:
        answer = real(self, paths, staging)
        times = os.stat(staging / "folder/bad")
        (staging / "folder/bad").write_bytes(bytes(4096))
        os.utime(staging / "folder/bad", ns=(times.st_atime_ns, times.st_mtime_ns))
        return Answer(answer.output, False, "read errors mapping")

    monkeypatch.setattr(Rsync, "stage", stage)
    result = run_here(site)
    assert (result.reason, result.figures.copied) == ("CopyIncomplete", 1)
    assert "folder/bad: " in result.message
    assert not result.figures.verified
    assert tree(site.current)[b"folder/bad"] == GOOD
    assert tree(site.current)[b"other"] == b"new"


# a copy that cannot be read


@needs_root
def test_a_bad_sector_in_the_copy_stops_nothing_else(site: Site) -> None:
    site.write(site.master, {"other": "new"})
    bad = site.current / "folder/bad"
    with unreadable(bad):
        _remember(site, "folder/bad", bad)
        result = run_here(site)
        # a mount point cannot be renamed over, a bad file can
        assert (result.reason, result.figures.copied) == ("CopyIncomplete", 1)
        assert "folder/bad: Invalid argument" in result.message
        assert not any(name.endswith(b"bad") for name in site.history())
    assert (site.current / "other").read_text() == "new"


def test_a_bad_sector_in_the_copy_is_replaced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write(site.master, {"folder/bad": "next", "other": "new"})

    def broken(path: bytes) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr("dpe_par_sync.facts.digest", broken)
    assert run_here(site).reason == "Copied"
    assert tree(site.current) == tree(site.master)
    assert site.history() == {b"folder/bad": GOOD, b"other": b"old"}


@needs_root
def test_a_bad_sector_in_an_edited_file_leaves_it_and_stops_nothing(site: Site) -> None:
    site.write(site.master, {"other": "new"})
    with unreadable(site.current / "folder/bad"):
        result = run_here(site)
        assert (result.reason, result.figures.copied) == ("Copied", 1)
        assert result.figures.divergent.names == ("folder/bad",)


def _remember(site: Site, name: str, path: Path) -> None:
    """Have the manifest say that a run has left the file with the time that it has."""
    manifest = site.state / "manifest.json"
    found = json.loads(manifest.read_text())
    found["files"][name][1] = path.stat().st_mtime_ns
    manifest.write_text(json.dumps(found))


def test_a_volume_error_names_the_file(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.write(site.master, {"other": "new"})

    def broken(path: bytes) -> str:
        raise OSError(errno.EIO, os.strerror(errno.EIO), path)

    monkeypatch.setattr("dpe_par_sync.install.digest", broken)
    result = run_here(site)
    assert result.reason == "CopyFailed"
    assert "/other: Input/output error" in result.message
    assert "b'" not in result.message


# the history of runs that come to nothing


def test_runs_that_fail_to_replace_or_delete_push_nothing_out_of_the_history(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write(site.master, {"other": "new"})
    assert run_here(site, history={"runs": 2}).reason == "Copied"
    site.write(site.master, {"folder/bad": "next"})
    site.remove(site.master / "goes")
    with monkeypatch.context() as patched:
        failing(patched, "replace", "current/folder/bad")
        failing(patched, "rename", "current/goes")
        for _ in range(3):
            result = run_here(site, history={"runs": 2}, maxDeletions="100%")
            assert result.reason == "CopyIncomplete"
            assert site.history() == {b"other": b"old"}
            assert len(os.listdir(site.state / "history")) == 1
    assert run_here(site, history={"runs": 2}, maxDeletions="100%").reason == "Copied"
    assert site.history() == {b"other": b"old", b"folder/bad": GOOD, b"goes": b"old"}


def test_a_rename_that_was_done_though_it_failed_loses_no_version(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As NFS answers when its first answer was lost."""
    site.write(site.master, {"folder/bad": "next"})
    site.remove(site.master / "goes")

    def late(call: Any, part: bytes) -> Any:
        def instead(source: Any, target: Any) -> None:
            call(source, target)
            if part in os.fsencode(target):
                raise FileNotFoundError(errno.ENOENT, "No such file or directory")

        return instead

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", late(os.replace, b"current/folder/bad"))
        patched.setattr(os, "rename", late(os.rename, b"/goes"))
        assert run_here(site, maxDeletions="100%").reason == "CopyIncomplete"
    assert site.history() == {b"folder/bad": GOOD, b"goes": b"old"}


def test_runs_that_are_killed_again_and_again_push_nothing_out_of_the_history(site: Site) -> None:
    """One that is killed before it has replaced what it keeps leaves one more name of that."""
    site.write(site.master, {"other": "new"})
    assert run_here(site, history={"runs": 2}).reason == "Copied"
    site.write(site.master, {"folder/bad": "next"})
    step = 1
    while (site.current / "folder/bad").read_bytes() == GOOD:
        for _ in range(2):
            assert run_until(site, step, history={"runs": 2})
        step += 1
    assert run_here(site, history={"runs": 2}).reason in ("Copied", "UpToDate")
    assert site.history() == {b"other": b"old", b"folder/bad": GOOD}


# a full volume


@needs_root
def test_fewer_runs_in_the_history_make_room_also_after_a_killed_run(tmp_path: Path) -> None:
    """The journal of that run is to be taken in, and there is no room for the manifest yet."""
    site = Site(tmp_path)
    with mounted("tmpfs", site.volume, "tmpfs", 0, "size=2m"):
        for version in (b"1", b"2", b"3"):
            site.write(site.master, {"large": version * 300_000, "small": version})
            assert run_here(site).reason in ("FirstCopy", "Copied")
        site.write(site.master, {"small": "4"})
        step = 1
        while (site.current / "small").read_bytes() != b"4":
            step += 1
            assert run_until(site, step)
        with (site.volume / "filler").open("wb") as file:
            file.write(b"x" * 4096 * os.statvfs(site.volume).f_bavail)
        assert run_here(site).reason == "RedundantFull"
        assert (site.state / "journal.json").exists(), "it alone knows what is in place"
        site.write(site.master, {"small": "5"})
        result = run_here(site, history={"runs": 1})
        assert (result.reason, result.figures.divergent.count) == ("Copied", 0), result.message
        assert tree(site.current) == tree(site.master)


# the group


@needs_root
def test_files_get_the_group_of_their_folder_where_its_bit_says_so(site: Site) -> None:
    """Not that of the staging folder: DPE reads and writes them by its group."""
    folder = site.current / "folder"
    os.chown(folder, -1, 4711)
    folder.chmod(0o2775)
    os.chown(site.current / "other", -1, 4712)
    site.write(site.master, {"folder/new": "1", "folder/deep/new": "1", "other": "2", "plain": "3"})
    assert run_here(site).reason == "Copied"
    groups = {
        name: (site.current / name).stat().st_gid
        for name in ("folder/new", "folder/deep/new", "other", "plain")
    }
    assert groups == {"folder/new": 4711, "folder/deep/new": 4711, "other": 4712, "plain": 0}
