# SPDX-License-Identifier: Apache-2.0
"""The ledger of a site, read from this machine: who acts, who began, and all for the checker."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
from tests.e2e.kubectl import Kubectl

from dpe_simulator.database import connect
from dpe_simulator.evidence import read_changes, read_evidence
from dpe_simulator.findings import Evidence

ROOT = Path(__file__).resolve().parents[3]
# Whoever has proved within so many seconds that it acts, acts.
_ACTING = """
SELECT process FROM dpe_ledger
WHERE detail->>'component' = %s AND coalesce(until, at) > now() - interval '2 seconds'
GROUP BY process HAVING count(*) > 2
"""
_FIRST_START = """
SELECT extract(epoch FROM at)::float8, process FROM dpe_ledger
WHERE kind = 'start' AND role = %s AND detail->>'component' IS NOT DISTINCT FROM %s::text
    AND at > to_timestamp(%s::float8) AND process <> %s
ORDER BY at LIMIT 1
"""
_OPEN_JOBS = "SELECT count(*) FROM dpe_jobs WHERE state IN ('scheduled', 'running')"
_WORKFLOWS = "SELECT count(*) FROM dpe_workflows"
_BUSY = """
SELECT DISTINCT claimed_by FROM dpe_jobs WHERE state = 'running' AND starts_with(claimed_by, %s)
"""
# A run of minutes is not given up for a database that is slow once.
_TRIES = 10


@dataclass(frozen=True)
class Start:
    """A command has begun: when, in seconds since 1970 by its own clock, and which process."""

    at: float
    process: str

    @property
    def pod(self) -> str:
        """Name of its pod."""
        return self.process.partition("/")[0]


class Ledger:
    """The databases of one site, over a port of the control plane's node."""

    def __init__(self, kube: Kubectl, address: str) -> None:
        self._kube = kube
        self._address = address

    @property
    def dsn(self) -> str:
        """Where the databases are; core and content are one here."""
        service = self._kube.get("service", "bench-postgres")
        port = service["spec"]["ports"][0]["nodePort"]
        return f"postgresql://dpe:e2e-only@{self._address}:{port}/dpecore"

    def acting(self, component: str) -> list[str]:
        """The processes of a component that act now."""
        return [str(row[0]) for row in self._ask(_ACTING, component)]

    def first_start(
        self, role: str, component: str | None, *, after: float, besides: str = ""
    ) -> Start | None:
        """The first process of a component that began after a moment; None: nobody did.

        Processors belong to no component.
        """
        found = self._ask(_FIRST_START, role, component, after, besides)
        return Start(float(found[0][0]), str(found[0][1])) if found else None

    def open_jobs(self) -> int:
        """How many jobs have not ended; -1: it cannot be told now."""
        found = self._ask(_OPEN_JOBS)
        return int(found[0][0]) if found else -1  # unknown: not none

    def wait_quiet(self, *, seconds: float, within: float) -> None:
        """Wait until no workflow was started for so many seconds, or the time is up.

        Who takes over after minutes has all the changes of these minutes to work off.
        """
        end = time.monotonic() + within
        seen, since = -1, time.monotonic()
        while (now := time.monotonic()) - since < seconds and now < end:
            found = self._ask(_WORKFLOWS)
            count = int(found[0][0]) if found else seen
            if count != seen:
                seen, since = count, now
            time.sleep(0.5)

    def wait_jobs(self, *, within: float) -> None:
        """Wait until no job is open, or the time is up."""
        end = time.monotonic() + within
        while self.open_jobs() != 0 and time.monotonic() < end:
            time.sleep(1)

    def busy_processors(self, pod: str) -> list[str]:
        """Names of the processors in a pod that have jobs now."""
        return [str(row[0]) for row in self._ask(_BUSY, f"{pod}/")]

    def evidence(
        self, *, since: float, component_lines: Sequence[str] = (), client_lines: Sequence[str] = ()
    ) -> Evidence:
        """All of a run, for the checker; lines of logs come beside what has reached the ledger.

        Raises:
            RuntimeError: the database could not be reached ten times.
        """
        for _ in range(_TRIES):
            try:
                with connect(self.dsn, name="dpe-bench") as session:
                    changes = read_changes(session, since=since)
                    return read_evidence(
                        session, since=since, changes=changes, client_lines=client_lines,
                        component_lines=component_lines,
                    )  # fmt: skip
            except psycopg.OperationalError as failure:
                problem = failure
                time.sleep(2)
        raise RuntimeError(f"the ledger cannot be read: {problem}")

    def _ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Rows of a query; none while there is no ledger yet, or the database cannot be reached."""
        try:
            with connect(self.dsn, name="dpe-bench") as session:
                return session.execute(query, values).fetchall()
        except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
            return []


class Simulator:
    """A command of the simulator on this machine, ended when the block is left."""

    def __init__(self, *arguments: str) -> None:
        self._command = [sys.executable, "-m", "dpe_simulator", *arguments]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Simulator:
        path = f"{ROOT / 'hack/simulator'}{os.pathsep}{ROOT / 'operator'}"
        self._process = subprocess.Popen(
            self._command, env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        return self

    def end(self) -> bool:
        """Ask it to end, as SIGTERM does; False: it has done so by itself before."""
        assert self._process is not None
        running = self._process.poll() is None
        self._process.terminate()
        return running

    def wait(self, seconds: float) -> bool:
        """Wait until it has ended by itself; False: it goes on after so many seconds."""
        assert self._process is not None
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)
