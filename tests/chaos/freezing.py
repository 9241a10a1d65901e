# SPDX-License-Identifier: Apache-2.0
"""Processes that stand still, each for as long as one of its faults lasts."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence


class Freezer:
    """Stops processes; one that two faults have stopped goes on with the end of the later one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._frozen: Counter[int] = Counter()

    def hold(self, pids: Sequence[int], seconds: float, dice: random.Random) -> None:
        """SIGSTOP in the given order, SIGCONT after `seconds` in any order."""
        with self._lock:
            self._frozen.update(pids)
            send(pids, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            with self._lock:
                self._frozen.subtract(pids)
                over = [pid for pid in pids if not self._frozen[pid]]
                send(dice.sample(over, len(over)), signal.SIGCONT)


def send(pids: Sequence[int], number: int) -> None:
    """Send a signal to those that there are still."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
