# SPDX-License-Identifier: Apache-2.0
"""The singletons of the site: components of which one of two pods acts, and a kubelet for them."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.support import elector_pods
from tests.support.elector_pods import COMMAND, ROOT, Pod, boot
from tests.support.simulator import BASE

MEMORY = ROOT / "operator/dpe_memory"
# 2.5 s x 1.02 + 1 s to kill = 3.55 s: the margin of 0.4 s is for a machine that is kept busy
QUICK = ("--lease-duration", "4", "--renew-deadline", "2.5", "--retry-period", "0.5")
GRACE_SECONDS = 2
SHIFTED = ROOT / "tests/chaos/shifted_elector"
# Ends at once while the file is there: a crash loop.
_WRAPPED = 'crash=$1; shift; [ ! -e "$crash" ] || exit 3; exec "$@"'


@dataclass(frozen=True)
class Component:
    """A component: its role for the ledger ("actor": a command that only acts, every 3 ms), the
    arguments of its command, and whether it has a memory, or a clock of its own."""

    name: str
    role: str
    arguments: Sequence[str] = ()
    memory: bool = False
    clock: bool = False


@dataclass
class Place:
    """Where everything of a round lies, and how the API server is reached.

    elector, haproxy: another elector, and what is replaced in the configuration of HAProxy by what,
    to see that the checker finds what they do wrong.
    """

    folder: Path
    namespace: str
    url: str
    api_url: str
    ca_file: Path
    token: str
    elector: Path = elector_pods.ELECTOR
    timings: Sequence[str] = QUICK
    haproxy: tuple[str, str] = ("", "")


class Candidate:
    """One of the two pods of a component; the same name again after it was deleted, with another
    UID."""

    _piped = False

    def __init__(self, component: Component, letter: str, place: Place) -> None:
        self.component = component
        self.name = f"{component.name}-{letter}"
        self.folder = place.folder / self.name
        self.folder.mkdir()
        self._place = place
        self.proxy = elector_pods.Proxy(int(place.api_url.rpartition(":")[2]))
        self.token_file = self.folder / "token"
        self.good_token()
        self.crash_file = place.folder / f"{component.name}.crash"
        self.clock_file = self.folder / "clock"
        self.records = self.folder / "records"
        self.set_clock("+0")
        self._births = 0
        self.ends_by: float | None = None
        self.restart_at = 0.0
        self.pod = self._new_pod()

    # --- what can be done to it

    def good_token(self) -> None:
        """Give it its token (again)."""
        self._write(self.token_file, self._place.token)

    def bad_token(self) -> None:
        """Give it one that the API server does not take."""
        self._write(self.token_file, "not-a-token")

    def set_clock(self, text: str) -> None:
        """Set its wall clock ahead of the machine's ("+2") or back ("-2")."""
        self._write(self.clock_file, text + "\n")

    @staticmethod
    def _write(path: Path, text: str) -> None:
        fresh = path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(path)

    def delete(self) -> None:
        """What kubelet does with a deleted pod: SIGTERM, and SIGKILL after the grace; a pod with
        another UID follows."""
        self.ends_by = boot() + GRACE_SECONDS + 4
        self.pod.terminate()

    def guard(self) -> int:
        """PID of the guard; 0: there is none."""
        with contextlib.suppress(AssertionError, IndexError, OSError):
            return 0 if self.pod.ended else self.pod.guard
        return 0

    def elector(self) -> int:
        """PID of the elector; 0: there is none."""
        for pid in _children(self.guard()):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if str(self._program).encode() in words:
                    return pid
        return 0

    def everything(self) -> list[int]:
        """PIDs of all of it, the guard first: what loses its parent becomes the guard's child."""
        guard = self.guard()
        return [guard, *_descendants(guard)] if guard else []

    def commands(self) -> list[int]:
        """PIDs of everything that is neither guard nor elector (nor a child of the elector)."""
        elector = self.elector()
        own = {elector, *_descendants(elector)}
        return [pid for pid in self.everything()[1:] if pid not in own]

    def acts(self) -> bool:
        """Whether its command runs."""
        elector = self.elector()
        return any(pid != elector for pid in _children(self.guard()))

    # --- what kubelet does

    def tend(self, dice: random.Random) -> None:
        """Start what has ended, a moment later; end by force what was deleted and did not end."""
        if not self.pod.ended:
            if self.ends_by is not None and boot() > self.ends_by and (guard := self.guard()):
                with contextlib.suppress(OSError):
                    os.kill(guard, signal.SIGKILL)
            self.restart_at = 0.0
            return
        if not self.restart_at:
            self.restart_at = boot() + dice.uniform(0.1, 0.8)
        if boot() >= self.restart_at:
            if self.ends_by is not None:
                self.ends_by = None
                self.pod = self._new_pod()
            self.pod.start()

    def close(self) -> None:
        """End everything of it."""
        self.pod.close()
        self.proxy.close()

    # --- making of

    def _new_pod(self) -> Pod:
        self._births += 1
        uid = f"uid-{self.name}-{self._births}"
        place = self._place
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT / 'hack/simulator'}",
            "DPE_API_SERVER": f"https://127.0.0.1:{self.proxy.port}",
            "DPE_API_TOKEN_FILE": str(self.token_file),
            "DPE_API_CA_FILE": str(place.ca_file),
            "DPE_WORKFLOW_MEMBER": self.name,
            "DPE_MEMORY_PATH": str(self._link) if self.component.memory else "",
        }
        for prefix in ("DPE_ELECTOR", "DPE_MEMORY"):
            environment |= {
                f"{prefix}_POD_NAME": self.name,
                f"{prefix}_POD_UID": uid,
                f"{prefix}_POD_NAMESPACE": place.namespace,
            }
        if self.component.clock:
            environment |= {
                "DPE_ELECTOR_CHAOS_CLOCK": str(self.clock_file),
                "DPE_ELECTOR_CHAOS_PROGRAM": str(place.elector),
            }
        environment |= self._more_environment(uid)
        return Pod(
            self.name,
            self.folder,
            environment=environment,
            bare={},
            flags=("--lease", self.component.name, "--probe-port", "0", *self._flags()),
            command=["/bin/sh", "-c", _WRAPPED, "sh", str(self.crash_file), *self._command()],
            program=self._program,
            piped=self._piped,
        )

    def _flags(self) -> tuple[str, ...]:
        needs = ("--needs", str(self.volume)) if self.component.memory else ()
        return (*self._place.timings, "--grace", str(GRACE_SECONDS), *needs)

    def _more_environment(self, uid: str) -> dict[str, str]:
        """Variables of one kind of pod, beside those that all have."""
        return {}

    @property
    def python(self) -> str:
        """The interpreter."""
        return sys.executable

    @property
    def _program(self) -> Path:
        return SHIFTED if self.component.clock else self._place.elector

    @property
    def _link(self) -> Path:
        return self.folder / "memory"

    @property
    def volume(self) -> Path:
        return self._place.folder / "volume"

    def _command(self) -> list[str]:
        if self.component.role == "actor":
            journal = str(self.folder / f"{self.name}.journal")
            return [sys.executable, "-I", "-S", "-c", COMMAND, journal, "0", "no"]
        command = [
            *(sys.executable, "-m", "dpe_simulator", self.component.role),
            *("--name", self.component.name, "--url", f"{self._place.url}{BASE}"),
            *("--heartbeat", "250ms", "--records", str(self.records)),
            *self.component.arguments,
        ]
        return [*self._memory(), *command] if self.component.memory else command

    def _memory(self) -> list[str]:
        name = self.component.name
        return [
            *(sys.executable, "-I", "-B", "-S", "-u", str(MEMORY)),
            *("--volume", str(self.volume), "--folder", f"{self.component.role}-{name}"),
            *("--owner", f"chaos/{self.component.role}/{name}", "--link", str(self._link)),
            *("--lease", name, "--"),
        ]


def _children(pid: int) -> list[int]:
    if not pid:
        return []
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split()]


def _descendants(pid: int) -> list[int]:
    found = []
    for child in _children(pid):
        found += [child, *_descendants(child)]
    return found


class Tended(Protocol):
    """What a kubelet looks after."""

    def tend(self, dice: random.Random) -> None:
        """Start again what has ended."""


class Kubelet:
    """Starts again what has ended, for all candidates, until `close`."""

    def __init__(self, candidates: Sequence[Tended], seed: str) -> None:
        self._candidates = candidates
        self._dice = random.Random(seed)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Start nothing more."""
        self._closed.set()
        self._thread.join(15)

    def _run(self) -> None:
        while not self._closed.wait(0.05):
            for candidate in self._candidates:
                with contextlib.suppress(AssertionError, OSError):
                    candidate.tend(self._dice)


def wait_until(look: Callable[[], bool], seconds: float) -> bool:
    """Whether it became true within `seconds`."""
    end = time.monotonic() + seconds
    while not look():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def empty_folder(path: Path) -> Path:
    """An empty folder, whatever was there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path
