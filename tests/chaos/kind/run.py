# SPDX-License-Identifier: Apache-2.0
"""Plays a run on the kind cluster, round by round, and judges it."""

from __future__ import annotations

import itertools
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

from tests.chaos import again
from tests.chaos.judge import Verdict
from tests.chaos.kind.cluster import Ground, repair, tool
from tests.chaos.kind.faults import Faults
from tests.chaos.kind.follow import Audit, Leases, Record
from tests.chaos.kind.hits import Hit
from tests.chaos.kind.judging import (
    LOST_SECONDS,
    Apart,
    Asked,
    Seen,
    judge_round,
    not_whole,
    unseen,
)
from tests.chaos.kind.logs import Logs, client_requests
from tests.chaos.kind.plan import Moment, draw
from tests.chaos.kind.site import CLIENTS, BusySite, People, client_files
from tests.e2e.kubectl import Kubectl
from tests.e2e.operator_release import OperatorRelease
from tests.support.elector_pods import boot

from dpe_simulator import checker
from dpe_simulator.database import connect
from dpe_simulator.evidence import read_changes, read_evidence
from dpe_simulator.findings import Evidence

# A round has an end, so that what nobody does any more is seen.
ROUND_SECONDS = 300.0
# A site that is not whole after so long does not get over it by itself.
_WHOLE_SECONDS = 300.0


@dataclass(frozen=True)
class Settings:
    """What to play.

    seed: the same seed gives the same faults. seconds: after which no fault begins any more.
    skip: so many moments of the plan were played before. thaw_bound: seconds for which a pod that
    was frozen may act on after its thaw. only: kinds of faults; empty: all.
    """

    seed: str
    seconds: float
    skip: int = 0
    thaw_bound: float = 0.1
    only: Sequence[str] = ()


@dataclass
class Outcome:
    """What a round has shown. seconds: of faults; wall_seconds: with its end; targets: how often
    what was struck; problems: what could not be carried out as planned; replaced: see Ground;
    missing: see Seen."""

    seconds: float = 0.0
    moments: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    targets: Counter[str] = field(default_factory=Counter)
    not_done: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    verdict: Verdict = field(default_factory=Verdict)
    apart: Apart = field(default_factory=Apart)
    replaced: int = 0
    failed: list[str] = field(default_factory=list)
    rounds: int = 0
    wall_seconds: float = 0.0


@dataclass(frozen=True)
class Start:
    """When a round began: wall clock, what to add to it for the boot time, versions seen so far."""

    wall: float
    offset: float
    versions: int


def run(
    settings: Settings, folder: Path, say: Callable[[str], None],
    after_round: Callable[[Outcome], None],
) -> None:  # fmt: skip
    """Make the site, play all rounds, and leave a sound cluster.

    Args:
        settings: what to play.
        folder: each round has one of its own in it.
        say: is told what goes on.
        after_round: is told what each round has shown.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup wants it
        signal.signal(signal.SIGHUP, _interrupt)
    binaries = Path(tool("hack/tools/build", "kubectl", "helm"))
    cluster = Kubectl(binaries / "kubectl", Path(tool("hack/cluster", "kubeconfig")))
    pairs = (line.split("=") for line in tool("hack/images", "tags").splitlines())
    images = {name: f"localhost/dpe/{name}:{tag}" for name, tag in pairs}
    busy = BusySite(cluster, images, folder)
    say("what an earlier run may have left is repaired and removed ...")
    repair(cluster)
    busy.remove()
    tool("hack/images", "load")
    OperatorRelease(cluster, binaries / "helm", images).install()
    try:
        say("the site is made ...")
        busy.make()
        session = _Session(settings, busy, folder, say)
        try:
            session.play(after_round)
        finally:
            session.close()
    finally:
        say("nodes and API server are repaired, the site is removed ...")
        repair(cluster)
        busy.remove()


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # as from the keyboard: all faults are undone


class _Session:
    """The rounds of one run."""

    def __init__(
        self, settings: Settings, busy: BusySite, folder: Path, say: Callable[[str], None]
    ) -> None:
        self._settings, self._busy, self._folder, self._say = settings, busy, folder, say
        self._ground = Ground(busy, say)
        self._leases, self._record = Leases(busy.kube), Record(busy.kube)
        self._audit = Audit(busy.kube.namespace)
        nodes = [node["metadata"]["name"] for node in busy.cluster.list("nodes")]
        self._logs = Logs(busy.kube.namespace, nodes)

    def close(self) -> None:
        """Undo every fault, follow nothing more."""
        self._leases.close()
        self._record.close()
        self._logs.close()
        self._ground.repair()

    def play(self, after_round: Callable[[Outcome], None]) -> None:
        """Play rounds until the time is up."""
        if missing := self._ground.settle(_WHOLE_SECONDS):
            raise RuntimeError(f"the site is not whole before the first fault: {missing}")
        if not self._record.wait(20):
            raise RuntimeError("the balancers' record is not seen")
        moments = itertools.islice(
            draw(self._settings.seed, self._busy.layout, only=self._settings.only),
            self._settings.skip, None,
        )  # fmt: skip
        end = time.monotonic() + self._settings.seconds
        for number in itertools.count(1):
            left = end - time.monotonic()
            if left < 1:
                return
            one = self._one_round(number, moments, min(ROUND_SECONDS, left))
            after_round(one)
            if one.failed and (missing := self._whole_again()):
                after_round(Outcome(failed=[f"given up, the site is not whole: {missing}"]))
                return

    def _whole_again(self) -> list[str]:
        """Undo every fault there can be; what is missing after that, in spite of it."""
        self._ground.repair()
        return self._ground.settle(_WHOLE_SECONDS)

    def _one_round(self, number: int, moments: Iterator[Moment], seconds: float) -> Outcome:
        """Play one round and judge it."""
        outcome, begun = Outcome(rounds=1), time.monotonic()
        folder = self._folder / f"round-{number}"
        folder.mkdir(parents=True)
        faults = Faults(self._ground, self._busy)
        start = Start(time.time(), boot() - time.time(), len(self._leases.versions))
        self._logs.forget(start.wall - 60)
        replaced, seen = self._ground.replaced, None
        try:
            self._strike(faults, moments, seconds, outcome, number)
            outcome.seconds = time.monotonic() - begun
            seen = self._see(faults.hits, start, outcome.missing)
            again.keep(folder, seen)
            bound = self._settings.thaw_bound
            outcome.verdict, outcome.apart = judge_round(seen, thaw_bound=bound)
            _write_told(folder, seen)
        except Exception as problem:  # one round is lost; the others are worth something
            outcome.failed.append(f"round {number}: {problem!r}"[:1000])
            self._say(f"round {number} FAILED: {traceback.format_exc()}")
            outcome.verdict = Verdict(violations=not_whole(outcome.missing))
            if seen is None:
                rest = unseen(start.wall, start.offset, faults.hits, outcome.missing)
                again.keep(folder, rest)
        outcome.wall_seconds = time.monotonic() - begun
        outcome.seconds = outcome.seconds or outcome.wall_seconds
        outcome.replaced = self._ground.replaced - replaced
        _count(outcome, faults)
        self._write(folder, outcome, faults)
        return outcome

    def _strike(
        self, faults: Faults, moments: Iterator[Moment], seconds: float, outcome: Outcome, number: int,
    ) -> None:  # fmt: skip
        """Play moments until the time is up, while people work."""
        people = People(self._busy.dsn, f"{self._settings.seed}/{number}")
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                outcome.moments += 1
                missing = self._moment(faults, next(moments), outcome.missing)
                if missing and (missing := self._whole_again()):
                    raise RuntimeError(f"not whole, in spite of a repair: {missing}")
        finally:
            people.close()

    def _moment(self, faults: Faults, moment: Moment, lacks: list[str]) -> list[str]:
        """Play one moment, and wait until the site is whole; what is missing if it is not, which is
        added to `lacks` with the faults before it."""
        begun = time.monotonic()
        with (self._folder / "plan.txt").open("a") as plan:
            plan.write(f"{moment}\n")
        hits = faults.play(moment)
        over = time.monotonic()
        missing = self._ground.settle(_WHOLE_SECONDS)
        took = f"{over - begun:.0f} s, whole {time.monotonic() - over:.0f} s later"
        if self._ground.waited_for:
            took += f", last missing: {'; '.join(self._ground.waited_for)}"
        for hit in hits:
            hit.settled = boot()
            self._say(f"  {moment.number}: {_told(hit)} ({took})")
        if missing:
            told = "; ".join(map(str, hits))
            lacks.append(f"{missing}, {_WHOLE_SECONDS:g} s after {told}")
        return missing

    # --- judging

    def _see(self, hits: Sequence[Hit], start: Start, missing: Sequence[str]) -> Seen:
        """Let the work be done, and gather all that the round has left behind."""
        since = start.wall
        left = self._finish(since)
        by_record = self._record.recorded
        last = [one for one in by_record if one.at < since][-1:]
        return Seen(
            since, start.offset, list(hits), left, self._evidence(since),
            self._leases.since(start.versions), self._audit.asked(), self._asked(since),
            [*last, *(one for one in by_record if one.at >= since)],
            self._logs.of(self._busy.layout.balancers, since=since), list(missing),
        )  # fmt: skip

    def _finish(self, since: float, seconds: float = 60.0) -> int:
        """Wait until all work is done; how much is left when nothing was done for so long."""
        time.sleep(LOST_SECONDS + 1)
        left, when = self._open(since), time.monotonic()
        while left and time.monotonic() - when < seconds:
            time.sleep(2.0)
            now = self._open(since)
            if now != left:
                left, when = now, time.monotonic()
        return left

    def _open(self, since: float) -> int:
        findings = checker.check(self._evidence(since), checker.Expectation(settle=LOST_SECONDS))
        return sum(one.rule in ("change-lost", "job-lost") for one in findings)

    def _evidence(self, since: float) -> Evidence:
        lines = [
            text
            for name in self._busy.layout.singletons
            for own in self._logs.of(name, since=since).values()
            for _, text in own
            if text.startswith("{")
        ]
        with connect(self._busy.dsn, name="chaos-check") as session:
            changes = read_changes(session, since=since)
            return read_evidence(session, since=since, component_lines=lines, changes=changes)

    def _asked(self, since: float) -> dict[str, list[Asked]]:
        snapshot, found = self._ground.last, {}
        for node, folder in client_files(snapshot.of(snapshot.part(CLIENTS))).items():
            if root := self._logs.roots.of(node):
                found[node] = client_requests(root, folder, since=since)
        return found

    # --- telling

    def _write(self, folder: Path, outcome: Outcome, faults: Faults) -> None:
        verdict = outcome.verdict
        told = map(_told, (*faults.hits, *faults.not_done))
        (folder / "faults.txt").write_text("".join(f"{line}\n" for line in told))
        (folder / "violations.txt").write_text("".join(f"{one}\n" for one in verdict.violations))
        (folder / "explained.txt").write_text(
            "".join(f"{rule}: {text}\n" for rule, text in verdict.explained)
        )
        for line in verdict.violations:
            self._say(f"VIOLATION {line}")
        summary = _summary(len(faults.hits), verdict, outcome.apart)
        self._say(f"{folder.name}, {outcome.wall_seconds:.0f} s: {summary}")


def _write_told(folder: Path, seen: Seen) -> None:
    lines = (f"{at:.3f} {text}\n" for at, text in seen.told())
    (folder / "balancers.txt").write_text("".join(lines))


def judge_again(
    folders: Sequence[Path], *, thaw_bound: float, say: Callable[[str], None]
) -> Verdict:
    """Judge a run once more, see tests.chaos.again; thaw_bound: see Settings."""

    def judged(seen: Seen) -> tuple[Verdict, str]:
        verdict, apart = judge_round(seen, thaw_bound=thaw_bound)
        return verdict, _summary(len(seen.hits), verdict, apart)

    return again.judge_again(folders, judged, say)


def _summary(faults: int, verdict: Verdict, apart: Apart) -> str:
    return (
        f"{faults} faults, {verdict.take_overs} take-overs ({verdict.timed} timed, "
        f"{verdict.early} early), {verdict.workflows} workflows, "
        f"{len(verdict.violations)} violations, explained: {verdict.explained_by_rule()}, "
        f"unknown: {verdict.unknown}, apart: {asdict(apart)}"
    )


def _told(hit: Hit) -> str:
    if not hit.begun:
        return f"not done: {hit.fault.kind} {hit.fault.component}/{hit.fault.role}, {hit.problem}"
    return f"{hit}, PROBLEM {hit.problem}" if hit.problem else str(hit)


def _count(outcome: Outcome, faults: Faults) -> None:
    outcome.faults.update(hit.fault.kind for hit in faults.hits)
    outcome.not_done.update(hit.fault.kind for hit in faults.not_done)
    outcome.targets.update(
        f"{hit.fault.component}/{hit.fault.role}" for hit in faults.hits if hit.fault.component
    )
    outcome.problems += [f"{hit}: {hit.problem}" for hit in faults.hits if hit.problem]
