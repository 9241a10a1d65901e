# SPDX-License-Identifier: Apache-2.0
"""Load generator: a retrying client that sends at planned times, whatever the server does."""

import asyncio
import json
import math
import secrets
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TextIO

from dpe_operator.prober.http_client import Answer, Call, Connection, Target
from dpe_operator.prober.measure import Record, summarize
from dpe_operator.prober.retry import REAL_TIME, AttemptFailed, RetryProfile, with_retries

_KEPT_ERRORS = 50


@dataclass(frozen=True)
class LoadSettings:
    """What to send: rates are requests a second over all connections of a class.

    `slow` of the `connections` are slow ones; the others share `rate`. `fresh_rate` opens a new
    connection for each request. `path` is relative to the base path. An answer is a success with
    status 200 and `body_contains` in it; `member_header` names who answered. The first
    `undisturbed` seconds are also reported apart.

    A kept connection carries one request at a time: what falls due meanwhile is sent as soon as it
    can be, and its latency counts from when it was due.
    """

    target: Target
    profile: RetryProfile
    connections: int = 10
    slow: int = 1
    rate: float = 200.0
    fresh_rate: float = 0.0
    seconds: float = 30.0
    path: str = ""
    slow_calls: Sequence[Call] = ()
    body_contains: bytes = b""
    member_header: str = "X-DPE-Member"
    undisturbed: float = 0.0
    progress: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.slow <= self.connections:
            raise ValueError(
                f"--slow: {self.slow} must be from 0 to --connections ({self.connections})"
            )
        if self.rate <= 0:
            raise ValueError("--rate: must be more than 0 for the kept connections")
        if self.seconds <= 0:
            raise ValueError(f"--seconds: {self.seconds:g} must be more than 0")
        if self.undisturbed >= self.seconds:
            raise ValueError(
                f"--undisturbed: {self.undisturbed:g} s must be shorter than --seconds"
                f" ({self.seconds:g})"
            )


class Load:
    """One run of the load."""

    def __init__(self, settings: LoadSettings, *, records_to: TextIO | None = None) -> None:
        self._settings = settings
        self._records_to = records_to
        self._begun = time.monotonic()
        self._begun_wall = time.time()
        self._end = settings.seconds
        self._stopped = asyncio.Event()
        self._run_id = secrets.token_hex(4)
        self._sent = 0
        self._not_sent = 0
        self.records: list[Record] = []
        self.errors: list[dict[str, Any]] = []
        self.error_kinds: Counter[str] = Counter()

    def stop(self) -> None:
        """End the run now; what is under way is still waited for."""
        self._end = min(self._end, self._now())
        self._stopped.set()

    async def run(self) -> dict[str, Any]:
        """Send until the time is over or `stop`; returns the summary."""
        self._begun, self._begun_wall = time.monotonic(), time.time()
        settings = self._settings
        fast = settings.connections - settings.slow
        tasks = [asyncio.create_task(self._keep_alive(number, fast)) for number in range(fast)]
        tasks += [asyncio.create_task(self._slow()) for _ in range(settings.slow)]
        if settings.fresh_rate:
            tasks.append(asyncio.create_task(self._fresh()))
        if settings.progress:
            tasks.append(asyncio.create_task(self._progress()))
        await asyncio.gather(*tasks)
        return {
            "startedAt": self._stamp(0.0),
            **summarize(
                self.records, seconds=self._now(), until=self._end, undisturbed=settings.undisturbed
            ),
            "notSent": self._not_sent,
            "errorKinds": dict(self.error_kinds.most_common()),
            "errors": self.errors,
        }

    async def _keep_alive(self, number: int, of: int) -> None:
        """Send the slots number, number + of, ... over one connection."""
        connection = self._connection()
        slot = number
        try:
            while await self._until(due := slot / self._settings.rate):
                await self._request(
                    "keepAlive", due, Call(path=self._settings.path), lambda: connection
                )
                slot += of
        finally:
            connection.close()
            # What an outage held up until the end would otherwise look as if it was never due.
            self._not_sent += max(0, math.ceil((self._end * self._settings.rate - slot) / of))

    async def _fresh(self) -> None:
        """Send each slot over a connection of its own, without waiting for the one before."""
        pending: set[asyncio.Task[None]] = set()

        def over(task: asyncio.Task[None]) -> None:
            # One that failed is kept, to be raised below.
            if task.cancelled() or task.exception() is None:
                pending.discard(task)

        slot = 0
        while await self._until(due := slot / self._settings.fresh_rate):
            task = asyncio.create_task(self._fresh_request(due))
            pending.add(task)
            task.add_done_callback(over)
            slot += 1
        await asyncio.gather(*pending)

    async def _fresh_request(self, due: float) -> None:
        opened: list[Connection] = []

        def another() -> Connection:
            opened.append(self._connection())
            return opened[-1]

        headers = {"Connection": "close"}
        try:
            await self._request(
                "fresh", due, Call(path=self._settings.path, headers=headers), another
            )
        finally:
            for connection in opened:
                connection.close()

    async def _slow(self) -> None:
        """One request after the other on one connection, a second (half the time limit) each."""
        connection = self._connection()
        seconds = min(1.0, self._settings.profile.request_timeout / 2)
        # Without calls that are slow by themselves: the same request, its answer read with a pause.
        calls = self._settings.slow_calls or (Call(path=self._settings.path, read_pause=seconds),)
        number = 0
        try:
            due = 0.0
            while await self._until(due):
                await self._request("slow", due, calls[number % len(calls)], lambda: connection)
                # One that is refused at once must not turn a slow client into a fast one.
                due, number = max(self._now(), due + seconds), number + 1
        finally:
            connection.close()

    async def _request(
        self, kind: str, due: float, call: Call, connection: Callable[[], Connection]
    ) -> None:
        self._sent += 1
        request_id = f"{self._run_id}-{self._sent}"
        attempts, sent, answer = 0, due, None
        profile = self._settings.profile

        async def attempt(number: int) -> Answer:
            nonlocal attempts, sent
            attempts, sent = number, self._now()
            headers = {**call.headers, "X-DPE-Request-Id": request_id, "X-DPE-Attempt": str(number)}
            marked = Call(call.method, call.path, call.body, headers, call.read_pause)
            answer = await connection().request(marked, within=profile.request_timeout)
            if answer.status != 200:
                raise AttemptFailed(f"http-{answer.status}", "unexpected status", retryable=False)
            if self._settings.body_contains not in answer.body:
                raise AttemptFailed("wrong-body", answer.body[:80].decode(errors="replace"))
            return answer

        try:
            answer = await with_retries(
                profile, attempt, clockwork=REAL_TIME,
                on_failure=lambda number, failure: self._note_error(kind, number, failure),
            )  # fmt: skip
        except AttemptFailed:
            pass  # noted by on_failure
        except Exception as problem:  # it must neither vanish nor end the run without a summary
            self._note_internal(kind, attempts, problem)
        header = self._settings.member_header.lower()
        member = answer.headers.get(header, "unknown") if answer else ""
        self._note(
            Record(kind, due, sent, self._now(), answer is not None, attempts, member, request_id)
        )

    def _note(self, record: Record) -> None:
        self.records.append(record)
        if self._records_to is not None:
            line = {
                "requestId": record.request_id, "class": record.kind, "ok": record.ok,
                "attempts": record.attempts, "member": record.member or None,
                "sentAt": self._begun_wall + record.sent, "doneAt": self._begun_wall + record.done,
            }  # fmt: skip
            self._records_to.write(json.dumps(line) + "\n")

    def _note_internal(self, kind: str, attempt: int, problem: Exception) -> None:
        """Count a failure of the prober itself; the first one also tells where it happened."""
        if not self.error_kinds["internal"]:
            traceback.print_exception(problem, file=sys.stderr)
        text = f"{type(problem).__name__}: {problem}"
        self._note_error(kind, attempt, AttemptFailed("internal", text))

    def _note_error(self, kind: str, number: int, failure: AttemptFailed) -> None:
        self.error_kinds[failure.kind] += 1
        if len(self.errors) < _KEPT_ERRORS:
            now = self._now()
            self.errors.append({
                "at": self._stamp(now), "atSecond": round(now, 3), "class": kind, "attempt": number,
                "kind": failure.kind, "text": failure.text[:200],
            })  # fmt: skip

    async def _until(self, due: float) -> bool:
        """Wait for a planned time; False when the run ends before it."""
        if due >= self._end or self._now() >= self._end:
            return False
        if (pause := due - self._now()) <= 0:
            await asyncio.sleep(0)
            return True
        await asyncio.sleep(pause)
        return due < self._end

    async def _progress(self) -> None:
        shown = 0
        while self._now() < self._end:
            try:
                async with asyncio.timeout(1.0):
                    await self._stopped.wait()
            except TimeoutError:
                pass
            news, shown = self.records[shown:], len(self.records)
            members = Counter(record.member for record in news if record.ok)
            failed = sum(not record.ok for record in news)
            retried = sum(record.retried for record in news)
            text = (
                " ".join(f"{name}={count}" for name, count in sorted(members.items()))
                or "no answer"
            )
            print(
                f"{self._now():6.1f} s  {text}  retried={retried} failed={failed}",
                file=sys.stderr,
                flush=True,
            )

    def _connection(self) -> Connection:
        return Connection(
            self._settings.target, connect_timeout=self._settings.profile.connect_timeout
        )

    def _now(self) -> float:
        return time.monotonic() - self._begun

    def _stamp(self, seconds: float) -> str:
        return datetime.fromtimestamp(self._begun_wall + seconds, UTC).isoformat(
            timespec="milliseconds"
        )
