# SPDX-License-Identifier: Apache-2.0
"""A simulated table or folder watcher: looks, compares with its memory, starts workflows.

Between the start of a workflow and the writing of the memory lies a gap, whichever is first: who
dies in it must repeat the change or lose it. That is closed DPE's limit, and nothing here hides it.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dpe_simulator.changes import Change, Seen, find_changes
from dpe_simulator.component import Component, ComponentSettings, NotStarted, Template
from dpe_simulator.identity import Identity
from dpe_simulator.log import say
from dpe_simulator.memory import Memory, UnreadableMemory, read_memory, write_memory
from dpe_simulator.titles import parse_title


class SourceUnavailable(Exception):
    """The table or folder could not be read; it is looked at again after the interval."""


class Source(Protocol):
    """What is watched."""

    name: str
    constants: Mapping[str, str]
    """Placeholders of the title that are the same for all changes."""

    async def read(self) -> list[Seen]:
        """Return what is there now.

        Raises:
            SourceUnavailable: it cannot be told.
        """

    def values(self, change: Change) -> dict[str, str]:
        """Return what the placeholders of the title stand for."""


@dataclass(frozen=True)
class WatcherSettings:
    """How to watch; times in seconds.

    memory: folder of the memory file; None: what has been seen is forgotten at the end.
    memory_first: the memory is written before the workflow is started instead of after it.
    in_place: the memory file is written over, so that a crash can tear it.
    gap: an additional pause between the two, to hit it with a fault.
    remember_first: without a memory, what is there is remembered instead of taken as created.
    """

    template: Template
    interval: float
    memory: Path | None
    memory_first: bool = False
    in_place: bool = False
    gap: float = 0.0
    remember_first: bool = False


class Watcher(Component):
    """One watcher process."""

    def __init__(
        self, settings: WatcherSettings, source: Source, common: ComponentSettings, *,
        identity: Identity,
    ) -> None:  # fmt: skip
        super().__init__(common, identity=identity)
        self._settings = settings
        self._source = source
        self._title = parse_title(settings.template.title)
        self._memory = Memory()
        self._first = True
        # Of each change that could not be started: the request's id and its attempts so far.
        self._tried: dict[tuple[str, str, str], tuple[str, int]] = {}

    def describe(self) -> dict[str, Any]:
        """Read the memory; say what was found and how this watcher works."""
        settings = self._settings
        return {
            "source": self._source.name, "interval": settings.interval,
            "title": settings.template.title, "order": self._order(),
            "writes": "in-place" if settings.in_place else "renamed",
            "memory": self._remember() if settings.memory else {"found": "not-kept"},
            "firstStart": "remember" if settings.remember_first else "trigger",
        }  # fmt: skip

    def _order(self) -> str:
        return "memory-first" if self._settings.memory_first else "effect-first"

    def _remember(self) -> dict[str, Any]:
        folder = self._settings.memory
        assert folder is not None
        found = "read"
        try:
            memory = read_memory(folder)
            if memory is None:
                found = "absent"
        except UnreadableMemory as problem:
            # Nobody knows what DPE does then. Taking everything as new is the worst of it.
            say(f"the memory in {folder} is torn and not used: {problem}")
            memory, found = None, "torn"
        self._memory = memory or Memory()
        self._first = memory is None
        say(f"memory: {found}, generation {self._memory.generation}, written by "
            f"{self._memory.process} in epoch {self._memory.epoch}")  # fmt: skip
        return {
            "found": found, "generation": self._memory.generation, "epoch": self._memory.epoch,
            "process": self._memory.process, "entries": len(self._memory.entries),
        }  # fmt: skip

    async def work(self) -> None:
        """Look, work off what is new, wait."""
        while not self.stopping:
            try:
                there = await self._source.read()
            except SourceUnavailable as problem:
                say(f"{self._source.name} cannot be read: {problem}")
            else:
                await self._work_off(there)
            await self.pause(self._settings.interval)

    async def _work_off(self, there: list[Seen]) -> None:
        found = find_changes(self._memory.entries, there)
        if self._first and self._settings.remember_first:
            self._write({change.subject: (change.event, change.version) for change in found})
            found = []
        self._first = False
        for change in found:
            if self.stopping:
                return
            await self._handle(change)

    async def _handle(self, change: Change) -> None:
        seen = {change.subject: (change.event, change.version)}
        if self._settings.memory_first:
            self._write(seen, change)
            await self.pause(self._settings.gap)
        if not await self._start(change) or self._settings.memory_first:
            return
        await self.pause(self._settings.gap)
        self._write(seen, change)

    async def _start(self, change: Change) -> bool:
        """Start the workflow of a change; False when nobody knows whether it was started."""
        why: dict[str, Any] = {
            "generation": self._memory.generation, "change": self._told(change),
            "triedSince": time.time(),
        }  # fmt: skip
        key = (change.subject, change.event, change.version)
        request_id, earlier = self._tried.get(key) or (self.api.new_id(), 0)
        values = {**self._source.constants, **self._source.values(change)}
        body = self._settings.template.body(self._title.expand(values))
        try:
            # Refused by the title rule counts as done: one of that title is on its way.
            await self.start_workflow(body, why=why, request_id=request_id, earlier=earlier)
        except NotStarted as problem:
            say(f"{change.event} {change.subject}: {problem}")
            self._tried[key] = (request_id, problem.attempts)
            self.mail.add(
                "start-failed", at=time.time(), subject=change.subject, problem=str(problem), **why
            )
            return False
        self._tried.pop(key, None)
        return True

    def _told(self, change: Change) -> dict[str, str]:
        return {
            "source": self._source.name, "subject": change.subject, "event": change.event,
            "version": change.version,
        }  # fmt: skip

    def _write(self, seen: Mapping[str, tuple[str, str]], change: Change | None = None) -> None:
        who = self.identity
        self._memory = self._memory.after(seen, epoch=who.epoch, process=who.process)
        if self._settings.memory is None:
            return
        write_memory(self._settings.memory, self._memory, in_place=self._settings.in_place)
        told: dict[str, Any] = {"change": self._told(change)} if change else {}
        self.mail.add("memory-written", at=time.time(), generation=self._memory.generation, **told)
        # Until this line has arrived, nobody but the file knows of the new generation.
        self.mail.hurry()
