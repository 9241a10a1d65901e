# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 connections of a client on asyncio, with a connect and a request time limit each."""

import asyncio
import json
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from dpe_operator.prober.retry import AttemptFailed

# A slow reader pauses after each piece of this many bytes.
PIECE = 16 * 1024
_GATEWAY_TROUBLE = frozenset({502, 503, 504})
# Answers without a body, whatever their headers say.
_NO_BODY = frozenset({204, 304})


@dataclass(frozen=True)
class Target:
    """Where a client connects to, from one base URL (DPE's clients know exactly one).

    `name` is the server's name for TLS and the Host header where the URL holds an address only.
    """

    host: str
    port: int
    base: str
    tls: ssl.SSLContext | None
    name: str = ""

    @property
    def authority(self) -> str:
        """The Host header."""
        if self.name:
            return self.name
        standard = 443 if self.tls else 80
        return self.host if self.port == standard else f"{self.host}:{self.port}"


def parse_target(
    url: str, *, ca_file: str | None, verify: bool = True, server_name: str = ""
) -> Target:
    """Take a base URL apart and make the TLS settings for it.

    Args:
        url: http:// or https:// with host, optional port and base path.
        ca_file: PEM file of the authority to trust; None means those of the system.
        verify: False accepts any certificate.
        server_name: the name that the certificate must carry; empty: the host of the URL.

    Raises:
        ValueError: when the URL has no http(s) scheme or no host.
        OSError: when the CA file cannot be read.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(
            f"url: {url!r} must look like https://radio-balancer.namespace.svc/DpeWebApplication"
        )
    tls = None
    if parts.scheme == "https":
        try:
            tls = ssl.create_default_context(cafile=ca_file)
        except OSError as problem:  # its text names no file
            raise OSError(f"ca: {ca_file} cannot be read as PEM: {problem}") from problem
        if not verify:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
    port = parts.port or (443 if tls else 80)
    return Target(parts.hostname, port, parts.path.rstrip("/"), tls, server_name)


@dataclass(frozen=True)
class Answer:
    """A complete answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def member(self) -> str:
        """The DPE Server that answered, as it says itself."""
        return self.headers.get("x-dpe-member", "unknown")

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; {} when it is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}


@dataclass(frozen=True)
class Call:
    """One request to send; path is relative to the base path."""

    method: str = "GET"
    path: str = "/ping"
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    # seconds to pause after each 16 KiB read: this is what makes a slow reader
    read_pause: float = 0.0


class Connection:
    """One connection, opened when it is first used and reopened after a failure."""

    def __init__(self, target: Target, *, connect_timeout: float) -> None:
        self._target = target
        self._connect_timeout = connect_timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def request(self, call: Call, *, within: float) -> Answer:
        """Send a request and read the answer `within` seconds (connecting not counted).

        Raises:
            AttemptFailed: refused, connect-timeout, request-timeout, reset, closed, tls,
                certificate, network, protocol, or http-502 and its like.
        """
        try:
            streams = await self._opened()
            answer, reusable = await self._exchange(streams, call, within)
        except BaseException:
            self.close()
            raise
        if not reusable:
            self.close()
        if answer.status in _GATEWAY_TROUBLE:
            text = answer.body[:120].decode(errors="replace").strip()
            raise AttemptFailed(f"http-{answer.status}", f"{answer.member}: {text}")
        return answer

    def close(self) -> None:
        """Close at once; an answer on its way is thrown away."""
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def _opened(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        # A connection the other side has closed while idle is replaced, as every HTTP client does.
        if self._streams is not None and (
            self._streams[0].at_eof() or self._streams[0].exception()
        ):
            self.close()
        if self._streams is None:
            target = self._target
            try:
                async with asyncio.timeout(self._connect_timeout):
                    self._streams = await asyncio.open_connection(
                        target.host, target.port, ssl=target.tls,
                        server_hostname=(target.name or target.host) if target.tls else None,
                    )  # fmt: skip
            except (OSError, TimeoutError) as problem:
                raise failure_of(problem, stage="connect") from problem
        return self._streams

    async def _exchange(
        self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], call: Call, within: float
    ) -> tuple[Answer, bool]:
        reader, writer = streams
        try:
            async with asyncio.timeout(within):
                writer.write(encode_call(self._target, call))
                await writer.drain()
                return await _read_answer(reader, call.read_pause)
        except (OSError, TimeoutError, EOFError) as problem:
            raise failure_of(problem, stage="request") from problem
        except (ValueError, asyncio.LimitOverrunError) as problem:  # malformed, or a head too long
            raise AttemptFailed("protocol", str(problem)) from problem


def encode_call(target: Target, call: Call) -> bytes:
    """Write a request as the bytes to send."""
    lines = [
        f"{call.method} {target.base + call.path or '/'} HTTP/1.1",
        f"Host: {target.authority}",
        f"Content-Length: {len(call.body)}",
        *(f"{name}: {value}" for name, value in call.headers.items()),
    ]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + call.body


def failure_of(problem: BaseException, *, stage: str) -> AttemptFailed:
    """Name the kind of a failure; `stage` is connect or request."""
    kinds: list[tuple[type[BaseException], str]] = [
        (TimeoutError, f"{stage}-timeout"),
        (ConnectionRefusedError, "refused"),
        (ConnectionError, "reset"),
        (EOFError, "closed"),
        (ssl.SSLCertVerificationError, "certificate"),
        (ssl.SSLError, "tls"),
    ]
    kind = next((name for cause, name in kinds if isinstance(problem, cause)), "network")
    # A wrong certificate does not get right by trying again.
    text = str(problem) or type(problem).__name__
    return AttemptFailed(kind, text, retryable=kind != "certificate")


async def _read_answer(reader: asyncio.StreamReader, pause: float) -> tuple[Answer, bool]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    parts = first.split(" ", 2)
    if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdecimal():
        raise ValueError(f"the answer does not begin like HTTP: {first[:60]!r}")
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)
    }
    reusable = headers.get("connection", "").lower() != "close" and parts[0] == "HTTP/1.1"
    if int(parts[1]) in _NO_BODY:
        return Answer(int(parts[1]), headers, b""), reusable
    if headers.get("transfer-encoding", "").lower() == "chunked":
        return Answer(int(parts[1]), headers, await _read_chunks(reader)), reusable
    if "content-length" not in headers:
        return Answer(int(parts[1]), headers, await reader.read()), False
    body = await _read_paced(reader, int(headers["content-length"]), pause)
    return Answer(int(parts[1]), headers, body), reusable


async def _read_paced(reader: asyncio.StreamReader, length: int, pause: float) -> bytes:
    if not pause:
        return await reader.readexactly(length)
    body = b""
    while len(body) < length:
        body += await reader.readexactly(min(PIECE, length - len(body)))
        await asyncio.sleep(pause)
    return body


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        body += (await reader.readexactly(size + 2))[:-2]
        if size == 0:
            return body
