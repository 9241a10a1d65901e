# SPDX-License-Identifier: Apache-2.0
"""hack/chaos: faults at random against a busy site, and a checker that looks at what came of it."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos import again
from tests.chaos.plan import KINDS
from tests.chaos.record import RIG, Book, Figures, added, judged
from tests.chaos.run import Outcome, Settings, judge_again, run
from tests.support.api_server import ROOT, ApiServer
from tests.support.checkout import commit
from tests.support.postgres import running_postgres

RECORD = ROOT / "docs/measurements/chaos.json"


def main() -> int:
    """Play a run, or what is left of it; 1 when the checker found a violation."""
    options = _options()
    if options.judge:
        verdict = judge_again(options.judge, thaw_bound=options.thaw_bound, say=_say)
        if options.record:
            again.put_down(Book(RECORD), RIG, options.seed, options.judge, verdict)
        return bool(verdict.violations)
    # ended from outside, it still ends what it has started; in the background a shell has SIGINT off
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _on_stop)
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup wants it
        signal.signal(signal.SIGHUP, _on_stop)
    seed = options.seed or str(int(time.time()))
    folder = Path(options.folder or tempfile.mkdtemp(prefix="dpe-chaos-"))
    settings = Settings(
        seed=seed, seconds=options.minutes * 60, rate=options.rate, actors=options.actors,
        watchers=options.watchers, thaw_bound=options.thaw_bound, only=options.only or (),
        profile=options.profile,
    )  # fmt: skip
    book = Book(RECORD) if options.record else None
    figures = _figures(settings, Outcome())
    if book is not None:
        figures = book.find(figures) or figures
    played = int(figures["rounds"])
    went_on = f", going on after round {played}" if played else ""
    print(f"chaos on processes: seed {seed}, {options.minutes:g} min{went_on}, files in {folder}")

    def keep(outcome: Outcome) -> None:
        nonlocal figures
        figures = added(figures, _figures(settings, outcome))
        if options.json:
            Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
        if book is not None:
            book.keep(figures)

    with ApiServer(audit=True) as api, running_postgres() as postgres:
        run(settings, api, postgres, folder, _say, after_round=keep, played=played)
    print(json.dumps(figures, indent=1))
    return 1 if figures["violations"] or figures["roundsFailed"] else 0


def _on_stop(number: int, _frame: object) -> None:
    sys.exit(128 + number)


def _say(text: str) -> None:
    print(text, flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hack/chaos", description=__doc__)
    add = parser.add_argument
    add("--seed", default="", help="the same seed gives the same plan (default: the time)")
    add("--minutes", type=float, default=2.0, help="of faults (2)")
    add("--rate", type=float, default=2.5, help="faults in a second (2.5)")
    add("--actors", type=int, default=4, help="singletons that only act, every 3 ms (4)")
    add("--watchers", type=int, default=4, help="watchers beside worker and scheduler; 0: none (4)")
    add("--thaw-bound", type=float, default=0.1, help="seconds to act on after a thaw (0.1)")
    add("--profile", default="", choices=["Safe", "Fast"], help="timings (default: 4/2.5/0.5 s)")
    add("--only", action="append", choices=list(KINDS), help="only this kind, may be repeated")
    add("--folder", help="for plans, logs and what was explained (default: a temporary one)")
    add(
        "--judge", type=Path, nargs="+", metavar="FOLDER",
        help="play nothing, judge a run again; all its folders, if it was stopped and went on",
    )  # fmt: skip
    add("--json", metavar="FILE", help="write the result to this file")
    add(
        "--record",
        action="store_true",
        help=f"keep it in {RECORD.relative_to(ROOT)}, and go on there",
    )
    return parser.parse_args()


def _figures(settings: Settings, outcome: Outcome) -> Figures:
    """The names of the run and the figures of `outcome`, in the form of the record."""
    return {
        "rig": RIG, "seed": settings.seed, "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"), "rate": settings.rate,
        "timings": settings.profile or "4/2.5/0.5", "rounds": outcome.rounds,
        "minutes": outcome.seconds / 60, "wallMinutes": round(outcome.wall_seconds / 60, 1),
        "faults": sum(outcome.faults.values()), "faultsByKind": dict(sorted(outcome.faults.items())),
        "notCarriedOut": dict(sorted(outcome.not_done.items())), "roundsFailed": outcome.failed,
        **judged(outcome.verdict),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
