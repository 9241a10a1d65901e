# SPDX-License-Identifier: Apache-2.0
"""Pauses between restarts."""

from dataclasses import dataclass

from dpe_elector.election import HEALTHY_SECONDS


@dataclass
class Backoff:
    """Doubling pauses between restarts, in seconds; short again after a healthy minute."""

    first: float
    longest: float
    failures: int = 0
    started: float = 0.0
    next_start: float = float("-inf")

    def ended(self, now: float) -> None:
        """Take note that what was started at `started` has ended."""
        healthy = now - self.started >= HEALTHY_SECONDS
        self.failures = 1 if healthy else self.failures + 1
        pause = min(self.longest, self.first * 2 ** min(self.failures - 1, 20))
        self.next_start = now + pause
