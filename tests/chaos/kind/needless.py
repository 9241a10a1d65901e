# SPDX-License-Identifier: Apache-2.0
"""Judges which server was the active one: each switch needs a reason. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from tests.chaos.frontend import BALANCER, SERVERS
from tests.chaos.judge import Verdict
from tests.chaos.kind.hits import Hit
from tests.chaos.moves import Recorded

# What takes a server away; a machine that is lost or drained takes those on it.
_TAKES_SERVER = {"pod deleted", "process killed", "process stopped"}
# What is meant to change the active server.
_MEANT = {"planned switch", "rolling update"}
# What takes the way to the other machines away while those on it still see each other.
_ISLANDS = {"node cut off", "node power cut"}
# A switch is recorded when it has lasted for 5 s; an API server that comes back lets that wait.
_RECORDED_SECONDS = 15.0


def judge_needless(
    recorded: Sequence[Recorded], hits: Sequence[Hit], verdict: Verdict, *, offset: float,
    told: Sequence[tuple[float, str]] = (),
) -> None:  # fmt: skip
    """Each switch has a reason: the former server was struck, or somebody asked for it.

    Lost packets, a database that stands still, a balancer that takes over, an API server that is
    away, what strikes the other server: none of these may move the active server. What two of them
    may do together, see _both_out and _was_alone.

    Args:
        recorded: which server became the active one, in this order.
        hits: what was done.
        verdict: gets what is found.
        offset: what to add to the times of `recorded` to get the boot time.
        told: lines of the balancers' logs, with their boot times.
    """
    for before, after in pairwise(recorded):
        at = after.at + offset
        around = [hit for hit in hits if hit.around(at, before=_RECORDED_SECONDS)]
        if before.member == after.member or _may_leave(before.member, around, at):
            continue
        near = "; ".join(map(str, around))
        lines = [text for seen, text in told if -_RECORDED_SECONDS <= seen - at <= 1]
        verdict.violations.append(
            f"needless-switch: from {before.member} to {after.member}, recorded at {at:.2f} "
            f"(faults: {near or 'none'}); the balancers: {' | '.join(lines[-6:]) or 'nothing'}"
        )


def _may_leave(member: str, around: Sequence[Hit], at: float) -> bool:
    """Whether one of the faults around `at` (boot time), or two together, may end this server's turn."""
    servers = [hit for hit in around if _takes_server(hit)]
    if any(hit.fault.kind in _MEANT or hit.strikes_server(member) for hit in servers):
        return True
    return _both_out(servers, around) or _was_alone(servers, around, at)


def _takes_server(hit: Hit) -> bool:
    kinds = _TAKES_SERVER | _MEANT
    return hit.touches(SERVERS) and (hit.fault.kind in kinds or bool(hit.node))


def _both_out(servers: Sequence[Hit], around: Sequence[Hit]) -> bool:
    """Whether one server was struck while the database stood still: then both go DOWN, but not
    together, so whichever is UP again first serves (docs/adr/0012-what-counts-as-a-switch.md)."""
    return bool(servers) and any(hit.fault.kind == "database frozen" for hit in around)


def _was_alone(servers: Sequence[Hit], around: Sequence[Hit], at: float) -> bool:
    """Whether a balancer was cut off with the other server beside it, and nobody could take its place
    meanwhile: it goes on deciding, and writes it down when it is back
    (docs/adr/0013-early-take-over-and-draining.md)."""
    return any(
        hit.fault.kind in _ISLANDS
        and hit.touches(BALANCER)
        and at >= hit.begun + hit.fault.seconds
        and any(_holds_up(other) for other in around if other is not hit)
        for hit in servers
    )


def _holds_up(hit: Hit) -> bool:
    """Whether it may keep the other balancer from taking over."""
    return hit.touches(BALANCER) or hit.fault.kind == "API server away"


def health_lines(log: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Of a balancer's log, what HAProxy and its agent said about the servers."""
    words = (
        "Health check", " is DOWN", " is UP", "went DOWN", "requests go", "no switch", "recorded:",
        "active member",
    )  # fmt: skip
    return [(at, text) for at, text in log if any(word in text for word in words)]
