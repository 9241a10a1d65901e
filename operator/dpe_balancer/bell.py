# SPDX-License-Identifier: Apache-2.0
"""What wakes the agent's loop before its time: a signal."""

from __future__ import annotations

import contextlib
import queue


class Bell:
    """Rung by signal handlers, waited for by the main thread.

    A handler runs in the main thread, in the middle of whatever that does. `threading.Event` has a
    lock in Python: if a signal came while the main thread had it, the handler would wait for its
    own thread, for ever. Putting into a SimpleQueue is made for that.
    """

    def __init__(self) -> None:
        self._rings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def ring(self) -> None:
        """Wake who waits, or who will wait next."""
        self._rings.put(None)

    def wait(self, seconds: float) -> None:
        """Wait until it is rung, or was since the last time, for `seconds` at most."""
        with contextlib.suppress(queue.Empty):
            self._rings.get(timeout=seconds)
            while True:
                self._rings.get_nowait()
