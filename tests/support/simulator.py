# SPDX-License-Identifier: Apache-2.0
"""Processes of the simulator on this machine, and a fail-over address before two of its servers."""

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
_LIBC = ctypes.CDLL(None)
BASE = "/DpeWebApplication"


def _die_with_parent() -> None:
    _LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)


def eventually(ask: Callable[[], bool], *, seconds: float = 30.0, what: str = "it") -> None:
    """Ask until the answer is yes.

    Raises:
        AssertionError: when it is not in time.
    """
    until = time.monotonic() + seconds
    while not ask():
        assert time.monotonic() < until, f"{what} did not happen within {seconds:g} s"
        time.sleep(0.05)


class Simulated:
    """One simulator process; its output goes to a file that a failing test can read."""

    def __init__(self, folder: Path, name: str, *arguments: str, **environment: str) -> None:
        self.log = folder / f"{name}.log"
        self._name = name
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "dpe_simulator", *arguments],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd=folder,
                env=_environment(environment),
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it sets one flag and takes no lock
            )  # fmt: skip

    def __enter__(self) -> "Simulated":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.communicate()

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def port(self) -> int:
        """The port of a server, once it listens."""
        pattern = re.compile(r"listens on 127\.0\.0\.1:(\d+)")
        eventually(
            lambda: self._ended() or bool(pattern.search(self.said)), what="a listening port"
        )
        found = pattern.search(self.said)
        assert found, f"{self._name} ended: {self.said}"
        return int(found[1])

    def end(self, number: int = signal.SIGTERM, *, within: float = 20.0) -> tuple[int, str]:
        """Send a signal; returns exit status and standard output."""
        self.process.send_signal(number)
        return self.wait(within=within)

    def wait(self, *, within: float = 30.0) -> tuple[int, str]:
        """Wait for the end; returns exit status and standard output."""
        output = self.process.communicate(timeout=within)[0].decode()
        return self.process.returncode, output

    def _ended(self) -> bool:
        return self.process.poll() is not None


def _environment(changes: Mapping[str, str]) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DPE_", "PG"))
    }
    return {**kept, "PYTHONPATH": f"{ROOT}/hack/simulator:{ROOT}/operator", **changes}


class FailoverAddress:
    """A TCP address that leads to one of several ports: the stand-in for a balancer in front of it.

    It moves to the next port when the present one refuses, and stays there.
    """

    def __init__(self, *ports: int) -> None:
        self._ports = list(ports)
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.port = 0

    def __enter__(self) -> "FailoverAddress":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(5)
        self._loop.close()

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        self._stop = asyncio.Event()
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            inner = await self._connect()
            await asyncio.gather(_pump(reader, inner[1]), _pump(inner[0], writer))
        writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        for _ in self._ports:
            try:
                return await asyncio.open_connection("127.0.0.1", self._ports[0])
            except ConnectionRefusedError:
                self._ports.append(self._ports.pop(0))
        raise ConnectionRefusedError("no server")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort()


@contextlib.contextmanager
def frozen(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Stop a process for a while."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)
