# SPDX-License-Identifier: Apache-2.0
"""Runs that were begun and gave no figures, since something did not work; pure but for the
clock.

They are published beside those that worked: who takes a run until it succeeds measures successes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dpe_bench.cases import SCENARIOS, SUBJECTS, Item
from dpe_bench.laps import Laps
from dpe_bench.raw import Run

_LONGEST_TEXT = 300


def line(item: Item, before: Item | None, laps: Laps, problem: str, *, commit: str) -> Run:
    """What the raw file keeps of it.

    Args:
        item: what was to be measured.
        before: what was measured before with the same subject; None: the subject is new. When that
            is not whole when a run begins, it is the run before that it did not recover from.
        laps: the parts of the run that were done.
        problem: what happened, as `told` says it.
        commit: of the checkout.
    """
    guilty = item
    if before is not None and "settle" not in laps.seconds:
        guilty, problem = before, f"not whole again afterwards: {problem}"
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "scenario": guilty.scenario.name,
        "subject": guilty.subject.name,
        "commit": commit,
        "about": guilty.scenario.about,
        "spent": laps.seconds,
        "problem": problem[:_LONGEST_TEXT],
    }


def told(problem: BaseException, hide: Mapping[str, str]) -> str:
    """The first line of what it says. The text is published, so folders of this machine, the keys
    of `hide`, are named by its values; those within others come first."""
    text = str(problem).strip().partition("\n")[0]
    for folder, name in hide.items():
        text = text.replace(folder, name)
    return text[:_LONGEST_TEXT] or type(problem).__name__


def was_stopped(problem: BaseException | None) -> bool:
    """Whether somebody stopped the bench, so that a repair or a command at its end failed."""
    while problem is not None:
        if isinstance(problem, KeyboardInterrupt | SystemExit):
            return True
        problem = problem.__context__
    return False


def published(counts: Counter[tuple[str, str]]) -> list[dict[str, Any]]:
    """How many there are, of each scenario and subject that has any."""
    return [
        {"scenario": scenario, "subject": subject, "runs": counts[scenario, subject]}
        for scenario in SCENARIOS
        for subject in SUBJECTS
        if counts[scenario, subject]
    ]
