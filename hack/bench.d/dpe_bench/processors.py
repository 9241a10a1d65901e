# SPDX-License-Identifier: Apache-2.0
"""How busy the machine's processors were during a run, and how much of them its host took away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

_STAT = Path("/proc/stat")
# Columns of its first line, proc(5): user nice system idle iowait irq softirq steal ...
_IDLE = (3, 4)
_STOLEN = 7
_COLUMNS = 8  # guest times are counted in user and nice already


def _first_line() -> str:
    return _STAT.read_text(encoding="ascii").splitlines()[0]


class Processors:
    """Looks at the counters of all processors together, from when it is made.

    Figures of fail-overs that were taken while a host had no time for this machine say nothing
    about what is measured: each raw run tells.
    """

    def __init__(self, read: Callable[[], str] = _first_line) -> None:
        self._read = read
        self._before = self._counters()

    def seen(self) -> dict[str, float]:
        """Percent of all processors' time since then: `busy` (stolen time included), `stolen`."""
        grown = [now - then for now, then in zip(self._counters(), self._before, strict=True)]
        whole = sum(grown) or 1
        used = sum(grown) - sum(grown[column] for column in _IDLE)
        return {
            "busy": round(100 * used / whole, 1),
            "stolen": round(100 * grown[_STOLEN] / whole, 1),
        }

    def _counters(self) -> list[int]:
        return [int(word) for word in self._read().split()[1 : _COLUMNS + 1]]
