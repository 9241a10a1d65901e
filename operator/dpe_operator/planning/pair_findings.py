# SPDX-License-Identifier: Apache-2.0
"""Findings about a pair: it changes its active member too often; its clients give up too early.

Neither counts for Ready: the pair serves.
"""

from datetime import datetime
from typing import Any, Final

from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.server import ServerSpec
from dpe_operator.builders.balancer_ports import has_balancer
from dpe_operator.planning.conditions import Conditions
from dpe_operator.planning.objects import condition
from dpe_operator.planning.plan import Notice
from dpe_operator.planning.server_draft import ServerDraft

FLAPPING: Final = "Flapping"
CLIENT_BUDGET: Final = "ClientBudget"
PAIR_FINDINGS: Final = (FLAPPING, CLIENT_BUDGET)
# The longest gap that was measured when the routed balancer's machine was lost without a word, on a
# machine so busy that its servers did not look well: docs/measurements/failover.md.
LOST_BALANCER_MS: Final = 12_300
# A balancer that alone reaches no server waits for 5 s when its checks have failed, then gives way;
# with a take-over, of less than a second. docs/adr/0019.
BLIND_BALANCER_MS: Final = 6000
_TRUTH: Final = {"True": True, "False": False}


def state_pair_findings(conditions: Conditions, draft: ServerDraft, now: datetime) -> None:
    """State the findings of a pair with a balancer of ours."""
    if not has_balancer(draft.spec):
        return
    _flapping(conditions, draft, now)
    _client_budget(conditions, draft)


def pair_finding_notices(conditions: Conditions) -> list[Notice]:
    """Return the events about findings that are new."""
    bad = {FLAPPING: "True", CLIENT_BUDGET: "False"}
    return [
        Notice("Warning", kind, conditions.message(kind))
        for kind, status in bad.items()
        if conditions.status(kind) == status and conditions.flipped(kind)
    ]


def pass_on_pair_findings(conditions: Conditions, server: dict[str, Any] | None) -> None:
    """State on the site what its pair says."""
    for kind in PAIR_FINDINGS:
        found = condition(server, kind)
        if found is not None:
            value = _TRUTH.get(str(found["status"]))
            conditions.set(kind, value, str(found["reason"]), str(found.get("message", "")))


def calm_in(draft: ServerDraft, now: datetime) -> float | None:
    """Return after how many seconds the pair no longer counts as flapping; None: it does not."""
    limit = draft.spec.load_balancer.flap_limit
    period = limit.period.seconds
    ages = [(now - at).total_seconds() for at in draft.record.unplanned]
    # one that lies ahead by a period or more was noted while a clock was wrong
    left = sorted(period - age for age in ages if abs(age) < period)
    return left[-limit.switches - 1] if len(left) > limit.switches else None


def _flapping(conditions: Conditions, draft: ServerDraft, now: datetime) -> None:
    limit = draft.spec.load_balancer.flap_limit
    if calm_in(draft, now) is None:
        text = f"Not more than {limit.switches} unplanned switches in {limit.period}."
        conditions.set(FLAPPING, False, "Calm", text)
        return
    conditions.set(
        FLAPPING,
        True,
        "TooManySwitches",
        f"More than {limit.switches} unplanned switches in {limit.period}: both servers fail in"
        " turn. Look at what both need (database, licence, storage) and at health.timeout. Until"
        " it is calm a server takes over only after 10 s of good health, and fail-back waits.",
    )


def slowest_detection_ms(server: ServerSpec) -> int:
    """Return how long a server that hangs keeps its clients at most, in milliseconds: `fall` checks
    run into the longest time that one may take, the first begins `checkInterval` after a good one.
    """
    timings = server.load_balancer.timings
    check = max(server.health.timeout.milliseconds, timings.connect_timeout.milliseconds)
    pauses = (timings.fall - 1) * timings.fast_interval.milliseconds
    return timings.check_interval.milliseconds + timings.fall * check + pauses


def shortest_patience_ms(clients: ClientProfile) -> int:
    """Return for how long clients go on at least, in milliseconds: each try is refused at once, and
    each pause is the shortest that a client may take, half of what the profile says."""
    pause, longest = clients.initial_backoff.milliseconds, clients.max_backoff.milliseconds
    waited = 0
    for _ in range(clients.attempts - 1):
        waited += min(pause, longest) // 2
        pause *= 2
    return min(waited, clients.total_budget.milliseconds)


def _client_budget(conditions: Conditions, draft: ServerDraft) -> None:
    clients = draft.context.clients
    assert clients is not None, "server_context always gives a profile"
    last, hang = draft.record.gap_ms, slowest_detection_ms(draft.spec)
    blind = hang + BLIND_BALANCER_MS
    worst = max(LOST_BALANCER_MS, blind, last or 0)
    patience, budget = shortest_patience_ms(clients), clients.total_budget
    seen = "" if last is None else f"the last switch took {last}ms, "
    facts = (
        f"{seen}a balancer that is lost without a word takes up to {LOST_BALANCER_MS}ms, and with"
        f" these timings a server that hangs is left after {hang}ms, and a balancer that alone"
        f" reaches no server after {blind}ms"
    )
    if patience > worst:
        text = f"clients go on for {patience}ms, longer than the worst gap: {facts}."
        conditions.set(CLIENT_BUDGET, True, "Enough", text)
        return
    if patience < budget.milliseconds:
        short = (
            f"clients.attempts is {clients.attempts}, which is {patience}ms where each try is"
            " refused at once"
        )
        cure = f"Write more attempts (the default is 25), and a totalBudget above {worst}ms."
    else:
        short = f"clients.totalBudget is {budget}"
        cure = f"Write a totalBudget above {worst}ms; the default is 20s."
    text = f"{short}, and {facts}: clients give up before they are served again. {cure}"
    conditions.set(CLIENT_BUDGET, False, "TooSmall", text)
