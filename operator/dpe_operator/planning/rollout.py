# SPDX-License-Identifier: Apache-2.0
"""The order in which the members of a pair are updated, as a function of what is observed.

Standby first; prove it healthy (its pod ready for a while, and the balancer's check says UP); ask
the balancer to switch; let it serve for a while; then the former active one. Whatever is not
healthy stops the rollout right there, with one server untouched. Nothing is remembered between
reconciles: setting the change back makes the same rules roll the updated member back, and after an
operator restart they go on where they were. No fail-back at the end: that would be one more switch
for nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["Up", "Down", "Unknown"]

# How long a server must have served before the other one, which is up, is taken away. A version
# that does not bear its clients shows it now, and the balancer can still go back.
SERVES_SECONDS: Final = 10.0
# A change that has stopped goes on only after somebody has done something, and most of that is an
# event: it is looked at again now and then only.
STOPPED_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class MemberView:
    """What is known of one member.

    `pending`: its Deployment is there and still has another template than wanted. `healthy_pod`:
    rolled out and ready for a while (always true of an external member: its pod is none of ours).
    `failed_at`: when clients had to leave these very pods of it, not long ago; empty: they had not.
    """

    name: str
    external: bool
    exists: bool
    pending: bool
    healthy_pod: bool
    state: State
    hard: bool = False
    troubles: str = ""
    failed_at: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """`hold`: members that keep their present template for now. `switch_to`: ask for this switch.

    `message` is empty when there is nothing to roll out. `stopped`: it goes on only after somebody
    has done something.
    """

    hold: frozenset[str] = frozenset()
    switch_to: str | None = None
    message: str = ""
    stopped: bool = False


def plan_rollout(
    members: Sequence[MemberView],
    *,
    active: str | None,
    recorded: bool,
    served_for: float = math.inf,
) -> Rollout:
    """Decide which members get their new template now.

    Args:
        members: both members.
        active: the member that serves, as recorded by the balancer; None if nobody knows.
        recorded: whether there is a balancer of ours whose record tells who serves and who is up.
        served_for: for how many seconds `active` has been that; below 0 if a clock is wrong.
    """
    pending = [member for member in members if member.pending]
    if not pending:
        return Rollout()
    if recorded and active is not None:
        return _behind_balancer(members, pending, active, served_for)
    return _one_after_the_other(members, pending)


def _behind_balancer(
    members: Sequence[MemberView], pending: Sequence[MemberView], active: str, served_for: float
) -> Rollout:
    standby = [member for member in pending if member.name != active]
    held = frozenset(member.name for member in pending if member not in standby)
    if standby:
        names = _names(standby)
        doubt = _doubt(members, active, served_for)
        if doubt and any(member.state == "Up" for member in standby):
            everybody = frozenset(member.name for member in pending)
            return Rollout(everybody, message=f"{names} is kept as it is for now: {doubt}")
        return Rollout(held, message=f"updating {names} while {active} serves")
    serving = pending[0]
    if serving.state == "Down" and not serving.healthy_pod:
        return Rollout(message=f"updating {serving.name}, which does not serve")
    others = [member for member in members if member.name != active]
    sick = [member for member in others if not _is_proven(member)]
    if sick or not others:
        return _waiting(sick, held, active)
    return Rollout(
        held,
        switch_to=others[0].name,
        message=f"{others[0].name} is healthy; switching to it before {active} is updated",
    )


def _doubt(members: Sequence[MemberView], active: str, served_for: float) -> str:
    """Why clients may need the other server any moment; empty when nothing speaks for it."""
    for member in members:
        if member.name == active and member.state != "Up":
            return (
                f"{active}, which serves, is {member.state.lower()} in the balancer's health check"
            )
    if abs(served_for) < SERVES_SECONDS:
        return f"{active} has to serve for {SERVES_SECONDS:g} s first"
    return ""


def _is_proven(member: MemberView) -> bool:
    return member.healthy_pod and member.state == "Up" and not member.failed_at


def _waiting(sick: Sequence[MemberView], held: frozenset[str], active: str) -> Rollout:
    found = "; ".join(_why(member) for member in sick) or "there is no other member"
    stopped = any(member.hard or member.failed_at for member in sick)
    if stopped:
        cure = f"stopped here, {active} keeps its version: correct the spec or set it back"
    else:
        cure = f"{active} keeps its version until then"
    return Rollout(held, message=f"waiting for the standby: {found} ({cure})", stopped=stopped)


def _why(member: MemberView) -> str:
    if member.troubles:
        return f"{member.name}: {member.troubles}"
    if member.failed_at:
        return (
            f"{member.name} went down while it served, at {member.failed_at}, and is tried again"
            " an hour after that, or when its pod was deleted"
        )
    if not member.healthy_pod:
        return f"{member.name} is not ready yet"
    return f"{member.name} is {member.state.lower()} in the balancer's health check"


def _one_after_the_other(members: Sequence[MemberView], pending: Sequence[MemberView]) -> Rollout:
    """Without a record of who serves: the sick ones first, then one at a time."""
    sick = [member for member in pending if not member.healthy_pod]
    chosen = sick or [pending[-1]]
    others = [m for m in members if not m.external and m.exists and m not in chosen]
    unwell = [member for member in others if not member.healthy_pod]
    if not sick and unwell:
        held = frozenset(member.name for member in pending)
        return _waiting(unwell, held, pending[-1].name)
    held = frozenset(member.name for member in pending if member not in chosen)
    return Rollout(held, message=f"updating {_names(chosen)}, one server at a time")


def _names(members: Sequence[MemberView]) -> str:
    return " and ".join(member.name for member in members)
