# SPDX-License-Identifier: Apache-2.0
"""kopf in its thread: when it ends by itself the operator hears of it, and ends too."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import kopf
import pytest

from dpe_operator.runtime import kopf_adapter, operator
from dpe_operator.runtime.health import Unwell
from dpe_operator.runtime.kopf_adapter import Refused, run_informer

Kopf = Callable[..., Coroutine[Any, Any, None]]


class ApiError(Exception):
    """As kopf raises them: it names the HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, {"code": status})
        self.status = status
        self.message = message


def plays(monkeypatch: pytest.MonkeyPatch, error: BaseException | None, *, deaf: int = 0) -> None:
    """Let a part of kopf end at once, while another one waits for `stop` in a thread of its loop.

    `deaf`: a third part swallows so many cancellations, as a watch does that is trying again.
    """

    async def fails() -> None:
        await asyncio.sleep(0.01)
        if error is not None:
            raise error

    async def stays() -> None:
        swallowed = 0
        while swallowed <= deaf:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed += 1

    async def play(*, stop_flag: threading.Event, **_: Any) -> list[asyncio.Task[None]]:
        async def waits() -> None:
            await asyncio.get_running_loop().run_in_executor(None, stop_flag.wait)

        started = [asyncio.create_task(part()) for part in (fails, waits, stays)]
        return started[:2]

    monkeypatch.setattr(kopf, "spawn_tasks", play)
    monkeypatch.setattr(kopf_adapter, "_END_SECONDS", 0.2)
    monkeypatch.setattr(kopf_adapter, "_CANCEL_SECONDS", 0.02)


async def watch(namespace: str = "studio", stop: asyncio.Event | None = None) -> None:
    informer = run_informer(
        lambda *_: None, namespace=namespace, started=lambda: None, stop=stop or asyncio.Event()
    )
    await asyncio.wait_for(informer, 10)


async def test_a_kopf_that_fails_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    plays(monkeypatch, ApiError(404, "could not find the requested resource"))
    with pytest.raises(Unwell, match="namespace studio has ended: could not find") as caught:
        await watch()
    assert not isinstance(caught.value, Refused)
    plays(monkeypatch, RuntimeError("no luck"))
    with pytest.raises(Unwell, match=r"all namespaces has ended: RuntimeError\('no luck'\)"):
        await watch("")


@pytest.mark.parametrize("deaf", [1, 3, 1000], ids=["as it is", "worse", "for ever"])
async def test_a_kopf_that_does_not_come_to_its_end_is_heard_of(
    monkeypatch: pytest.MonkeyPatch, deaf: int
) -> None:
    plays(monkeypatch, ApiError(403, "pods is forbidden"), deaf=deaf)
    with pytest.raises(Refused):
        await watch()


async def test_a_kopf_that_ends_without_an_error_is_heard_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for error in (None, asyncio.CancelledError()):
        plays(monkeypatch, error)
        with pytest.raises(Unwell, match="has ended"):
            await watch()


async def test_missing_rights_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    plays(monkeypatch, ApiError(403, "pods is forbidden"))
    with pytest.raises(Refused, match="pods is forbidden"):
        await watch()


async def test_an_end_that_was_asked_for_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    async def play(*, stop_flag: threading.Event, **_: Any) -> list[asyncio.Task[None]]:
        async def waits() -> None:
            await asyncio.get_running_loop().run_in_executor(None, stop_flag.wait)
            raise RuntimeError("some stream was just being opened")

        return [asyncio.create_task(waits())]

    monkeypatch.setattr(kopf, "spawn_tasks", play)
    stop = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stop.set)
    await watch(stop=stop)


# --- the process


async def ended(task: Coroutine[Any, Any, None], monkeypatch: pytest.MonkeyPatch) -> Unwell:
    """Let one task of the operator end, beside one that does not; return why the operator ends."""
    hard: list[Unwell] = []
    monkeypatch.setattr(operator, "_end_hard_after", lambda _, failure: hard.append(failure))
    other = asyncio.create_task(asyncio.sleep(3600))
    tasks = [other, asyncio.create_task(task, name="informer")]
    with pytest.raises(Unwell) as caught:
        await operator._until_stopped(tasks, asyncio.Event())
    assert hard == [caught.value]
    other.cancel()
    return caught.value


async def test_a_part_that_fails_ends_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unwell() -> None:
        raise Unwell("watching has ended")

    async def bug() -> None:
        raise KeyError("uid")

    async def returns() -> None:
        return

    assert str(await ended(unwell(), monkeypatch)) == "watching has ended"
    assert str(await ended(bug(), monkeypatch)) == "informer has ended: KeyError('uid')"
    assert str(await ended(returns(), monkeypatch)) == "informer has ended: None"
