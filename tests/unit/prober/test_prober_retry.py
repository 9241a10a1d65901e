# SPDX-License-Identifier: Apache-2.0
"""The retry profile: what is read from the environment, and when the next attempt comes."""

import pytest

from dpe_operator.prober.durations import parse_duration
from dpe_operator.prober.retry import (
    AttemptFailed,
    Clockwork,
    RetryProfile,
    pause_after,
    with_retries,
)

PROFILE = RetryProfile(attempts=5, initial_backoff=0.25, max_backoff=1.0, total_budget=20)


class FalseTime:
    """A clock that only moves when somebody sleeps or works."""

    def __init__(self) -> None:
        self.now = 100.0
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def clockwork(self, jitter: float = 1.0) -> Clockwork:
        return Clockwork(lambda: self.now, self.sleep, lambda: jitter)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("2s", 2.0), ("1.5s", 1.5), ("1m", 60.0), ("3", 3.0), (" 20s ", 20.0)],
)
def test_times_are_read_as_people_write_them(text: str, seconds: float) -> None:
    assert parse_duration(text, field="x") == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "fast", "-1s", "1 h 2", "1d", "2s3"])
def test_a_wrong_time_is_refused_with_field_value_and_cure(text: str) -> None:
    with pytest.raises(ValueError, match=r"DPE_RETRY_X: .* is not a time; write for example 250ms"):
        parse_duration(text, field="DPE_RETRY_X")


def test_the_profile_is_read_from_the_names_that_the_operator_gives() -> None:
    profile = RetryProfile.from_environment(
        {
            "DPE_RETRY_ATTEMPTS": "6",
            "DPE_RETRY_INITIAL_BACKOFF": "100ms",
            "DPE_RETRY_MAX_BACKOFF": "3s",
            "DPE_RETRY_CONNECT_TIMEOUT": "400ms",
            "DPE_RETRY_REQUEST_TIMEOUT": "2500ms",
            "DPE_RETRY_TOTAL_BUDGET": "30000ms",
        }
    )
    assert profile == RetryProfile(6, 0.1, 3.0, 0.4, 2.5, 30.0)


def test_what_is_absent_keeps_the_default_of_the_client_profile() -> None:
    assert RetryProfile.from_environment({}) == RetryProfile(25, 0.25, 2.0, 0.5, 2.0, 20.0)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ATTEMPTS", "0"),
        ("ATTEMPTS", "many"),
        ("ATTEMPTS", "2²"),
        ("CONNECT_TIMEOUT", "0s"),
        ("MAX_BACKOFF", "long"),
    ],
)
def test_a_wrong_profile_names_the_variable(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"DPE_RETRY_{name}"):
        RetryProfile.from_environment({f"DPE_RETRY_{name}": value})


def test_pauses_double_up_to_the_longest() -> None:
    pauses = [pause_after(PROFILE, attempt=n, spent=0, jitter=1.0) for n in (1, 2, 3, 4, 5)]
    assert pauses == [0.25, 0.5, 1.0, 1.0, None]


def test_jitter_makes_a_pause_shorter_never_longer() -> None:
    assert pause_after(PROFILE, attempt=1, spent=0, jitter=0.0) == 0.125


def test_no_attempt_begins_after_the_budget() -> None:
    assert pause_after(PROFILE, attempt=1, spent=19.7, jitter=1.0) == 0.25
    assert pause_after(PROFILE, attempt=1, spent=19.75, jitter=1.0) is None


async def test_an_attempt_that_succeeds_ends_the_retries() -> None:
    time, failures = FalseTime(), []

    async def attempt(number: int) -> str:
        if number < 3:
            raise AttemptFailed("refused", "nobody listens")
        return f"answer {number}"

    answer = await with_retries(
        PROFILE, attempt, clockwork=time.clockwork(),
        on_failure=lambda number, failure: failures.append((number, failure.kind)),
    )  # fmt: skip
    assert (answer, time.pauses) == ("answer 3", [0.25, 0.5])
    assert failures == [(1, "refused"), (2, "refused")]


async def test_the_last_failure_is_reported_when_the_attempts_are_used_up() -> None:
    time = FalseTime()

    async def attempt(number: int) -> str:
        raise AttemptFailed("reset", f"attempt {number}")

    with pytest.raises(AttemptFailed, match="attempt 5"):
        await with_retries(PROFILE, attempt, clockwork=time.clockwork())
    assert len(time.pauses) == 4


async def test_the_time_of_hanging_attempts_counts_for_the_budget() -> None:
    time, tried = FalseTime(), []

    async def attempt(number: int) -> str:
        tried.append(number)
        time.now += 9.5
        raise AttemptFailed("request-timeout", "no answer")

    with pytest.raises(AttemptFailed):
        await with_retries(PROFILE, attempt, clockwork=time.clockwork())
    assert tried == [1, 2, 3]


async def test_a_wrong_certificate_is_not_tried_again() -> None:
    time = FalseTime()

    async def attempt(number: int) -> str:
        raise AttemptFailed("certificate", "unknown authority", retryable=False)

    with pytest.raises(AttemptFailed, match="certificate"):
        await with_retries(PROFILE, attempt, clockwork=time.clockwork())
    assert time.pauses == []
