# SPDX-License-Identifier: Apache-2.0
"""Rules about schedulers: each trigger starts one workflow, or it is told why not. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from dpe_simulator.acts import Component, Effect, Run
from dpe_simulator.clock import Clock
from dpe_simulator.findings import LIMIT, TOPOLOGY, Evidence, Expectation, Finding
from dpe_simulator.triggers import Schedule

# A clock that runs at a day a second gives no more.
_MOST = 10_000


@dataclass(frozen=True)
class Due:
    """A trigger (seconds of the scheduler's clock), the real moment, and how it is written."""

    trigger: float
    at: float
    text: str


@dataclass(frozen=True)
class Figures:
    """What became of the triggers of one component."""

    due: int
    fired: int
    missed: int


def check(component: Component, evidence: Evidence, expectation: Expectation) -> Iterable[Finding]:
    """Judge the triggers of one component; nothing for other roles."""
    if component.role != "scheduler":
        return
    for runs in component.lines_of_succession():
        known = _known(runs)
        settled = _settled(component, runs, evidence.now - expectation.settle)
        for run, following in pairwise([*runs, None]):
            assert run is not None
            last = min(run.last, following.begun) if following else run.last
            yield from _while_acting(component, run, known, last, evidence, expectation)
            end = following.begun if following else settled
            for due in due_between(run, max(run.last, evidence.since), end):
                if due.trigger not in known:
                    yield _while_nobody(component, run, following, due)
        yield from _doubled(component, runs)
        yield from _refused(component, runs)


def figures(component: Component, *, since: float, settled: float) -> Figures:
    """Count triggers that were due since somebody acted: all, started, missed.

    Args:
        component: a scheduler.
        since: start of the run, in wall-clock seconds.
        settled: what was due until then and nobody has started is missed; wall-clock seconds.
    """
    due, fired = set(), set()
    for runs in component.lines_of_succession():
        known = _known(runs)
        after_last = _settled(component, runs, settled)
        for run, following in pairwise([*runs, None]):
            assert run is not None
            end = following.begun if following else max(run.last, after_last)
            found = {
                (run.member, one.trigger) for one in due_between(run, max(run.begun, since), end)
            }
            due |= found
            fired |= {key for key in found if key[1] in known}
    return Figures(len(due), len(fired), len(due - fired))


def due_between(run: Run, begin: float, end: float) -> Iterator[Due]:
    """Yield what was due by the schedule of a run after `begin` and up to `end` (real moments)."""
    clock, line = run.start.get("clock"), run.start.get("schedule")
    if not isinstance(clock, dict) or not line:
        return
    shown = Clock(float(clock["anchor"]), float(clock["shown"]), float(clock["rate"]))
    schedule = Schedule(str(line), str(run.start["zone"]))
    for number, trigger in enumerate(schedule.after(shown.at(begin))):
        if (at := shown.real(trigger)) > end or number >= _MOST:
            return
        yield Due(trigger, at, schedule.text(trigger))


def _settled(component: Component, runs: Sequence[Run], settled: float) -> float:
    """Until when what is due after the last of those who follow each other is judged.

    Another mode ends them on purpose: its processes have triggers of their own.
    """
    last = runs[-1]
    others = [
        run.begun
        for run in component.runs
        if (run.epoch is None) != (last.epoch is None) and run.last > last.last
    ]
    return min([settled, *others])


def _known(runs: Sequence[Run]) -> dict[float, Effect]:
    """Triggers that the server knows of, whether it started their workflow or refused it."""
    return {
        float(effect.why["trigger"]): effect
        for run in runs
        for effect in run.effects
        if effect.why.get("trigger") is not None
    }


def _while_acting(
    component: Component, run: Run, known: dict[float, Effect], last: float, evidence: Evidence,
    expectation: Expectation,
) -> Iterable[Finding]:  # fmt: skip
    head = f"scheduler {component.name}: trigger"
    frozen = {float(line.detail["trigger"]) for line in run.of("trigger-missed")}
    failed = {
        float(line.detail["trigger"]): line.detail["problem"] for line in run.of("start-failed")
    }
    for due in due_between(run, max(run.begun, evidence.since), last):
        if due.trigger in known:
            continue
        if due.trigger in failed:
            text = f"{head} {due.text} of {run.name} got no answer: {failed[due.trigger]}"
            yield Finding(TOPOLOGY, "trigger-lost", text)
        elif due.trigger in frozen:
            text = f"{head} {due.text}: {run.name} was frozen over it; DPE catches nothing up"
            yield Finding(LIMIT, "trigger-missed", text)
        elif run.last - due.at > expectation.settle:
            text = f"{head} {due.text}: {run.name} acted and did not start it"
            yield Finding(TOPOLOGY, "trigger-lost", text)
        elif evidence.now - due.at > expectation.settle:
            text = f"{head} {due.text}: {run.name} ended {last - due.at:.3f} s after it, before it"
            yield Finding(LIMIT, "trigger-missed", text + " was started; DPE catches nothing up")


def _while_nobody(component: Component, run: Run, following: Run | None, due: Due) -> Finding:
    text = f"scheduler {component.name}: trigger {due.text}: nobody "
    if following:
        text += f"acted for {following.begun - run.last:.3f} s, between {run.name} and "
        text += following.name
    else:
        text += f"has acted since the last sign of {run.name}, {due.at - run.last:.3f} s before"
    return Finding(LIMIT, "trigger-missed", f"{text}; DPE catches nothing up")


def _doubled(component: Component, runs: Sequence[Run]) -> Iterable[Finding]:
    made: defaultdict[float, list[tuple[Run, Effect]]] = defaultdict(list)
    for run in runs:
        for effect in run.made():
            made[float(effect.why["trigger"])].append((run, effect))
    for found in made.values():
        ordered = sorted(found, key=lambda one: one[1].sent)
        for number, ((run, first), (other, second)) in enumerate(pairwise(ordered), 1):
            # One request, sent again as its answer was lost, is a rule of its own; it may come
            # after another one's.
            if second.request_id not in {one.request_id for _, one in ordered[:number]}:
                text = (
                    f"scheduler {component.name}: trigger {first.why['triggerTime']} started "
                    f"{first.subject} by {run.name} and {second.subject} by {other.name}"
                )
                requests = (run.sent(first), other.sent(second))
                yield Finding(TOPOLOGY, "trigger-doubled", text, requests)


def _refused(component: Component, runs: Sequence[Run]) -> Iterable[Finding]:
    effects = [effect for run in runs for effect in run.effects]
    own = {
        (one.subject, one.why.get("trigger")) for one in effects if one.kind == "workflow-created"
    }
    for effect in effects:
        # Its own workflow, refused as the answer to the first attempt was lost, is none.
        if effect.kind == "workflow-refused" and (effect.subject, effect.why["trigger"]) not in own:
            text = (
                f"scheduler {component.name}: trigger {effect.why['triggerTime']} was refused: "
                f"{effect.subject} with the title {effect.title!r} was open"
            )
            yield Finding(LIMIT, "title-refused", text)
