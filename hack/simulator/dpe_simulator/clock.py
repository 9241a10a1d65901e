# SPDX-License-Identifier: Apache-2.0
"""The clock of a scheduler: the real one, or one for tests that is elsewhere and runs faster.

A fast clock needs an anchor, a real moment at which it showed a known time: all processes that are
given the same one show the same time, whenever they were started.
"""

from dataclasses import dataclass
from datetime import datetime, tzinfo

from dpe_operator.prober.durations import parse_duration


@dataclass(frozen=True)
class Clock:
    """At the real moment `anchor` it shows `shown`; `rate` of its seconds pass in a real one.

    All moments are seconds since 1970.
    """

    anchor: float = 0.0
    shown: float = 0.0
    rate: float = 1.0

    def at(self, real: float) -> float:
        """What it shows at a real moment."""
        return self.shown + (real - self.anchor) * self.rate

    def real(self, shown: float) -> float:
        """The real moment at which it shows something."""
        return self.anchor + (shown - self.shown) / self.rate


@dataclass(frozen=True)
class ClockSettings:
    """Options as given: a time to begin with or an offset, the anchor, the rate."""

    start: str | None = None
    offset: str | None = None
    anchor: float | None = None
    rate: float = 1.0


def make_clock(settings: ClockSettings, zone: tzinfo, *, now: float) -> Clock:
    """Make the clock that the options ask for.

    Args:
        settings: the options.
        zone: zone of a `start` that names none.
        now: real moment, the anchor where none is given.

    Raises:
        ValueError: an option cannot be read, or two exclude each other.
    """
    if not 0 < settings.rate <= 100_000:
        raise ValueError(f"--clock-rate: {settings.rate:g} must be above 0, at most 100000")
    anchor = now if settings.anchor is None else settings.anchor
    if settings.start and settings.offset:
        raise ValueError("--clock-start and --clock-offset: give one of the two")
    if settings.start:
        try:
            start = datetime.fromisoformat(settings.start)
        except ValueError:
            text = f"--clock-start: {settings.start!r} is no time such as 2026-03-29T01:59:30"
            raise ValueError(text) from None
        shown = (start if start.tzinfo else start.replace(tzinfo=zone)).timestamp()
        return Clock(anchor, shown, settings.rate)
    return Clock(anchor, anchor + _offset(settings.offset or "0"), settings.rate)


def _offset(text: str) -> float:
    sign = -1.0 if text.startswith("-") else 1.0
    return sign * parse_duration(text.lstrip("+-"), field="--clock-offset")
