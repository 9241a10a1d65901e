# SPDX-License-Identifier: Apache-2.0
"""Takes the runs of the plan, one after the other, and goes on where it was stopped."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from tests.e2e import processes
from tests.e2e.kubectl import Kubectl, KubectlError
from tests.e2e.nodes import Nodes
from tests.e2e.operator_release import OperatorRelease
from tests.support import checkout

from dpe_bench import cases, farm_runs, machines, missed, raw, single_page, single_runs
from dpe_bench.cases import Item
from dpe_bench.faults import FAULTS, Strike, Target
from dpe_bench.figures import began_at, entry_figures, require_watched
from dpe_bench.laps import SET_UP, Laps
from dpe_bench.order import rounds, seconds_left
from dpe_bench.page import whole
from dpe_bench.probes import Clients, surviving_worker
from dpe_bench.processors import Processors
from dpe_bench.single_subjects import KINDS, remove_volumes
from dpe_bench.subjects import LABEL, Subject, subject_of
from dpe_bench.work import Work

ROOT = Path(__file__).resolve().parents[3]
_GIVE_UP_AFTER = 3
_TROUBLE = (AssertionError, KubectlError, RuntimeError, subprocess.SubprocessError, OSError)


@dataclass(frozen=True)
class Wish:
    """What is asked for; `any_commit` counts the runs of other commits too.

    `keep_operator`: the one that runs in the cluster is measured, whatever its build.
    """

    items: Sequence[Item]
    raw_file: Path
    any_commit: bool
    seed: int
    keep_operator: bool = False


def remaining(wish: Wish, commit: str) -> list[tuple[Item, int]]:
    """Return what is still to be done, with how many runs."""
    counted = raw.counted(raw.all_of(wish.raw_file), commit=None if wish.any_commit else commit)
    left = [(item, item.runs - counted[item.key]) for item in wish.items]
    return [(item, runs) for item, runs in left if runs > 0]


class Bench:
    """The cluster, the operator of this checkout, and one subject at a time."""

    def __init__(self, wish: Wish) -> None:
        self._wish = wish
        self._commit = checkout.commit(short=False)
        binaries = Path(_output("hack/tools/build", "kubectl", "helm"))
        self._cluster = Kubectl(binaries / "kubectl", Path(_output("hack/cluster", "kubeconfig")))
        pairs = (line.split("=") for line in _output("hack/images", "tags").splitlines())
        self._images = {name: f"localhost/dpe/{name}:{tag}" for name, tag in pairs}
        self._folder = Path(_cache()) / "bench"
        self._subject: Subject | None = None
        self._before: Item | None = None  # measured with it, as the last one
        self._versions: dict[str, str] = {}
        self._nodes_touched = True  # by a run before, since they were last seen Ready

    def run(self) -> int:
        """Take all runs that are missing; return how many could not be taken."""
        left = remaining(self._wish, self._commit)
        if not left:
            print("nothing to do: all runs are there (make bench-report writes the page)")
            return 0
        self._prepare()
        troubles: dict[tuple[str, str], int] = {}
        failed = 0
        try:
            for item in rounds(left):
                if troubles.get(item.key, 0) >= _GIVE_UP_AFTER:
                    continue
                self._tell(item)
                laps = Laps()
                try:
                    self._one(item, laps)
                    troubles[item.key] = 0
                except _TROUBLE as problem:
                    if missed.was_stopped(problem):
                        raise KeyboardInterrupt from problem
                    failed += 1
                    troubles[item.key] = troubles.get(item.key, 0) + 1
                    self._note_missed(item, laps, problem)
                    self._begin_anew()
        finally:
            self._leave()
        return failed

    def _note_missed(self, item: Item, laps: Laps, problem: BaseException) -> None:
        """A line in the raw file about a run that gives no figures; all of it for a person."""
        print(f"  no figures: {str(problem)[:2000]}", file=sys.stderr, flush=True)
        hide = {_cache(): "CACHE", str(ROOT): "CHECKOUT", str(Path.home()): "~"}
        line = missed.line(
            item, self._before, laps, missed.told(problem, hide), commit=self._commit
        )
        raw.append(raw.file_of(item.scenario.about, self._wish.raw_file), line)

    def _prepare(self) -> None:
        """Cluster, images, operator; and what a killed bench has left.

        An API server that it took away comes first: without one the cluster would be made anew.
        """
        try:
            machines.start_api_server(_control_plane())
            machines.wait_api_server(self._cluster)
        except _TROUBLE:
            pass  # there is no cluster, or it needs more than that
        for step in (("hack/cluster", "up"), ("hack/images", "load")):
            print(f"{' '.join(step)} ...", file=sys.stderr, flush=True)
            _output(*step)
        self._repair()
        self._remove_all()
        if not self._wish.keep_operator:
            helm = self._cluster.binary.parent / "helm"
            OperatorRelease(self._cluster, helm, self._images).install()
        self._versions = machines.versions(self._cluster)

    def _repair(self) -> None:
        machines.start_api_server(_control_plane())
        machines.wait_api_server(self._cluster)
        _output("hack/cluster", "up")  # thaws, starts and heals nodes
        for node in self._cluster.list("nodes"):
            name = node["metadata"]["name"]
            self._cluster.run("uncordon", name)
            processes.lose_no_packets(name)
        machines.wait_nodes(self._cluster)

    def _begin_anew(self) -> None:
        """After a run that failed: sound nodes, and a new subject for the next one."""
        self._subject = self._before = None
        self._nodes_touched = True
        self._repair()
        self._remove_all()

    def _remove_all(self) -> None:
        """Take away every namespace of a bench, also one that was killed."""
        self._cluster.run("delete", "namespace", "-l", LABEL, "--ignore-not-found", timeout=300)
        remove_volumes(self._cluster)

    def _leave(self) -> None:
        self._repair()
        self._remove_all()

    def _on(self, case: cases.Subject, about: str) -> Subject:
        present = self._subject
        if present is not None and (present.case, present.about) == (case, about):
            return present
        if present is not None:
            present.remove()
        self._subject = self._before = None
        make = KINDS.get((about, case.name), subject_of)
        subject = make(case, self._cluster, self._images, self._folder)
        subject.up()
        self._subject = subject
        return subject

    def _one(self, item: Item, laps: Laps) -> None:
        """One run: settle, then what belongs to it, and a line in the raw file."""
        about = item.scenario.about
        subject = self._on(item.subject, about)
        laps.done(SET_UP)
        seed = self._wish.seed + len(raw.all_of(self._wish.raw_file))
        if self._nodes_touched:
            machines.wait_nodes(self._cluster)
        self._nodes_touched = item.scenario.level != "pod"
        subject.settle()
        laps.done("settle")
        takes: dict[str, Callable[..., raw.Run]] = {
            "servers": partial(self._servers, laps),
            "singletons": single_runs.take,
            "farms": farm_runs.take,
        }
        processors = Processors()
        seen = takes[about](subject, item, seed)
        if about != "servers":
            laps.done("run")
        run = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "scenario": item.scenario.name,
            "subject": item.subject.name,
            "commit": self._commit,
            "machine": machines.machine(),
            "versions": self._versions,
            "seed": seed,
            "about": about,
            "level": item.scenario.level,
            "load_seconds": item.load_seconds,
            "took_seconds": laps.run_seconds,
            "spent": laps.seconds,
            "processors_percent": processors.seen(),
            **seen,
        }
        raw.append(raw.file_of(about, self._wish.raw_file), run)
        self._before = item
        print(_line(run), flush=True)
        print(f"  took {laps.text()}", file=sys.stderr, flush=True)

    def _servers(self, laps: Laps, subject: Subject, item: Item, seed: int) -> raw.Run:
        """A run with the servers: place, clients and work, fault, wait, repair, figures."""
        subject.aim(item.scenario.name)
        laps.done("aim")
        subject.rest(item.scenario.name)
        laps.done("rest")
        target = Target.of(subject, item.scenario.name)
        url = subject.url(surviving_worker(self._cluster, target.node))
        with Work(subject.ledger, url, subject.folder, seconds=item.load_seconds) as work:
            strike = Strike(subject, target, Nodes(self._cluster), ExitStack())
            seen = self._struck(laps, strike, work, item, seed)
            seen |= work.counted()
        laps.done("work")
        return {"undisturbed_seconds": cases.UNDISTURBED_SECONDS, **seen}

    def _struck(self, laps: Laps, strike: Strike, work: Work, item: Item, seed: int) -> raw.Run:
        """Break what the scenario says under the eyes of clients, and repair it."""
        subject = strike.subject
        switches_before = subject.switch_count()
        clients = Clients(
            subject,
            seconds=item.load_seconds,
            avoid_node=strike.target.node,
            lost_node=item.scenario.loses_node,
        )
        with strike.repair, clients:
            laps.done("start")
            # not always at the same point between two health checks
            time.sleep(random.Random(seed).uniform(0, 1.5))
            struck = time.time()
            FAULTS[item.scenario.name](strike)
            over = time.time()
            if item.scenario.tail:
                time.sleep(item.scenario.tail)
                clients.end()
            seen = clients.summaries()
            work.end()
            require_watched(seen, over=over)
            laps.done("load")
            switches = _switches_since(switches_before, subject)
        laps.done("repair")
        began = began_at(seen["cluster"])
        return {
            "fault_at_second": round(struck - began, 2),
            "fault_over_at_second": round(over - began, 2),
            "recorded_switches": switches,
            "entries": {entry: entry_figures(summary) for entry, summary in seen.items()},
        }

    def _tell(self, item: Item) -> None:
        left = remaining(self._wish, self._commit)
        minutes = seconds_left(left, raw.all_of(self._wish.raw_file)) / 60
        runs = sum(count for _, count in left)
        print(
            f"{datetime.now():%H:%M:%S} {item.scenario.name} with {item.subject.name}"
            f" ({runs} runs left, about {minutes:.0f} minutes)",
            file=sys.stderr,
            flush=True,
        )


def _switches_since(before: int | None, subject: Subject) -> int | None:
    """How many switches were recorded since then; None: this subject records none."""
    if before is None:
        return None
    after = subject.switch_count()
    return None if after is None else after - before


def _control_plane() -> str:
    return f"{os.environ.get('CLUSTER', 'dpe')}-control-plane"


def _line(run: raw.Run) -> str:
    if "figures" in run:
        return single_page.line(run)
    parts = [
        f"{entry}: gap {one['gap_ms']:.0f} ms{'' if one['gap_is_over'] else ' or more'}"
        f" (untouched {whole(one['undisturbed_gap_ms'])}), failed {one['failed_requests']}"
        f", after retries {one['failed_after_retries']}, switches {one['switches']}"
        f", overlap {one['overlap_ms']:.0f} ms"
        for entry, one in run["entries"].items()
    ]
    return f"  {run['scenario']} {run['subject']}: " + "; ".join(parts)


def _output(*command: str) -> str:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "YES": "1"},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
    return done.stdout.strip()


def _cache() -> str:
    home = os.environ.get("XDG_CACHE_HOME") or f"{Path.home()}/.cache"
    return os.environ.get("DPE_CACHE") or f"{home}/dpe-operator"
