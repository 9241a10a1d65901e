# SPDX-License-Identifier: Apache-2.0
"""The judge of a run: what the topology did wrong, apart from what closed DPE cannot do. Pure.

topology: must be 0. limit: DPE's own limit, explained one by one. unknown: could not be seen.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

from dpe_operator.prober.measure import Served, member_changes
from dpe_simulator import check_acting, check_changes, check_triggers
from dpe_simulator.acts import components_of
from dpe_simulator.findings import (
    LIMIT,
    TOPOLOGY,
    UNKNOWN,
    ChangeSeen,
    EntrySeen,
    Evidence,
    Expectation,
    Finding,
    JobSeen,
    WorkflowSeen,
)

__all__ = [
    "LIMIT", "TOPOLOGY", "UNKNOWN", "ChangeSeen", "EntrySeen", "Evidence", "Expectation", "Finding",
    "JobSeen", "WorkflowSeen", "check",
]  # fmt: skip
_OPEN = ("scheduled", "running")
# An instance may be noted as created while the end of the one before is being committed.
_COMMIT_SECONDS = 0.5


def check(evidence: Evidence, expectation: Expectation) -> list[Finding]:
    """Return everything that is not as it should be."""
    return [
        *_members(evidence, expectation),
        *_lost_workflows(evidence),
        *_open_for_too_long(evidence, expectation),
        *_double_workflows(evidence),
        *_double_jobs(evidence),
        *_gaps_in_the_ledger(evidence),
        *_workflow_system(evidence, expectation),
    ]


def _workflow_system(evidence: Evidence, expectation: Expectation) -> Iterable[Finding]:
    """Components that one elector or none keeps apart: who acted, and what came of it."""
    for component in components_of(evidence.entries, only=expectation.components):
        yield from check_acting.check(component, expectation)
        yield from check_triggers.check(component, evidence, expectation)
        yield from check_changes.check(component, evidence, expectation)


def _members(evidence: Evidence, expectation: Expectation) -> Iterable[Finding]:
    """A request to the old member after the new one's first answer shows as changes too many."""
    from_ledger = [
        Served(entry.at, entry.until or entry.at, entry.member)
        for entry in evidence.entries
        # Only what a client sent: a request without an id did not come through the balancer.
        if entry.kind == "request" and entry.member and entry.request_id and _answered(entry)
    ]
    for source, served in (("ledger", from_ledger), ("client", list(evidence.client_served))):
        changes = member_changes(served, tolerance=expectation.clock_tolerance)
        if expectation.switches is None:
            if changes:
                text = (
                    f"{source}: {len(changes)} change(s) of the active member; how many were meant"
                )
                text += " (--switches)?"
                yield Finding(UNKNOWN, "member-changes", text)
        elif len(changes) > expectation.switches:
            told = "; ".join(f"{one.before} to {one.after} at {one.at:.3f}" for one in changes[:10])
            meant = f"{len(changes)} changes of the active member instead of {expectation.switches}"
            text = f"{source}: {meant}: {told}"
            yield Finding(TOPOLOGY, "old-member", text)


def _answered(entry: EntrySeen) -> bool:
    status = entry.detail.get("status")
    return isinstance(status, int) and status < 500


def _lost_workflows(evidence: Evidence) -> Iterable[Finding]:
    there = {(one.type, one.title) for one in evidence.workflows}
    for type_, title in evidence.accepted:
        if (type_, title) not in there:
            text = f"workflow {type_}/{title} was accepted and is not in the core database"
            yield Finding(TOPOLOGY, "workflow-lost", text)


def _open_for_too_long(evidence: Evidence, expectation: Expectation) -> Iterable[Finding]:
    created = {one.id: one.created for one in evidence.workflows}
    open_workflows = set()
    for job in evidence.jobs:
        if job.state not in _OPEN:
            continue
        open_workflows.add(job.workflow_id)
        since = job.lease_until or created.get(job.workflow_id, evidence.now)
        if evidence.now - since > expectation.settle:
            what = (
                "its processor's lease ran out and nobody took it"
                if job.lease_until
                else "nobody took it"
            )
            text = (
                f"job {job.id} ({job.type}): {job.state} for {evidence.now - since:.0f} s, {what}"
            )
            yield Finding(TOPOLOGY, "job-lost", text)
    for one in evidence.workflows:
        if one.state in _OPEN and one.id not in open_workflows:
            yield Finding(
                TOPOLOGY,
                "workflow-stuck",
                f"workflow {one.id} is {one.state} though no job of it is open",
            )


def _double_workflows(evidence: Evidence) -> Iterable[Finding]:
    # A server that is killed takes the lines of its last requests with it, those of its effects
    # never: these tell of the attempt too.
    sent_again = {
        entry.request_id or entry.detail.get("requestId")
        for entry in evidence.entries
        if entry.kind in ("request", "workflow-created", "workflow-refused")
        and entry.detail.get("attempt") not in (None, "1")
    }
    by_title: defaultdict[tuple[str, str], list[WorkflowSeen]] = defaultdict(list)
    for one in evidence.workflows:
        if one.checked:
            by_title[one.type, one.title].append(one)
    for (type_, title), found in by_title.items():
        ordered = sorted(found, key=lambda one: one.created)
        for number, second in enumerate(ordered[1:], 1):
            first = ordered[number - 1]
            if first.ended is None or first.ended > second.created + _COMMIT_SECONDS:
                name = f"workflows {first.id} and {second.id} ({type_}/{title})"
                yield Finding(TOPOLOGY, "title-rule", f"{name} were open at the same time")
                continue
            # one that was sent again may come after another one's
            same = [one for one in ordered[:number] if one.request_id == second.request_id]
            if second.request_id and same:
                name = f"workflows {same[-1].id} and {second.id} ({type_}/{title})"
                yield _from_one_request(name, again=second.request_id in sent_again)
            # Two requests with the same title one after the other: that is allowed.


def _from_one_request(name: str, *, again: bool) -> Finding:
    if again:
        text = (
            f"{name}: one request, sent again as its answer was lost; the title rule guards overlap"
        )
        return Finding(LIMIT, "repeated-request", text)
    return Finding(TOPOLOGY, "workflow-doubled", f"{name}: one request, which the client sent once")


def _double_jobs(evidence: Evidence) -> Iterable[Finding]:
    ends: Counter[str] = Counter()
    taken: defaultdict[str, list[object]] = defaultdict(list)
    done: defaultdict[str, list[EntrySeen]] = defaultdict(list)
    for entry in evidence.entries:
        subject = entry.subject or ""
        if entry.kind in ("job-finished", "job-failed"):
            ends[subject] += 1
        elif entry.kind == "job-claimed" and entry.detail.get("takenFrom"):
            taken[subject].append(entry.detail["takenFrom"])
        elif entry.kind == "job-executed":
            done[subject].append(entry)
    for subject, count in ends.items():
        if count > 1:
            yield Finding(TOPOLOGY, "job-ended-twice", f"{subject} was ended {count} times")
    for subject, runs in done.items():
        if len(runs) > 1:
            yield _executed_again(subject, runs, taken[subject])


def _executed_again(subject: str, runs: Sequence[EntrySeen], taken: Sequence[object]) -> Finding:
    who = ", ".join(run.process for run in runs)
    overlap = any(
        first.at < (second.until or second.at) and second.at < (first.until or first.at)
        for first, second in combinations(runs, 2)
    )
    together = " at the same time" if overlap else ""
    # Every run after the first needs a lease that ran out; without it the job was given out twice.
    if len(taken) >= len(runs) - 1:
        text = f"{subject} was executed{together} by {who}: the lease of {taken[0]} ran out before"
        return Finding(LIMIT, "job-repeated", text)
    return Finding(
        TOPOLOGY,
        "job-doubled",
        f"{subject} was executed{together} by {who}, though no lease ran out",
    )


def _gaps_in_the_ledger(evidence: Evidence) -> Iterable[Finding]:
    for entry in evidence.entries:
        if entry.kind == "dropped":
            lost = entry.detail.get("entries")
            text = f"{entry.process} had to drop {lost} entries: the database was away too long"
            yield Finding(UNKNOWN, "ledger-incomplete", text)
