# SPDX-License-Identifier: Apache-2.0
"""A component's way to DPE: one base URL, JSON, retries by the published profile."""

import json
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from dpe_operator.prober.http_client import Answer, Call, Connection, Target
from dpe_operator.prober.retry import REAL_TIME, AttemptFailed, RetryProfile, with_retries


class ApiClient:
    """Keep-alive connections to one base URL; as many as there are calls at the same time."""

    def __init__(
        self,
        target: Target,
        profile: RetryProfile,
        *,
        on_failure: Callable[[str, AttemptFailed], None] = lambda what, failure: None,
    ) -> None:
        self._target = target
        self._profile = profile
        self._on_failure = on_failure
        self._idle: list[Connection] = []
        self._name = secrets.token_hex(4)
        self._count = 0

    async def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        extra_seconds: float = 0.0,
        request_id: str | None = None,
        earlier: int = 0,
    ) -> Answer:
        """Send a request until it is answered or the profile is used up.

        Args:
            method: GET or POST.
            path: path behind the base path.
            body: JSON object to send.
            extra_seconds: how long the server may wait before it answers, added to the time limit.
            request_id: id for the ledger, of a request that was given up before; None: a new one.
            earlier: how many attempts were made before with that id.

        Raises:
            AttemptFailed: the failure of the last attempt.
        """
        identity = request_id or self.new_id()
        payload = b"" if body is None else json.dumps(body).encode()

        async def attempt(number: int) -> Answer:
            headers = {
                "X-DPE-Request-Id": identity, "X-DPE-Attempt": str(earlier + number),
                "X-DPE-Sent-At": f"{time.time():.6f}",
            }  # fmt: skip
            if payload:
                headers["Content-Type"] = "application/json"
            connection = self._idle.pop() if self._idle else self._new()
            limit = self._profile.request_timeout + extra_seconds
            answer = await connection.request(Call(method, path, payload, headers), within=limit)
            self._idle.append(connection)
            return answer

        return await with_retries(
            self._profile, attempt, clockwork=REAL_TIME,
            on_failure=lambda number, failure: self._on_failure(
                f"{method} {path} attempt {number}", failure
            ),
        )  # fmt: skip

    def new_id(self) -> str:
        """Return an id for a request."""
        self._count += 1
        return f"{self._name}-{self._count}"

    def close(self) -> None:
        """Close the idle connections."""
        while self._idle:
            self._idle.pop().close()

    def _new(self) -> Connection:
        return Connection(self._target, connect_timeout=self._profile.connect_timeout)
