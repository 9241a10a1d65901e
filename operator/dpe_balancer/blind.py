# SPDX-License-Identifier: Apache-2.0
"""A balancer that reaches no member though the other balancer does: it must not get the clients.

Both members DOWN is what a shared database looks like, and nobody can help. But the same is seen by
a balancer whose own machine has lost the way to the members (a switch port, a route, a filter),
and then the other one can serve. So the two tell each other whether they see a member up. See
docs/adr/0019.
"""

from __future__ import annotations

from dataclasses import dataclass

from dpe_balancer.decision import is_mine
from dpe_balancer.drain import Drain, Place
from dpe_balancer.model import Moment, Site

# So long, without a break, this balancer reaches no member and the other one sees one up. When both
# members come back from an outage the two balancers notice it less than a second apart; and it is
# longer than the head start (3 s) in which a member may be up and not used.
BLIND_SECONDS = 5.0
# The other one asks every 0.4 s, each question may take twice as long: what it said is good for so
# long.
FRESH_SECONDS = 2.0
# Not sooner after clients were sent here: two balancers that both lose the way now and then must
# not hand clients to and fro. As long as the elector waits before it breaks a Lease early.
PAUSE_SECONDS = 30.0


@dataclass(frozen=True)
class Sight:
    """What the other balancer has said of itself, monotonic seconds: since when it sees a member
    up without a break, and when it said so last; None: it never did."""

    since: float | None = None
    at: float | None = None

    def again(self, now: float) -> Sight:
        """The same after it said once more that it sees a member up."""
        is_new = self.since is None or not self.is_fresh(now)
        return Sight(now if is_new else self.since, now)

    def is_fresh(self, now: float) -> bool:
        """Whether it may be believed at `now`."""
        return self.at is not None and now - self.at <= FRESH_SECONDS


def is_blind(site: Site, moment: Moment, sight: Sight) -> bool:
    """Whether this balancer reaches no member, and the other one does, for long enough.

    Counted up to what the other one said last, so that it may find both DOWN as much later.
    """
    began = _all_down_since(site, moment)
    if began is None or sight.since is None or sight.at is None or not sight.is_fresh(moment.now):
        return False
    return sight.at - max(began, sight.since) >= BLIND_SECONDS


def may_be_blind(site: Site, moment: Moment, sight: Sight) -> bool:
    """Whether a balancer that is about to say that it is ready should wait: it reaches no member,
    and the other one does, or has not been heard yet."""
    began = _all_down_since(site, moment)
    if began is None:
        return False
    return sight.is_fresh(moment.now) or moment.now - began < FRESH_SECONDS


def may_give_way(site: Site, moment: Moment, drain: Drain) -> bool:
    """Whether a blind balancer is to give the Lease back: it has the clients, and not only since a
    moment ago.

    Only while it holds the Lease: without an API server nobody could take it, and ending would gain
    nothing.
    """
    if not moment.role.holder or not is_mine(site, moment.record):
        return False
    return drain.place is Place.HERE and moment.now - drain.given_at >= PAUSE_SECONDS


def _all_down_since(site: Site, moment: Moment) -> float | None:
    """Since when both members are DOWN (monotonic seconds); None: they are not."""
    down = moment.watch.down
    if any(member not in down for member in site.members):
        return None
    return max(down[member] for member in site.members)
