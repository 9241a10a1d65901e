# SPDX-License-Identifier: Apache-2.0
"""The switch that a user asks for with the annotation `dpe.dev/switch-to: MEMBER`.

It is an order for now, not a wish for later: what cannot be done at once is refused with an event,
and the annotation goes, or it would fire at a moment nobody expects.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from dpe_operator.planning.plan import Notice
from dpe_operator.planning.record import Record


@dataclass(frozen=True, slots=True)
class SwitchOrder:
    """`request` is what to write on the slice (`member@count`); `done`: take the order away."""

    request: str | None = None
    done: bool = False
    notice: Notice | None = None


def plan_switch(
    wanted: str | None, *, members: Sequence[str], record: Record, balanced: bool
) -> SwitchOrder:
    """Decide what becomes of the user's order.

    Args:
        wanted: value of the annotation, None without one.
        members: names of the members.
        record: the fail-over record.
        balanced: whether the balancer is ours.
    """
    if wanted is None:
        return SwitchOrder()
    why = _objection(wanted, members=members, record=record, balanced=balanced)
    if why:
        text = f"switch-to: {wanted} is refused, {why}"
        return SwitchOrder(done=True, notice=Notice("Warning", "SwitchRefused", text))
    if record.active == wanted:
        asked = record.requested
        text = (
            f"{wanted} is active now"
            if asked and asked[0] == wanted and asked[1] < record.count
            else f"{wanted} is the active member already"
        )
        return SwitchOrder(done=True, notice=Notice("Normal", "SwitchDone", text))
    return SwitchOrder(request=f"{wanted}@{record.count}")


def _objection(
    wanted: str, *, members: Sequence[str], record: Record, balanced: bool
) -> str | None:
    if not balanced:
        return "this site has a balancer of its own (type: External): switch there"
    if wanted not in members:
        return f"there is no such member: write {' or '.join(members)}"
    if record.active == wanted:
        return None
    if not record.fresh or record.active is None:
        return "no balancer is routed that could do it: see BalancerReady"
    if record.state(wanted) != "Up":
        return f"its health check says {record.state(wanted).lower()}: bring it up, then ask again"
    return None
