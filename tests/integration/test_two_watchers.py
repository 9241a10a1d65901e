# SPDX-License-Identifier: Apache-2.0
"""The measurement that the page on Standby and Concurrent quotes, in small, and the command for it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from tests.support.simulator import ROOT
from tests.support.two_watchers import CASES, measure, published

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]


@pytest.mark.level2
def test_a_title_that_names_the_entry_runs_once_what_takes_long_and_a_new_one_never(
    tmp_path: Path,
) -> None:
    chosen = [case for case in CASES if case.name in ("3 s", "1.5 s, title with %guid%")]
    once, twice = measure(chosen, pairs=1, changes=3, say=lambda _: None)
    assert (once["once"], once["twice"], once["lost"]) == (3, 0, 0)
    assert (twice["once"], twice["twice"], twice["lost"]) == (0, 3, 0)
    file = tmp_path / "watchers.json"
    file.write_text(published([once, twice]))
    assert json.loads(file.read_text())["cases"] == [once, twice]


def test_the_command_of_the_page_is_this_measurement() -> None:
    done = subprocess.run(
        ["make", "-n", "bench-watchers", "PAIRS=2"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "tests.support.two_watchers --pairs 2" in done.stdout
