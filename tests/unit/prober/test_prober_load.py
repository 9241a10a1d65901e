# SPDX-License-Identifier: Apache-2.0
"""The load when something of the prober itself goes wrong: nothing vanishes, and the run goes on."""

import io
from typing import Any

import pytest

from dpe_operator.prober.http_client import Answer, Connection, Target
from dpe_operator.prober.load import Load, LoadSettings
from dpe_operator.prober.measure import table
from dpe_operator.prober.retry import RetryProfile


def settings(**changes: Any) -> LoadSettings:
    values: dict[str, Any] = {
        "target": Target("127.0.0.1", 1, "", None), "profile": RetryProfile(attempts=1),
        "connections": 2, "slow": 0, "rate": 20.0, "fresh_rate": 20.0, "seconds": 0.5,
    }  # fmt: skip
    return LoadSettings(**values | changes)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the connections give, in turn and from the beginning again; an exception is raised."""
    given: list[Any] = []
    asked = iter(range(10_000))

    async def request(*_: Any, **__: Any) -> Answer:
        one = given[next(asked) % len(given)]
        if isinstance(one, Exception):
            raise one
        found: Answer = one
        return found

    monkeypatch.setattr(Connection, "request", request)
    return given


GOOD = Answer(200, {"x-dpe-member": "a"}, b"ok")


async def test_an_unexpected_exception_is_a_failed_request_and_no_end_of_the_run(
    answers: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    answers += [GOOD, KeyError("no such thing")]
    seen = await Load(settings()).run()
    assert seen["requests"] == 20, "kept and new connections went on to the end"
    assert seen["failedAfterRetries"] == seen["errorKinds"]["internal"] == 10
    assert seen["classes"].keys() == {"keepAlive", "fresh"}
    assert seen["errors"][0]["text"] == "KeyError: 'no such thing'"
    assert "internal: 10 attempt(s)" in table(seen)
    told = capsys.readouterr().err
    assert told.count("Traceback") == 1, "once, with where it happened"
    assert "KeyError: 'no such thing'" in told


async def test_new_connections_all_of_which_fail_unexpectedly_are_not_forgotten(
    answers: list[Any],
) -> None:
    answers.append(RuntimeError("broken"))
    seen = await Load(settings(connections=0)).run()
    assert (seen["requests"], seen["succeeded"]) == (10, 0)


async def test_records_that_cannot_be_written_end_the_run_also_for_new_connections(
    answers: list[Any],
) -> None:
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            if not self.closed:
                self.close()
                raise OSError("no space left")
            return len(text)

    answers.append(GOOD)
    with pytest.raises(OSError, match="no space left"):
        await Load(settings(connections=0), records_to=Full()).run()
