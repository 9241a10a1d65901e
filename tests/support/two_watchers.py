# SPDX-License-Identifier: Apache-2.0
"""Measures what two table watchers that both act cost, and what they save.

    make bench-watchers JSON=docs/measurements/watchers.json
    python -m tests.support.two_watchers --pairs 1 --changes 4 --only "1.5 s"

Processes on this machine: a simulated DPE Server over a real PostgreSQL, a worker, two watchers of
one table, started anew for each pair, so that their looks (one a second) fall as they like. Entries
are added; counted is how many workflows each of them started. In the last case one of the two
watchers is killed while entries are added.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from tests.support.postgres import Postgres, running_postgres
from tests.support.simulated_site import Site
from tests.support.simulator import Simulated, eventually

COMMAND = "make bench-watchers"
GOOD_TITLE, NEW_TITLE = "%tableid%-%entryid%-%event%", "%entryid%-%guid%"
# Between two changes; no multiple of the second between two looks.
EVERY_SECONDS = 0.7
# What has no workflow so long after the last change was made is lost.
LOST_SECONDS = 60.0


@dataclass(frozen=True)
class Case:
    """Workflows whose activity takes `seconds`, under one title; `kill`: one watcher dies."""

    name: str
    seconds: float
    title: str = GOOD_TITLE
    kill: bool = False


CASES = (
    Case("0.1 s", 0.1),
    Case("0.5 s", 0.5),
    Case("1.5 s", 1.5),
    Case("3 s", 3.0),
    Case("1.5 s, title with %guid%", 1.5, NEW_TITLE),
    Case("3 s, one watcher killed", 3.0, kill=True),
)


@dataclass(frozen=True)
class Change:
    """One entry that was added: how many workflows it started, seconds until the first one was
    there, and for how long that one was open; None where there was none."""

    workflows: int
    waited: float | None
    open: float | None


def run_pair(
    postgres: Postgres, folder: Path, case: Case, *, number: int, changes: int
) -> list[Change]:
    """Let two watchers see so many changes; returns what became of each."""
    site = Site(postgres, folder, f"pair_{number}_{os.urandom(3).hex()}")
    with ExitStack() as stack:
        stack.callback(site.close)
        site.add("--lease", "10s")
        stack.enter_context(site.component("worker", "worker", "--quota", "20", "--poll", "100ms"))
        watchers = [stack.enter_context(_watcher(site, case, member)) for member in "12"]
        for watcher in watchers:
            eventually(lambda watcher=watcher: "memory: " in watcher.said, what="a watcher")
        every = f"{EVERY_SECONDS:g}s"
        adds = _entries(site, "--add", "1", "--rounds", str(changes), "--every", every)
        with adds:
            if case.kill:
                time.sleep(EVERY_SECONDS * changes / 3)
                watchers[number % 2].end(signal.SIGKILL)
            status, _ = adds.wait(within=60 + EVERY_SECONDS * changes)
            assert status == 0, adds.said
        return _outcome(site, changes)


def _watcher(site: Site, case: Case, member: str) -> Simulated:
    memory = site.folder / f"memory-{member}"
    memory.mkdir()
    return site.component(
        f"watcher-{member}", "table-watcher", "--content-dsn", site.dsn, "--memory", str(memory),
        "--name", "news", "--title", case.title, "--activities", "1",
        "--activity-seconds", f"{case.seconds:g}s", DPE_WORKFLOW_MEMBER=member,
    )  # fmt: skip


def _entries(site: Site, *options: str) -> Simulated:
    return Simulated(site.folder, "entries", "entries", "--content-dsn", site.dsn, *options)


def _outcome(site: Site, changes: int) -> list[Change]:
    """Wait until every change has its workflow and all have ended, and for two looks more.

    A change that has none after `LOST_SECONDS` is lost.
    """
    end = time.monotonic() + LOST_SECONDS
    while len(_started(site)) < changes and time.monotonic() < end:
        time.sleep(0.05)
    time.sleep(2.5)
    open_ones = "SELECT count(*) FROM dpe_workflows WHERE ended_at IS NULL"
    eventually(lambda: site.rows(open_ones)[0][0] == 0, seconds=60, what="the workflows' ends")
    query = "SELECT subject, extract(epoch FROM at)::float8 FROM dpe_changes"
    added = {str(subject): at for subject, at in site.rows(query)}
    assert len(added) == changes, "what was added was not noted"
    return outcomes(added, _started(site))


def outcomes(
    added: Mapping[str, float], started: Mapping[str, list[tuple[float, float]]]
) -> list[Change]:
    """What became of each entry.

    Args:
        added: when each of them was added, seconds since 1970.
        started: when its workflows began and ended, oldest first; nothing of what was lost.
    """
    found = []
    for entry, at in added.items():
        if workflows := started.get(entry):
            begun, ended = workflows[0]
            found.append(Change(len(workflows), begun - at, ended - begun))
        else:
            found.append(Change(0, None, None))
    return found


def _started(site: Site) -> dict[str, list[tuple[float, float]]]:
    """When the workflows of each entry began and ended, oldest first."""
    query = (
        "SELECT l.detail->'by'->'change'->>'subject', extract(epoch FROM w.created_at)::float8,"
        " extract(epoch FROM w.ended_at)::float8 FROM dpe_workflows w JOIN dpe_ledger l"
        " ON l.kind = 'workflow-created' AND l.subject = 'workflow:' || w.id ORDER BY w.id"
    )
    found: dict[str, list[tuple[float, float]]] = {}
    for entry, begun, ended in site.rows(query):
        found.setdefault(entry, []).append((begun, ended))
    return found


def summary(case: Case, changes: list[Change], *, pairs: int) -> dict[str, Any]:
    """What is published of one case; seconds, null where all were lost."""
    opened = [change.open for change in changes if change.open is not None]
    waited = [change.waited for change in changes if change.waited is not None]
    return {
        "case": case.name,
        "title": case.title,
        "pairs": pairs,
        "changes": len(changes),
        "workflowTakes": round(statistics.median(opened), 2) if opened else None,
        "once": sum(change.workflows == 1 for change in changes),
        "twice": sum(change.workflows > 1 for change in changes),
        "lost": sum(change.workflows == 0 for change in changes),
        "longestUntilStarted": round(max(waited), 2) if waited else None,
    }


def measure(
    cases: list[Case], *, pairs: int, changes: int, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Measure each case with so many pairs, each of which sees so many changes."""
    found = []
    with running_postgres() as postgres:
        for case in cases:
            seen: list[Change] = []
            for number in range(pairs):
                with tempfile.TemporaryDirectory(prefix="dpe-watchers-") as folder:
                    seen += run_pair(postgres, Path(folder), case, number=number, changes=changes)
            found.append(summary(case, seen, pairs=pairs))
            say(json.dumps(found[-1]))
    return found


def main() -> None:
    """Measure, print, and with --json write the file that the pages quote."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--pairs", type=int, default=6, help="pairs of watchers a case (6)")
    options.add_argument("--changes", type=int, default=12, help="changes that a pair sees (12)")
    options.add_argument("--only", default="", help="one case by its name")
    options.add_argument("--json", type=Path, help="file for the result")
    given = options.parse_args()
    cases = [case for case in CASES if given.only in ("", case.name)]
    if not cases:
        options.error(f"--only {given.only!r}: there is {', '.join(case.name for case in CASES)}")
    found = measure(
        cases, pairs=given.pairs, changes=given.changes, say=lambda line: print(line, flush=True)
    )
    if given.json:
        given.json.write_text(published(found))


def published(cases: list[dict[str, Any]]) -> str:
    """The file's text: one line a case."""
    head = {
        "command": COMMAND,
        "taken": str(date.today()),
        "machine": {"cpus": os.cpu_count(), "system": platform.platform()},
    }
    lines = ",\n".join(f"  {json.dumps(case)}" for case in cases)
    return json.dumps(head, indent=1)[:-2] + f',\n "cases": [\n{lines}\n ]\n}}\n'


if __name__ == "__main__":
    main()
