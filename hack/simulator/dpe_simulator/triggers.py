# SPDX-License-Identifier: Apache-2.0
"""When a schedule fires: five fields of cron in a time zone, as Debian's cron reads them. Pure.

How DPE treats the hour that a change of the clocks takes away or repeats is not public.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError


class Schedule:
    """A cron line with its zone."""

    def __init__(self, line: str, zone: str) -> None:
        """Read both.

        Raises:
            ValueError: one cannot be read; names value and cure.
        """
        try:
            self.zone = ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(
                f"--time-zone: {zone!r} is no time zone, such as Europe/Berlin or UTC"
            ) from None
        self.line = line
        try:
            if len(line.split()) != 5:
                raise CronSimError(f"{len(line.split())} fields")
            CronSim(line, datetime(2024, 1, 1, tzinfo=self.zone))
        except CronSimError as problem:
            raise ValueError(
                f"--schedule: {line!r} is no schedule ({problem}): write five fields,"
                " minute hour day-of-month month day-of-week, such as 0 2 * * *"
            ) from None

    def after(self, moment: float) -> Iterator[float]:
        """Yield the moments (seconds since 1970) at which it fires after `moment`."""
        begin = datetime.fromtimestamp(moment, UTC).astimezone(self.zone)
        for found in CronSim(self.line, begin):
            yield found.timestamp()

    def text(self, moment: float) -> str:
        """A trigger as people write it, with the offset of its zone: no two are written alike."""
        return datetime.fromtimestamp(moment, self.zone).strftime("%Y-%m-%dT%H:%M%z")
