# SPDX-License-Identifier: Apache-2.0
"""Where the seconds of a run went, so that a slow part is seen; pure but for the clock."""

from __future__ import annotations

import time
from collections.abc import Callable

SET_UP = "set up"


class Laps:
    """A stopwatch: `done` gives all the time since the lap before to a part of the run."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last = clock()
        self._seconds: dict[str, float] = {}

    def done(self, part: str) -> None:
        """End a lap; a part may have several."""
        now = self._clock()
        self._seconds[part] = self._seconds.get(part, 0.0) + now - self._last
        self._last = now

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each part, to a tenth."""
        return {part: round(value, 1) for part, value in self._seconds.items()}

    @property
    def run_seconds(self) -> float:
        """Seconds of the run itself, without those in which its subject was made."""
        return round(sum(value for part, value in self._seconds.items() if part != SET_UP), 1)

    def text(self) -> str:
        """One line for a person."""
        parts = ", ".join(f"{part} {value:.1f}" for part, value in self._seconds.items())
        return f"{self.run_seconds:.0f} s: {parts}"
