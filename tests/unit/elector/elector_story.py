# SPDX-License-Identifier: Apache-2.0
"""Tells an election one observation after the other, for tests of single rules."""

from dataclasses import replace
from typing import Any

from dpe_elector.election import Mode, Rules, State, observe
from dpe_elector.lease import LeaseView
from dpe_elector.steps import Able, Action, Found, Nothing, Observation, Wait, Write, Wrote
from dpe_elector.timings import PROFILES

SAFE = PROFILES["Safe"]
ME, OTHER = "me", "other"


def seen(holder: str = OTHER, version: str = "1", **fields: Any) -> LeaseView:
    made = LeaseView(
        uid="u",
        version=version,
        holder=holder,
        duration=15.0,
        epoch=4,
        released=False,
        written_by=(holder, 4),
    )
    return replace(made, **fields)


class Story:
    """Feeds observations to an election and remembers the last action."""

    def __init__(self, mode: Mode = Mode.EXCLUSIVE, **rules: Any) -> None:
        self.rules = Rules(ME, mode, SAFE if mode is Mode.EXCLUSIVE else PROFILES["Hot"], **rules)
        self.state = State(able=mode is Mode.EXCLUSIVE)
        self.action: Action = Wait(0)

    def at(self, now: float, observation: Observation) -> Action:
        self.state, self.action = observe(self.rules, self.state, observation, now)
        return self.action

    def holding(self, now: float = 100.0) -> "Story":
        """Bring it to hold epoch 5 by a write that was begun at `now`."""
        self.at(now - 1, Nothing())
        if self.rules.mode is Mode.HOT:
            self.at(now - 1, Able(True))
        write = self.at(now, Found(seen("", released=True)))
        assert isinstance(write, Write) and write.epoch == 5
        self.at(now + 0.5, Wrote(seen(ME, "2", epoch=5)))
        assert self.state.epoch == 5
        return self
