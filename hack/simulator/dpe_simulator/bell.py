# SPDX-License-Identifier: Apache-2.0
"""Notification of processors about new jobs.

It lives in the memory of one server: nothing public says that two DPE Servers tell each other. A
processor that waits at the other server finds the job with its next poll.
"""

import asyncio
from collections import defaultdict


class Bell:
    """Wakes whoever waits for a job type."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, set[asyncio.Event]] = defaultdict(set)
        self._closed = False

    def ring(self, *types: str) -> None:
        """Wake all that wait for one of the types."""
        for type_ in types:
            for event in self._waiting.get(type_, ()):
                event.set()

    def close(self) -> None:
        """Wake everybody and let nobody wait any more; the server is about to stop."""
        self._closed = True
        self.ring(*self._waiting)

    def place(self, type_: str) -> "Place":
        """Take a place at the bell; rings from now on are not missed."""
        place = Place(self._waiting, type_)
        if self._closed:
            place.event.set()
        return place


class Place:
    """A place at the bell, as a context manager."""

    def __init__(self, waiting: defaultdict[str, set[asyncio.Event]], type_: str) -> None:
        self._waiting = waiting
        self._type = type_
        self.event = asyncio.Event()

    def __enter__(self) -> "Place":
        self._waiting[self._type].add(self.event)
        return self

    def __exit__(self, *_: object) -> None:
        self._waiting[self._type].discard(self.event)
        if not self._waiting[self._type]:
            del self._waiting[self._type]

    async def wait(self, seconds: float) -> bool:
        """Wait for a ring; False when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                await self.event.wait()
        except TimeoutError:
            return False
        return True
