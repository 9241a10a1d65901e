# SPDX-License-Identifier: Apache-2.0
"""A simulated WorkflowScheduler: starts a workflow at each trigger of its schedule.

It knows nothing of triggers that passed before it was started: there is no catch-up.
"""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from dpe_simulator.clock import Clock
from dpe_simulator.component import Component, ComponentSettings, NotStarted, Template
from dpe_simulator.identity import Identity
from dpe_simulator.log import say
from dpe_simulator.titles import parse_title
from dpe_simulator.triggers import Schedule

# A process that wakes later than this after a trigger (seconds of its clock, and real ones) has
# missed it. cron looks at the minute, and so does this.
_LATE_SHOWN = 60.0
_LATE_REAL = 2.0
# No longer asleep than this: the real clock may be set meanwhile.
_NAP = 5.0


@dataclass(frozen=True)
class SchedulerSettings:
    """When and what to start."""

    schedule: Schedule
    clock: Clock
    template: Template


class Scheduler(Component):
    """One scheduler process."""

    def __init__(
        self, settings: SchedulerSettings, common: ComponentSettings, *, identity: Identity
    ) -> None:
        super().__init__(common, identity=identity)
        self._settings = settings
        self._title = parse_title(settings.template.title)
        self._starting: set[asyncio.Task[None]] = set()

    def describe(self) -> dict[str, Any]:
        """Schedule and clock, by which the checker works out what was due."""
        schedule, clock = self._settings.schedule, self._settings.clock
        return {
            "schedule": schedule.line, "zone": schedule.zone.key,
            "clock": {"anchor": clock.anchor, "shown": clock.shown, "rate": clock.rate},
            "title": self._settings.template.title,
        }  # fmt: skip

    async def work(self) -> None:
        """Wait for each trigger and start its workflow; the next one does not wait for it."""
        settings = self._settings
        # From its start line on, as the checker reads it: what is due while it starts is its own.
        for trigger in settings.schedule.after(settings.clock.at(self.begun)):
            say(f"next trigger: {settings.schedule.text(trigger)}")
            await self._wait_for(trigger)
            if self.stopping:
                break
            if self._too_late(trigger):
                self.mail.add("trigger-missed", at=time.time(), trigger=trigger)
                continue
            task = asyncio.create_task(self._start(trigger))
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)
        if self._starting:
            await asyncio.wait(self._starting)

    async def _wait_for(self, trigger: float) -> None:
        due = self._settings.clock.real(trigger)
        while not self.stopping and (left := due - time.time()) > 0:
            await self.pause(min(left, _NAP))

    def _too_late(self, trigger: float) -> bool:
        clock, now = self._settings.clock, time.time()
        return clock.at(now) - trigger > _LATE_SHOWN and now - clock.real(trigger) > _LATE_REAL

    async def _start(self, trigger: float) -> None:
        told = self._settings.schedule.text(trigger)
        title = self._title.expand({"trigger": told, "name": str(self.identity.component)})
        why: dict[str, Any] = {"trigger": trigger, "triggerTime": told}
        body = self._settings.template.body(title)
        try:
            await self.start_workflow(body, why=why, request_id=self.api.new_id())
        except NotStarted as problem:
            say(f"trigger {told} is lost: {problem}")
            self.mail.add("start-failed", at=time.time(), problem=str(problem), **why)
