# SPDX-License-Identifier: Apache-2.0
"""How busy a machine was during a run."""

import importlib
from typing import Any


def watch(*lines: str) -> Any:
    """Processors that read these lines; without any, this machine's."""
    kind = importlib.import_module("dpe_bench.processors").Processors
    return kind(iter(lines).__next__) if lines else kind()


def test_shares_of_the_time_between() -> None:
    watched = watch("cpu 100 0 50 1000 10 0 5 2 0 0", "cpu 120 0 60 1050 20 0 5 12 0 0")
    assert watched.seen() == {"busy": 40.0, "stolen": 10.0}, "20+10+10 of 100; idle and iowait not"


def test_guests_are_not_counted_twice() -> None:
    watched = watch("cpu 0 0 0 0 0 0 0 0 0 0", "cpu 50 0 0 50 0 0 0 0 50 0")
    assert watched.seen() == {"busy": 50.0, "stolen": 0.0}


def test_no_time_between() -> None:
    assert watch("cpu 1 2 3 4 5 6 7 8", "cpu 1 2 3 4 5 6 7 8").seen()["busy"] == 0


def test_this_machine_can_be_asked() -> None:
    assert 0 <= watch().seen()["stolen"] <= 100
