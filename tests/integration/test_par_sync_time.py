# SPDX-License-Identifier: Apache-2.0
"""How long a run takes; the figures of docs/reference/par-sync.md come from here (`-s -m ""`)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from tests.support.par_sync import Site, tree


@pytest.mark.timeout(900)
@pytest.mark.parametrize("files", [1000, pytest.param(10_000, marks=pytest.mark.level2)])
def test_thousands_of_files_are_copied_in_seconds(tmp_path: Path, files: int) -> None:
    """The bound is for a machine that is busy with much else."""
    site = Site(tmp_path)
    chance = random.Random(1)
    names: list[str | bytes] = [f"folder-{number % 100:02}/{number:05}" for number in range(files)]
    site.write(site.master, {name: chance.randbytes(chance.randint(1, 16384)) for name in names})
    took = {"first": site.run(seconds=600)}
    took["nothing"] = site.run(seconds=600)
    took["nothing, SizeAndTime"] = site.run(seconds=600, compare="SizeAndTime")
    site.write(site.master, {name: chance.randbytes(8192) for name in names[::100]})
    took["1 % changed"] = site.run(seconds=600)
    for what, ended in took.items():
        print(f"{files} files, {what}: {ended.seconds:.1f} s, {ended.result['bytes']} bytes")
        assert ended.status == 0
        assert ended.seconds < 30 + files / 50
    assert took["first"].counts() == {"copied": files}
    assert took["nothing"].counts() == took["nothing, SizeAndTime"].counts() == {}
    assert took["1 % changed"].counts() == {"copied": files // 100}
    assert tree(site.current) == tree(site.master)
