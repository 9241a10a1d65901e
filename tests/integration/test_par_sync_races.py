# SPDX-License-Identifier: Apache-2.0
"""What changes on either side *during* a run, at the worst moment: between plan and rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.support.par_sync import Site, tree
from tests.support.par_sync_crash import run_here

from dpe_par_sync import run as run_module
from dpe_par_sync.install import Installer
from dpe_par_sync.result import Outcome, Result
from dpe_par_sync.rsync import Rsync

FILES: dict[str | bytes, str | bytes] = {
    "changes": "old", "goes": "old", "folder/goes": "old", "stays": "stays", "other": "old",
}  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A copied site whose next run has something to copy and something to delete."""
    site = Site(tmp_path)
    site.write(site.master, FILES)
    assert run_here(site).reason == "FirstCopy"
    site.write(site.master, {"changes": "new", "other": "new", "made": "new"})
    for name in ("goes", "folder/goes"):
        site.remove(site.master / name)
    return site


def run_while(
    site: Site, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], None], **changes: Any
) -> Result:
    """Run; `meanwhile` happens after the plan, while rsync copies."""
    real = Rsync.stage

    def stage(*arguments: Any) -> Any:
        meanwhile()
        return real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Rsync, "stage", stage)
        return run_here(site, maxDeletions="100%", **changes)


@pytest.mark.parametrize("mode", ["Keep", "Overwrite"])
def test_an_edit_after_the_plan_stays_and_is_reported(
    site: Site, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    def edit() -> None:
        for name in ("changes", "goes", "made"):
            (site.current / name).write_text("edited just now")

    result = run_while(site, monkeypatch, edit, onDivergence=mode)
    assert result.outcome is Outcome.SUCCEEDED, result.message
    assert result.figures.divergent.names == ("changes", "goes", "made")
    for name in ("changes", "goes", "made"):
        assert (site.current / name).read_text() == "edited just now"
    assert (site.current / "other").read_text() == "new", "the others are copied"
    assert not (site.current / "folder/goes").exists()
    assert run_here(site, maxDeletions="100%").figures.divergent.count == 3, "it stays an edit"


def test_an_edit_by_a_rename_after_the_plan_stays(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edit() -> None:
        (site.root / "saved").write_text("edited")
        os.replace(site.root / "saved", site.current / "changes")

    result = run_while(site, monkeypatch, edit)
    assert result.figures.divergent.names == ("changes",)
    assert (site.current / "changes").read_text() == "edited"


def test_a_link_that_appears_after_the_plan_is_not_followed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = site.root / "outside"
    outside.mkdir()

    def link() -> None:
        shutil.rmtree(site.current / "folder")
        (site.current / "folder").symlink_to(outside)
        (site.current / "made").symlink_to(outside / "made")

    site.write(site.master, {"folder/new": "new"})
    result = run_while(site, monkeypatch, link)
    assert os.listdir(outside) == []
    assert "made" in result.figures.divergent.names
    assert "folder/new" in result.figures.divergent.names


def test_a_file_that_comes_back_is_not_deleted(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run_while(site, monkeypatch, lambda: (site.master / "goes").write_text("old") and None)
    assert result.figures.deferred == 1
    assert (site.current / "goes").read_text() == "old"


@pytest.mark.parametrize("what", ["changed", "gone", "a folder now"])
def test_a_file_that_the_master_changes_meanwhile_is_left_for_the_next_run(
    site: Site, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    def change() -> None:
        (site.master / "changes").unlink()
        if what == "changed":
            site.write(site.master, {"changes": "newer"})
        elif what == "a folder now":
            (site.master / "changes").mkdir()

    result = run_while(site, monkeypatch, change)
    assert result.outcome is Outcome.SUCCEEDED, result.message
    assert result.figures.deferred == 1
    assert (site.current / "changes").read_text() == "old"
    assert (site.current / "other").read_text() == "new"
    site.settle(site.master)
    assert run_here(site, maxDeletions="100%").outcome is Outcome.SUCCEEDED
    assert tree(site.current) == tree(site.master)


def test_a_folder_that_fills_up_is_not_replaced_by_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(tmp_path)
    site.write(site.master, {"a/inside": "old", "b": "b"})
    run_here(site)
    shutil.rmtree(site.master / "a")
    site.write(site.master, {"a": "a file now"})
    result = run_while(
        site, monkeypatch, lambda: (site.current / "a/mine").write_text("made there") and None
    )
    assert result.figures.divergent.names == ("a",)
    assert (site.current / "a/mine").read_text() == "made there"


def test_a_copy_that_is_not_equal_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A storage that keeps other bytes than it was given."""
    real = Installer.run

    def spoil(self: Installer, *arguments: Any) -> Any:
        done = real(self, *arguments)
        before = (site.current / "changes").stat()
        (site.current / "changes").write_text("bad")
        os.utime(site.current / "changes", ns=(before.st_atime_ns, before.st_mtime_ns))
        return done

    with monkeypatch.context() as patched:
        patched.setattr(Installer, "run", spoil)
        result = run_here(site, maxDeletions="100%")
    assert (result.outcome, result.reason) == (Outcome.FAILED, "VerificationFailed")
    assert "changes" in result.message
    assert not result.figures.verified


def test_rsync_that_leaves_a_file_out_is_told(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Rsync.stage

    def stage(self: Rsync, paths: Any, staging: Path) -> Any:
        answer = real(self, paths, staging)
        (staging / "changes").unlink()
        return answer

    with monkeypatch.context() as patched:
        patched.setattr(Rsync, "stage", stage)
        result = run_here(site, maxDeletions="100%")
    assert (result.outcome, result.reason) == (Outcome.FAILED, "CopyIncomplete")
    assert (site.current / "changes").read_text() == "old"
    assert (site.current / "other").read_text() == "new"


def test_a_volume_that_cannot_be_written_through_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: bytes) -> None:
        raise OSError(5, "Input/output error")

    before = tree(site.current)
    with monkeypatch.context() as patched:
        patched.setattr(run_module, "sync_volume", fail)
        result = run_here(site, maxDeletions="100%")
    assert (result.outcome, result.reason) == (Outcome.FAILED, "CopyFailed")
    assert "Input/output error" in result.message
    assert tree(site.current) == before
