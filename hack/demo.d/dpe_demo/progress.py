# SPDX-License-Identifier: Apache-2.0
"""How the demo tells what it does: one line a step with its time, plain when not on a terminal."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class DemoError(Exception):
    """Something stopped the demo; *cure* says what to do about it."""

    def __init__(self, problem: str, *, cure: str) -> None:
        super().__init__(problem)
        self.cure = cure


class Progress:
    """Numbers and times the steps of one run."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._step = 0
        self._begun = time.monotonic()
        self._lively = sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._begun

    def note(self, text: str) -> None:
        """Say something beside the steps."""
        self._print(f"          {text}")

    @contextmanager
    def step(self, title: str, *, noisy: bool = False) -> Iterator[None]:
        """Announce a step and say how long it took; *noisy* ones tell progress themselves."""
        self._step += 1
        head = f"[{self._step}/{self._steps}] {title}"
        begun = time.monotonic()
        stop, ticker = threading.Event(), None
        if self._lively and not noisy:
            ticker = threading.Thread(target=self._tick, args=(head, begun, stop), daemon=True)
            ticker.start()
        else:
            self._print(f"{self._clock()} {head}")
        try:
            yield
        except BaseException:
            self._end(ticker, stop)
            self._print(f"{self._clock()} {head}: stopped")
            raise
        self._end(ticker, stop)
        took = time.monotonic() - begun
        self._print(f"{self._clock()} {head}: done in {took:.0f} s")

    def _end(self, ticker: threading.Thread | None, stop: threading.Event) -> None:
        stop.set()
        if ticker:
            ticker.join()
            self._print("\r\033[K", end="")

    def _tick(self, head: str, begun: float, stop: threading.Event) -> None:
        while not stop.wait(0.25):
            self._print(f"\r{self._clock()} {head} ({time.monotonic() - begun:.0f} s) ", end="")

    def _clock(self) -> str:
        return f"[{self.seconds:5.0f}s]"

    @staticmethod
    def _print(text: str, *, end: str = "\n") -> None:
        print(text, end=end, file=sys.stderr, flush=True)
