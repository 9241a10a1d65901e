# SPDX-License-Identifier: Apache-2.0
"""hack/chaos --rig kind: faults at random against a busy site on the kind cluster, and a checker."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from tests.chaos import again
from tests.chaos.kind.plan import KINDS
from tests.chaos.kind.run import Outcome, Settings, judge_again, run
from tests.chaos.record import Book, Figures, added, judged
from tests.support.checkout import commit

ROOT = Path(__file__).resolve().parents[3]
RECORD = ROOT / "docs/measurements/chaos.json"


def main() -> int:
    """Play a run, or what is left of it; 1 when the checker found a violation."""
    options = _options()
    if options.judge:
        verdict = judge_again(options.judge, thaw_bound=options.thaw_bound, say=_say)
        if options.record:
            again.put_down(Book(RECORD), "kind", options.seed, options.judge, verdict)
        return bool(verdict.violations)
    seed = options.seed or str(int(time.time()))
    folder = Path(options.folder or tempfile.mkdtemp(prefix="dpe-chaos-kind-"))
    book = Book(RECORD) if options.record else None
    figures = _figures(seed, Outcome())
    if book is not None:
        figures = book.find(figures) or figures
    skip = options.skip or int(figures["moments"])
    seconds = options.minutes * 60 - figures["minutes"] * 60
    settings = Settings(
        seed, seconds, skip=skip, thaw_bound=options.thaw_bound,
        only=options.only or (),
    )  # fmt: skip
    went_on = f", going on after moment {skip}" if skip else ""
    _say(f"chaos on kind: seed {seed}, {options.minutes:g} min{went_on}, files in {folder}")

    def keep(outcome: Outcome) -> None:
        nonlocal figures
        figures = added(figures, _figures(seed, outcome))
        if options.json:
            Path(options.json).write_text(json.dumps(figures, indent=1) + "\n")
        if book is not None:
            book.keep(figures)

    run(settings, folder, _say, keep)
    print(json.dumps(figures, indent=1))
    return 1 if figures["violations"] or figures["roundsFailed"] else 0


def _say(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="hack/chaos --rig kind", description=__doc__)
    add = parser.add_argument
    add("--seed", default="", help="the same seed gives the same faults (default: the time)")
    add("--minutes", type=float, default=10.0, help="after which no fault begins any more (10)")
    add(
        "--skip", type=int, default=0, metavar="N", help="leave out the first N moments of the plan"
    )
    add("--thaw-bound", type=float, default=0.1, help="seconds to act on after a thaw (0.1)")
    add("--only", action="append", choices=list(KINDS), help="only this kind, may be repeated")
    add("--folder", help="for plans, logs and what was explained (default: a temporary one)")
    add(
        "--judge", type=Path, nargs="+", metavar="FOLDER",
        help="play nothing, judge a run again; all its folders, if it was stopped and went on",
    )  # fmt: skip
    add("--json", metavar="FILE", help="write the result to this file")
    add(
        "--record", action="store_true",
        help=f"keep it in {RECORD.relative_to(ROOT)}, and go on there",
    )  # fmt: skip
    return parser.parse_args()


def _figures(seed: str, outcome: Outcome) -> Figures:
    """The names of the run and the figures of `outcome`, in the form of the record."""
    return {
        "rig": "kind", "seed": seed, "commit": commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"), "rate": "one after the other",
        "timings": "Fast, Safe, Hot", "rounds": outcome.rounds, "moments": outcome.moments,
        "minutes": outcome.seconds / 60, "wallMinutes": round(outcome.wall_seconds / 60, 1),
        "faults": sum(outcome.faults.values()),
        "faultsByKind": dict(sorted(outcome.faults.items())),
        "faultsByTarget": dict(sorted(outcome.targets.items())),
        "notCarriedOut": dict(sorted(outcome.not_done.items())), "problems": outcome.problems,
        "podsReplaced": outcome.replaced, "clientsApart": asdict(outcome.apart),
        "roundsFailed": outcome.failed, **judged(outcome.verdict),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
