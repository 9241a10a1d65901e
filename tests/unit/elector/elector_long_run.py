# SPDX-License-Identifier: Apache-2.0
"""The election under everything that goes wrong, for as long as it takes: `make model STEPS=N`.

What is played, and what must hold, is as in test_elector_model.py; here the examples are numbered,
not drawn by hypothesis, so that a run can be repeated and an example played again (--only NUMBER).
A *step* is an observation handed to the real election (an answer or its absence, a message of the
guard, time that went by) or a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from tests.support.checkout import commit
from tests.unit.elector.elector_faults import (
    DELETIONS,
    EDITS,
    FAST,
    FAULTS,
    FAULTS_END,
    SAFE,
    Fault,
    play,
)
from tests.unit.elector.elector_model import counted
from tests.unit.elector.elector_world import World, overlaps

FAMILIES = ("mixed timings", "Lease deleted", "single runs")
_MOST_FAULTS = 14
# examples that a process plays before it tells
_BATCH = 10


@dataclass(frozen=True)
class Played:
    """What one example has shown; `broken` says which promise it broke, and how."""

    number: int
    family: str
    steps: int
    faults: Sequence[str]
    take_overs: int
    broken: Sequence[str] = ()


@dataclass
class Total:
    """The sum of all examples."""

    examples: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    take_overs: int = 0
    broken: list[str] = field(default_factory=list)

    def add(self, one: Played) -> None:
        """Count one example."""
        self.examples[one.family] += 1
        self.faults.update(one.faults)
        self.steps += one.steps
        self.take_overs += one.take_overs
        self.broken += [f"example {one.number} ({one.family}): {text}" for text in one.broken]


def play_example(seed: str, number: int) -> Played:
    """Play an example: the same seed and number give the same one."""
    dice = random.Random(f"{seed}/{number}")
    family = FAMILIES[number % len(FAMILIES)]
    deleted, single = family == "Lease deleted", family == "single runs"
    names = [*FAULTS, *EDITS, *(DELETIONS if deleted else ()), *(DELETIONS if deleted else ())]
    if deleted:  # then nothing says any more that a holder's duration is longer than one's own
        names.remove("restart with other timings")
    timings = [dice.choice((SAFE, FAST)) for _ in range(dice.choice((2, 3)))]
    if deleted:
        timings = [timings[0]] * 3
    faults = [
        Fault(
            dice.uniform(0, FAULTS_END), dice.choice(names), dice.randrange(3),
            dice.uniform(0.05, 40),
        )
        for _ in range(dice.randint(1, _MOST_FAULTS))
    ]  # fmt: skip
    once = [dice.choice((None, dice.uniform(0.1, 60))) if single else None for _ in range(3)]
    before = counted.observations
    rates = [dice.uniform(0.99, 1.01) for _ in range(3)]
    world = play(dice.getrandbits(32), timings, rates, faults, once=once)
    steps = counted.observations - before + len(faults)
    broken = tuple(_broken(world, epochs=not deleted, ends=not any(once[: len(timings)])))
    return Played(number, family, steps, [one.what for one in faults], _take_overs(world), broken)


def _take_overs(world: World) -> int:
    """Starts by another container than the one that acted before."""
    who = [name for _, name, _ in world.starts]
    return sum(one != other for one, other in pairwise(who))


def _broken(world: World, *, epochs: bool, ends: bool) -> Iterator[str]:
    for one, other in overlaps(world.spells):
        yield f"two acted: {one} and {other}"
    numbers = [epoch for _, _, epoch in world.starts]
    if epochs and numbers != sorted(set(numbers)):
        yield f"epochs did not rise: {numbers}"
    if ends and not any(spell.end == world.now for spell in world.spells):
        yield "nobody acted in the end"


def _batch(seed: str, first: int) -> list[Played]:
    return [play_example(seed, number) for number in range(first, first + _BATCH)]


def run(seed: str, *, steps: int, take_overs: int, processes: int) -> Total:
    """Play examples in order until there were so many steps and take-overs."""
    total = Total()
    with ProcessPoolExecutor(processes) as pool:
        waiting: list[Future[list[Played]]] = []
        first = 0
        while total.steps < steps or total.take_overs < take_overs:
            while len(waiting) < 2 * processes:
                waiting.append(pool.submit(_batch, seed, first))
                first += _BATCH
            for one in waiting.pop(0).result():
                total.add(one)
        pool.shutdown(cancel_futures=True)
    return total


def main() -> int:
    """Play; 1 when a promise was broken."""
    options = _options()
    if options.only is not None:
        one = play_example(options.seed, options.only)
        print(json.dumps(one.__dict__, indent=1))
        return 1 if one.broken else 0
    begun = time.monotonic()
    total = run(
        options.seed, steps=options.steps, take_overs=options.take_overs,
        processes=options.processes,
    )  # fmt: skip
    result = {
        "command": f"make model SEED={options.seed} STEPS={options.steps} "
                   f"TAKEOVERS={options.take_overs}",
        "commit": commit(), "seed": options.seed, "steps": total.steps, "takeOvers": total.take_overs,
        "examples": sum(total.examples.values()), "examplesByFamily": dict(total.examples),
        "faults": sum(total.faults.values()), "faultsByKind": dict(sorted(total.faults.items())),
        "broken": total.broken, "seconds": round(time.monotonic() - begun, 1),
        "processes": options.processes,
    }  # fmt: skip
    print(json.dumps(result, indent=1))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")
    return 1 if total.broken else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--seed", default="1", help="the same seed gives the same examples (1)")
    add("--steps", type=int, default=1_000_000, help="at least so many (1000000)")
    add("--take-overs", type=int, default=0, help="and at least so many take-overs (0)")
    add("--processes", type=int, default=os.cpu_count() or 1, help="(one for each core)")
    add("--only", type=int, metavar="NUMBER", help="play this one example again")
    add("--json", metavar="FILE", help="write the result to this file")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
