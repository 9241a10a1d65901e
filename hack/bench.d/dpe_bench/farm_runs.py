# SPDX-License-Identifier: Apache-2.0
"""One run with a farm: a node with a third of its processors is cut off while all of them work."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.e2e.kubectl import Object, eventually

from dpe_bench import exact, machines
from dpe_bench import single_manifests as manifests
from dpe_bench.cases import Item
from dpe_bench.ledger import Simulator, Start
from dpe_bench.single_figures import job_figures, verdict
from dpe_bench.single_subjects import Farm
from dpe_simulator import checker

# Three processors with two jobs each have something to do until the lost ones' jobs are free again,
# which is 30 s after their last sign of life.
_WORKFLOWS = 48
_JOB_SECONDS = 5
_SETTLE_SECONDS = 10.0
# All of a farm works by then.
_BEFORE_SECONDS = 5


def take(subject: Farm, item: Item, seed: int) -> dict[str, Any]:
    """Take one run; return what the raw file keeps of it."""
    began_at, seconds = time.time(), item.load_seconds
    records = subject.folder / "client.jsonl"
    records.unlink(missing_ok=True)
    with ExitStack() as repair:
        client = repair.enter_context(_client(subject, records, seconds=seconds))
        time.sleep(_BEFORE_SECONDS + random.Random(seed).uniform(0, 2))
        pod, processor = _busy(subject)
        cable = exact.Cable(pod["spec"]["nodeName"])
        repair.callback(machines.wait_nodes, subject.cluster)
        repair.callback(cable.plug)
        struck = cable.pull()
        begun = _wait(subject, after=struck, seconds=seconds)
        seen_until = time.time()
        client.wait(60)
    time.sleep(_SETTLE_SECONDS + 2)  # what the lost ones still tell of when their node is back
    lines = records.read_text(encoding="utf-8").splitlines() if records.exists() else []
    evidence = subject.ledger.evidence(since=began_at, client_lines=lines)
    figures = {
        "gap_ms": round(((begun.at if begun else seen_until) - struck) * 1000, 1),
        "gap_is_over": begun is not None,
        **job_figures(evidence.entries, processor=processor, struck=struck),
    }
    findings = checker.check(evidence, checker.Expectation(settle=_SETTLE_SECONDS))
    return {"figures": figures, **verdict(findings)}


def _client(subject: Farm, records: Path, *, seconds: float) -> Simulator:
    """A client that starts workflows with a job each, and waits until all have ended."""
    url = subject.url(machines.control_plane(subject.cluster))
    return Simulator(
        "client", f"--url={url}", "--insecure",
        f"--workflows={_WORKFLOWS}", "--jobs=1", f"--job-type={manifests.JOB_TYPE}",
        f"--job-seconds={_JOB_SECONDS}s", f"--timeout={seconds:g}s", f"--records={records}",
    )  # fmt: skip


def _busy(subject: Farm) -> tuple[Object, str]:
    """A processor that has jobs, preferably not on a node with the active server: its pod and name.

    The server's fail-over would be a part of the figure otherwise.
    """
    active = subject.server()["spec"]["nodeName"]
    pods = sorted(subject.processors(), key=lambda pod: pod["spec"]["nodeName"] == active)

    def found() -> tuple[Object, str] | None:
        for pod in pods:
            for name in subject.ledger.busy_processors(pod["metadata"]["name"]):
                return pod, name
        return None

    return eventually(found, timeout=20, every=0.2, what="a processor with jobs")


def _wait(subject: Farm, *, after: float, seconds: float) -> Start | None:
    """Wait until a new processor has begun and no job is open; return its start."""
    end = time.monotonic() + seconds
    begun = None
    while time.monotonic() < end:
        begun = begun or subject.ledger.first_start(subject.role, None, after=after)
        if begun and subject.ledger.open_jobs() == 0:
            break
        time.sleep(0.5)
    return begun
