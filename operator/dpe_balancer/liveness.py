# SPDX-License-Identifier: Apache-2.0
"""Does HAProxy hang? Seen from its command socket and from the port that clients use.

A HAProxy that has as many clients as it may accepts no more, the agent's question among them. That
is no hang: who is connected is served, and the rest waits in the queue of the listening socket. To
end it would cut everybody, to meet again at the other balancer, which would be as full.
"""

from __future__ import annotations

import logging
import time

from dpe_balancer.haproxy import accepts

log = logging.getLogger("dpe_balancer")

PROBE_SECONDS = 0.5
# A HAProxy that answers nothing for this long hangs.
HUNG_SECONDS = 3.0
# For so long one that was full counts as that: with clients that come and go it is on and off.
FULL_SECONDS = 10.0


class Liveness:
    """What HAProxy was last heard to do; `full` may be read by another thread."""

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port
        self._answered_at = self._accepted_at = 0.0
        self._probed_at = self._ticked_at = 0.0
        self._full_now = False
        self._full_at = 0.0
        self.full = False

    def started(self, now: float) -> None:
        """HAProxy was just started."""
        self._answered_at = self._accepted_at = now
        self._full_now = False

    def tick(self, now: float) -> None:
        """Another look begins. If we were asleep ourselves (a paused machine) HAProxy gets its time
        to wake up too."""
        if now - self._ticked_at > HUNG_SECONDS:
            self._answered_at = self._accepted_at = now
        self._ticked_at = now

    def answered(self, *, full: bool) -> None:
        """It answered on its socket, and has as many clients as it may or not."""
        now = self._answered_at = time.monotonic()
        self._full_now = full
        if full:
            self._accepted_at = self._full_at = now
        crowded = full or (self.full and now - self._full_at < FULL_SECONDS)
        if crowded and not self.full:
            log.warning("HAProxy has as many clients as it may: more of them wait until some leave")
        elif self.full and not crowded:
            log.info("HAProxy has room for more clients again")
        self.full = crowded

    def probe(self, now: float) -> None:
        """Ask on the port that clients use, if that is due. Not while it is full: each question
        would take its time, and a place of the queue in which clients wait."""
        if self._full_now or now - self._probed_at < PROBE_SECONDS:
            return
        self._probed_at = now
        if accepts(self._address, self._port):
            self._accepted_at = time.monotonic()

    def hangs(self, *, listens: bool) -> bool:
        """Whether it was silent for too long; on its port it matters only while it `listens`."""
        oldest = min(self._answered_at, self._accepted_at) if listens else self._answered_at
        return time.monotonic() - oldest > HUNG_SECONDS
