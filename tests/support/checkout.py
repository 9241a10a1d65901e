# SPDX-License-Identifier: Apache-2.0
"""What is played or measured here, for the records of that."""

from __future__ import annotations

import subprocess
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
# What was measured before is no source, and changes with each run.
_SOURCES = (".", ":!docs/measurements")


def commit(root: Path = _ROOT, *, short: bool = True) -> str:
    """The commit of a checkout, with -dirty where sources differ from it; empty: no repository.

    Args:
        root: of the checkout.
        short: as git abbreviates it.

    Raises:
        subprocess.CalledProcessError: there is a repository, and git cannot read it.
    """
    if not (root / ".git").exists():  # a source archive
        return ""
    found = _git(root, "rev-parse", *(("--short",) if short else ()), "HEAD")
    changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", *_SOURCES)
    return found + ("-dirty" if changed else "")


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
