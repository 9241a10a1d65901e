# SPDX-License-Identifier: Apache-2.0
"""A DPE Server as the balancer's tests need it: one HTTPS process that answers its own name.

`python balancer_member.py NAME PORT CERTIFICATE SICK_FILE` (`-` as certificate: plain HTTP).
`/status` says "ok" until SICK_FILE exists, `/slow` takes 0.6 seconds, `/port` tells the port of the
connection that it is asked over, `/ntlm` the same and that it wants NTLM, `/close` closes it; all
else answers at once.

It takes orders on its standard input, one a line:
`late SECONDS [TIMES]`: so long `/status` takes, so often (default: until `late 0`).
`lose FRACTION`: that part of all packets to it never arrives; 1 is a black hole, 0 heals.
`lose-dial SECONDS`: from the next answer of `/status` on, and for so long, nobody can connect; as
long as that is so there is a file SICK_FILE.dial.
`refuse 1`: nothing listens any more, connections that are open go on; `refuse 0` ends that.
Packets are lost in the kernel, by a filter on the sockets: senders wait and send again, as they do
on a broken network. It needs no rights. What the server sends arrives.
"""

from __future__ import annotations

import contextlib
import ctypes
import socket
import ssl
import struct
import sys
import threading
import time
import weakref
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NAME, PORT, CERTIFICATE, SICK = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
DIAL = SICK.with_name(SICK.name + ".dial")


# Programs for the kernel's socket filter: (operation, jump if true, jump if false, operand). The
# last instruction says how many bytes of the packet are kept: none, or all.
_ATTACH_FILTER, _DETACH_FILTER = 26, 27  # SO_ATTACH_FILTER, SO_DETACH_FILTER
_LOAD_BYTE, _LOAD_RANDOM = 0x30, 0x20
_JUMP_IF_ANY_BIT, _JUMP_IF_AT_LEAST, _RETURN = 0x45, 0x35, 0x06
_RANDOM = 0xFFFFF000 + 56  # SKF_AD_OFF + SKF_AD_RANDOM
_KEEP, _LOSE = (_RETURN, 0, 0, 0xFFFFFFFF), (_RETURN, 0, 0, 0)
LOSE_ALL = [_LOSE]
LOSE_SYN = [(_LOAD_BYTE, 0, 0, 13), (_JUMP_IF_ANY_BIT, 0, 1, 2), _LOSE, _KEEP]


def lose_some(fraction: float) -> list[tuple[int, int, int, int]]:
    """A filter that loses each packet with this probability."""
    limit = int(fraction * 2**32)
    return [(_LOAD_RANDOM, 0, 0, _RANDOM), (_JUMP_IF_AT_LEAST, 0, 1, limit), _KEEP, _LOSE]


def attach(target: socket.socket, program: list[tuple[int, int, int, int]] | None) -> None:
    """Put a filter on a socket, and on all that are accepted on it from now on; None: off."""
    if program is None:
        with contextlib.suppress(FileNotFoundError):  # there was none
            target.setsockopt(socket.SOL_SOCKET, _DETACH_FILTER, 0)
        return
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    held = ctypes.create_string_buffer(code)
    pointer = struct.pack("HL", len(program), ctypes.addressof(held))
    target.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, pointer)


class Faults:
    """What is wrong with this server at the moment."""

    def __init__(self) -> None:
        self.connections: weakref.WeakSet[socket.socket] = weakref.WeakSet()
        self._late, self._times = 0.0, 0
        self._lose_dial = 0.0
        self._server: ThreadingHTTPServer
        self._listens = threading.Event()

    def serve(self, make: Callable[[], ThreadingHTTPServer]) -> None:
        """Serve for ever, with a new listener after each time of refusal; orders are carried out
        from the first one on."""
        self._server = make()
        threading.Thread(target=self._obey, daemon=True).start()
        while True:
            self._listens.set()
            self._server.serve_forever(poll_interval=0.05)
            self._server.server_close()
            self._listens.wait()
            self._server = make()

    @property
    def _listener(self) -> socket.socket:
        return self._server.socket

    def _obey(self) -> None:
        """Carry out the orders on standard input, until it is closed."""
        for line in sys.stdin:
            order, number, *rest = line.split()
            if order == "late":
                self._late, self._times = float(number), int(rest[0]) if rest else sys.maxsize
            elif order == "lose":
                self._lose(float(number))
            elif order == "lose-dial":
                self._lose_dial = float(number)
            elif order == "refuse":
                self._refuse(number == "1")

    def delay(self) -> float:
        """How long the health page takes this time."""
        if self._times <= 0:
            return 0.0
        self._times -= 1
        return self._late

    def answered(self) -> None:
        """The health page was answered: the moment from which a connection attempt is lost."""
        seconds, self._lose_dial = self._lose_dial, 0.0
        if seconds:
            attach(self._listener, LOSE_SYN)
            DIAL.touch()
            threading.Timer(seconds, self._take_dials).start()

    def _refuse(self, refuses: bool) -> None:
        if not refuses:
            self._listens.set()
        elif self._listens.is_set():
            self._listens.clear()
            self._server.shutdown()

    def _take_dials(self) -> None:
        attach(self._listener, None)
        DIAL.unlink()

    def _lose(self, fraction: float) -> None:
        program = None if fraction == 0 else LOSE_ALL if fraction == 1 else lose_some(fraction)
        for one in (self._listener, *list(self.connections)):
            with contextlib.suppress(OSError):  # closed meanwhile
                attach(one, program)


FAULTS = Faults()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def setup(self) -> None:
        if isinstance(self.request, ssl.SSLSocket):
            self.request.do_handshake()  # here and not while accepting: one slow client is no jam
        super().setup()

    def do_GET(self) -> None:
        body = NAME
        if self.path.startswith("/status"):
            body = "sick" if SICK.exists() else "all is ok"
            time.sleep(FAULTS.delay())
        elif self.path == "/slow":
            time.sleep(0.6)
        elif self.path == "/proto":
            body = self.headers.get("X-Forwarded-Proto", "")
        elif self.path in ("/port", "/ntlm"):
            body = str(self.client_address[1])
        self.send_response(401 if self.path == "/ntlm" else 200)
        if self.path == "/ntlm":
            self.send_header("WWW-Authenticate", "NTLM")
        elif self.path == "/close":
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())
        if self.path.startswith("/status"):
            FAULTS.answered()

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 256

    def get_request(self) -> tuple[socket.socket, object]:
        connection, address = super().get_request()
        connection.settimeout(60)
        if CERTIFICATE == "-":
            FAULTS.connections.add(connection)
            return connection, address
        wrapped = CONTEXT.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        FAULTS.connections.add(wrapped)
        return wrapped, address

    def handle_error(self, *_: object) -> None:
        pass  # a client that went away


CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
if CERTIFICATE != "-":
    CONTEXT.load_cert_chain(CERTIFICATE)
FAULTS.serve(lambda: Server(("127.0.0.1", PORT), Handler))
