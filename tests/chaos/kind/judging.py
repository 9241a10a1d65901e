# SPDX-License-Identifier: Apache-2.0
"""Judges a round on the cluster with the judge of the rig on processes. Pure.

A machine that is lost is, for that judge, a fault of each pod on it. What only a cluster has is
judged here: clients on machines that are cut off, switches that nobody needed, requests that
nobody answered.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tests.chaos import judge
from tests.chaos.acting import acting_by_ledger
from tests.chaos.frontend import BALANCER, SERVERS
from tests.chaos.history import Asked as LeaseAsked
from tests.chaos.history import Version
from tests.chaos.judge import Verdict
from tests.chaos.kind.hits import NODE_LOST, Hit, strikes
from tests.chaos.kind.needless import health_lines, judge_needless
from tests.chaos.moves import Recorded, Said, said
from tests.chaos.switches import judge_switches

from dpe_operator.prober.measure import Served, member_changes
from dpe_simulator import checker
from dpe_simulator.findings import EntrySeen, Evidence

# After a machine is back its clients may still be connected to a balancer that drains (30 s).
_DRAINS_SECONDS = 30.0
# So long a client tries, with what is under way.
_TRIES_SECONDS = 25.0
# Work that is open for longer is lost.
LOST_SECONDS = 20.0
# A database that is away for longer than this, and two good checks, outlasts a client's attempts:
# eight, with pauses of 7 s in all at least when each is refused at once.
_DATABASE_SECONDS = 3.0


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
