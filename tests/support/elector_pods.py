# SPDX-License-Identifier: Apache-2.0
"""Containers with an elector, as real processes on this machine, and a network that can fail.

A `Pod` runs dpe-elector as PID 1 of a PID namespace of its own, like a container does, so the real
kill(-1) is tested and reaches nothing but the pod. Its command writes the boot time into a journal
every few milliseconds: an *act*. Two pods that act at the same time can be seen in their journals.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.support.log_pipe import kept_in

from dpe_elector.api_client import ApiClient, ApiError

ROOT = Path(__file__).resolve().parents[2]
ELECTOR = ROOT / "operator/dpe_elector"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
NEVER_HELD = {"dpe.dev/elector-record": '{"state":"released","epoch":0}'}

# Writes "EPOCH BOOTTIME WHO" every 3 ms. Arguments: journal, what to do at SIGTERM (end, ignore or
# the seconds to go on), and `daemon` for a second process that nothing but kill(-1) finds.
COMMAND = """
import os, signal, sys, time
journal, at_term, daemon = sys.argv[1:4]
epoch = os.environ.get("DPE_ELECTOR_EPOCH", "0")
who = "command"
def note(what):
    line = f"{epoch} {time.clock_gettime(time.CLOCK_BOOTTIME):.6f} {what} {os.getpid()}\\n"
    os.write(out, line.encode())
def term(*_):
    note("sigterm")
    if at_term != "ignore":
        time.sleep(float(at_term))
        note("end")
        os._exit(0)
out = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
signal.signal(signal.SIGTERM, term)
note("start")
if daemon == "daemon" and os.fork() == 0:
    os.setsid()
    if os.fork():
        os._exit(0)
    who = "daemon"
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
while who == "daemon" or not os.path.exists(journal + ".exit"):
    note(who)
    time.sleep(0.003)
os.unlink(journal + ".exit")
os._exit(3)
"""


def boot() -> float:
    """Return the boot time, the clock of the journals."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def until(what: Callable[[], Any], *, seconds: float = 10.0, why: str = "") -> Any:
    """Return the first true value of `what`; fails after `seconds`."""
    end = time.monotonic() + seconds
    while True:
        value = what()
        if value:
            return value
        assert time.monotonic() < end, f"not within {seconds} s: {why or what}"
        time.sleep(0.01)


@dataclass(frozen=True)
class Act:
    """A line of a journal: `what` is start, sigterm, end, command or daemon."""

    epoch: int
    at: float
    what: str
    pid: int


class Proxy:
    """A TCP proxy before the API server: passes, refuses, or swallows everything (`cut`)."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._cut = False
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """From now on nothing passes and nothing is answered, like a cut cable."""
        self._cut = True

    def heal(self) -> None:
        """Pass again; connections of the time of the cut stay dead."""
        self._cut = False

    def close(self) -> None:
        """End it and all connections."""
        # closing alone would not wake the thread that waits for the next connection
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                inside, _ = self._server.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(inside,), daemon=True).start()

    def _serve(self, inside: socket.socket) -> None:
        try:
            outside = socket.create_connection(("127.0.0.1", self._target), timeout=5)
        except OSError:
            inside.close()
            return
        with inside, outside:
            with self._lock:
                self._open |= {inside, outside}
            with contextlib.suppress(OSError):
                self._pass(inside, outside)
            with self._lock:
                self._open -= {inside, outside}

    def _pass(self, inside: socket.socket, outside: socket.socket) -> None:
        dead = False
        other = {inside: outside, outside: inside}
        while True:
            for readable in select.select([inside, outside], [], [], 1)[0]:
                data = readable.recv(65536)
                dead = dead or self._cut
                if not data:
                    return
                if not dead:
                    other[readable].sendall(data)


class Pod:
    """One container: guard as PID 1, elector, command."""

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        environment: Mapping[str, str],
        flags: Sequence[str],
        at_term: str = "0",
        daemon: bool = False,
        stderr: int | None = None,
        command: Sequence[str] | None = None,
        bare: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        program: Path = ELECTOR,
        piped: bool = False,
        own_session: bool = False,
    ) -> None:
        """Describe it. `command` replaces the one with a journal, `bare` the variables that name
        the pod, `program` the elector. `piped`: what it says goes to the log over a pipe.
        `own_session`: it has not the terminal of whoever runs the tests."""
        self.name = name
        self.journal = folder / f"{name}.journal"
        self.state_file = folder / f"{name}.role"
        self.log = folder / f"{name}.log"
        self._command = [
            *namespace_of_its_own(),
            sys.executable, "-I", "-S", str(program),
            *flags, "--state-file", str(self.state_file), "--",
            *(command or self._acting_command(at_term, daemon=daemon)),
        ]  # fmt: skip
        usual = {"POD_NAME": name, "POD_UID": f"uid-{name}"}
        self._environment = {**environment, **(usual if bare is None else bare)}
        self._pass_fds = pass_fds
        self._program = str(program).encode()
        self._stderr = stderr
        self._piped = piped
        self._own_session = own_session
        self._process: subprocess.Popen[bytes] | None = None

    def _acting_command(self, at_term: str, *, daemon: bool) -> list[str]:
        words = [str(self.journal), at_term, "daemon" if daemon else "no"]
        return [sys.executable, "-I", "-S", "-c", COMMAND, *words]

    def start(self) -> Self:
        """Start the container."""
        with kept_in(self.log) if self._piped else self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log if self._stderr is None else self._stderr,
                pass_fds=self._pass_fds,
                start_new_session=self._own_session,
            )
        until(lambda: self._children(self._process.pid), why="PID 1")  # type: ignore[union-attr]
        return self

    @property
    def guard(self) -> int:
        """PID of the guard, seen from outside."""
        assert self._process is not None
        return self._children(self._process.pid)[0]

    @property
    def elector(self) -> int:
        """PID of the elector; waits for one."""

        def find() -> int:
            for pid in self._children(self.guard):
                with contextlib.suppress(OSError):
                    if self._program in Path(f"/proc/{pid}/cmdline").read_bytes():
                        return pid
            return 0

        return int(until(find, why=f"elector of {self.name}"))

    def processes(self) -> list[int]:
        """PIDs of everything in the container."""
        space = os.readlink(f"/proc/{self.guard}/ns/pid")
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and os.readlink(entry / "ns/pid") == space:
                    found.append(int(entry.name))
        return found

    def terminate(self) -> None:
        """What kubelet does first when the pod is deleted."""
        os.kill(self.guard, signal.SIGTERM)

    def wait(self, seconds: float = 15.0) -> int:
        """Wait for the end of the container, return its exit status (128 + N for a signal)."""
        assert self._process is not None
        return self._process.wait(seconds)

    def wait_fenced(self, seconds: float = 15.0) -> None:
        """Wait until what acted was killed, as no renewal came, and nothing of it is left. The
        container stays."""
        until(
            lambda: "nothing of it is left" in self.log.read_text(),
            seconds=seconds,
            why=f"what acted in {self.name} is killed",
        )
        assert not self.ended

    @property
    def ended(self) -> bool:
        """Whether the container has ended."""
        return self._process is None or self._process.poll() is not None

    def end_command(self) -> None:
        """Have the command exit by itself, with status 3."""
        Path(f"{self.journal}.exit").touch()

    def acts(self, *kinds: str) -> list[Act]:
        """Return the journal, or only the lines of these kinds."""
        if not self.journal.exists():
            return []
        found = []
        for line in self.journal.read_text().splitlines():
            epoch, at, what, pid = line.split()
            if not kinds or what in kinds:
                found.append(Act(int(epoch), float(at), what, int(pid)))
        return found

    @property
    def acting(self) -> bool:
        """Whether the command acted within the last 50 ms."""
        acts = self.acts()
        return bool(acts) and boot() - acts[-1].at < 0.05

    def role(self) -> dict[str, Any]:
        """Return the state file."""
        if not self.state_file.exists():
            return {"role": "none"}
        return dict(json.loads(self.state_file.read_text()))

    def holds(self) -> bool:
        """Whether the command, by its state file, may take itself for the holder's."""
        role = self.role()
        return bool(role["role"] == "holder" and boot() < role["validUntil"])

    def close(self) -> None:
        """End everything of the pod."""
        if self._process is not None and self._process.poll() is None:
            with contextlib.suppress(IndexError, OSError):
                os.kill(self.guard, signal.SIGKILL)
            self._process.kill()
        if self._process is not None:
            self._process.wait(10)

    @staticmethod
    def _children(pid: int) -> list[int]:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
        return [int(word) for word in text.split()]


class Site:
    """A namespace with a Lease, and pods that each reach the API server over a proxy of their
    own."""

    def __init__(self, server: Any, namespace: str, folder: Path) -> None:
        self.server = server
        self.namespace = namespace
        self.folder = folder
        self.pods: list[Pod] = []
        self.proxies: dict[str, Proxy] = {}
        self.client = ApiClient(server.url, token_file=server.token_file, ca_file=server.ca_file)
        self.leases = LEASES.format(namespace)

    def create_lease(self, annotations: Mapping[str, str] | None = NEVER_HELD) -> None:
        """Create the Lease `x`, by default one of which it is known that nobody can be acting."""
        metadata = {"name": "x", "annotations": dict(annotations or {})}
        self.client.post(self.leases, {"metadata": metadata, "spec": {}})

    def lease(self) -> dict[str, Any]:
        """Return the spec of the Lease."""
        return dict(self.client.get(f"{self.leases}/x")["spec"])

    def edit(self, **spec: Any) -> None:
        """Change the Lease by hand; once more if its holder wrote in between."""
        while True:
            found = self.client.get(f"{self.leases}/x")
            found["spec"].update(spec)
            try:
                self.client.put(f"{self.leases}/x", found)
            except ApiError as refused:
                if refused.status != 409:
                    raise
            else:
                return

    def api_environment(self, name: str, token_file: Path | None = None) -> dict[str, str]:
        """Return the variables by which the pod `name` reaches the API server."""
        return {
            "DPE_API_SERVER": f"https://127.0.0.1:{self.proxies[name].port}",
            "DPE_API_TOKEN_FILE": str(token_file or self.server.token_file),
            "DPE_API_CA_FILE": str(self.server.ca_file),
        }

    def pod(self, name: str, *flags: str, token_file: Path | None = None, **more: Any) -> Pod:
        """Make a pod (not started yet)."""
        self.proxies[name] = Proxy(int(self.server.url.rpartition(":")[2]))
        environment = self.api_environment(name, token_file)
        if "bare" not in more:
            environment |= {"PATH": os.environ["PATH"], "POD_NAMESPACE": self.namespace}
        if "--probe-port" not in flags:
            flags = (*flags, "--probe-port", "0")
        made = Pod(
            name,
            self.folder,
            environment=environment,
            flags=flags if "--lease" in flags else ("--lease", "x", *flags),
            **more,
        )
        self.pods.append(made)
        return made

    def close(self) -> None:
        """End all pods and proxies."""
        for pod in self.pods:
            pod.close()
        for proxy in self.proxies.values():
            proxy.close()
        self.client.close()

    def overlap(self) -> float:
        """Return the longest time in seconds for which two pods acted both."""
        turns = [turn for pod in self.pods for turn in _turns(pod)]
        longest = 0.0
        for name, start, end in turns:
            for other, other_start, other_end in turns:
                if name < other:
                    longest = max(longest, min(end, other_end) - max(start, other_start))
        return longest


def _turns(pod: Pod) -> Iterator[tuple[str, float, float]]:
    """Stretches of acts that follow each other within 0.25 s (a busy machine sleeps longer)."""
    acts = sorted(act.at for act in pod.acts())
    start = before = acts[0] if acts else 0.0
    for at in acts:
        if at - before > 0.25:
            yield pod.name, start, before
            start = at
        before = at
    if acts:
        yield pod.name, start, before


def namespace_of_its_own() -> list[str]:
    """Return the words that start a program as PID 1, as root or (in a user namespace) as
    anybody."""
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    return ["unshare", *rights, "--fork", "--pid", "--mount-proc", "--kill-child"]


def ask(port: int, path: str) -> tuple[int, str]:
    """GET on a probe port: status and text; (0, "") if nobody answers."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=2) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read().decode()
    except OSError:
        return 0, ""
