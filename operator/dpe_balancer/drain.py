# SPDX-License-Identifier: Apache-2.0
"""What becomes of the clients of a balancer that is routed no more, or may not be: a pure function.

kube-proxy leaves connections that are open on the balancer that they were opened to. Without this
they would live there for hours, beside those of the balancer that is routed now.

Elsewhere (the record names another pod, and this one is not about to put itself there): only the
recorded active member is used, whatever our own checks say; answers end their connection (HTTP);
what is older than `drainSeconds` is cut.

Unsure (the record names this pod, but the Lease has run out and the elector reaches no API server):
either nobody reaches it, then nobody else is routed and we go on; or we alone are cut off, then
another is routed by now. So clients are made to connect anew, once, and are served as before: the
network sends them where they belong. See docs/adr/0013.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from dpe_balancer.decision import decides
from dpe_balancer.model import Choice, CutSessions, Moment, Site


class Place(StrEnum):
    """Where clients are sent to, as far as this pod knows."""

    HERE = "here"
    ELSEWHERE = "elsewhere"
    UNSURE = "unsure"


@dataclass(frozen=True)
class Drain:
    """What is remembered: the place, since when (monotonic seconds), whether old connections
    were cut since, and when clients were given to this pod the last time (or the agent began)."""

    place: Place = Place.HERE
    since: float = 0.0
    cut: bool = False
    given_at: float = 0.0


@dataclass(frozen=True)
class EndWithAnswer:
    """HTTP: say `Connection: close` with every answer, or no longer."""

    on: bool


@dataclass(frozen=True)
class Fence:
    """Use no member but the active one, even if that looks down; or use the other one again."""

    on: bool


@dataclass(frozen=True)
class CutOlder:
    """Close what was opened more than `seconds` ago."""

    seconds: float


DrainAction = EndWithAnswer | Fence | CutSessions | CutOlder


def place(site: Site, choice: Choice, moment: Moment, *, leaving: bool) -> Place:
    """Where clients are sent to. `leaving`: this pod is being stopped and has given the Lease back
    on purpose."""
    record, role = moment.record, moment.role
    if record is None or not record.routed_to:
        return Place.HERE
    if not decides(site, choice, moment):
        return Place.ELSEWHERE
    return Place.HERE if role.holder or role.known or leaving else Place.UNSURE


def drain(
    site: Site, before: Drain, choice: Choice, moment: Moment, *, leaving: bool
) -> tuple[Drain, tuple[DrainAction, ...]]:
    """What is remembered from now on, and what HAProxy is to be told, in this order."""
    now_at = place(site, choice, moment, leaving=leaving)
    state = before
    if before.place is not now_at:
        given = before.place is Place.ELSEWHERE
        state = Drain(now_at, moment.now, given_at=moment.now if given else before.given_at)
    actions: list[DrainAction] = []
    seen = moment.seen
    ends = now_at is not Place.HERE and not site.tcp
    if seen.ends_with_answer != ends:
        actions.append(EndWithAnswer(ends))
    fenced = now_at is Place.ELSEWHERE
    if seen.fenced != fenced:
        actions.append(Fence(fenced))
    if now_at is Place.HERE:
        return state, tuple(actions)
    open_at = [member for member in site.members if seen.sessions.get(member, 0) > 0]
    if site.tcp and now_at is Place.UNSURE:
        if not state.cut:
            actions += [CutSessions(member) for member in open_at]
        return replace(state, cut=True), tuple(actions)
    if site.tcp and choice.serving is not None:
        actions += [CutSessions(member) for member in open_at if member != choice.serving]
    if moment.now - state.since >= site.drain_seconds and not state.cut:
        if open_at:
            actions.append(CutOlder(site.drain_seconds))
        # again and again for clients that come all the same, but once while we may be right here
        again = now_at is Place.ELSEWHERE
        state = replace(state, since=moment.now if again else state.since, cut=not again)
    return state, tuple(actions)
