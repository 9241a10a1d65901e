# SPDX-License-Identifier: Apache-2.0
"""HAProxy as the agent's child: started on a socket the agent keeps, driven through its own.

The agent opens the data port and hands it over, so while HAProxy is started anew clients wait in
the queue of that socket and are not refused. HAProxy starts with only the recorded active member
enabled, so there is no moment at which the other could get a request.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from dpe_balancer.config import PROBE_SOURCE, AgentConfig
from dpe_balancer.drain import CutOlder, DrainAction
from dpe_balancer.haproxy_text import (
    HaproxyFailure,
    Names,
    commands,
    frontend_sessions,
    older_than,
    read_seen,
)
from dpe_balancer.model import Action, Seen

ASK_SECONDS = 1.0
# HAProxy carries out so many commands of one line; more would not fit its buffer.
_COMMANDS_AT_ONCE = 50
# HAProxy takes a command with its payload in one buffer of this size, minus room for the rest.
PAYLOAD_LIMIT = 15_000
_BACKLOG = 1024


class HaproxySilent(HaproxyFailure):
    """HAProxy did not answer: nobody knows whether it has carried the command out."""


class Runtime:
    """HAProxy's command socket. One connection a call, each with a deadline."""

    def __init__(self, path: Path, names: Names) -> None:
        self._path = path
        self.names = names

    def ask(self, *lines: str, payload: str = "") -> list[str]:
        """Carry out `lines` in one connection and return the answer to each.

        A payload (PEM text) belongs to the one line given with it. Raises HaproxySilent.
        """
        text = f"{lines[0]} <<\n{payload.strip()}\n\n" if payload else ";".join(lines) + "\n"
        deadline = time.monotonic() + ASK_SECONDS
        answer = bytearray()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(ASK_SECONDS)
                connection.connect(str(self._path))
                connection.sendall(text.encode())
                while part := connection.recv(65536):
                    answer += part
                    connection.settimeout(max(0.001, deadline - time.monotonic()))
        except OSError as wrong:
            raise HaproxySilent(f"no answer to {lines[0]!r}: {wrong}") from wrong
        # each answer ends with an empty line
        return bytes(answer).decode(errors="replace").split("\n\n")

    def look(self) -> Seen:
        """See the members' states, their sessions, and where requests go."""
        counters = [f"get var proc.good_{number}" for number in self.names.ids.values()]
        answers = self.ask("show stat -1 5 -1", f"show table {self.names.backend}", *counters)
        return read_seen(self.names, answers[0], "\n".join(answers[1:]))

    def act(self, actions: Iterable[Action | DrainAction]) -> None:
        """Carry out actions in their order. Raises HaproxyFailure when HAProxy objects."""
        lines: list[str] = []
        for action in actions:
            if isinstance(action, CutOlder):
                self._cut_older(action.seconds)
            else:
                lines += commands(self.names, action)
        if not lines:
            return
        objection = " ".join(" ".join(self.ask(*lines)).split())
        if objection:
            raise HaproxyFailure(f"{lines}: {objection}")

    def _cut_older(self, seconds: float) -> None:
        """Close sessions by their age; one that ended in between is no failure."""
        found = older_than(self.names, "\n".join(self.ask("show sess")), seconds)
        for begin in range(0, len(found), _COMMANDS_AT_ONCE):
            batch = found[begin : begin + _COMMANDS_AT_ONCE]
            self.ask(*(f"shutdown session {session}" for session in batch))

    def clients(self) -> int:
        """How many client connections are open."""
        return frontend_sessions(self.names, self.ask("show stat -1 1 -1")[0])

    def stop_listening(self) -> None:
        """Take no new connection; those that are open go on, HTTP ones end with their answer."""
        self.ask(f"shutdown frontend {self.names.frontend}")

    def load_certificate(self, name: str, pem: str) -> None:
        """Replace a certificate with its key that the config names.

        Connections that are open do not notice. Raises HaproxyFailure, with the old one kept, and
        HaproxySilent: then it may be loaded again.
        """
        # an empty line would end the payload
        payload = "\n".join(line for line in pem.splitlines() if line.strip())
        if len(payload) > PAYLOAD_LIMIT:
            raise HaproxyFailure(
                f"{name} has {len(payload)} characters, more than the {PAYLOAD_LIMIT} that can be "
                "loaded into a running HAProxy; restart the balancer pods one by one"
            )
        answer = " ".join(self.ask(f"set ssl cert {name}", payload=payload)).strip()
        if "ransaction created" in answer or "ransaction updated" in answer:
            answer = " ".join(self.ask(f"commit ssl cert {name}")).strip()
            if "Success" in answer:
                return
        with contextlib.suppress(HaproxyFailure):
            self.ask(f"abort ssl cert {name}")
        raise HaproxyFailure(f"{name} not loaded: {' '.join(answer.split())}")


def open_port(address: str, port: int) -> socket.socket:
    """The listening socket of the data port, to be handed to HAProxy."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(_BACKLOG)
    except OSError as wrong:
        listener.close()
        raise OSError(wrong.errno, f"cannot listen on {address}:{port}: {wrong.strerror}") from None
    return listener


def accepts(address: str, port: int) -> bool:
    """Whether HAProxy takes connections on its data port, seen from inside the pod.

    The kernel alone would complete the connection; that it is closed at once proves HAProxy.
    """
    target = "127.0.0.1" if address == "0.0.0.0" else address  # noqa: S104 - a comparison
    try:
        with socket.create_connection(
            (target, port), timeout=ASK_SECONDS, source_address=(PROBE_SOURCE, 0)
        ) as connection:
            return connection.recv(1) == b""
    except ConnectionResetError:
        return True
    except OSError:
        return False


class Child:
    """The HAProxy process."""

    def __init__(self, config: AgentConfig, listener: socket.socket) -> None:
        self._config = config
        self._listener = listener
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        """Its process id, for the log; None before the first start."""
        return None if self._process is None else self._process.pid

    def start(self, active: str | None) -> None:
        """Start HAProxy with only `active` enabled, so that it gets the requests, or with none.

        Must be called from the main thread: the kernel ends HAProxy when the thread that started
        it ends, so that no HAProxy goes on without an agent.
        """
        environment = {"PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")}
        environment["DPE_BIND"] = f"fd@{self._listener.fileno()}"
        for member in self._config.members:
            start = "enabled" if member.name == active else "disabled"
            environment[f"DPE_START_{member.id}"] = start
        if active is not None:
            environment["DPE_START"] = f"{self._config.backend}-{active}"
        command = ["haproxy", "-db", "-f", str(self._config.haproxy_config)]
        self._process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            env=environment,
            pass_fds=[self._listener.fileno()],
            stdin=subprocess.DEVNULL,
        )

    def check(self) -> None:
        """Have another HAProxy read all files, as it would at its start.

        Raises HaproxyFailure with its reason, and HaproxySilent.
        """
        command = ["haproxy", "-c", "-q", "-f", str(self._config.haproxy_config)]
        try:
            found = subprocess.run(command, check=False, capture_output=True, timeout=ASK_SECONDS)
        except subprocess.TimeoutExpired as late:
            raise HaproxySilent(f"HAProxy is not done checking its files: {late}") from late
        if found.returncode:
            said = " ".join(found.stderr.decode(errors="replace").split())
            raise HaproxyFailure(f"HAProxy would not start: {said[:500]}")

    def kill(self) -> None:
        """End it at once, and wait until it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
