# SPDX-License-Identifier: Apache-2.0
"""A client that submits workflows, waits for them and verifies that each ran as it should."""

import asyncio
import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TextIO
from urllib.parse import quote

from dpe_operator.prober.http_client import Target
from dpe_operator.prober.retry import AttemptFailed, RetryProfile
from dpe_simulator.api_client import ApiClient

_TYPE = "simulated"
_AT_ONCE = 8
_ASK_SECONDS = 0.3


@dataclass(frozen=True)
class WorkflowSettings:
    """How many workflows of how many jobs; `timeout` seconds for all of them to end.

    activities_each: activities before the jobs, each as long as a job; they need a worker.
    every: seconds from one workflow to the next; 0: as fast as the servers take them.
    """

    target: Target
    profile: RetryProfile
    count: int
    job_types: Sequence[str]
    jobs_each: int
    job_seconds: float
    timeout: float
    activities_each: int = 0
    every: float = 0.0


@dataclass(frozen=True)
class Outcome:
    """What became of one title: accepted by the server, and the instances found in the end."""

    title: str
    accepted: bool
    instances: Sequence[dict[str, Any]]


def judge(
    outcomes: Sequence[Outcome], *, jobs_each: int, activities_each: int = 0
) -> dict[str, Any]:
    """Count what finished, got lost, was doubled, failed, or ran a job more than once."""
    figures: dict[str, Any] = {
        "workflows": len(outcomes), "finished": 0, "notAccepted": 0, "lost": 0, "doubled": 0,
        "failed": 0, "unfinished": 0, "wrongJobs": 0, "repeatedJobs": 0, "problems": [],
    }  # fmt: skip
    for outcome in outcomes:
        verdict = _verdict(outcome, jobs_each, activities_each)
        figures[verdict] += 1
        repeated = sum(work["attempt"] > 1 for one in outcome.instances for work in _works(one))
        figures["repeatedJobs"] += repeated
        if verdict != "finished" and len(figures["problems"]) < 20:
            figures["problems"].append({"verdict": verdict, **asdict(outcome)})
    return figures


def _works(instance: dict[str, Any]) -> list[dict[str, Any]]:
    return [*instance.get("activities", []), *instance["jobs"]]


def _verdict(outcome: Outcome, jobs_each: int, activities_each: int) -> str:
    if not outcome.instances:
        return "lost" if outcome.accepted else "notAccepted"
    if len(outcome.instances) > 1:
        return "doubled"
    instance = outcome.instances[0]
    if instance["state"] == "failed":
        return "failed"
    if instance["state"] != "finished":
        return "unfinished"
    works = _works(instance)
    complete = (len(works), len(instance["jobs"])) == (jobs_each + activities_each, jobs_each)
    right = complete and all(work["state"] == "finished" for work in works)
    return "finished" if right else "wrongJobs"


class WorkflowRun:
    """Submits and follows the workflows of one run."""

    def __init__(self, settings: WorkflowSettings, *, records_to: TextIO | None = None) -> None:
        self._settings = settings
        self._records_to = records_to
        self._retries = 0
        self._api = ApiClient(settings.target, settings.profile, on_failure=self._count)
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._deadline = time.monotonic() + settings.timeout
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Submit nothing more and wait no longer; what has not ended counts as unfinished, and what
        was not submitted yet does not count."""
        self._deadline = 0.0
        self._stopped.set()

    async def run(self) -> dict[str, Any]:
        """Submit all, wait for all; returns the figures of `judge`, seconds and failed attempts."""
        begun, run_id = time.monotonic(), secrets.token_hex(4)
        self._deadline = begun + self._settings.timeout
        titles = [f"run-{run_id}-{number}" for number in range(self._settings.count)]
        found = await asyncio.gather(
            *(self._one(title, number) for number, title in enumerate(titles))
        )
        outcomes = [one for one in found if one is not None]
        self._api.close()
        return {
            **judge(
                outcomes,
                jobs_each=self._settings.jobs_each,
                activities_each=self._settings.activities_each,
            ),
            "failedAttempts": self._retries,
            "seconds": round(time.monotonic() - begun, 3),
        }

    async def _one(self, title: str, number: int) -> Outcome | None:
        """Submit a workflow and follow it; None: it was to end before that came about."""
        if await self._is_stopped_before(number):
            return None
        async with self._gate:
            if self._stopped.is_set():
                return None
            accepted = await self._submit(title, number)
        while True:
            instances = await self._look(title)
            ended = bool(instances) and all(
                one["state"] in ("finished", "failed") for one in instances
            )
            if ended or time.monotonic() >= self._deadline or not (accepted or instances):
                return Outcome(title, accepted, instances)
            await asyncio.sleep(_ASK_SECONDS)

    async def _is_stopped_before(self, number: int) -> bool:
        """Wait for the turn of a workflow; True: nothing is to be submitted any more."""
        try:
            await asyncio.wait_for(self._stopped.wait(), number * self._settings.every)
        except TimeoutError:
            return False
        return True

    async def _submit(self, title: str, number: int) -> bool:
        types, settings = self._settings.job_types, self._settings
        jobs = [
            {"type": types[(number + place) % len(types)], "seconds": settings.job_seconds}
            for place in range(settings.jobs_each)
        ]
        activities = [{"seconds": settings.job_seconds}] * settings.activities_each
        body = {"type": _TYPE, "title": title, "activities": activities, "jobs": jobs}
        try:
            answer = await self._api.call("POST", "/workflow/instances", body)
        except AttemptFailed:
            return False
        # 409: the answer to an earlier attempt was lost, and the instance is there.
        accepted = answer.status in (201, 409)
        if accepted and self._records_to is not None:
            line = {"workflow": title, "type": _TYPE, "status": answer.status, "at": time.time()}
            self._records_to.write(json.dumps(line) + "\n")
        return accepted

    async def _look(self, title: str) -> list[dict[str, Any]]:
        try:
            async with self._gate:
                answer = await self._api.call(
                    "GET", f"/workflow/instances?type={_TYPE}&title={quote(title)}"
                )
        except AttemptFailed:
            return []
        found = answer.json().get("instances", [])
        return found if isinstance(found, list) else []

    def _count(self, what: str, failure: AttemptFailed) -> None:
        self._retries += 1
