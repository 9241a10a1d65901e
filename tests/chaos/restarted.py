# SPDX-License-Identifier: Apache-2.0
"""Processes of the simulator that are started again a moment after they have ended."""

from __future__ import annotations

import random
from pathlib import Path

from tests.support.elector_pods import boot
from tests.support.ports import free_port
from tests.support.simulator import BASE, Simulated

# the farm's name, and the type of its jobs
FARM = "audio"


class Restarted:
    """One such process, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._restart_at = 0.0
        self.process: Simulated | None = None

    def launch(self) -> Simulated:
        """Start the process."""
        raise NotImplementedError

    def start(self) -> None:
        """Start it, as a child of the calling thread: it dies with that."""
        self.close()
        self.process = self.launch()

    @property
    def pid(self) -> int:
        """Its process; 0: it has ended."""
        running = self.process is not None and self.process.process.poll() is None
        return self.process.process.pid if running and self.process else 0

    def tend(self, dice: random.Random) -> None:
        """Start it again, a moment after it has ended."""
        if self.pid:
            self._restart_at = 0.0
        elif not self._restart_at:
            self._restart_at = boot() + (dice.uniform(0.3, 1.5) if self.process else 0.0)
        elif boot() >= self._restart_at:
            self.start()

    def close(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.__exit__(None, None, None)


class Server(Restarted):
    """A simulated DPE Server, on the same port at each start."""

    def __init__(self, name: str, folder: Path, dsn: str) -> None:
        super().__init__(name)
        self.port = free_port()
        self._folder = folder
        self._dsn = dsn

    def launch(self) -> Simulated:
        """Start it; a job is given to another processor 3 s after the last sign of life."""
        where = ("--member", self.name, "--host", "127.0.0.1", "--port", str(self.port))
        return Simulated(
            self._folder, f"server-{self.name}", "server", *where, "--dsn", self._dsn,
            "--lease", "3s",
        )  # fmt: skip


class Processor(Restarted):
    """A processor of the farm, a job or two at a time."""

    def __init__(self, letter: str, folder: Path, url: str) -> None:
        super().__init__(f"{FARM}-{letter}")
        self._folder = folder
        self._url = f"{url}{BASE}"

    def launch(self) -> Simulated:
        """Start it."""
        return Simulated(
            self._folder, f"processor-{self.name}", "processor", "--url", self._url,
            "--type", FARM, "--poll", "300ms", "--grace", "1s",
        )  # fmt: skip


def pids_of(one: Restarted) -> list[int]:
    """Its process, while there is one."""
    return [one.pid] if one.pid else []
