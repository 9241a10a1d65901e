# SPDX-License-Identifier: Apache-2.0
"""`check`: reads what a run has left behind, judges it, prints the verdict."""

import argparse
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import psycopg

from dpe_operator.prober.running import report
from dpe_simulator import checker, figures
from dpe_simulator.database import connect
from dpe_simulator.evidence import read_changes, read_evidence, read_lines
from dpe_simulator.findings import ChangeSeen, Evidence

TROUBLE = (ValueError, OSError, psycopg.Error)


def check(options: argparse.Namespace) -> int:
    """Judge a run; 1 when the topology did something wrong."""
    evidence = _evidence(options)
    expectation = checker.Expectation(
        options.switches, options.settle, options.clock_tolerance,
        frozenset(options.component or ()),
    )  # fmt: skip
    findings = checker.check(evidence, expectation)
    counts = {
        kind: sum(one.kind == kind for one in findings)
        for kind in (checker.TOPOLOGY, checker.LIMIT, checker.UNKNOWN)
    }
    seen = {
        "workflows": len(evidence.workflows), "jobs": len(evidence.jobs),
        "entries": len(evidence.entries), "changes": len(evidence.changes or ()),
    }  # fmt: skip
    components = figures.describe(evidence, expectation)
    verdict = {
        "seen": seen, "counts": counts, "findings": [asdict(one) for one in findings],
        "components": components,
    }  # fmt: skip
    head = (
        f"{seen['workflows']} workflows, {seen['jobs']} jobs, {seen['entries']} ledger lines: "
        f"{counts['topology']} fault(s) of the topology, {counts['limit']} limit(s) of DPE, "
        f"{counts['unknown']} unknown"
    )
    told = (f"{one.kind:9} {one.rule}: {one.text}" for one in findings)
    report(options.json, verdict, "\n".join([head, *figures.table(components), *told]))
    return 1 if counts[checker.TOPOLOGY] else 0


def _evidence(options: argparse.Namespace) -> Evidence:
    run = {"since": options.since, "until": options.until}
    changes: list[ChangeSeen] | None = None
    if options.content_dsn is not None:
        with connect(options.content_dsn, name="dpe-check") as session:
            changes = read_changes(session, **run)
    with connect(options.dsn, name="dpe-check") as session:
        return read_evidence(
            session, **run, client_lines=_lines(options.client_records),
            component_lines=_lines(options.component_records), changes=changes,
        )  # fmt: skip


def _lines(names: Iterable[str] | None) -> list[str]:
    return read_lines(Path(name) for name in names or [])
