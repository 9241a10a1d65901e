# SPDX-License-Identifier: Apache-2.0
"""How a file of our own is told from one that somebody has edited; history; single files."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_par_sync import files, manifest
from dpe_par_sync.files import Stamp, Thing
from dpe_par_sync.history import append_result, prune
from dpe_par_sync.manifest import Entry, is_ours, recover

ENTRY = Entry(5, 1_000, "digest")
STAMP = Stamp(Thing.FILE, 5, 1_000)


def never() -> str:
    raise AssertionError("read for nothing")


@pytest.mark.parametrize(
    ("entry", "found"),
    [
        (None, STAMP),
        (ENTRY, None),
        (ENTRY, Stamp(Thing.FOLDER, 5, 1_000)),
        (ENTRY, Stamp(Thing.OTHER, 5, 1_000)),
        (ENTRY, Stamp(Thing.FILE, 6, 1_000)),
    ],
)
def test_what_cannot_be_ours_is_not_read(entry: Entry | None, found: Stamp | None) -> None:
    assert not is_ours(entry, found, never)
    assert not is_ours(entry, found, never, trust=True)


def test_equal_size_and_time_are_enough_only_where_they_are_trusted() -> None:
    assert is_ours(ENTRY, STAMP, never, trust=True)
    assert is_ours(ENTRY, STAMP, lambda: "digest")
    assert not is_ours(ENTRY, STAMP, lambda: "other")
    assert is_ours(ENTRY, Stamp(Thing.FILE, 5, 2_000), lambda: "digest", trust=True)
    assert not is_ours(ENTRY, Stamp(Thing.FILE, 5, 2_000), lambda: "other", trust=True)


def raising(number: int) -> Callable[[], str]:
    def read() -> str:
        raise OSError(number, os.strerror(number))

    return read


def test_what_cannot_be_read_is_ours_if_it_stands_as_we_left_it() -> None:
    """A bad sector: nobody has written there since."""
    assert is_ours(ENTRY, STAMP, raising(errno.EIO))
    assert not is_ours(ENTRY, Stamp(Thing.FILE, 5, 2_000), raising(errno.EIO))
    assert not is_ours(ENTRY, STAMP, raising(errno.EACCES)), "we leave files that we can read"


def test_a_journal_outlives_what_cannot_be_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad").write_text("new")
    (tmp_path / "good").write_text("new")
    entry = Entry(3, 7, hashlib.sha256(b"new").hexdigest())

    def look(path: bytes) -> Stamp | None:
        if path.endswith(b"bad"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return files.look(path)

    monkeypatch.setattr(manifest, "look", look)
    assert set(recover({}, {b"bad": entry, b"good": entry}, os.fsencode(tmp_path))) == {b"good"}


def test_a_file_that_cannot_be_read_is_named() -> None:
    with pytest.raises(OSError, match="/proc/self/mem") as caught:
        files.digest(b"/proc/self/mem")  # opens, and its first page cannot be read
    assert caught.value.errno == errno.EIO


@given(
    st.dictionaries(
        st.binary(min_size=1, max_size=30).filter(lambda name: b"\0" not in name),
        st.builds(Entry, st.integers(0), st.integers(), st.text(max_size=64)),
        max_size=5,
    )
)
def test_a_manifest_survives_being_written_and_read(
    tmp_path_factory: pytest.TempPathFactory, entries: manifest.Entries
) -> None:
    path = os.fsencode(tmp_path_factory.mktemp("manifest") / "manifest.json")
    manifest.save(path, entries)
    assert manifest.load(path) == entries


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version":2,"files":{}}', b'{"version":1,"files":{"a":[1]}}']
)
def test_a_manifest_that_cannot_be_understood_is_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "manifest.json"
    path.write_bytes(content)
    assert manifest.load(os.fsencode(path)) is None
    assert manifest.load(os.fsencode(tmp_path / "missing")) == {}


def test_a_journal_counts_only_for_what_is_in_place(tmp_path: Path) -> None:
    (tmp_path / "put").write_text("new")
    (tmp_path / "edited").write_text("bad")
    (tmp_path / "not-yet").write_text("old")
    before = {b"not-yet": Entry(3, 1, "old digest")}
    digest = hashlib.sha256(b"new").hexdigest()
    journal = {name: Entry(3, 7, digest) for name in (b"put", b"edited", b"not-yet", b"missing")}
    found = recover(before, journal, os.fsencode(tmp_path))
    assert found[b"put"].digest == digest
    assert found[b"put"].mtime_ns == (tmp_path / "put").stat().st_mtime_ns
    assert found[b"not-yet"] == before[b"not-yet"]
    assert set(found) == {b"put", b"not-yet"}


def run_name(number: int) -> str:
    return f"202611{number:02}T030000Z-abcd"


def test_the_oldest_runs_go_and_what_people_put_there_stays(tmp_path: Path) -> None:
    for number in range(1, 7):
        (tmp_path / run_name(number) / "deep").mkdir(parents=True)
        (tmp_path / run_name(number) / "deep/file").write_text("kept")
    (tmp_path / "by hand").mkdir()
    prune(os.fsencode(tmp_path), 3, run_name(6))
    assert sorted(os.listdir(tmp_path)) == [*map(run_name, (4, 5, 6)), "by hand"]
    prune(os.fsencode(tmp_path / "missing"), 3, run_name(6))


def test_a_run_with_a_wrong_clock_does_not_throw_away_its_own_history(tmp_path: Path) -> None:
    own = "19700101T000000Z-abcd"
    for name in (own, *map(run_name, range(1, 5))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("kept")
    prune(os.fsencode(tmp_path), 3, own)
    assert sorted(os.listdir(tmp_path)) == [own, run_name(3), run_name(4)]


def test_runs_that_kept_nothing_do_not_count_and_go(tmp_path: Path) -> None:
    for number in range(1, 7):
        (tmp_path / run_name(number) / "deep").mkdir(parents=True)
    (tmp_path / run_name(1) / "deep/file").write_text("kept")
    (tmp_path / run_name(2) / "deep/link").symlink_to("/")
    (tmp_path / "by hand").mkdir()
    (tmp_path / "elsewhere/empty").mkdir(parents=True)
    (tmp_path / run_name(9)).symlink_to("elsewhere")
    prune(os.fsencode(tmp_path), 3, run_name(6))
    left = [*map(run_name, (1, 2, 9)), "by hand", "elsewhere"]
    assert sorted(os.listdir(tmp_path)) == left
    assert (tmp_path / run_name(1) / "deep/file").read_text() == "kept"
    assert (tmp_path / "elsewhere/empty").is_dir()


def test_results_are_bounded_and_half_a_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_bytes(b'{"n":1}\n{"half')
    append_result(os.fsencode(path), '{"n":2}')
    assert path.read_text() == '{"n":1}\n{"n":2}\n'
    path.write_text("".join(f'{{"n":{number}}}\n' for number in range(1500)))
    append_result(os.fsencode(path), '{"n":"last"}')
    lines = path.read_text().splitlines()
    assert (len(lines), lines[0], lines[-1]) == (1000, '{"n":501}', '{"n":"last"}')


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("secret")
    link = tmp_path / "link"
    link.symlink_to(target)
    found = files.look(os.fsencode(link))
    assert found and found.thing is Thing.OTHER
    with pytest.raises(OSError, match="Too many levels"):
        files.digest(os.fsencode(link))
    (tmp_path / "mark.new").symlink_to(target)
    with pytest.raises(OSError, match="Too many levels"):
        files.write_whole(os.fsencode(tmp_path / "mark"), b"x")
    assert target.read_text() == "secret"


def test_a_replaced_file_is_kept_where_there_are_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError("Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    source, kept = tmp_path / "source", tmp_path / "history/deep/source"
    source.write_text("old")
    os.utime(source, (1, 1))
    files.keep_copy(os.fsencode(source), os.fsencode(kept))
    assert (kept.read_text(), kept.stat().st_mtime) == ("old", 1)
    assert source.read_text() == "old"
