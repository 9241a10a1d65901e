# SPDX-License-Identifier: Apache-2.0
"""Judges a round on the cluster with the judge of the rig on processes. Pure.

A machine that is lost is, for that judge, a fault of each pod on it. What only a cluster has is
judged here: clients on machines that are cut off, switches that nobody needed, requests that
nobody answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from tests.chaos import judge
from tests.chaos.acting import acting_by_ledger
from tests.chaos.faults import Struck
from tests.chaos.frontend import BALANCER, SERVERS
from tests.chaos.history import Asked as LeaseAsked
from tests.chaos.history import Version
from tests.chaos.judge import Verdict
from tests.chaos.moves import Recorded, Said, said
from tests.chaos.plan import Fault
from tests.chaos.switches import judge_switches

from dpe_operator.prober.measure import Served, member_changes
from dpe_simulator import checker
from dpe_simulator.findings import EntrySeen, Evidence

NODE_LOST = {"node cut off", "node frozen", "node power cut"}
# To each pod of a machine, in the words of the judge.
_BY_NODE = {
    "node cut off": "API connection cut", "node frozen": "pod frozen",
    "node power cut": "guard killed", "node drained": "pod deleted",
}  # fmt: skip
_BY_DETAIL = {
    ("process stopped", "all"): "pod frozen",
    ("process stopped", "command"): "command frozen",
    ("process stopped", "elector"): "elector frozen",
    ("process killed", "elector"): "elector killed",
    ("process killed", "guard"): "guard killed",
}
_OTHERS = {"process killed": "command killed", "ServiceAccount deleted": "token invalid"}
# What takes the active server away, or is meant to change it.
_MOVES_SERVER = {
    "pod deleted", "process killed", "process stopped", "planned switch", "rolling update",
}  # fmt: skip
# After a machine is back its clients may still be connected to a balancer that drains (30 s).
_DRAINS_SECONDS = 30.0
# A switch is recorded when it has lasted for 5 s; an API server that comes back lets that wait.
_RECORDED_SECONDS = 15.0
# So long a client tries, with what is under way.
_TRIES_SECONDS = 25.0
# Work that is open for longer is lost.
LOST_SECONDS = 20.0
# A database that is away for longer than this, and two good checks, outlasts a client's attempts:
# eight, with pauses of 7 s in all at least when each is refused at once.
_DATABASE_SECONDS = 3.0


@dataclass
class Hit:
    """A fault that was carried out, and whom it struck; times are boot times.

    pod: the one that was struck; empty: a machine, a Lease, the site.
    node: the machine that was lost or drained.
    pods: what ran there, or was struck, with the parts that they belong to.
    ended: the fault was over; settled: the site was whole again.
    """

    fault: Fault
    pod: str = ""
    node: str = ""
    pods: Mapping[str, str] = field(default_factory=dict)
    begun: float = 0.0
    ended: float = float("inf")
    settled: float = float("inf")
    problem: str = ""

    def touches(self, part: str) -> bool:
        """Whether it struck a pod of this part, or the part as a whole."""
        return (self.fault.component == part and not self.node) or part in self.pods.values()

    def around(self, at: float, *, before: float = 0.0) -> bool:
        """Whether it, or the time in which the site got over it, was at `at`, or shortly before."""
        return self.begun - 0.1 <= at and at - before <= self.settled

    def __str__(self) -> str:
        where = self.node or self.pod or self.fault.component
        detail = f" ({self.fault.detail})" if self.fault.detail else ""
        return f"{self.fault.kind}{detail} {where} {self.begun:.2f}-{self.ended:.2f}".replace(
            "  ", " "
        )


def strikes(hits: Iterable[Hit]) -> list[Struck]:
    """The faults in the judge's words: one for each pod that was struck."""
    found = []
    for hit in hits:
        fault = hit.fault
        kind = _BY_DETAIL.get((fault.kind, fault.detail), _OTHERS.get(fault.kind, fault.kind))
        if hit.node:
            kind = _BY_NODE[fault.kind]
        pods = hit.pods or {hit.pod: fault.component}
        for pod, part in pods.items():
            own = replace(fault, kind=kind, component=part)
            found.append(Struck(own, pod, hit.begun, hit.ended, hit.problem))
    return found


@dataclass(frozen=True)
class Asked:
    """A request of a client: when it was sent and over, whether and by which server answered."""

    sent: float
    done: float
    ok: bool
    member: str


@dataclass
class Apart:
    """Requests of clients on machines that were lost: how many, and those to a former server."""

    requests: int = 0
    unanswered: int = 0
    to_another_server: int = 0

    def add(self, other: Apart) -> None:
        """Add those of another round."""
        self.requests += other.requests
        self.unanswered += other.unanswered
        self.to_another_server += other.to_another_server


@dataclass(frozen=True)
class Seen:
    """All that a round has left behind; times are in seconds since 1970, but those of the hits.

    since: when it began. offset: what to add to a time for the boot time. left: work that was open
    though nothing was done any more. versions, lease_asked: of the Leases, see tests.chaos.history.
    clients: by machine, what its client did. recorded: which server became the active one, by the
    balancers' record, from the last one before the round on. logs: of the balancers, by pod.
    missing: where the site was not whole in time after a fault, what was missing, and after which.
    """

    since: float
    offset: float
    hits: Sequence[Hit]
    left: int
    evidence: Evidence
    versions: Sequence[Version]
    lease_asked: LeaseAsked
    clients: Mapping[str, Sequence[Asked]]
    recorded: Sequence[Recorded]
    logs: Mapping[str, Sequence[tuple[float, str]]]
    missing: Sequence[str]

    def told(self) -> list[tuple[float, str]]:
        """What the balancers said about the servers, with the boot times."""
        return sorted(
            (at + self.offset, f"{pod}: {text}")
            for pod, lines in self.logs.items()
            for at, text in health_lines(lines)
        )


def unseen(since: float, offset: float, hits: Sequence[Hit], missing: Sequence[str]) -> Seen:
    """All that is known of a round that could not be looked at; arguments: see Seen."""
    nothing = Evidence([], [], [], since, changes=[])
    return Seen(since, offset, list(hits), 0, nothing, [], {}, {}, [], {}, list(missing))


def not_whole(missing: Iterable[str]) -> list[str]:
    """The violations that it is; missing: see Seen."""
    return [f"not-whole: {one}" for one in missing]


def judge_round(seen: Seen, *, thaw_bound: float) -> tuple[Verdict, Apart]:
    """Judge all of a round.

    Args:
        seen: what it has left behind.
        thaw_bound: seconds for which a pod that was frozen may act on after its thaw.
    """
    verdict, hits, offset = Verdict(workflows=len(seen.evidence.workflows)), seen.hits, seen.offset
    verdict.violations += not_whole(seen.missing)
    if seen.left:
        verdict.unknown.append(f"not-settled: {seen.left} open, and nothing was done for a minute")
    entries = seen.evidence.entries
    judge_acting(entries, hits, verdict, offset=offset, thaw_bound=thaw_bound)
    findings = checker.check(seen.evidence, checker.Expectation(settle=LOST_SECONDS))
    judge_findings(
        findings, hits, verdict, failed=gave_up(entries, offset=offset), offset=offset,
        thaw_bound=thaw_bound,
    )  # fmt: skip
    judge.judge_history(seen.versions, seen.lease_asked, verdict)
    words = Said([*seen.recorded])
    for pod, lines in seen.logs.items():
        words.add(said(pod, (text for _, text in lines)))
    apart = judge_clients(seen.clients, words, hits, verdict, offset=offset)
    judge_needless(seen.recorded, hits, verdict, offset=offset, told=seen.told())
    return verdict, apart


# --- who acted


def judge_acting(
    entries: Sequence[EntrySeen], hits: Sequence[Hit], verdict: Verdict, *, offset: float,
    thaw_bound: float,
) -> None:  # fmt: skip
    """No two pods of a component acted at the same time, by the ledger and the pods' logs."""
    acting = [replace(one, pod=_pod(one.run)) for one in acting_by_ledger(entries, offset=offset)]
    judge.judge_overlaps(acting, strikes(hits), verdict, thaw_bound=thaw_bound)


def _pod(process: str) -> str:
    """The pod that a process was in, by the name that the process goes by: POD/NUMBER."""
    return process.partition("/")[0]


# --- what the checker has found


def judge_findings(
    findings: Iterable[checker.Finding], hits: Sequence[Hit], verdict: Verdict, *,
    failed: Mapping[str, Sequence[float]], offset: float, thaw_bound: float,
) -> None:  # fmt: skip
    """Sort the checker's findings in.

    failed: by component, when (boot time) it gave up a request that nobody had answered.
    offset: what to add to the times of the findings to get the boot time.
    thaw_bound: seconds for which a pod that was frozen may act on after its thaw.
    """
    rest = []
    for finding in findings:
        times = failed.get(_named(finding.text), ())
        if "got no answer" in finding.text and times:
            why = [excuse(at, hits) for at in times]
            if all(why):
                verdict.explained.append(("no-answer", f"{finding.text} ({why[0]})"))
                continue
        by_pod = [replace(one, member=_pod(one.process)) for one in finding.requests]
        rest.append(replace(finding, requests=tuple(by_pod)))
    struck = strikes(hits)
    judge.judge_findings(rest, struck, verdict, offset=offset, thaw_bound=thaw_bound)


def excuse(at: float, hits: Sequence[Hit]) -> str:
    """Why nobody answered a request that was given up at `at`; empty: it should have been.

    One fault alone is no excuse, but a database that was away for longer than clients try.
    """
    near = [hit for hit in hits if hit.around(at, before=_TRIES_SECONDS)]
    frozen = [hit for hit in near if hit.fault.kind == "database frozen"]
    for hit in frozen:
        if hit.ended - hit.begun > _DATABASE_SECONDS:
            return str(hit)
    balancers = [hit for hit in near if hit.touches(BALANCER)]
    servers = [hit for hit in near if hit.touches(SERVERS) and hit not in balancers]
    # without the API server servers fail over all the same, balancers do not
    away = [hit for hit in near if hit.fault.kind == "API server away"] if balancers else []
    on_the_way = [*frozen, *balancers, *servers, *away]
    return "; ".join(map(str, on_the_way)) if len(on_the_way) >= 2 else ""


def gave_up(entries: Iterable[EntrySeen], *, offset: float) -> dict[str, list[float]]:
    """By component, when (boot time) it gave a request up."""
    found: dict[str, list[float]] = {}
    for entry in entries:
        if entry.kind == "start-failed":
            found.setdefault(str(entry.detail.get("component")), []).append(entry.at + offset)
    return found


def _named(text: str) -> str:
    return text.partition(":")[0].rpartition(" ")[2]


# --- clients


def judge_clients(
    asked: Mapping[str, Sequence[Asked]], words: Said, hits: Sequence[Hit], verdict: Verdict, *,
    offset: float,
) -> Apart:  # fmt: skip
    """Clients reach the recorded server, and nobody has to give up because of one fault.

    Args:
        asked: by machine, what its client did.
        words: what the balancers say, by record and logs.
        hits: what was done.
        verdict: gets what is found.
        offset: what to add to the times of the first two to get the boot time.
    """
    apart, together = Apart(), []
    unanswered: dict[str, list[float]] = {}
    for node, requests in asked.items():
        for one in requests:
            if _is_apart(node, one, hits, offset):
                apart.requests += 1
                apart.unanswered += not one.ok
                active = _recorded_at(words.recorded, one.done)
                apart.to_another_server += one.ok and bool(active) and one.member != active
            elif one.ok:
                together.append(Served(one.sent, one.done, one.member))
            else:
                unanswered.setdefault(node, []).append(one.done + offset)
    _judge_unanswered(unanswered, hits, verdict)
    changes = member_changes(together)
    judge_switches(changes, words, strikes(hits), verdict, offset=offset)
    return apart


def _is_apart(node: str, one: Asked, hits: Sequence[Hit], offset: float) -> bool:
    """Whether its machine was lost while it asked, or the balancer there has only just come back."""
    return any(
        hit.fault.kind in NODE_LOST
        and hit.node == node
        and one.done + offset >= hit.begun
        and one.sent + offset <= max(hit.ended + _DRAINS_SECONDS, hit.settled)
        for hit in hits
    )


def _recorded_at(recorded: Sequence[Recorded], at: float) -> str:
    ordered = sorted(recorded, key=lambda one: one.at, reverse=True)
    return next((one.member for one in ordered if one.at <= at), "")


def _judge_unanswered(
    unanswered: Mapping[str, Sequence[float]], hits: Sequence[Hit], verdict: Verdict
) -> None:
    """By machine, when (boot time) its client gave a request up."""
    for node, times in unanswered.items():
        strange = []
        for at in sorted(times):
            if why := excuse(at, hits):
                text = f"the client on {node} gave up at {at:.2f}: {why}"
                verdict.explained.append(("client-no-answer", text))
            else:
                strange.append(at)
        if strange:
            near = [hit for hit in hits if hit.around(strange[0], before=_TRIES_SECONDS)]
            verdict.violations.append(
                f"client-no-answer: the client on {node} gave up {len(strange)} requests, from "
                f"{strange[0]:.2f} to {strange[-1]:.2f} (faults: "
                f"{'; '.join(map(str, near)) or 'none'})"
            )


# --- the balancers' own words


def judge_needless(
    recorded: Sequence[Recorded], hits: Sequence[Hit], verdict: Verdict, *, offset: float,
    told: Sequence[tuple[float, str]] = (),
) -> None:  # fmt: skip
    """Each switch has a reason: the former server was struck, or somebody asked for it.

    Lost packets, a database that stands still, a balancer that takes over, an API server that is
    away: none of these may move the active server.

    Args:
        recorded: which server became the active one, in this order.
        hits: what was done.
        verdict: gets what is found.
        offset: what to add to the times of `recorded` to get the boot time.
        told: lines of the balancers' logs, with their boot times.
    """
    for before, after in pairwise(recorded):
        at = after.at + offset
        if before.member == after.member or any(_may_switch(hit, at) for hit in hits):
            continue
        near = "; ".join(str(hit) for hit in hits if hit.around(at, before=_RECORDED_SECONDS))
        lines = [text for seen, text in told if -_RECORDED_SECONDS <= seen - at <= 1]
        verdict.violations.append(
            f"needless-switch: from {before.member} to {after.member}, recorded at {at:.2f} "
            f"(faults: {near or 'none'}); the balancers: {' | '.join(lines[-6:]) or 'nothing'}"
        )


def _may_switch(hit: Hit, at: float) -> bool:
    moves = hit.fault.kind in _MOVES_SERVER or bool(hit.node)
    return moves and hit.touches(SERVERS) and hit.around(at, before=_RECORDED_SECONDS)


def health_lines(log: Iterable[tuple[float, str]]) -> list[tuple[float, str]]:
    """Of a balancer's log, what HAProxy and its agent said about the servers."""
    words = (
        "Health check", " is DOWN", " is UP", "went DOWN", "requests go", "no switch", "recorded:",
        "active member",
    )  # fmt: skip
    return [(at, text) for at, text in log if any(word in text for word in words)]
