# SPDX-License-Identifier: Apache-2.0
"""A record of a long run says of which commit it is, and whether the sources were those of it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tests.support.checkout import commit

GIT = ("git", "-c", "user.name=x", "-c", "user.email=x@example.com")


def git(root: Path, *words: str) -> str:
    done = subprocess.run([*GIT, *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with a source file and a measurement."""
    (tmp_path / "docs/measurements").mkdir(parents=True)
    for name in ("source.py", "docs/measurements/chaos.json"):
        (tmp_path / name).write_text("before")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    return tmp_path


def test_a_clean_checkout_is_told_by_its_commit(root: Path) -> None:
    whole = git(root, "rev-parse", "HEAD")
    assert commit(root) == git(root, "rev-parse", "--short", "HEAD")
    assert commit(root, short=False) == whole
    (root / "docs/measurements/chaos.json").write_text("what was measured before")
    (root / "notes.txt").write_text("not part of it")
    assert commit(root, short=False) == whole


def test_sources_that_differ_from_it_are_told(root: Path) -> None:
    whole, brief = commit(root, short=False), commit(root)
    (root / "source.py").write_text("after")
    assert (commit(root, short=False), commit(root)) == (f"{whole}-dirty", f"{brief}-dirty")
    git(root, "add", ".")
    assert commit(root) == f"{brief}-dirty", "a change that is staged is in no commit either"


def test_without_a_repository_nothing_is_told(tmp_path: Path) -> None:
    assert commit(tmp_path) == ""
