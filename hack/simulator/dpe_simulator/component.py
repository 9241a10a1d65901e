# SPDX-License-Identifier: Apache-2.0
"""What schedulers and watchers have in common: they start workflows, and say that they act."""

import asyncio
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from dpe_operator.prober.http_client import Target
from dpe_operator.prober.retry import AttemptFailed, RetryProfile
from dpe_simulator.api_client import ApiClient
from dpe_simulator.identity import Identity
from dpe_simulator.log import say
from dpe_simulator.mail import LedgerMail, prove_life

# After SIGTERM: for the step that is being done, and for the last lines of the ledger.
_STEP_SECONDS = 2.0
_LAST_MAIL_SECONDS = 1.0


@dataclass(frozen=True)
class ComponentSettings:
    """What every component is given; heartbeat: seconds between proofs of life."""

    target: Target
    profile: RetryProfile
    heartbeat: float
    records: TextIO | None = None


@dataclass(frozen=True)
class Template:
    """The workflow that a component starts; title with placeholders, activities in seconds."""

    type: str
    title: str
    activities: tuple[float, ...] = ()
    jobs: tuple[tuple[str, float], ...] = ()

    def body(self, title: str) -> dict[str, Any]:
        """The request for one."""
        return {
            "type": self.type, "title": title,
            "activities": [{"seconds": seconds} for seconds in self.activities],
            "jobs": [{"type": type_, "seconds": seconds} for type_, seconds in self.jobs],
        }  # fmt: skip


class NotStarted(Exception):
    """Nobody knows whether the workflow was started; `attempts` were made."""

    def __init__(self, text: str, *, attempts: int) -> None:
        super().__init__(text)
        self.attempts = attempts


class Component(ABC):
    """One process of a scheduler or watcher."""

    def __init__(self, settings: ComponentSettings, *, identity: Identity) -> None:
        self.identity = identity
        self.begun = 0.0
        """The moment of its start line, in wall-clock seconds; set by `run`."""
        self._failures = 0
        self.api = ApiClient(settings.target, settings.profile, on_failure=self._failed)
        self.mail = LedgerMail(
            self.api, identity, interval=settings.heartbeat, records=settings.records
        )
        self._heartbeat = settings.heartbeat
        self._stop = asyncio.Event()

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Read what it starts from; returns what the ledger is told at the start."""

    @abstractmethod
    async def work(self) -> None:
        """Work until `stopping`."""

    @property
    def stopping(self) -> bool:
        """Whether it is to begin nothing more."""
        return self._stop.is_set()

    def stop(self) -> None:
        """Begin nothing more; `run` returns soon."""
        self._stop.set()

    async def run(self) -> int:
        """Work until `stop`; returns the exit status, 1 when it had to give up."""
        self.begun = time.time()
        self.mail.add("start", at=self.begun, **self.describe())
        self.mail.hurry()
        mailing = asyncio.create_task(self.mail.run())
        living = asyncio.create_task(prove_life(self.mail, interval=self._heartbeat))
        working = asyncio.create_task(self.work())
        stopping = asyncio.create_task(self._stop.wait())
        tasks = (mailing, living, working, stopping)
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if self.stopping:
            await asyncio.wait({working}, timeout=_STEP_SECONDS)
        problem = next((one for task in tasks if task.done() and (one := task.exception())), None)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        said: dict[str, Any] = {} if problem is None else {"problem": repr(problem)}
        self.mail.add("stop", at=time.time(), **said)
        await self.mail.send_last(within=_LAST_MAIL_SECONDS)
        self.api.close()
        say(f"{self.identity.role} stops" + (f": {problem!r}" if problem else ""))
        return 0 if problem is None else 1

    async def pause(self, seconds: float) -> None:
        """Wait, but not longer than until `stop`."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._stop.wait()
        except TimeoutError:
            return

    async def start_workflow(
        self, body: Mapping[str, Any], *, why: Mapping[str, Any], request_id: str, earlier: int = 0
    ) -> bool:
        """Start a workflow.

        Args:
            body: the request.
            why: the trigger or change, for the ledger.
            request_id: for the ledger.
            earlier: attempts made before with that id.

        Returns:
            False when the title rule refused it.

        Raises:
            NotStarted: the profile is used up, or the server refused the request.
        """
        self._failures = 0
        wish = {**body, "by": {**self.identity.described(), **why}}
        try:
            answer = await self.api.call(
                "POST", "/workflow/instances", wish, request_id=request_id, earlier=earlier
            )
        except AttemptFailed as failure:
            raise NotStarted(str(failure), attempts=earlier + self._failures) from failure
        if answer.status not in (201, 409):
            text = f"http-{answer.status}: {answer.json().get('error')}"
            raise NotStarted(text, attempts=earlier + self._failures + 1)
        made = answer.status == 201
        say(f"{body['title']!r}: {'started' if made else 'one of that title is open already'}")
        return made

    def _failed(self, what: str, failure: AttemptFailed) -> None:
        if "/workflow/instances" in what:
            self._failures += 1
        say(f"{what}: {failure}")


async def run_component(component: Component) -> int:
    """Run it until SIGTERM or SIGINT; returns its exit status."""
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, component.stop)
    return await component.run()
