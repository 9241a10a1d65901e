# SPDX-License-Identifier: Apache-2.0
"""Runs that are killed at any point, beside readers that never stop: whole files, always."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import threading
import time
from pathlib import Path

import pytest
from tests.support.par_sync import STATE, Site, tree
from tests.support.par_sync_crash import run_here, run_until

OLD: dict[str | bytes, str | bytes] = {
    "changes": "old",
    "stays": "stays",
    "goes": "old",
    "folder/goes": "old",
    "folder/deep/changes": "old",
    "becomes-folder": "old",
    "becomes-file/inside": "old",
    "edited-there": "old",
}


def prepare(site: Site, *, first: bool) -> None:
    """A site before its first run, or one before a run with a step of every kind."""
    site.write(site.master, OLD)
    if first:
        return
    assert run_here(site).reason == "FirstCopy"
    for name in ("goes", "folder/goes", "becomes-folder", "becomes-file/inside"):
        (site.master / name).unlink()
    (site.master / "becomes-file").rmdir()
    site.write(
        site.master,
        dict.fromkeys(
            ("changes", "folder/deep/changes", "becomes-folder/inside", "becomes-file", "made/new"),
            "new",
        ),
    )
    os.utime(site.master / "stays", (1_000_000, 1_000_000))
    site.write(site.current, {"edited-there": "edit", "made-there": "edit"})


@pytest.mark.timeout(600)
@pytest.mark.parametrize("first", [True, False])
def test_killed_before_any_step_the_next_run_finishes_the_work(
    memory_path: Path, first: bool
) -> None:
    template = Site(memory_path / "template")
    prepare(template, first=first)
    step, killed = 0, True
    while killed:
        step += 1
        site = Site(memory_path / f"step-{step}")
        for side in ("master", "redundant"):
            shutil.copytree(template.root / side, site.root / side, dirs_exist_ok=True)
        before = tree(site.current)
        killed = run_until(site, step, maxDeletions="100%")
        check_between(site, before)
        check_after(site, first=first)
        shutil.rmtree(site.root)
    assert step > (25 if first else 45), "the steps are not seen any more"


def check_between(site: Site, before: dict[bytes, bytes]) -> None:
    """After the kill: whole files of one of the two states, edits in place, nothing elsewhere."""
    master = tree(site.master)
    for path, content in tree(site.current).items():
        assert content in (before.get(path), master.get(path)), path
    for path in (b"edited-there", b"made-there"):
        assert tree(site.current).get(path) == before.get(path) or path not in before
    assert set(os.listdir(site.volume)) <= {STATE, "current"}


def check_after(site: Site, *, first: bool) -> None:
    """The master has changed once more meanwhile: what the killed run has put into place must not
    be taken for somebody's edit."""
    site.write(site.master, {"changes": "newest", "folder/deep/changes": "newest"})
    site.remove(site.master / ("stays" if first else "made/new"))
    result = run_here(site, maxDeletions="100%")
    assert str(result.outcome) == "Succeeded", result.message
    master = tree(site.master)
    if first:
        assert tree(site.current) == master
        assert result.figures.divergent.count == 0
        return
    assert result.figures.divergent.names == ("edited-there", "made-there")
    edits = {b"edited-there": b"edit", b"made-there": b"edit"}
    assert tree(site.current) == {**master, **edits}
    # nothing that was replaced or deleted is gone
    kept = site.versions()
    for name in ("changes", "goes", "folder/goes", "folder/deep/changes", "becomes-folder"):
        assert b"old" in kept[name.encode()], name
    assert kept[b"becomes-file/inside"] == {b"old"}
    assert set(os.listdir(site.state)) == {"history", "id.json", "manifest.json", "results.jsonl"}
    assert run_here(site).reason == "UpToDate"


SIZES = (0, 10, 3_000, 50_000, 400_000)


def version(name: str, number: int) -> bytes:
    """A content that shows which version it is, and that it is whole."""
    body = f"{name} {number}\n".encode() * (SIZES[hash_of(name) % len(SIZES)] // 10 + 1)
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def hash_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big")


class Reader(threading.Thread):
    """Reads the served copy all the time, as DPE would, and remembers what was wrong."""

    def __init__(self, current: Path, names: set[str]) -> None:
        super().__init__(daemon=True)
        self.current = current
        self.names = names
        self.seen: set[str] = set()
        self.wrong: list[str] = []
        self.reads = 0
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.is_set():
            found = set()
            for folder, _, names in os.walk(self.current):
                for name in names:
                    path = os.path.relpath(os.path.join(folder, name), self.current)
                    found.add(path)
                    self.read(path)
            # a file that was there once is there always: it is replaced in one step
            self.wrong += [f"{name} is missing" for name in self.seen - found]
            self.seen |= found

    def read(self, path: str) -> None:
        self.reads += 1
        if path not in self.names:
            self.wrong.append(f"{path} is none of the master's")
        try:
            content = (self.current / path).read_bytes()
        except FileNotFoundError:
            self.wrong.append(f"{path} went while it was read")
            return
        digest, _, body = content.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != digest:
            self.wrong.append(f"{path} is half-written: {len(content)} bytes")


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "rounds", [12, pytest.param(150, marks=pytest.mark.level2)], ids=["short", "long"]
)
def test_killed_at_random_moments_readers_see_whole_files_and_all_converges(
    memory_path: Path, rounds: int
) -> None:
    site = Site(memory_path)
    names = {f"folder-{number % 5}/file-{number:03}" for number in range(120)}
    chance = random.Random(20261124)
    site.write(site.master, {name: version(name, 0) for name in names})
    full = site.run().seconds
    reader = Reader(site.current, names)
    reader.start()
    killed = 0
    for number in range(1, rounds + 1):
        changed = chance.sample(sorted(names), 60)
        site.write(site.master, {name: version(name, number) for name in changed})
        process = site.start()
        time.sleep(chance.uniform(0.05, full * 1.1))
        killed += process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
    ended = site.run()
    reader.stop.set()
    reader.join(timeout=30)
    assert ended.reason.startswith("Succeeded"), ended.result["message"]
    assert ended.result["divergent"]["count"] == 0
    assert tree(site.current) == tree(site.master)
    assert reader.wrong == []
    assert reader.reads > rounds * 10
    assert killed > rounds // 4, "most runs had ended before they were killed"
    assert "staging" not in os.listdir(site.state)
    print(f"{killed} of {rounds} runs killed, {reader.reads} reads")
