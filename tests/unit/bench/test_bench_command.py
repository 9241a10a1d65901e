# SPDX-License-Identifier: Apache-2.0
"""The command itself, where it needs no cluster."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def bench(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [ROOT / "hack/bench", *words], capture_output=True, text=True, check=False, cwd=ROOT
    )


def test_the_plan_says_what_is_missing_and_how_long_it_takes(tmp_path: Path) -> None:
    words = ("--raw", str(tmp_path / "none.jsonl"), "--scenario", "server-crash,packet-loss")
    done = bench("plan", *words, "--subject", "deployment")
    assert done.returncode == 0, done.stderr
    first, second, hours = done.stdout.splitlines()
    assert first.split() == ["server-crash", "deployment", "0", "of", "10", "runs"]
    assert second.split()[:2] == ["packet-loss", "deployment"] and hours.endswith("hours to go")


def test_a_name_that_is_wrong_is_answered_with_those_there_are() -> None:
    done = bench("plan", "--scenario", "server-crush")
    assert done.returncode == 1
    assert "there is no 'server-crush'" in done.stderr and "server-crash" in done.stderr
