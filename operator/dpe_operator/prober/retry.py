# SPDX-License-Identifier: Apache-2.0
"""When a client tries again: the published retry profile as a pure function."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from dpe_operator.prober.durations import parse_duration

PREFIX = "DPE_RETRY_"
_T = TypeVar("_T")


@dataclass(frozen=True)
class RetryProfile:
    """The retry behaviour that every component is given; times in seconds.

    The defaults are those of the operator's client profile.
    """

    attempts: int = 25
    initial_backoff: float = 0.25
    max_backoff: float = 2.0
    connect_timeout: float = 0.5
    request_timeout: float = 2.0
    total_budget: float = 20.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"{PREFIX}ATTEMPTS: {self.attempts} is below 1; 1 means no retry")
        for name in ("connect_timeout", "request_timeout", "total_budget"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{PREFIX}{name.upper()}: must be longer than 0, for example 2s")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "RetryProfile":
        """Read DPE_RETRY_ATTEMPTS, ..._INITIAL_BACKOFF and so on; what is absent keeps its default.

        Raises:
            ValueError: when a value cannot be read; names variable, value and cure.
        """
        values: dict[str, float] = {}
        for name in (
            "initial_backoff",
            "max_backoff",
            "connect_timeout",
            "request_timeout",
            "total_budget",
        ):
            variable = PREFIX + name.upper()
            if variable in environment:
                values[name] = parse_duration(environment[variable], field=variable)
        text = environment.get(PREFIX + "ATTEMPTS", str(cls.attempts))
        if not text.strip().isdecimal():
            raise ValueError(
                f"{PREFIX}ATTEMPTS: {text!r} is not a number of attempts, for example 25"
            )
        return cls(attempts=int(text), **values)

    def without_retry(self) -> "RetryProfile":
        """Return the same time limits with a single attempt."""
        return RetryProfile(
            1, self.initial_backoff, self.max_backoff, self.connect_timeout, self.request_timeout
        )


def pause_after(
    profile: RetryProfile, *, attempt: int, spent: float, jitter: float
) -> float | None:
    """Return the seconds to wait after a failed attempt, or None when it was the last one.

    Args:
        profile: the retry profile.
        attempt: number of the attempt that failed, the first is 1.
        spent: seconds since the first attempt began.
        jitter: 0 to 1, drawn by the caller; the pause is 50 to 100 % of the published one, so that
            many clients do not come back in the same instant.
    """
    if attempt >= profile.attempts:
        return None
    full = min(profile.initial_backoff * 2 ** (attempt - 1), profile.max_backoff)
    pause = full * (0.5 + 0.5 * jitter)
    return None if spent + pause >= profile.total_budget else pause


class AttemptFailed(Exception):
    """One attempt failed in a way that is worth another one, or not."""

    def __init__(self, kind: str, text: str, *, retryable: bool = True) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text
        self.retryable = retryable


@dataclass(frozen=True)
class Clockwork:
    """What time is and how to wait for it; tests give a false one."""

    now: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]]
    jitter: Callable[[], float]


REAL_TIME = Clockwork(time.monotonic, asyncio.sleep, random.random)


async def with_retries(
    profile: RetryProfile,
    attempt: Callable[[int], Awaitable[_T]],
    *,
    clockwork: Clockwork,
    on_failure: Callable[[int, AttemptFailed], None] = lambda number, failure: None,
) -> _T:
    """Run `attempt` (it is given its number, from 1) until it succeeds or the profile is used up.

    Raises:
        AttemptFailed: the failure of the last attempt.
    """
    begun = clockwork.now()
    number = 1
    while True:
        try:
            return await attempt(number)
        except AttemptFailed as failure:
            on_failure(number, failure)
            spent = clockwork.now() - begun
            pause = pause_after(profile, attempt=number, spent=spent, jitter=clockwork.jitter())
            if pause is None or not failure.retryable:
                raise
        await clockwork.sleep(pause)
        number += 1
