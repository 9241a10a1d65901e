# SPDX-License-Identifier: Apache-2.0
"""Plays a run, round by round, and judges it."""

from __future__ import annotations

import math
import os
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos import again
from tests.chaos.judge import Verdict
from tests.chaos.judging import Seen, judge_round
from tests.chaos.plan import Fault, Plan, draw
from tests.chaos.site import Round
from tests.support.api_server import ApiServer
from tests.support.elector_pods import ELECTOR, boot
from tests.support.postgres import Postgres

# A round has an end, so that what nobody does any more is seen, and so that tables stay small.
ROUND_SECONDS = 240.0


@dataclass(frozen=True)
class Settings:
    """What to play.

    seed: the same seed gives the same plan.
    seconds: of faults, in all; each round takes half a minute more.
    rate: faults in a second.
    actors, watchers: how many of them, see site.components.
    thaw_bound: seconds for which a pod that was frozen may act on after its thaw.
    only: kinds of faults; empty: all.
    profile: the elector's timings, Safe or Fast; empty: as quick as they can be.
    faults: in each round these, not what the seed would give.
    elector, haproxy: see candidates.Place.
    """

    seed: str
    seconds: float
    rate: float = 2.5
    actors: int = 4
    watchers: int = 4
    thaw_bound: float = 0.1
    only: Sequence[str] = ()
    profile: str = ""
    elector: Path = ELECTOR
    faults: Sequence[Fault] = ()
    haproxy: tuple[str, str] = ("", "")


@dataclass
class Outcome:
    """What a round, or several, have shown. seconds: of faults, as long as they took; wall_seconds: with start and end;
    failed: rounds that could not be played or judged, and why."""

    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    not_done: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)
    failed: list[str] = field(default_factory=list)
    rounds: int = 0
    wall_seconds: float = 0.0

    def add(self, other: Outcome) -> None:
        """Add what another one has shown."""
        self.seconds += other.seconds
        self.faults += other.faults
        self.not_done += other.not_done
        self.verdict.add(other.verdict)
        self.failed += other.failed
        self.rounds += other.rounds
        self.wall_seconds += other.wall_seconds


def run(
    settings: Settings, api: ApiServer, postgres: Postgres, folder: Path,
    say: Callable[[str], None] = print,
    after_round: Callable[[Outcome], None] = lambda outcome: None,
    *,
    played: int = 0,
) -> Outcome:  # fmt: skip
    """Play all rounds.

    Args:
        settings: what to play.
        api: it is stopped and frozen; with its audit log.
        postgres: each round has a database of its own in it.
        folder: each round has one of its own in it.
        say: is told what goes on.
        after_round: is told what each round has shown.
        played: rounds that were played before, and are left out.

    Returns:
        What all rounds together have shown.
    """
    outcome = Outcome()
    rounds = math.ceil(settings.seconds / ROUND_SECONDS)
    for number in range(played + 1, rounds + 1):
        seconds = min(ROUND_SECONDS, settings.seconds - ROUND_SECONDS * (number - 1))
        seed, begun = f"{settings.seed}/{number}", time.monotonic()
        try:
            one = _round(settings, seed, seconds, api, postgres, folder / f"round-{number}", say)
        except Exception as problem:  # one round is lost; the others are worth something
            one = Outcome(failed=[f"round {number}: {problem!r}"])
            say(f"round {number} FAILED: {traceback.format_exc()}")
        one.rounds, one.wall_seconds = 1, time.monotonic() - begun
        say(f"  {one.wall_seconds:.0f} s in all; this process: {_own_size()}")
        outcome.add(one)
        after_round(one)
    return outcome


def _own_size() -> str:
    """What would grow in a long run if something was left behind."""
    files = len(os.listdir("/proc/self/fd"))
    words = Path("/proc/self/status").read_text().split()
    megabytes = int(words[words.index("VmRSS:") + 1]) // 1024
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    threads = threading.active_count()
    return f"{megabytes} MiB, {files} files, {threads} threads, {len(children)} children"


def _round(
    settings: Settings, seed: str, seconds: float, api: ApiServer, postgres: Postgres,
    folder: Path, say: Callable[[str], None],
) -> Outcome:  # fmt: skip
    site = Round(
        api, postgres, folder, seed, actors=settings.actors, watchers=settings.watchers,
        profile=settings.profile, elector=settings.elector,
        haproxy=settings.haproxy,
    )  # fmt: skip
    try:
        missing = site.ready()
        if missing:
            raise RuntimeError(f"nobody acts for {', '.join(missing)}: see {folder}")
        plan = (
            Plan(seed, seconds, settings.faults)
            if settings.faults
            else draw(
                seed, seconds=seconds, rate=settings.rate, layout=site.layout, only=settings.only
            )
        )
        (folder / "plan.txt").write_text(f"{plan}\n")
        say(f"round {seed}: {len(plan.faults)} faults in {seconds:.0f} s, plan in {folder}")
        offset = boot() - time.time()
        took = site.faults.run(plan)
        seen = _look(site, offset)
        again.keep(folder, seen)
        verdict = judge_round(seen, thaw_bound=settings.thaw_bound)
    finally:
        site.close()
    for line in verdict.violations:
        say(f"VIOLATION {line}")
    done = f"{len(seen.struck)} of {len(plan.faults)} faults carried out in {took:.0f} s"
    say(f"  {done}, {_told(verdict)}")
    (folder / "explained.txt").write_text(
        "".join(f"{rule}: {text}\n" for rule, text in verdict.explained)
    )
    return Outcome(
        took,
        Counter(one.fault.kind for one in seen.struck),
        Counter(one.fault.kind for one in site.faults.not_done),
        verdict,
    )


def _look(site: Round, offset: float) -> Seen:
    """Let the site come to rest, and take down what it has left behind."""
    missing, left = site.ready(), site.settle()
    busy = site.people is not None
    return Seen(
        missing, left, busy, site.evidence(), list(site.faults.struck), site.journals(),
        site.front.said() if site.front is not None else None,
        list(site.history.versions), site.history.asked(), offset,
    )  # fmt: skip


def judge_again(
    folders: Sequence[Path], *, thaw_bound: float, say: Callable[[str], None] = print
) -> Verdict:
    """Judge a run once more, see tests.chaos.again; thaw_bound: see Settings."""

    def judged(seen: Seen) -> tuple[Verdict, str]:
        verdict = judge_round(seen, thaw_bound=thaw_bound)
        return verdict, f"{len(seen.struck)} faults, {_told(verdict)}"

    return again.judge_again(folders, judged, say)


def _told(verdict: Verdict) -> str:
    return (
        f"{verdict.take_overs} take-overs ({verdict.timed} timed, {verdict.early} early), "
        f"{verdict.versions} versions of Leases, {verdict.workflows} workflows, "
        f"{len(verdict.violations)} violations, explained: {verdict.explained_by_rule()}, "
        f"unknown: {len(verdict.unknown)}"
    )
