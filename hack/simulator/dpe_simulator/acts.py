# SPDX-License-Identifier: Apache-2.0
"""Who acted when, and what came of it: the ledger's lines put together process by process. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dpe_simulator.findings import EntrySeen, Request

ROLES = ("worker", "scheduler", "table-watcher", "folder-watcher")
WATCHERS = ("table-watcher", "folder-watcher")
Stretch = tuple[float, float]
# A database keeps moments less exactly than a log does.
_SAME_SECONDS = 0.001
# What is answered within this keeps nobody from looking.
_AT_ONCE_SECONDS = 0.5


@dataclass(frozen=True)
class Effect:
    """A request of a component that the server has answered, in the server's own words.

    kind: workflow-created, workflow-refused, job-claimed and so on.
    at: when it was committed, by the clock of the server; sent: by that of the component.
    why: what the component said: trigger, or change and the generation of its memory before it.
    """

    kind: str
    at: float
    sent: float
    subject: str
    title: str
    request_id: str | None
    why: Mapping[str, Any]


@dataclass
class Run:
    """One process of a component, from its first to its last proof of life."""

    process: str
    member: str | None
    epoch: int | None
    begun: float
    last: float
    stopped: bool = False
    start: Mapping[str, Any] = field(default_factory=dict)
    effects: list[Effect] = field(default_factory=list)
    lines: list[EntrySeen] = field(default_factory=list)

    def of(self, kind: str) -> list[EntrySeen]:
        """Its own lines of one kind."""
        return [line for line in self.lines if line.kind == kind]

    def stretches(self) -> list[Stretch]:
        """When it acted, by its proofs of life, so not in a freeze; without any, all the while."""
        found: list[Stretch] = []
        for line in self.of("acting"):
            until = line.at if line.until is None else line.until
            if found and line.at <= found[-1][1] + _SAME_SECONDS:
                found[-1] = (found[-1][0], max(found[-1][1], until))
            else:
                found.append((line.at, until))
        return found or [(self.begun, self.last)]

    def waits(self) -> list[Stretch]:
        """When a watcher waited for an answer, and so could look at nothing, as far as it told."""
        tried = [(effect.why, effect.sent) for effect in self.effects]
        tried += [(line.detail, line.at) for line in self.of("start-failed")]
        found = [(float(why.get("triedSince") or until), until) for why, until in tried]
        return [one for one in found if one[1] - one[0] > _AT_ONCE_SECONDS]

    def made(self) -> list[Effect]:
        """The workflows that it has started."""
        return [effect for effect in self.effects if effect.kind == "workflow-created"]

    def sent(self, effect: Effect) -> Request:
        """One of its requests, for a finding."""
        return Request(self.process, self.member or "", effect.sent)

    @property
    def name(self) -> str:
        """How findings call it."""
        number = f" in epoch {self.epoch}" if self.epoch is not None else ""
        return f"{self.process}{number}"


@dataclass(frozen=True)
class Component:
    """All processes that a component has had, the earliest first."""

    role: str
    name: str
    runs: Sequence[Run]

    @property
    def standby(self) -> list[Run]:
        """Those that an elector has started: one at a time was meant."""
        return [run for run in self.runs if run.epoch is not None]

    def lines_of_succession(self) -> list[list[Run]]:
        """Runs that follow each other: those with an epoch, and those of each Concurrent member."""
        found: defaultdict[str, list[Run]] = defaultdict(list)
        for run in self.runs:
            found["standby" if run.epoch is not None else f"member {run.member}"].append(run)
        return list(found.values())


def components_of(
    entries: Iterable[EntrySeen], *, only: frozenset[str] = frozenset()
) -> list[Component]:
    """Put the lines together.

    Args:
        entries: the ledger.
        only: names of components; empty: all.
    """
    runs: dict[tuple[str, str], dict[str, Run]] = defaultdict(dict)
    for entry in entries:
        by = entry.detail.get("by")
        if entry.role in ROLES:
            _note(runs[entry.role, str(entry.detail.get("component"))], entry)
        elif isinstance(by, dict) and by.get("role") in ROLES:
            _effect(runs[by["role"], str(by.get("component"))], entry, by)
    return [
        Component(role, name, sorted(found.values(), key=lambda run: run.begun))
        for (role, name), found in sorted(runs.items())
        if not only or name in only
    ]


def _note(runs: dict[str, Run], entry: EntrySeen) -> None:
    until = entry.at if entry.until is None else entry.until
    run = _run(runs, (entry.process, entry.member, entry.epoch), entry.at, until)
    run.lines.append(entry)
    if entry.kind == "start":
        run.start = entry.detail
    run.stopped = run.stopped or entry.kind == "stop"


def _effect(runs: dict[str, Run], entry: EntrySeen, by: Mapping[str, Any]) -> None:
    epoch, sent = by.get("epoch"), float(by.get("sentAt") or entry.at)
    who = (str(by["process"]), by.get("member"), epoch if isinstance(epoch, int) else None)
    # That it was sent is a proof of life; that the server was late with it is none.
    run = _run(runs, who, sent, sent)
    detail = entry.detail
    run.effects.append(
        Effect(
            entry.kind, entry.at, sent, entry.subject or "", str(detail.get("title", "")),
            detail.get("requestId"), by,
        )
    )  # fmt: skip


def _run(
    runs: dict[str, Run], who: tuple[str, str | None, int | None], at: float, until: float
) -> Run:
    process, member, epoch = who
    run = runs.setdefault(process, Run(process, member, epoch, at, until))
    run.begun, run.last = min(run.begun, at), max(run.last, until)
    return run
