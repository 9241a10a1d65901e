# SPDX-License-Identifier: Apache-2.0
"""Work beside the probers: workflows that are started and carried out while servers fail over."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from dpe_bench.ledger import Ledger, Simulator
from dpe_bench.single_figures import verdict
from dpe_simulator import checker

# Few: they are there to be counted, and cost the measured machine as little as possible.
_EVERY_SECONDS = 1.0
_JOB_SECONDS = 0.1
_JOB_TYPE = "audio"
# A job that was given out while the answer got lost is free again 30 s after that.
_SETTLE_SECONDS = 40.0
_ENDS_WITHIN_SECONDS = 90
# What it has begun it tries with all its retries, and asks once more what became of it.
_CLIENT_ENDS_WITHIN_SECONDS = 120
# The clients beside it start later, by as long as a pod takes, and what these have begun is waited
# for. It is ended with them: these seconds are never used up.
_LONGER_SECONDS = 300


class Work:
    """A client that starts a workflow with a job every second, and a processor; both on this
    machine, with the default retries. A context manager that leaves neither behind."""

    def __init__(self, ledger: Ledger, url: str, folder: Path, *, seconds: float) -> None:
        """Prepare it; nothing is started yet.

        Args:
            ledger: of the site.
            url: of the servers, as a client on this machine reaches them.
            folder: for the client's records.
            seconds: how long other clients send, after they have started. Workflows are started
                until `end`.
        """
        self._ledger = ledger
        self._records, self._outcome = folder / "work.jsonl", folder / "work.json"
        most = int((seconds + _LONGER_SECONDS) / _EVERY_SECONDS)
        self._since = 0.0
        self._running = ExitStack()
        target = (f"--url={url}", "--insecure")
        self._processor = Simulator("processor", *target, f"--type={_JOB_TYPE}", "--poll=1s")
        self._client = Simulator(
            "client", *target, f"--workflows={most}", "--jobs=1",
            f"--every={_EVERY_SECONDS * 1000:.0f}ms", f"--job-type={_JOB_TYPE}",
            f"--job-seconds={_JOB_SECONDS * 1000:.0f}ms",
            f"--timeout={most * _EVERY_SECONDS + _ENDS_WITHIN_SECONDS:g}s",
            f"--records={self._records}", f"--json={self._outcome}",
        )  # fmt: skip

    def __enter__(self) -> Work:
        for file in (self._records, self._outcome):
            file.unlink(missing_ok=True)
        self._since = time.time()
        with ExitStack() as stack:  # the one is ended where the other cannot be started
            stack.enter_context(self._processor)
            stack.enter_context(self._client)
            self._running = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._running.__exit__(kind, value, trace)

    def end(self) -> None:
        """Start no more.

        Raises:
            RuntimeError: the client was gone already, and nothing was started for a while.
        """
        if not self._client.end():
            raise RuntimeError("the client of the workflows has ended by itself")

    def counted(self) -> dict[str, Any]:
        """After `end`, wait until all workflows have ended.

        Returns:
            How many were accepted and how many were not, after all retries; the checker's verdict.
            What has not ended a minute and a half after the client is counted as lost.

        Raises:
            RuntimeError: the client does not end, so nobody knows what it was told; or the
                processor has ended, so nobody carries out what the servers have kept well.
        """
        if not self._client.wait(_CLIENT_ENDS_WITHIN_SECONDS):
            raise RuntimeError("the client of the workflows does not end")
        self._ledger.wait_jobs(within=_ENDS_WITHIN_SECONDS)
        if self._processor.wait(0):
            raise RuntimeError("the processor of the workflows has ended by itself")
        lines = self._records.read_text(encoding="utf-8").splitlines()
        evidence = self._ledger.evidence(since=self._since, client_lines=lines)
        findings = checker.check(evidence, checker.Expectation(settle=_SETTLE_SECONDS))
        refused = json.loads(self._outcome.read_text(encoding="utf-8"))["notAccepted"]
        return {
            "workflows": len(evidence.accepted), "not_accepted": refused, **verdict(findings),
        }  # fmt: skip
