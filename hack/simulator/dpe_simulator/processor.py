# SPDX-License-Identifier: Apache-2.0
"""A simulated DPE processor: registers by type, is notified or polls, executes and finishes jobs.

It knows the balancer's address only. A job that it holds is prolonged by heartbeats; when it dies,
the lease runs out and another processor gets the job. A worker of the workflow system does the same
with the activities of workflows.
"""

import asyncio
import signal
import time
from dataclasses import dataclass
from typing import Any, TextIO

from dpe_operator.prober.http_client import Target
from dpe_operator.prober.retry import AttemptFailed, RetryProfile
from dpe_simulator.api_client import ApiClient
from dpe_simulator.identity import Identity
from dpe_simulator.log import say
from dpe_simulator.mail import LedgerMail, prove_life

_LEDGER_SECONDS = 1.0
_LAST_MAIL_SECONDS = 3.0


@dataclass(frozen=True)
class ProcessorSettings:
    """Job type, jobs at a time, seconds between polls, and seconds to finish jobs at the end.

    service: path of what gives out the work.
    heartbeat: seconds between proofs of life; None: none are needed.
    """

    type: str
    quota: int
    poll_seconds: float
    grace: float
    target: Target
    profile: RetryProfile
    service: str = "/jobs"
    heartbeat: float | None = None


class Processor:
    """One processor process."""

    def __init__(
        self, settings: ProcessorSettings, *, identity: Identity, records: TextIO | None = None
    ) -> None:
        self._settings = settings
        self._name = identity.process
        self._by = {"by": identity.described()} if identity.component else {}
        self._api = ApiClient(
            settings.target,
            settings.profile,
            on_failure=lambda what, failure: say(f"{what}: {failure}"),
        )
        self._mail = LedgerMail(
            self._api, identity, interval=settings.heartbeat or _LEDGER_SECONDS, records=records
        )
        self._stop = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()

    def stop(self) -> None:
        """Take no more jobs; `run` returns when the present ones are finished."""
        self._stop.set()

    async def run(self) -> int:
        """Work until `stop`; returns the exit status, 1 when a job took longer than the grace."""
        self._mail.add("start", at=time.time(), type=self._settings.type)
        self._mail.hurry()
        mailing = asyncio.create_task(self._report())
        taking = asyncio.create_task(self._take_jobs())
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({mailing, taking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not self._stop.is_set():
            # Only a mistake in this program ends them; a new process is better than an idle one.
            await asyncio.gather(mailing, taking)
        say(f"stops: {len(self._jobs)} job(s) to finish")
        until = time.monotonic() + self._settings.grace
        # Not cancelled in the middle of a claim: its answer may be a job that nobody would do then.
        await asyncio.wait({taking}, timeout=until - time.monotonic())
        unfinished: set[asyncio.Task[None]] = set()
        if self._jobs:
            left = max(0.0, until - time.monotonic())
            unfinished = (await asyncio.wait(self._jobs, timeout=left))[1]
        await _end(mailing, taking, *unfinished)
        self._mail.add("stop", at=time.time(), unfinished=len(unfinished))
        await self._mail.send_last(within=_LAST_MAIL_SECONDS)
        self._api.close()
        return 1 if unfinished else 0

    async def _report(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._mail.run())
            if interval := self._settings.heartbeat:
                group.create_task(prove_life(self._mail, interval=interval))

    async def _take_jobs(self) -> None:
        registered = False
        while not self._stop.is_set():
            try:
                if not registered:
                    await self._register()
                    registered = True
                await self._take_one()
            except AttemptFailed as failure:
                # The profile is used up; DPE's processors go on polling, and so does this one.
                say(f"no answer: {failure}")
                await self._pause(self._settings.poll_seconds)

    async def _register(self) -> None:
        settings = self._settings
        body = {"processor": self._name, "type": settings.type, "quota": settings.quota}
        await self._post("/processors", body)
        say(f"{self._name} registered for {settings.type}, quota {settings.quota}")

    async def _take_one(self) -> None:
        if len(self._jobs) >= self._settings.quota:
            await asyncio.wait(self._jobs, return_when=asyncio.FIRST_COMPLETED)
            return
        answer = await self._post(
            "/claim", {"processor": self._name, "type": self._settings.type, **self._by}
        )
        if job := answer.get("job"):
            task = asyncio.create_task(self._execute(job))
            self._jobs.add(task)
            task.add_done_callback(self._jobs.discard)
            return
        await self._wait_for_notification()

    async def _wait_for_notification(self) -> None:
        """Return on a notification, after the poll interval, or when this process is to stop."""
        seconds = self._settings.poll_seconds
        path = f"{self._settings.service}/wait?type={self._settings.type}&seconds={seconds:g}"
        waiting = asyncio.create_task(self._api.call("GET", path, extra_seconds=seconds))
        stopping = asyncio.create_task(self._stop.wait())
        await asyncio.wait({waiting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not waiting.done():
            await _end(waiting)
        elif failure := waiting.exception():
            raise failure

    async def _execute(self, job: dict[str, Any]) -> None:
        job_id, attempt, begun = int(job["id"]), int(job["attempt"]), time.time()
        beating = asyncio.create_task(self._beat(job_id, attempt, float(job["leaseSeconds"]) / 3))
        await asyncio.sleep(float(job["seconds"]))
        self._mail.add(
            "job-executed", at=begun, until=time.time(), subject=f"job:{job_id}", attempt=attempt
        )
        try:
            # Until it is taken: giving up would cost the work of a long job for a short outage.
            while True:
                if await self._finish(job_id, attempt):
                    break
                await asyncio.sleep(self._settings.profile.max_backoff)
        finally:
            await _end(beating)

    async def _finish(self, job_id: int, attempt: int) -> bool:
        try:
            answer = await self._api.call(
                "POST",
                f"{self._settings.service}/{job_id}/finish",
                {"attempt": attempt, **self._by},
            )
        except AttemptFailed as failure:
            say(f"job {job_id} cannot be finished yet: {failure}")
            return False
        if answer.status != 200:
            say(f"job {job_id} attempt {attempt}: {answer.json().get('error')}")
        return True

    async def _beat(self, job_id: int, attempt: int, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            path = f"{self._settings.service}/{job_id}/heartbeat"
            try:
                await self._api.call("POST", path, {"attempt": attempt})
            except AttemptFailed as failure:
                say(f"heartbeat of job {job_id}: {failure}")

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = await self._api.call("POST", self._settings.service + path, body)
        if answer.status != 200:
            raise AttemptFailed(f"http-{answer.status}", str(answer.json().get("error", "")))
        return answer.json()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return


async def _end(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_processor(
    settings: ProcessorSettings, *, identity: Identity, records: TextIO | None = None
) -> int:
    """Run a processor or worker until SIGTERM or SIGINT; returns its exit status."""
    processor = Processor(settings, identity=identity, records=records)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, processor.stop)
    return await processor.run()
