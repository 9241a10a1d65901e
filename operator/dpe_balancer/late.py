# SPDX-License-Identifier: Apache-2.0
"""The only server is not given up for being late.

After a fail-over all clients come to one server at once. It is there and answers them, but is late
with its health checks; HAProxy takes it out after three of those, and then there is none: clients
get 503, try again, and keep it as busy. See docs/adr/0020.
"""

from __future__ import annotations

from dpe_balancer.model import Choice, Moment, Site
from dpe_balancer.watch import Meter

# It must have answered a client (TCP: have one connected) so shortly before.
ANSWERED_SECONDS = 1.0
# So long after it was kept the other balancer is not told that a member is up: that one has no
# clients, so by its checks the member may be DOWN, which does not make it blind (docs/adr/0019).
DOUBT_SECONDS = 2.0
# It is logged once, and again if that was so long ago.
QUIET_SECONDS = 10.0


def is_kept(site: Site, choice: Choice, moment: Moment, meter: Meter) -> bool:
    """Whether the member that serves is to stay UP though it is late with its checks.

    Not for longer than `late_seconds` after its last good check, which is short enough for the rule
    of two that go DOWN together (switching.py).
    """
    member, seen, now = choice.serving, moment.seen, moment.now
    late = seen.late.get(member or "")
    if member is None or late is None:
        return False
    if any(state == "UP" for name, state in seen.states.items() if name != member):
        return False
    if choice.pending is not None and (site.tcp or late != "handshake"):
        return False  # whether both wait for something they share is not known yet
    answered, checked = meter.answered.get(member), meter.checked.get(member)
    if answered is None or checked is None:
        return False
    return now - answered <= ANSWERED_SECONDS and now - checked < site.late_seconds
