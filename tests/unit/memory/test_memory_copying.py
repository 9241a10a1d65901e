# SPDX-License-Identifier: Apache-2.0
"""Copying: what is part of a memory, what is left out, and sources that do not hold still."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.memory.memory_site import contents

from dpe_memory import copying
from dpe_memory.copying import Copied, Copying, has_files, listing


@pytest.fixture
def source(root: Path) -> Path:
    made = root / "source"
    made.mkdir()
    return made


@pytest.fixture
def target(root: Path) -> Path:
    made = root / "target"
    made.mkdir()
    return made


def copy(source: Path, target: Path, sleep: Callable[[float], None] = lambda _: None) -> Copied:
    return Copying(str(source), str(target)).run(sleep)


def meddling(monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[str], None]) -> None:
    """Have `act` called with the path before each `os.<name>`."""
    real = getattr(os, name)

    def call(path: object, *words: object, **more: object) -> object:
        act(str(path))
        return real(path, *words, **more)

    monkeypatch.setattr(os, name, call)


def test_files_folders_modes_and_times(source: Path, target: Path) -> None:
    (source / "a").mkdir(mode=0o750)
    (source / "a" / "empty").mkdir()
    (source / "a" / "entries").write_bytes(os.urandom(3 << 20))
    (source / os.fsdecode(b"not utf-8 \xff\xfe")).write_text("x")
    (source / "- odd\n name").write_text("")
    (source / "secret").write_text("s")
    (source / "secret").chmod(0o600)
    (source / "readonly").write_text("r")
    (source / "readonly").chmod(0o440)
    os.utime(source / "secret", ns=(1, 1_234_567_890_123_456_789))
    copied = copy(source, target)
    assert copied.settled
    assert copied.skipped == ()
    assert (copied.files, copied.bytes) == (5, (3 << 20) + 3)
    for path in source.rglob("*"):
        twin = target / path.relative_to(source)
        assert twin.is_dir() == path.is_dir()
        if path.is_file():
            assert twin.read_bytes() == path.read_bytes()
            assert twin.stat().st_mtime_ns == path.stat().st_mtime_ns
    assert stat.S_IMODE((target / "a").stat().st_mode) == 0o750
    assert stat.S_IMODE((target / "secret").stat().st_mode) == 0o600
    # the next copy has to be written over by its watcher, whoever made this one read-only
    assert stat.S_IMODE((target / "readonly").stat().st_mode) == 0o640


def test_many_files_are_each_flushed(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(200):
        (source / str(number)).write_text("x")
    flushed = set()
    real = os.fsync

    def note(descriptor: int) -> None:
        flushed.add(Path(os.readlink(f"/proc/self/fd/{descriptor}")))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    assert copy(source, target).files == 200
    assert flushed == {target, *target.iterdir()}


def test_what_cannot_be_shared_is_left_out(source: Path, target: Path, root: Path) -> None:
    elsewhere = root / "epoch-1"
    elsewhere.mkdir()
    (elsewhere / "entries").write_text("another epoch's")
    (source / "entries").write_text("x")
    (source / "absolute").symlink_to(elsewhere)
    (source / "outside").symlink_to("../epoch-1/entries")
    (source / "inside").symlink_to("entries")
    (source / "nowhere").symlink_to("not/there")
    os.mkfifo(source / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "socket"))
        copied = copy(source, target)
    assert copied.settled
    assert copied.skipped == ("absolute", "outside", "pipe", "socket")
    assert sorted(path.name for path in target.iterdir()) == ["entries", "inside", "nowhere"]
    assert os.readlink(target / "inside") == "entries"
    assert copied.files == 1


def test_a_volume_without_links_leaves_them_out(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "entries").write_text("x")
    (source / "link").symlink_to("entries")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "Operation not supported")

    monkeypatch.setattr(os, "symlink", refuse)
    copied = copy(source, target)
    assert (copied.settled, copied.skipped) == (True, ("link",))


def test_a_volume_without_modes_times_and_flushing_of_folders_will_do(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "entries").write_text("x")
    real = os.fsync

    def files_only(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")
        real(descriptor)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", files_only)
    for name in ("chmod", "fchmod", "utime"):
        monkeypatch.setattr(os, name, refuse)
    assert copy(source, target).files == 1


@pytest.mark.parametrize("files", [1, 50])
@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC])
def test_what_cannot_be_flushed_is_an_error(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch, error: int, files: int
) -> None:
    for number in range(files):
        (source / str(number)).write_text("x")

    def fail(_: int) -> None:
        raise OSError(error, "no")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError) as failed:
        copy(source, target)
    assert failed.value.errno == error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_an_error(source: Path, target: Path) -> None:
    (source / "entries").write_text("x")
    (source / "entries").chmod(0)
    with pytest.raises(PermissionError):
        copy(source, target)


def test_a_late_write_is_copied_again(source: Path, target: Path) -> None:
    (source / "entries").write_text("early")
    (source / "gone").write_text("x")
    (source / "folder").mkdir()
    (source / "folder" / "inner").write_text("x")
    (source / "same").write_text("same")
    kept = []
    passes = []

    def trickle(_: float) -> None:
        passes.append(1)

    class Late(Copying):
        def _follow(self, found: dict[str, copying.Look]) -> None:
            super()._follow(found)
            kept.append((target / "same").stat().st_ino)
            if len(kept) == 1:  # after the first pass, before the second look
                (source / "entries").write_text("later")
                os.utime(source / "entries", ns=(5, 5))
                (source / "gone").unlink()
                (source / "folder" / "inner").unlink()
                (source / "folder").rmdir()
                (source / "folder").write_text("now a file")
                (source / "new").mkdir()
                (source / "new" / "x").write_text("new")

    copied = Late(str(source), str(target)).run(trickle)
    assert copied.settled
    assert contents(target) == contents(source)
    assert contents(target)["entries"] == "later"
    assert len(passes) == 1
    assert kept[0] == kept[1], "what has not changed is not copied again"


def test_a_source_that_never_holds_still_is_given_up_on(source: Path, target: Path) -> None:
    (source / "entries").write_text("0")

    class Restless(Copying):
        def _follow(self, found: dict[str, copying.Look]) -> None:
            super()._follow(found)
            (source / "entries").write_text((source / "entries").read_text() + "x")

    naps: list[float] = []
    copied = Restless(str(source), str(target)).run(naps.append)
    assert not copied.settled
    assert len(naps) == copying.PASSES - 1
    assert contents(target)["entries"].startswith("0xxxx")


def test_a_file_that_vanishes_before_it_is_read(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (source / name).write_text(name)
    meddling(
        monkeypatch,
        "open",
        lambda path: path.endswith("source/a") and (source / "b").unlink(missing_ok=True),
    )
    copied = copy(source, target)
    assert copied.settled
    assert contents(target) == {"a": "a", "c": "c"}


def test_a_folder_that_vanishes_while_it_is_listed(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "folder").mkdir()
    (source / "x").write_text("x")
    meddling(
        monkeypatch,
        "scandir",
        lambda path: path.endswith("/folder") and (source / "folder").rmdir(),
    )
    assert copy(source, target).settled
    assert contents(target) == {"x": "x"}


def test_a_file_whose_handle_goes_stale(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NFS: removed on the machine where it was written, while it is read here."""
    (source / "a").write_text("a")
    (source / "b").write_text("b")
    real, failed = os.read, []

    def stale(descriptor: int, size: int) -> bytes:
        if os.readlink(f"/proc/self/fd/{descriptor}").endswith("source/a") and not failed:
            failed.append(1)
            (source / "a").unlink()
            raise OSError(errno.ESTALE, "Stale file handle")
        return real(descriptor, size)

    monkeypatch.setattr(os, "read", stale)
    assert copy(source, target).settled
    assert failed
    assert contents(target) == {"b": "b"}


def test_a_file_replaced_by_a_pipe_does_not_hang(
    source: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "a").write_text("a")

    def swap(path: str) -> None:
        if path.endswith("source/a") and (source / "a").is_file():
            (source / "a").unlink()
            os.mkfifo(source / "a")

    meddling(monkeypatch, "open", swap)
    copied = copy(source, target)
    assert (copied.settled, copied.skipped, copied.files) == (True, ("a",), 0)


def test_a_source_that_is_missing_is_an_error(root: Path, target: Path) -> None:
    with pytest.raises(FileNotFoundError):
        copy(root / "nothing", target)


def test_the_digest_is_of_names_and_contents(root: Path) -> None:
    def digest(**files: str) -> str:
        name = f"{sorted(files.items())}".replace("/", "-")
        (root / name).mkdir()
        (root / f"{name}.copy").mkdir()
        for file, content in files.items():
            (root / name / file).write_text(content)
        return copy(root / name, root / f"{name}.copy").digest

    digests = [digest(), digest(a="x"), digest(a="y"), digest(b="x"), digest(a="x", b="")]
    assert len(set(digests)) == len(digests)
    assert copying.empty(str(root)).digest == digests[0]
    before = root / f"{[('a', 'x')]}"
    os.utime(before / "a", ns=(1, 1))
    (root / "again").mkdir()
    assert copy(before, root / "again").digest == digests[1], "a time stamp is no content"


def test_has_files(source: Path) -> None:
    assert not has_files(str(source / "nothing"))
    assert not has_files(str(source))
    (source / "folder" / "inner").mkdir(parents=True)
    assert not has_files(str(source))
    (source / "folder" / "inner" / "x").touch()
    assert has_files(str(source))


def test_a_listing_follows_no_link(source: Path, root: Path) -> None:
    (root / "outside").mkdir()
    (root / "outside" / "x").touch()
    (source / "link").symlink_to(root / "outside")
    assert set(listing(str(source))) == {"link"}
