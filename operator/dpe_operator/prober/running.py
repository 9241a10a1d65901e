# SPDX-License-Identifier: Apache-2.0
"""What commands that run a load share: an early end by a signal, and the result."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol


class Run(Protocol):
    """Something that runs for a while and can be told to stop."""

    def stop(self) -> None:
        """End early; `run` still returns its figures."""

    def run(self) -> Awaitable[dict[str, Any]]:
        """Run to the end and return figures."""


async def stoppable(make: Callable[[], Run]) -> dict[str, Any]:
    """Run until the end or a signal; either way there is a summary."""
    run = make()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, run.stop)
    return await run.run()


def check_destination(destination: str | None) -> None:
    """Make sure, before a run, that its result can be written; nothing in the file is changed.

    Raises:
        OSError: the file cannot be written.
    """
    if destination and destination != "-":
        with open(destination, "a", encoding="utf-8"):
            pass


def report(destination: str | None, value: dict[str, Any], text: str) -> None:
    """Write a result as JSON to a file and as text to standard output, or there as JSON (-).

    The text comes first: it is not lost with a file that can no longer be written.
    """
    if destination == "-":
        print(json.dumps(value, indent=1))
        return
    print(text, flush=True)
    if destination:
        Path(destination).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
