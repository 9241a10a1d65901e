# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 server on asyncio: keep-alive, TLS, slow and fast connections in one thread.

asyncio sets TCP_NODELAY on its sockets. Only what the simulator needs: bodies with Content-Length.
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import parse_qs, unquote, urlsplit

_MAX_HEAD = 32 * 1024
_MAX_BODY = 1024 * 1024
_IDLE_SECONDS = 120.0


@dataclass(frozen=True)
class Request:
    """One request as received; `received` is wall-clock seconds."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    received: float
    version: str = "HTTP/1.1"

    @property
    def keep_alive(self) -> bool:
        """Whether the client wants to use the connection again."""
        wish = self.headers.get("connection", "").lower()
        return wish == "keep-alive" if self.version == "HTTP/1.0" else wish != "close"


@dataclass(frozen=True)
class Response:
    """An answer to be sent; Content-Length and Connection are added."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


Handler = Callable[[Request], Awaitable[Response]]


class BadRequest(Exception):
    """The bytes received are no request that this server understands."""


@dataclass(eq=False)
class _Connection:
    writer: asyncio.StreamWriter
    busy: bool = False


class HttpServer:
    """Listener and connections; answers come from the handler."""

    def __init__(self, handler: Handler, *, tls: ssl.SSLContext | None = None) -> None:
        self._handler = handler
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], _Connection] = {}
        self.draining = False

    async def listen(self, host: str, port: int) -> int:
        """Start to accept connections; returns the port (chosen by the system when 0 was given)."""
        self._server = await asyncio.start_server(
            self._serve, host, port, ssl=self._tls, limit=_MAX_HEAD, backlog=512,
            **({"ssl_handshake_timeout": 5} if self._tls else {}),
        )  # fmt: skip
        return int(self._server.sockets[0].getsockname()[1])

    async def drain(self, *, serve_for: float, grace: float) -> bool:
        """Stop without losing a request that has arrived.

        Args:
            serve_for: seconds in which new requests are still answered, with Connection: close.
            grace: seconds that requests in flight may take after that.

        Returns:
            Whether all of them were answered.
        """
        self.draining = True
        await asyncio.sleep(serve_for)
        if self._server is not None:
            self._server.close()
        for connection in self._connections.values():
            if not connection.busy:
                connection.writer.close()
        pending = set(self._connections)
        if pending:
            _, pending = await asyncio.wait(pending, timeout=grace)
        for task in pending:
            self._connections[task].writer.transport.abort()
        return not pending

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connection = self._connections[task] = _Connection(writer)
        try:
            while await self._serve_one(reader, connection):
                pass
        except (OSError, asyncio.IncompleteReadError, TimeoutError, ssl.SSLError):
            pass  # the client has gone, or was silent for too long
        except (BadRequest, asyncio.LimitOverrunError) as problem:
            writer.write(_encode(Response(400, str(problem).encode(), "text/plain"), keep=False))
        finally:
            del self._connections[task]
            writer.close()

    async def _serve_one(self, reader: asyncio.StreamReader, connection: _Connection) -> bool:
        async with asyncio.timeout(_IDLE_SECONDS):
            request = await read_request(reader)
        connection.busy = True
        response = await self._handler(request)
        keep = request.keep_alive and not self.draining
        connection.writer.write(_encode(response, keep=keep, head_only=request.method == "HEAD"))
        await connection.writer.drain()
        connection.busy = False
        return keep


async def read_request(reader: asyncio.StreamReader) -> Request:
    """Read one request with its body.

    Raises:
        BadRequest: when it is not HTTP, too long, or sent in chunks.
        asyncio.IncompleteReadError: when the client closed the connection.
    """
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    received = time.time()
    first, *lines = head[:-4].split("\r\n")
    parts = first.split(" ")
    if len(parts) != 3 or not parts[2].startswith("HTTP/1."):
        raise BadRequest("the first line is not METHOD PATH HTTP/1.x")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
    }
    if "transfer-encoding" in headers:
        raise BadRequest("bodies in chunks are not understood; send Content-Length")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > _MAX_BODY:
        raise BadRequest(f"Content-Length: {length!r} must be a number up to {_MAX_BODY}")
    target = urlsplit(parts[1])
    query = {name: values[-1] for name, values in parse_qs(target.query).items()}
    body = await reader.readexactly(int(length)) if int(length) else b""
    return Request(parts[0], unquote(target.path), query, headers, body, received, parts[2])


def _encode(response: Response, *, keep: bool, head_only: bool = False) -> bytes:
    reason = HTTPStatus(response.status).phrase
    lines = [
        f"HTTP/1.1 {response.status} {reason}",
        f"Content-Type: {response.content_type}",
        f"Content-Length: {len(response.body)}",
        f"Connection: {'keep-alive' if keep else 'close'}",
        *(f"{name}: {value}" for name, value in response.headers),
    ]
    return (
        "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (b"" if head_only else response.body)
    )


def server_tls(certificate: str, key: str) -> ssl.SSLContext:
    """Make the TLS settings of a server from two PEM files.

    Raises:
        OSError: when a file cannot be read or the two do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key)
    return context
