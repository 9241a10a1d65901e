# SPDX-License-Identifier: Apache-2.0
"""The three times of an election, the profiles that name good ones, and the check that they leave a
margin."""

import math
from dataclasses import dataclass

# The promise holds for clocks whose rates differ from true time by no more than this part.
CLOCK_RATE_ERROR = 0.01
# Seconds between the end of a grant and the death of the last process of the command.
KILL_SECONDS = 1.0
# Shortest and longest values that are taken. A longer duration found in a Lease cannot come from an
# elector, so it is counted as this one: a typing error must not block a take-over for days.
SHORTEST_RETRY = 0.2
# Hot mode: seconds that a holder must have been seen holding before its Lease may be broken early.
# So nobody does it twice within them, whoever did it first, and two pods cannot play ping-pong.
EARLY_PAUSE = 30.0
LONGEST_DURATION = 600


class TimingsRefused(ValueError):
    """Timings that leave no margin; the message holds the arithmetic and the cure."""


@dataclass(frozen=True)
class Timings:
    """All in seconds.

    `duration` is how long a Lease must stay unrenewed before another pod takes it (whole seconds,
    as Kubernetes stores it so); `renew_deadline` is how long after the start of the last successful
    renewal the holder may act; `retry_period` is the time from one renewal or look to the next.
    """

    duration: int
    renew_deadline: float
    retry_period: float

    @property
    def call_timeout(self) -> float:
        """Seconds that one call to the API server may take: three of them fit before the
        deadline."""
        return min(5.0, max(0.5, self.renew_deadline / 3))

    @property
    def silence(self) -> float:
        """Seconds without a renewal from which on, in hot mode, a holder may be gone: three
        renewals were left out."""
        return 3 * self.retry_period

    @property
    def out_of_touch(self) -> float:
        """Seconds without an answer of the API server that are more than one call without one."""
        return self.silence + self.call_timeout


PROFILES = {
    "Safe": Timings(15, 10.0, 2.0),
    "Fast": Timings(6, 4.0, 1.0),
    "Hot": Timings(6, 4.0, 0.5),
}


def check(timings: Timings) -> Timings:
    """Return `timings` if they leave a margin; raise TimingsRefused with the arithmetic if not."""
    duration, deadline, retry = timings.duration, timings.renew_deadline, timings.retry_period
    for flag, seconds in (("--renew-deadline", deadline), ("--retry-period", retry)):
        if not math.isfinite(seconds):  # no comparison below is true of nan
            raise TimingsRefused(f"{flag} {seconds} is no number of seconds: give one, such as 2")
    if retry < SHORTEST_RETRY:
        raise TimingsRefused(
            f"--retry-period {retry:g} s is below {SHORTEST_RETRY:g} s and would only load the API "
            f"server: give at least {SHORTEST_RETRY:g}"
        )
    if duration > LONGEST_DURATION:
        raise TimingsRefused(
            f"--lease-duration {duration} s is above {LONGEST_DURATION} s, the longest that other "
            f"candidates wait for: give at most {LONGEST_DURATION}"
        )
    tries = 2 * retry + 0.5
    if deadline < tries:
        raise TimingsRefused(
            f"--renew-deadline {deadline:g} s leaves no room for a second try: two retry periods "
            f"of {retry:g} s and 0.5 s for the answer are {tries:g} s: give at least "
            f"--renew-deadline {tries:g}, or a shorter --retry-period"
        )
    drifted = deadline * (1 + CLOCK_RATE_ERROR) / (1 - CLOCK_RATE_ERROR)
    if duration < drifted + KILL_SECONDS:
        raise TimingsRefused(
            f"--lease-duration {duration} s leaves no margin: a holder that lost contact may act "
            f"for --renew-deadline {deadline:g} s, with clocks 1 % off either way that is "
            f"{drifted:.2f} s, and {KILL_SECONDS:g} s to kill the command make "
            f"{drifted + KILL_SECONDS:.2f} s: give at least --lease-duration "
            f"{math.ceil(drifted + KILL_SECONDS)}, or a shorter --renew-deadline"
        )
    return timings
