# SPDX-License-Identifier: Apache-2.0
"""Any sequence of edits on both sides, runs and kills: what never happens, whatever comes."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.support.par_sync import STATE, Site, tree
from tests.support.par_sync_crash import run_here, run_until

from dpe_par_sync.result import Outcome, Result

# files and folders that get into each other's way, and odd names
PATHS = st.sampled_from(["a", "b", "d", "d/x", "d/y", "d/e", "d/e/z", "n\nl", "\u00e9", "e\u0301"])
CONTENTS = st.sampled_from(["", "1", "2", "33"])
RUNS = 3
MODES = st.sampled_from(["Keep", "Keep", "Keep", "Overwrite", "Stop"])
COMPARE = st.sampled_from(["Checksum", "Checksum", "SizeAndTime"])


class TwoSides(RuleBasedStateMachine):
    """The model is small: which contents at a path may be replaced, all others are edits."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="dpe-par-property-"))
        self.site = Site(self.folder)
        self.ours: dict[bytes, set[bytes]] = {}
        self.edited_ever = False
        self.clock = 1_000_000

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @initialize(path=PATHS, content=CONTENTS)
    def first_run(self, path: str, content: str) -> None:
        (self.folder / "outside").write_text("canary")
        (self.site.volume / "beside").write_text("canary")
        self.put(self.site.master, path, content)
        assert self.run(expect_success=True).reason == "FirstCopy"

    @rule(path=PATHS, content=CONTENTS)
    def write_master(self, path: str, content: str) -> None:
        self.put(self.site.master, path, content)

    @rule(path=PATHS)
    def delete_master(self, path: str) -> None:
        self.drop(self.site.master, path)

    @rule(path=PATHS, content=CONTENTS)
    def edit_redundant(self, path: str, content: str) -> None:
        self.put(self.site.current, path, content)
        self.edited_ever = True

    @rule(path=PATHS)
    def delete_redundant(self, path: str) -> None:
        self.drop(self.site.current, path)

    @rule(mode=MODES, compare=COMPARE, limit=st.sampled_from(["100%", "100%", "10%"]))
    def nightly_run(self, mode: str, compare: str, limit: str) -> None:
        self.run(onDivergence=mode, compare=compare, maxDeletions=limit)

    @rule(step=st.integers(1, 60), mode=MODES)
    def killed_run(self, step: int, mode: str) -> None:
        edits = self.edits()
        run_until(self.site, step, onDivergence=mode, maxDeletions="100%", **self.settings())
        self.check_edits(edits, mode)
        # what it has put in place is known to it, even though it could not say so
        for path, content in tree(self.site.current).items():
            if tree(self.site.master).get(path) == content:
                self.ours.setdefault(path, set()).add(content)

    @invariant()
    def nothing_else_changes(self) -> None:
        assert (self.folder / "outside").read_text() == "canary"
        assert (self.site.volume / "beside").read_text() == "canary"
        assert set(os.listdir(self.site.volume)) <= {STATE, "current", "beside"}

    def settings(self) -> dict[str, Any]:
        return {"quietPeriodSeconds": 0, "history": {"runs": RUNS}}

    def run(self, *, expect_success: bool = False, **changes: Any) -> Result:
        master, before, edits = (
            tree(self.site.master),
            tree(self.site.current) if self.site.current.exists() else {},
            self.edits(),
        )
        result = run_here(self.site, **self.settings(), **changes)
        current = tree(self.site.current) if self.site.current.exists() else {}
        assert tree(self.site.master) == master, "the master is never written"
        assert result.outcome is not Outcome.FAILED, result.message
        if result.outcome is Outcome.REFUSED:
            assert result.reason in ("RedundantEdited", "TooManyDeletions", "MasterEmpty")
            assert current == before
            assert not expect_success
            return result
        self.check_edits(edits, changes.get("onDivergence", "Keep"))
        self.check_success(result, master, current)
        return result

    def check_success(
        self, result: Result, master: dict[bytes, bytes], current: dict[bytes, bytes]
    ) -> None:
        figures = result.figures
        assert figures.verified
        if not figures.divergent.count:
            assert current == master
        if not self.edited_ever:
            assert figures.divergent.count == 0, "nobody has edited anything"
        history = self.site.state / "history"
        assert not history.exists() or len(os.listdir(history)) <= RUNS
        for path in {*self.ours, *current}:
            if path not in current and path not in master:
                self.ours.pop(path, None)
            elif current.get(path) is not None and current.get(path) == master.get(path):
                self.ours[path] = {current[path]}

    def edits(self) -> dict[bytes, bytes]:
        """What a run in mode Keep may not touch."""
        if not self.site.current.exists():
            return {}
        master = tree(self.site.master)
        return {
            path: content
            for path, content in tree(self.site.current).items()
            if content not in self.ours.get(path, ()) and master.get(path) != content
        }

    def check_edits(self, edits: dict[bytes, bytes], mode: str) -> None:
        current = tree(self.site.current)
        kept = self.site.versions()
        for path, content in edits.items():
            there = current.get(path) == content
            assert there or (mode == "Overwrite" and content in kept.get(path, ())), path

    def put(self, side: Path, path: str, content: str) -> None:
        """Write a file; what is in its way goes. Every write has a time of its own, 10 s apart."""
        target = side / path
        for above in reversed(target.relative_to(side).parents):
            if (side / above).is_file():
                (side / above).unlink()
        self.drop(side, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(content)
        self.clock += 10
        os.utime(target, (self.clock, self.clock))

    def drop(self, side: Path, path: str) -> None:
        target = side / path
        if target.is_dir():
            shutil.rmtree(target)
        elif target.exists():
            target.unlink()


TwoSides.TestCase.settings = settings(
    max_examples=12,
    stateful_step_count=15,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(600)
class TestAnySequence(TwoSides.TestCase):  # type: ignore[misc]
    """Found again by a seed that is printed."""


class ManySides(TwoSides):
    """The same for longer."""


ManySides.TestCase.settings = settings(
    TwoSides.TestCase.settings, max_examples=150, stateful_step_count=30
)


@pytest.mark.level2
@pytest.mark.timeout(3600)
class TestManySequences(ManySides.TestCase):  # type: ignore[misc]
    """Hundreds of long sequences."""
