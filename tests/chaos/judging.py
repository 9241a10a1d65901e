# SPDX-License-Identifier: Apache-2.0
"""Judges a round on processes from what it has left behind. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.chaos import judge
from tests.chaos.acting import Acting, acting_by_ledger
from tests.chaos.faults import Struck
from tests.chaos.history import Asked, Version
from tests.chaos.judge import Verdict
from tests.chaos.moves import Said
from tests.chaos.site import SETTLE_SECONDS
from tests.chaos.switches import judge_switches

from dpe_operator.prober.measure import member_changes
from dpe_simulator import checker
from dpe_simulator.findings import Evidence


@dataclass(frozen=True)
class Seen:
    """All that a round has left behind; times are in seconds since 1970, those of `struck` and
    `journals` boot times.

    missing: components for which nobody acts in the end. left: work that was open though nothing
    was done any more. busy: people worked. said: by the balancers; None: there were none. versions,
    asked: of the Leases, see tests.chaos.history. offset: what to add to a time for the boot time.
    """

    missing: Sequence[str]
    left: int
    busy: bool
    evidence: Evidence
    struck: Sequence[Struck]
    journals: Sequence[Acting]
    said: Said | None
    versions: Sequence[Version]
    asked: Asked
    offset: float


def judge_round(seen: Seen, *, thaw_bound: float) -> Verdict:
    """Judge all of it; `thaw_bound`: seconds for which a pod may act on after its thaw."""
    verdict, offset, struck, evidence = Verdict(), seen.offset, seen.struck, seen.evidence
    verdict.violations += [
        f"nobody-acts: {name}, after all faults have ended" for name in seen.missing
    ]
    if seen.left:
        verdict.unknown.append(f"not-settled: {seen.left} open, and nothing was done for a minute")
    acting = [*acting_by_ledger(evidence.entries, offset=offset), *seen.journals]
    judge.judge_overlaps(acting, struck, verdict, thaw_bound=thaw_bound)
    if seen.busy:
        findings = checker.check(evidence, checker.Expectation(settle=SETTLE_SECONDS))
        judge.judge_findings(
            findings, struck, verdict, failed=_gave_up(evidence, offset), offset=offset,
            thaw_bound=thaw_bound,
        )  # fmt: skip
        verdict.workflows = len(evidence.workflows)
    if seen.said is not None:
        changes = member_changes(evidence.client_served)
        judge_switches(changes, seen.said, struck, verdict, offset=offset)
    judge.judge_history(seen.versions, seen.asked, verdict)
    return verdict


def _gave_up(evidence: Evidence, offset: float) -> dict[str, list[float]]:
    """By component, when it gave a request up."""
    found: dict[str, list[float]] = {}
    for entry in evidence.entries:
        if entry.kind == "start-failed":
            found.setdefault(str(entry.detail.get("component")), []).append(entry.at + offset)
    return found
