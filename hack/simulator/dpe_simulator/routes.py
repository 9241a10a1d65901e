# SPDX-License-Identifier: Apache-2.0
"""What the simulated DPE Server answers: health, workflow and job service, switches for tests."""

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from dpe_simulator import services
from dpe_simulator.bell import Bell
from dpe_simulator.database import Database, DatabaseUnavailable, Session
from dpe_simulator.faults import FaultSwitch, parse_fault
from dpe_simulator.health import Health
from dpe_simulator.http_server import Request, Response
from dpe_simulator.identity import Identity
from dpe_simulator.ledger import Entry, Ledger, insert_rows, rows_of_others
from dpe_simulator.titles import parse_title

_T = TypeVar("_T")
_DATABASE_SECONDS = 5.0
_MAX_PING_BYTES = 4 * 1024 * 1024
_MAX_PING_SECONDS = 600.0
_FILLING = b"x" * 64
# Workers ask for activities as processors do for jobs.
_JOBS = "(?:/jobs|/workflow/activities)"


class Refused(Exception):
    """A request that cannot be done; becomes an answer with that status."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class RouteSettings:
    """Base path ('' or /DpeWebApplication), seconds of a job's lease, whether faults may be set."""

    base_path: str
    lease_seconds: float
    faults_allowed: bool


_SECONDS = re.compile(r"\d{1,12}(\.\d{1,9})?")
Route = Callable[[Request, re.Match[str]], Awaitable[Response]]


class Routes:
    """The request handler of a server."""

    def __init__(
        self, settings: RouteSettings, *, core: Database, health: Health, ledger: Ledger, bell: Bell
    ) -> None:
        self._settings = settings
        self._core = core
        self._health = health
        self._ledger = ledger
        self._bell = bell
        self._faults = FaultSwitch()
        self._table: list[tuple[str, re.Pattern[str], Route]] = [
            (method, re.compile(pattern), route)
            for method, pattern, route in (
                ("GET", "/status", self._status),
                ("GET", "/ping", self._ping),
                ("POST", "/workflow/instances", self._create),
                ("GET", "/workflow/instances", self._find),
                ("GET", r"/workflow/instances/(\d{1,18})", self._get),
                ("POST", f"{_JOBS}/processors", self._register),
                ("GET", f"{_JOBS}/wait", self._wait),
                ("POST", f"{_JOBS}/claim", self._claim),
                ("POST", _JOBS + r"/(\d{1,18})/(heartbeat|finish|fail)", self._job),
                ("POST", "/simulator/ledger", self._write_ledger),
                ("POST", "/simulator/faults", self._set_faults),
            )
        ]

    async def handle(self, request: Request) -> Response:
        """Answer a request, with the faults that a test has set, and note it in the ledger."""
        path = request.path.removeprefix(self._settings.base_path)
        ours = request.path.startswith(self._settings.base_path + "/")
        switch = path.startswith("/simulator/")
        if not switch:
            await self._faults.before(path)
        try:
            if not ours:
                raise Refused(404, f"nothing is at {_printable(request.path)}")
            response = await self._dispatch(request, path)
        except Refused as problem:
            response = self._answer({"error": str(problem)}, status=problem.status)
        except DatabaseUnavailable as problem:
            response = self._answer({"error": str(problem)}, status=503)
        if not switch:
            response = self._faults.falsify(response, path=path)
        response = self._signed(request, response)
        if not switch and path != "/status":
            self._note(request, path, response.status)
        return response

    async def _dispatch(self, request: Request, path: str) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        allowed = []
        for wanted, pattern, route in self._table:
            if match := pattern.fullmatch(path):
                if wanted == method:
                    return await route(request, match)
                allowed.append(wanted)
        if allowed:
            raise Refused(405, f"{path} takes {' or '.join(allowed)}, not {request.method}")
        raise Refused(404, f"nothing is at {_printable(request.path)}")

    def _signed(self, request: Request, response: Response) -> Response:
        who = self._ledger.scribe.identity
        headers = [("X-DPE-Member", str(who.member)), ("X-DPE-Process", who.process)]
        if request_id := _request_id(request):
            headers.append(("X-DPE-Request-Id", request_id))
        return replace(response, headers=(*response.headers, *headers))

    def _note(self, request: Request, path: str, status: int) -> None:
        detail = {"method": request.method, "path": _printable(path), "status": status}
        if attempt := _attempt(request):
            detail["attempt"] = attempt
        self._ledger.add(
            Entry("request", request.received, time.time(), _request_id(request), detail=detail)
        )

    async def _run(self, function: Callable[[Session], _T]) -> _T:
        return await self._core.run(function, within=_DATABASE_SECONDS)

    async def _status(self, request: Request, match: re.Match[str]) -> Response:
        problem = await self._health.problem()
        who = self._ledger.scribe.identity
        text = (
            f"failed: {problem}\n" if problem else f"ok member={who.member} process={who.process}\n"
        )
        return Response(503 if problem else 200, text.encode(), "text/plain")

    async def _ping(self, request: Request, match: re.Match[str]) -> Response:
        seconds = _number(request.query, "seconds", highest=_MAX_PING_SECONDS)
        size = int(_number(request.query, "bytes", highest=_MAX_PING_BYTES))
        if seconds:
            await asyncio.sleep(seconds)
        if size:
            body = (_FILLING * (size // len(_FILLING) + 1))[:size]
            return Response(200, body, "application/octet-stream")
        return self._answer({})

    async def _create(self, request: Request, match: re.Match[str]) -> Response:
        new = parse_workflow(
            _object(request), request_id=_request_id(request), author=_author(request),
            attempt=_attempt(request),
        )  # fmt: skip
        work = partial(services.create_workflow, new=new, scribe=self._ledger.scribe)
        made, instance = await self._run(work)
        if not made:
            text = "an instance of this type and title is scheduled or running"
            return self._answer({"error": text, "existing": instance}, status=409)
        first = {services.ACTIVITY} if new.activities else {job.type for job in new.jobs}
        self._bell.ring(*first)
        return self._answer({"instance": instance}, status=201)

    async def _find(self, request: Request, match: re.Match[str]) -> Response:
        type_, title = _text(request.query, "type"), _text(request.query, "title", longest=400)
        found = await self._run(partial(services.find_workflows, type=type_, title=title))
        return self._answer({"instances": found})

    async def _get(self, request: Request, match: re.Match[str]) -> Response:
        instance = await self._run(partial(services.get_workflow, workflow_id=int(match[1])))
        if not instance:
            raise Refused(404, f"workflow instance {match[1]} does not exist")
        return self._answer({"instance": instance})

    async def _register(self, request: Request, match: re.Match[str]) -> Response:
        wish = _object(request)
        type_, quota = _text(wish, "type"), int(_number(wish, "quota", highest=1000))
        work = partial(
            services.register_processor, processor=_text(wish, "processor"), type=type_, quota=quota
        )
        await self._run(work)
        return self._answer({})

    async def _wait(self, request: Request, match: re.Match[str]) -> Response:
        type_ = _text(request.query, "type")
        seconds = _number(request.query, "seconds", highest=60)
        with self._bell.place(type_) as place:
            if await self._run(partial(services.job_waits, type=type_)):
                return self._answer({"notified": True})
            return self._answer({"notified": await place.wait(seconds)})

    async def _claim(self, request: Request, match: re.Match[str]) -> Response:
        wish = _object(request)
        work = partial(
            services.claim_job, processor=_text(wish, "processor"), type=_text(wish, "type"),
            lease_seconds=self._settings.lease_seconds, scribe=self._ledger.scribe,
            author=_author(request),
        )  # fmt: skip
        return self._answer({"job": await self._run(work) or None})

    async def _job(self, request: Request, match: re.Match[str]) -> Response:
        job_id, verb = int(match[1]), match[2]
        attempt = int(_number(_object(request), "attempt", highest=10**6))
        free: set[str] | None
        if verb == "heartbeat":
            renew = partial(
                services.renew_job,
                job_id=job_id,
                attempt=attempt,
                lease_seconds=self._settings.lease_seconds,
            )
            free = set() if await self._run(renew) else None
        else:
            end = partial(
                services.end_job, job_id=job_id, attempt=attempt, failed=verb == "fail",
                scribe=self._ledger.scribe, author=_author(request),
            )  # fmt: skip
            free = await self._run(end)
        if free is None:
            raise Refused(409, f"job {job_id} is no longer held by attempt {attempt}")
        self._bell.ring(*free)
        return self._answer({})

    async def _write_ledger(self, request: Request, match: re.Match[str]) -> Response:
        wish = _object(request)
        epoch = wish.get("epoch")
        who = Identity(
            _text(wish, "role"),
            _text(wish, "member") if wish.get("member") else None,
            _text(wish, "process"),
            epoch if isinstance(epoch, int) else None,
        )
        try:
            rows = rows_of_others(who, wish["entries"])
        except (KeyError, TypeError, ValueError, AttributeError) as problem:
            raise Refused(400, f"entries: {problem!r}; each needs seq, kind and at") from problem
        await self._run(partial(insert_rows, rows=rows))
        return self._answer({})

    async def _set_faults(self, request: Request, match: re.Match[str]) -> Response:
        if not self._settings.faults_allowed:
            raise Refused(403, "faults are off; start the server with DPE_SIMULATOR_FAULTS=1")
        try:
            self._faults.set(parse_fault(_object(request), now=time.monotonic()))
        except ValueError as problem:
            raise Refused(400, str(problem)) from problem
        return self._answer({})

    def _answer(self, value: Mapping[str, Any], *, status: int = 200) -> Response:
        who = self._ledger.scribe.identity
        whole = {**value, "member": who.member, "process": who.process}
        return Response(status, json.dumps(whole, separators=(",", ":")).encode() + b"\n")


def parse_workflow(
    wish: Mapping[str, Any], *, request_id: str | None, author: services.Author | None = None,
    attempt: str | None = None,
) -> services.NewWorkflow:  # fmt: skip
    """Read {"type", "title", "activities": [{"seconds"}], "jobs": [{"type", "seconds"}]}.

    Raises:
        Refused: 400 with field and value when something is missing or wrong.
    """
    jobs = _objects(wish, "jobs", holding="type and seconds")
    activities = _objects(wish, "activities", holding="seconds")
    try:
        title = parse_title(_text(wish, "title", longest=400))
    except ValueError as problem:
        raise Refused(400, str(problem)) from problem
    made = tuple(
        services.NewJob(_text(job, "type"), _number(job, "seconds", highest=86_400)) for job in jobs
    )
    seconds = tuple(_number(one, "seconds", highest=86_400) for one in activities)
    type_ = _text(wish, "type")
    return services.NewWorkflow(type_, title, made, request_id, seconds, author, attempt)


def _objects(wish: Mapping[str, Any], name: str, *, holding: str) -> list[dict[str, Any]]:
    found = wish.get(name, [])
    if (
        not isinstance(found, list)
        or len(found) > 1000
        or not all(isinstance(one, dict) for one in found)
    ):
        raise Refused(400, f"{name}: must be a list of up to 1000 objects with {holding}")
    return found


def _author(request: Request) -> services.Author | None:
    """Who sent it and why ("by"), and when this attempt was sent; goes to the ledger only."""
    by = _object(request).get("by")
    if not isinstance(by, dict):
        return None
    sent = request.headers.get("x-dpe-sent-at", "")
    return {**by, "sentAt": float(sent)} if _SECONDS.fullmatch(sent) else by


def _object(request: Request) -> dict[str, Any]:
    try:
        value = json.loads(request.body or b"{}")
    except ValueError as problem:
        raise Refused(400, f"the body is not JSON: {problem}") from problem
    if not isinstance(value, dict):
        raise Refused(400, "the body must be a JSON object")
    return value


def _text(source: Mapping[str, Any], name: str, *, longest: int = 100) -> str:
    value = source.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= longest or not value.isprintable():
        raise Refused(
            400, f"{name}: {value!r} must be a text of 1 to {longest} printable characters"
        )
    return value


def _number(source: Mapping[str, Any], name: str, *, highest: float) -> float:
    try:
        value = float(source.get(name, 0))
    except (TypeError, ValueError):
        value = -1.0
    if not 0 <= value <= highest:
        raise Refused(400, f"{name}: {source.get(name)!r} must be a number from 0 to {highest:g}")
    return value


def _request_id(request: Request) -> str | None:
    text = request.headers.get("x-dpe-request-id", "")
    return _printable(text) or None


def _attempt(request: Request) -> str | None:
    return _printable(request.headers.get("x-dpe-attempt", "")) or None


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:200])
