# SPDX-License-Identifier: Apache-2.0
"""Volumes that are full, read-only, forbidden, hanging or moving: told, and nothing half-done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.support.mounts import MS_BIND, MS_RDONLY, MS_REMOUNT, hanging, mount, mounted, needs_root
from tests.support.par_sync import MARK, NOBODY, ROOT, Site, stamps, tree

FILES: dict[str | bytes, str | bytes] = {
    f"folder-{number % 3}/file-{number}": f"{number}" * 100 for number in range(9)
}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A master with nine files and an empty redundant volume."""
    site = Site(tmp_path)
    site.write(site.master, FILES)
    return site


# full


@needs_root
def test_a_full_volume_is_told_and_the_copy_stays_as_it_was(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write(site.master, FILES)
    with mounted("tmpfs", site.volume, "tmpfs", 0, "size=2m"):
        assert site.run().status == 0
        before = stamps(site.current)
        site.write(site.master, {"large": b"x" * 3_000_000, "folder-0/file-0": "new"})
        ended = site.run()
        assert (ended.status, ended.reason) == (1, "Failed/RedundantFull")
        assert "sync.history.runs" in ended.result["message"]
        assert stamps(site.current) == before
        assert "staging" not in os.listdir(site.state), "it would keep the volume full"
        free = os.statvfs(site.volume)
        assert free.f_bavail * free.f_bsize > 1_000_000
        (site.master / "large").unlink()
        site.settle(site.master)
        assert site.run().counts() == {"copied": 1}
        assert tree(site.current) == tree(site.master)


@needs_root
@pytest.mark.parametrize("left", range(0, 48, 8))
def test_a_volume_that_fills_up_at_any_point_leaves_whole_files(tmp_path: Path, left: int) -> None:
    """`left` pages of 4 KiB are free when the run begins: it ends in staging, in a mark, in the
    journal, while keeping what is replaced, in the manifest, or not at all."""
    site = Site(tmp_path)
    large: dict[str | bytes, str | bytes] = {f"f{number}": b"1" * 9000 for number in range(8)}
    site.write(site.master, large)
    with mounted("tmpfs", site.volume, "tmpfs", 0, "size=1m"):
        assert site.run().status == 0
        site.write(site.master, {f"f{number}": b"2" * 9000 for number in range(8)})
        filler = site.volume / "filler"
        with filler.open("wb") as file:
            free = os.statvfs(site.volume).f_bavail - left
            file.write(b"x" * 4096 * free)
        ended = site.run()
        assert ended.reason in ("Failed/RedundantFull", "Failed/CopyIncomplete", "Succeeded/Copied")
        assert "Traceback" not in ended.log
        for name, content in tree(site.current).items():
            assert content in (b"1" * 9000, b"2" * 9000), name
        filler.unlink()
        ended = site.run()
        assert ended.status == 0
        assert ended.result["divergent"]["count"] == 0, "none of ours is taken for an edit"
        assert tree(site.current) == tree(site.master)


@needs_root
def test_fewer_runs_in_the_history_make_room_on_a_full_volume(tmp_path: Path) -> None:
    """As the message advises: the run that finds the lower number needs the room already."""
    site = Site(tmp_path)
    with mounted("tmpfs", site.volume, "tmpfs", 0, "size=2m"):
        for version in (b"1", b"2", b"3"):
            site.write(site.master, {"large": version * 500_000, "small": version})
            assert site.run().status == 0
        site.write(site.master, {"large": b"4" * 700_000})
        assert site.run().reason == "Failed/RedundantFull"
        assert len(os.listdir(site.state / "history")) == 2, "nothing goes that is to be kept"
        assert site.run(history={"runs": 1}).reason == "Succeeded/Copied"
        assert tree(site.current) == tree(site.master)
        assert site.history() == {b"large": b"3" * 500_000}


def test_a_refused_run_deletes_nothing_of_the_history(site: Site) -> None:
    """What is to be restored may lie in it, also where a lower number has just been written."""
    for version in "abc":
        site.write(site.master, {"changed": version})
        assert site.run().status == 0
    for path in site.master.glob("folder-*/*"):
        site.remove(path)
    before = tree(site.state / "history")
    assert site.run(history={"runs": 1}).reason == "Refused/TooManyDeletions"
    assert tree(site.state / "history") == before


# not allowed


@needs_root
def test_a_read_only_redundant_volume_is_refused_with_the_cure(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write(site.master, FILES)
    with mounted(str(site.volume), site.volume, "", MS_BIND):
        mount("none", site.volume, "", MS_REMOUNT | MS_BIND | MS_RDONLY)
        ended = site.run()
        assert (ended.status, ended.reason) == (3, "Refused/RedundantNotWritable")
        assert "mount the redundant volume writable" in ended.result["message"]
        assert not (site.master / MARK).exists()
    assert site.run().status == 0
    with mounted(str(site.volume), site.volume, "", MS_BIND):
        mount("none", site.volume, "", MS_REMOUNT | MS_BIND | MS_RDONLY)
        ended = site.run()
        assert ended.reason == "Refused/RedundantNotWritable"
        assert "Traceback" not in ended.log


@needs_root
def test_a_read_only_master_is_refused_once_and_fine_afterwards(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.write(site.master, FILES)

    @contextmanager
    def read_only() -> Iterator[None]:
        with mounted(str(site.master), site.master, "", MS_BIND):
            mount("none", site.master, "", MS_REMOUNT | MS_BIND | MS_RDONLY)
            yield

    with read_only():
        ended = site.run()
        assert ended.reason == "Refused/MasterNotWritable"
        assert "mount it writable" in ended.result["message"]
        assert os.listdir(site.volume) == []
    assert site.run().status == 0
    with read_only():
        assert site.run().reason == "Succeeded/UpToDate"


def own(*paths: Path) -> None:
    for path in paths:
        for folder, folders, names in os.walk(path):
            for name in [".", *folders, *names]:
                os.chown(os.path.join(folder, name), NOBODY, NOBODY)


@pytest.fixture
def users_site() -> Iterator[Site]:
    """A site below /tmp that belongs to the user of the image, who is not root."""
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder))
        Path(folder).chmod(0o755)
        site.write(site.master, FILES)
        own(Path(folder))
        yield site


@needs_root
def test_everything_works_without_root(users_site: Site) -> None:
    site = users_site
    assert site.run(user=NOBODY).reason == "Succeeded/FirstCopy"
    site.write(site.master, {"folder-0/file-0": "new"})
    assert site.run(user=NOBODY).counts() == {"copied": 1}
    assert tree(site.current) == tree(site.master)
    assert (site.current / "folder-0/file-0").stat().st_uid == NOBODY


@needs_root
def test_a_redundant_folder_of_somebody_else_is_refused_with_the_cure(users_site: Site) -> None:
    site = users_site
    site.current.mkdir(mode=0o755)  # as kubelet makes a sub-path that is missing
    ended = site.run(user=NOBODY)
    assert (ended.status, ended.reason) == (3, "Refused/RedundantNotWritable")
    assert f"User {NOBODY} cannot write into {site.current}" in ended.result["message"]
    assert "fsGroup" in ended.result["message"]


@needs_root
def test_a_file_that_cannot_be_read_does_not_stop_the_others(users_site: Site) -> None:
    site = users_site
    secret = site.master / "folder-1/file-1"
    os.chown(secret, 0, 0)
    secret.chmod(0o600)
    ended = site.run(user=NOBODY)
    assert (ended.status, ended.reason) == (1, "Failed/CopyIncomplete")
    assert "folder-1/file-1" in ended.result["message"]
    assert ended.result["copied"] == 8
    assert len(tree(site.current)) == 8
    secret.chmod(0o644)
    assert site.run(user=NOBODY).counts() == {"copied": 1}


@needs_root
def test_a_folder_that_cannot_be_read_deletes_nothing(users_site: Site) -> None:
    site = users_site
    assert site.run(user=NOBODY).status == 0
    site.remove(site.master / "folder-2/file-2")
    site.write(site.master, {"folder-2/new": "x"})
    folder = site.master / "folder-1"
    os.chown(folder, 0, 0)
    folder.chmod(0o700)
    ended = site.run(user=NOBODY, maxDeletions="100%")
    assert (ended.status, ended.reason) == (1, "Failed/MasterUnreadable")
    assert "folder-1" in ended.result["message"]
    assert ended.counts() == {"copied": 1}
    assert len(tree(site.current)) == 10
    # and when it can be read again, its files are not taken for edited ones
    folder.chmod(0o755)
    site.write(site.master, {"folder-1/file-1": "new"})
    site.remove(folder / "file-4")
    ended = site.run(user=NOBODY, maxDeletions="100%")
    assert ended.counts() == {"copied": 1, "deleted": 2}
    assert tree(site.current) == tree(site.master)


@needs_root
def test_a_file_of_somebody_else_on_the_redundant_side_is_left(users_site: Site) -> None:
    site = users_site
    assert site.run(user=NOBODY).status == 0
    foreign = site.current / "folder-0/file-0"
    foreign.unlink()
    foreign.write_text("of root")
    foreign.chmod(0o600)
    ended = site.run(user=NOBODY)
    assert ended.status == 0
    assert ended.result["divergent"]["names"] == ["folder-0/file-0"]
    assert foreign.read_text() == "of root"


@needs_root
def test_a_forbidden_folder_on_the_redundant_side_does_not_stop_the_others(
    users_site: Site,
) -> None:
    site = users_site
    assert site.run(user=NOBODY).status == 0
    site.write(site.master, {"folder-0/file-0": "new", "folder-1/file-1": "new"})
    folder = site.current / "folder-0"
    os.chown(folder, 0, 0)
    folder.chmod(0o700)
    ended = site.run(user=NOBODY)
    assert ended.status == 1
    assert "Traceback" not in ended.log
    assert (site.current / "folder-1/file-1").read_text() == "new"
    assert (folder / "file-0").read_text() == "0" * 100


def test_something_mounted_inside_of_the_redundant_volume_is_refused(site: Site) -> None:
    if os.getuid() != 0:
        pytest.skip("mounts need root")
    assert site.run().status == 0
    with mounted("tmpfs", site.current, "tmpfs"):
        ended = site.run()
        assert ended.reason == "Refused/NotOneFileSystem"
    with mounted("tmpfs", site.current / "folder-0", "tmpfs"):
        ended = site.run()
        assert ended.reason == "Refused/NotOneFileSystem"
        assert "mount" in ended.result["message"].lower()
    assert site.run().status == 0
    assert tree(site.current) == tree(site.master)


# moving


def test_a_file_that_grows_while_it_is_copied_is_left_for_the_next_run(site: Site) -> None:
    """Even with a clock that makes it look old: what counts is that it changes."""
    growing = site.master / "growing"
    stop = threading.Event()

    def grow() -> None:
        with growing.open("wb", buffering=0) as file:
            while not stop.is_set():
                file.write(b"x" * 10_000)
                os.utime(growing, (time.time() - 3600,) * 2)
                time.sleep(0.0005)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        for _ in range(3):
            ended = site.run()
            assert ended.status == 0
            assert ended.result["deferred"] == 1
            assert not (site.current / "growing").exists()
    finally:
        stop.set()
        writer.join()
    site.settle(site.master)
    os.utime(growing, (time.time() - 3600,) * 2)
    assert site.run().counts() == {"copied": 1}
    assert tree(site.current) == tree(site.master)


# hanging


@needs_root
@pytest.mark.parametrize(
    # a master that hangs, with Lease and all, is in test_par_sync_lease
    "side",
    [pytest.param("master", marks=pytest.mark.level2), "volume"],
)
def test_a_hung_volume_ends_the_run_at_its_deadline(site: Site, side: str) -> None:
    assert site.run().status == 0
    with hanging(getattr(site, side)):
        ended = site.run(maxRunSeconds=10)
        assert (ended.status, ended.reason) == (1, "Failed/TimedOut")
        assert "a volume may hang, or sync.maxRunTime is too short" in ended.result["message"]
        assert ended.seconds < 30
    assert site.run().reason == "Succeeded/UpToDate"


@needs_root
def test_a_signal_ends_a_run_that_hangs(site: Site) -> None:
    with hanging(site.master):
        process = site.start()
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        out, _ = process.communicate(timeout=30)
        assert '"reason":"Interrupted"' in out
        assert process.returncode == 1


def test_without_rsync_the_run_says_so(site: Site) -> None:
    ended = site.run(environment={"PATH": "/nonexistent"})
    assert (ended.status, ended.reason) == (1, "Failed/RsyncMissing")


def test_the_command_refuses_to_run_without_a_config() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dpe_par_sync"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "operator")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "--config" in done.stderr
