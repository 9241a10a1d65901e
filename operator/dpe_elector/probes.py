# SPDX-License-Identifier: Apache-2.0
"""Answers kubelet's probes and Prometheus: /livez, /readyz, /metrics on one port.

A dozen lines of HTTP instead of http.server, which would cost more memory than the election.
"""

import contextlib
import os
import socket
import threading
import time
from dataclasses import dataclass, field

from dpe_elector import clock

# A loop that did not come round for so long hangs (the longest call takes 5 s).
LIVE_SECONDS = 20.0
# A ready file older than this says nothing any more.
READY_FILE_SECONDS = 5.0
_REQUEST_BYTES = 4096
_REQUEST_SECONDS = 1.0
_ACCEPT_PAUSE = 0.1


@dataclass
class Health:
    """What the elector's loop notes for the probes; times are boot time in seconds."""

    lease: str
    duration: float
    hot: bool = False
    turned: float = field(default_factory=clock.boot)
    contact: float = float("-inf")
    able: bool = False
    missing: str = ""
    holder: bool = False
    epoch: int = 0
    running: bool = False
    starts: int = 0
    takeovers: int = 0
    early: int = 0
    losses: int = 0
    conflicts: int = 0
    failures: int = 0
    renewals: int = 0
    renew_total: float = 0.0
    renew_last: float = 0.0

    def not_live(self, now: float) -> str:
        """Say why the elector is not alive, or nothing."""
        silent = now - self.turned
        return f"the election loop hangs for {silent:.0f} s" if silent > LIVE_SECONDS else ""

    def not_ready(self, now: float) -> str:
        """Say why the pod is not ready, or nothing.

        Hot: the command runs and keeps its ready file fresh. Exclusive: the API server was reached
        within one lease duration and the command could be started, so a pod that only stands by is
        ready too.
        """
        if self.hot:
            return "" if self.able else "the command is not ready"
        silent = now - self.contact
        if silent > self.duration:
            return f"no contact to the API server for {silent:.0f} s"
        return self.missing

    def metrics(self, now: float) -> str:
        """Return the metrics in Prometheus' text format."""
        contact = f"{now - self.contact:.3f}" if self.contact > 0 else "+Inf"
        rows = (
            ("holder", "gauge", "1 while this pod holds the Lease.", int(self.holder)),
            ("epoch", "gauge", "Epoch of the holding, 0 without one.", self.epoch),
            ("command_running", "gauge", "1 while the command runs.", int(self.running)),
            ("command_starts_total", "counter", "Starts of the command.", self.starts),
            ("takeovers_total", "counter", "Leases taken by this pod.", self.takeovers),
            ("early_takeovers_total", "counter", "Of those: before it ran out.", self.early),
            ("losses_total", "counter", "Leases lost without giving them back.", self.losses),
            ("conflicts_total", "counter", "Writes refused for another's.", self.conflicts),
            ("api_failures_total", "counter", "Calls that failed.", self.failures),
            ("contact_age_seconds", "gauge", "Since the last answer of the API server.", contact),
            ("renew_last_seconds", "gauge", "Length of the last renewal.", self.renew_last),
        )
        lines = []
        for name, kind, text, value in rows:
            lines += _head(name, kind, text)
            lines.append(f'dpe_elector_{name}{{lease="{self.lease}"}} {value}')
        lines += _head("renew_seconds", "summary", "Lengths of the renewals.")
        lines.append(f'dpe_elector_renew_seconds_sum{{lease="{self.lease}"}} {self.renew_total}')
        lines.append(f'dpe_elector_renew_seconds_count{{lease="{self.lease}"}} {self.renewals}')
        return "\n".join(lines) + "\n"


def file_is_fresh(path: str, seconds: float = READY_FILE_SECONDS) -> bool:
    """Return whether the file at `path` was touched within the last `seconds`."""
    try:
        return abs(time.time() - os.stat(path).st_mtime) < seconds
    except OSError:
        return False


class Probes:
    """A thread that answers one request after the other."""

    def __init__(self, port: int, health: Health) -> None:
        """Listen on `port`, on every address of the pod; raises OSError if it is taken."""
        self._health = health
        if socket.has_dualstack_ipv6():
            self._socket = socket.create_server(
                ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=16
            )
        else:
            self._socket = socket.create_server(("", port), backlog=16)

    @property
    def port(self) -> int:
        """The port that is listened on."""
        return int(self._socket.getsockname()[1])

    def start(self) -> None:
        """Begin to answer; the thread ends with the process."""
        threading.Thread(target=self._run, name="probes", daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                if self._socket.fileno() < 0:
                    return  # closed
                # no room for one more connection: without answers kubelet would end the container
                time.sleep(_ACCEPT_PAUSE)
                continue
            with contextlib.suppress(OSError), connection:
                connection.sendall(self._answer(_request(connection)))

    def _answer(self, request: bytes) -> bytes:
        words = request.split(b" ", 2)
        path = words[1].split(b"?")[0] if len(words) == 3 else b""
        now = clock.boot()
        if path == b"/metrics":
            return _response(200, self._health.metrics(now))
        if path == b"/livez":
            why = self._health.not_live(now)
        elif path == b"/readyz":
            why = self._health.not_ready(now)
        else:
            return _response(404, "ask for /livez, /readyz or /metrics\n")
        return _response(503, f"{why}\n") if why else _response(200, "ok\n")


def _request(connection: socket.socket) -> bytes:
    """Read a request. Nobody may hold up the others, not even by one byte after the other: what is
    not there in time is given up (TimeoutError), and sending the answer gets what time is left."""
    data = b""
    end = time.monotonic() + _REQUEST_SECONDS
    while b"\r\n\r\n" not in data and len(data) < _REQUEST_BYTES:
        if (left := end - time.monotonic()) <= 0:
            raise TimeoutError
        connection.settimeout(left)
        part = connection.recv(_REQUEST_BYTES)
        if not part:
            break
        data += part
    return data


def _response(status: int, text: str) -> bytes:
    reason = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}[status]
    body = text.encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP dpe_elector_{name} {text}", f"# TYPE dpe_elector_{name} {kind}"]
