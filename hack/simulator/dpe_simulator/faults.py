# SPDX-License-Identifier: Apache-2.0
"""Faults that a test can switch on in a running server: slow, hanging, wrong answers."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from dpe_simulator.http_server import Response


@dataclass(frozen=True)
class Fault:
    """What is wrong now, for requests whose path (behind the base path) begins with `path`."""

    path: str = "/"
    slow_seconds: float = 0.0
    hang: bool = False
    body: str | None = None
    status: int | None = None
    until: float = float("inf")


NO_FAULT = Fault()


def parse_fault(wish: Mapping[str, Any], *, now: float) -> Fault:
    """Read {"path", "slowSeconds", "hang", "body", "status", "forSeconds"}; {} means no fault.

    Raises:
        ValueError: when a field is unknown or has the wrong kind of value; names the field.
    """
    fault = NO_FAULT
    for name, value in wish.items():
        match name, value:
            case "path", str():
                fault = replace(fault, path=value)
            case "slowSeconds", int() | float():
                fault = replace(fault, slow_seconds=float(value))
            case "hang", bool():
                fault = replace(fault, hang=value)
            case "body", str():
                fault = replace(fault, body=value)
            case "status", int() if 200 <= value <= 599:
                fault = replace(fault, status=value)
            case "forSeconds", int() | float():
                fault = replace(fault, until=now + value)
            case _:
                raise ValueError(
                    f"fault {name}: {value!r} is not understood; see hack/simulator/README.md"
                )
    return fault


class FaultSwitch:
    """Holds the present fault and applies it."""

    def __init__(self) -> None:
        self._fault = NO_FAULT
        self._changed = asyncio.Event()

    def set(self, fault: Fault) -> None:
        """Replace the present fault; requests that hang go on."""
        self._fault = fault
        self._changed.set()
        self._changed = asyncio.Event()

    def present(self, path: str) -> Fault:
        """The fault that a path meets now."""
        fault = self._fault
        return fault if path.startswith(fault.path) and time.monotonic() < fault.until else NO_FAULT

    async def before(self, path: str) -> None:
        """Wait as the fault asks for: slow for its time, hanging until it is taken away."""
        fault = self.present(path)
        if fault.slow_seconds:
            await asyncio.sleep(fault.slow_seconds)
        while self.present(path).hang:
            remaining = self._fault.until - time.monotonic()
            try:
                async with asyncio.timeout(
                    None if remaining == float("inf") else max(0.0, remaining)
                ):
                    await self._changed.wait()
            except TimeoutError:
                return

    def falsify(self, response: Response, *, path: str) -> Response:
        """Put the wrong body or status into an answer."""
        fault = self.present(path)
        if fault.body is not None:
            response = replace(response, body=fault.body.encode(), content_type="text/plain")
        return response if fault.status is None else replace(response, status=fault.status)
