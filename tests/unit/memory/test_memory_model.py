# SPDX-License-Identifier: Apache-2.0
"""Any sequence of starts, writes, deaths, freezes, losses and restored Leases, on real folders.

The model knows one thing: the memory that the next start must have (`truth`), or that it is lost.
Whatever happens in whatever order:

* the newest complete memory is never lost, and no start begins with an older one;
* nobody changes anything in the directory of an epoch that is not his own, except to remove it
  altogether, and never the newest complete one;
* a start that dies anywhere, or sleeps through another one, leaves a state from which the next
  start recovers.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests.unit.memory.memory_faults import KILLED, Child
from tests.unit.memory.memory_site import Site, contents

from dpe_memory.run import EXIT_LEASE, EXIT_LOST

PODS = st.sampled_from("ab")
NAMES = st.sampled_from(["entries", "tables", "folder__inner"])
# a start makes about 60 changes; beyond its last one nothing happens to it
CHANGES = st.integers(1, 75)

Snapshot = dict[str, dict[str, str]]


class Watchers(RuleBasedStateMachine):
    """One watcher on one volume; `current` is the epoch whose watcher writes (0: nobody)."""

    def __init__(self) -> None:
        super().__init__()
        base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self.site = Site(Path(tempfile.mkdtemp(dir=base)))
        self.truth: dict[str, str] = {}
        self.current = 0
        self.lost: str = ""
        self.left: dict[str, str] = {}
        self.frozen: list[tuple[Child, str]] = []
        self.lowered = False
        self.leases: list[dict[str, Any]] = []

    def teardown(self) -> None:
        for child, _ in self.frozen:
            child.thaw()
        shutil.rmtree(self.site.root)

    # --- looking

    def snapshot(self) -> Snapshot:
        """Everything in the directories of epochs."""
        if not self.site.folder.exists():
            return {}
        return {
            path.name: {**contents(path), "": str(path.stat().st_ino)}
            for path in self.site.folder.glob("epoch-*")
        }

    def newest(self) -> int:
        return max(self.site.epochs(), default=0) if self.site.folder.exists() else 0

    def check(self, before: Snapshot, newest: int, own: int) -> None:
        """Others' directories are as they were or gone; the newest complete one is there."""
        after = self.snapshot()
        for name, content in before.items():
            if name != f"epoch-{own}":
                assert after.get(name, content) == content, f"{name} was changed by epoch {own}"
        assert set(after) - set(before) <= {f"epoch-{own}"}
        assert not newest or f"epoch-{newest}" in after, "the newest complete one was removed"

    # --- what watchers do

    @precondition(lambda self: self.current)
    @rule(name=NAMES, content=st.text("xyz", max_size=3))
    def write(self, name: str, content: str) -> None:
        path = self.site.files(self.current) / name.replace("__", "/")
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        self.truth[name.replace("__", "/")] = content

    @precondition(lambda self: self.current and self.truth)
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        # the last file stays: a watcher that empties its memory looks like a loss (documented)
        if len(self.truth) > 1:
            name = data.draw(st.sampled_from(sorted(self.truth)))
            (self.site.files(self.current) / name).unlink()
            del self.truth[name]

    @precondition(lambda self: self.site.folder.exists())
    @rule(data=st.data(), content=st.text("LATE", min_size=1, max_size=3))
    def late_write(self, data: st.DataObject, content: str) -> None:
        """The page cache of a dead machine, into an epoch that is not the newest."""
        old = [epoch for epoch in self.site.epochs() if epoch < self.newest()]
        if old:
            folder = self.site.files(data.draw(st.sampled_from(old)))
            for path in (folder / "entries", folder / "late"):
                path.write_text(content)

    # --- what happens to starts

    @precondition(lambda self: not self.lost)
    @rule(pod=PODS)
    def start(self, pod: str) -> None:
        self._start(pod)

    def _start(self, pod: str) -> None:
        before, newest = self.snapshot(), self.newest()
        self.current = self.site.start(pod)
        assert self.current > newest
        self.check(before, newest, self.current)
        assert self.site.seen() == self.truth
        assert self.site.report()["state"] == "Ready"
        assert self.site.report()["epoch"] == self.current
        self.lost, self.lowered = "", False
        self.leases.append(self.site.api.lease)

    @precondition(lambda self: not self.lost)
    @rule(pod=PODS, at=CHANGES)
    def die_while_starting(self, pod: str, at: int) -> None:
        before, newest = self.snapshot(), self.newest()
        child = Child(self.site, self.site.take(pod), pod, at)
        assert child.ready or child.status == KILLED
        self.current = 0
        self.check(before, newest, self.newest_name(before))
        if self.newest() > newest:
            assert contents(self.site.files(self.newest())) == self.truth

    @precondition(lambda self: not self.lost and len(self.frozen) < 2)
    @rule(pod=PODS, at=CHANGES)
    def freeze_while_starting(self, pod: str, at: int) -> None:
        before, newest = self.snapshot(), self.newest()
        child = Child(self.site, self.site.take(pod), pod, at, freeze=True)
        self.current = 0
        self.check(before, newest, self.newest_name(before))
        if child.frozen:
            self.frozen.append((child, pod))
            # somebody else takes over before it may come back
            self._start("b" if pod == "a" else "a")

    @precondition(lambda self: self.frozen and not self.lost)
    @rule()
    def thaw(self) -> None:
        child, _ = self.frozen.pop()
        before, newest = self.snapshot(), self.newest()
        child.thaw()
        assert child.ready or child.status in (EXIT_LEASE, 82, 83)
        after = self.snapshot()
        # an epoch of its own, below the newest one, is all that it may add
        added = [name for name in after if name not in before]
        assert all(int(name.removeprefix("epoch-")) < newest for name in added) and len(added) < 2
        for name, content in before.items():
            if name not in added and int(name.removeprefix("epoch-")) >= newest:
                assert after[name] == content
        self.lowered = True

    def newest_name(self, before: Snapshot) -> int:
        """The epoch that has been added since, if any."""
        added = [int(name.removeprefix("epoch-")) for name in self.snapshot() if name not in before]
        assert len(added) < 2
        return added[0] if added else 0

    # --- what happens to the Lease

    @rule()
    def lease_made_anew(self) -> None:
        if self.lost == "Gone" or self.lowered:
            return  # then nothing is left that remembers
        self.site.api.make_anew()
        self.current = 0

    @rule(back=st.integers(1, 8))
    def lease_restored(self, back: int) -> None:
        older = self.leases[-back:]
        if older and not self.lowered:
            self.site.api.lease = older[0]
            self.current = 0

    # --- losses

    @precondition(lambda self: self.current and not self.lost and not self.frozen)
    @rule(how=st.sampled_from(["Gone", "Empty", "Older"]))
    def lose(self, how: str) -> None:
        newest = self.newest()
        older = [epoch for epoch in self.site.epochs() if epoch < newest]
        self.left = {}
        if how == "Gone":
            shutil.rmtree(self.site.folder)
        elif how == "Empty":
            if not self.site.report()["files"] or not self.truth:
                return  # nobody knows that there was anything
            for path in sorted(self.site.files(newest).rglob("*"), reverse=True):
                path.unlink() if path.is_file() else path.rmdir()
        else:
            if not older or self.lowered:
                return
            left = self.site.files(max(older))
            emptied = self.site.folder / f"epoch-{max(older)}" / "COMPLETE"
            self.left = contents(left)
            if not self.left and '"files": 0' not in emptied.read_text():
                return
            shutil.rmtree(self.site.folder / f"epoch-{newest}")
        self.lost, self.current, self.truth = how, 0, {}

    @precondition(lambda self: self.lost)
    @rule(pod=PODS)
    def refused(self, pod: str) -> None:
        before = self.snapshot()
        assert self.site.stopped(pod).status == EXIT_LOST
        assert self.snapshot() == before
        report = self.site.report()
        assert (report["state"], report["reason"]) == ("Lost", self.lost)

    @precondition(lambda self: self.lost)
    @rule(pod=PODS, at=CHANGES, dies=st.booleans())
    def accept(self, pod: str, at: int, dies: bool) -> None:
        self.refused(pod)
        self.site.annotate("accept-memory-loss", self.site.report()["token"])
        self.truth = dict(self.left)
        # Leases of before the loss would know of what was given up
        self.leases = []
        if dies:
            Child(self.site, self.site.take(pod), pod, at)
        self._start(pod)

    @precondition(lambda self: self.current and not self.lost and not self.frozen)
    @rule(pods=st.permutations("ab"), first=st.integers(0, 2))
    def emptied_and_put_back(self, pods: list[str], first: int) -> None:
        """A person copies the files back, the first of them before the next start looks."""
        for name in ("entries", "tables"):
            self.write(name, "x")
        self._start(pods[0])  # with files, or nobody would know that there were any
        kept, target = dict(self.truth), self.site.files(self.newest())
        self.lose("Empty")
        self.refused(pods[0])
        names = sorted(kept)

        def copy() -> None:
            if names:
                name = names.pop()
                (target / name).parent.mkdir(exist_ok=True)
                (target / name).write_text(kept[name])

        for _ in range(first):
            copy()
        self.site.naps, self.site.wait = lambda _: copy(), 60.0
        self.current = self.site.start(pods[1])
        self.site.naps, self.site.wait = lambda _: None, 0.0
        assert self.site.seen() == kept
        self.lost, self.truth = "", kept

    # --- always

    @invariant()
    def what_is_complete_is_whole(self) -> None:
        if self.current:
            assert contents(self.site.files(self.current)) == self.truth
            assert self.newest() == self.current


few = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(300)
def test_any_sequence() -> None:
    run_state_machine_as_test(Watchers, settings=few)


@pytest.mark.level2
@pytest.mark.timeout(1800)
def test_any_long_sequence() -> None:
    run_state_machine_as_test(
        Watchers, settings=settings(few, max_examples=200, stateful_step_count=50)
    )
