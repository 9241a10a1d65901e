# SPDX-License-Identifier: Apache-2.0
"""A small Kubernetes API client: synchronous, standard library only, every call with a deadline.

Used by the elector and by the balancer agent. It exists because the usual client library needs ten
times the memory and cannot be copied into a foreign image. An `ApiClient` belongs to one thread;
`watch` opens a connection of its own, so a thread that watches needs only an `ApiClient` of its
own.
"""

import contextlib
import http.client
import json
import os
import socket
import ssl
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

JsonObject = dict[str, Any]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_READ_BYTES = 65536
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# what a watch may end with, whatever comes in
_BROKEN = (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, AttributeError)


class ApiFailure(Exception):
    """Any call to the API server that did not succeed."""


class ApiError(ApiFailure):
    """The API server answered, and the answer is no.

    `status` is the HTTP status, `reason` the machine-readable word of Kubernetes (`Conflict`,
    `NotFound`, `AlreadyExists`, `Forbidden`, ...), `message` its sentence.
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message


class ApiUnreachable(ApiFailure):
    """No answer, or no usable one: refused, timed out, broken off, not TLS, not JSON.

    After a failed PUT or POST the caller cannot know whether the write took place: read again.
    """


@dataclass(frozen=True)
class WatchEvent:
    """One line of a watch: `type` is ADDED, MODIFIED, DELETED or BOOKMARK."""

    type: str
    object: JsonObject


class _Deadline:
    """Seconds left for a call that is made of several socket operations."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Seconds left, always above 0; raises TimeoutError when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class Watch:
    """An open watch: iterate over it; `close` (from any thread) ends the iteration."""

    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection
        self._socket = connection.sock
        self._response: http.client.HTTPResponse | None = None

    def _open(self, path: str, headers: Mapping[str, str]) -> None:
        try:
            self._connection.request("GET", path, headers=dict(headers))
            self._response = self._connection.getresponse()
            if self._response.status >= 300:
                raise _error(self._response.status, self._response.read())
        except (OSError, http.client.HTTPException) as broken:
            self.close()
            raise ApiUnreachable(f"GET {path}: {_text(broken)}") from broken
        except ApiError:
            self.close()
            raise

    def _allow_silence(self, seconds: float) -> None:
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.settimeout(seconds)

    def __iter__(self) -> Iterator[WatchEvent]:
        """Yield events until the server ends the watch.

        Raises ApiUnreachable when the stream breaks or stays silent for longer than it may,
        ApiError when the server sends an error (410 `Expired`: list again and watch from there).
        """
        assert self._response is not None
        try:
            while line := self._response.readline():
                if not line.strip():
                    continue
                event = json.loads(line)
                if event["type"] == "ERROR":
                    status = event["object"]
                    raise ApiError(
                        int(status.get("code", 500)),
                        status.get("reason", ""),
                        status.get("message", ""),
                    )
                if not isinstance(event["object"], dict):
                    raise ValueError("the event is not about an object")
                yield WatchEvent(event["type"], event["object"])
        except _BROKEN as broken:
            raise ApiUnreachable(f"watch: {_text(broken)}") from broken
        finally:
            self.close()

    def close(self) -> None:
        """End the watch now; safe to call twice and from another thread."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                # shutdown, unlike close, wakes a thread that is reading
                self._socket.shutdown(socket.SHUT_RDWR)
        self._connection.close()

    def __enter__(self) -> Self:
        """Use as a context manager that closes the watch."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class ApiClient:
    """Get, put, post and watch Kubernetes objects as plain dicts."""

    def __init__(self, server: str, *, token_file: Path | None, ca_file: Path | None) -> None:
        """Make a client; nothing is sent yet.

        `server` is a URL (`https://host:port`; plain http only on loopback, as the token would be
        readable). `token_file` and `ca_file` are read again whenever they change, since kubelet
        renews them.
        """
        parts = urlsplit(server)
        host = parts.hostname
        if parts.scheme not in ("https", "http") or not host:
            raise ValueError(f"API server {server!r} is not a URL: write https://HOST:PORT")
        if parts.scheme == "http" and host not in _LOOPBACK:
            raise ValueError(
                f"API server {server!r} would be sent a token unencrypted: use https://"
            )
        self._host = host
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = parts.scheme == "https"
        self._token_file = token_file
        self._ca_file = ca_file
        self._token = ""
        self._context: ssl.SSLContext | None = None
        self._context_key: tuple[int, int] | None = None
        self._connection: http.client.HTTPConnection | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Make the client of a pod, from what kubelet gives it.

        KUBERNETES_SERVICE_HOST and _PORT, token and CA of the service account. DPE_API_SERVER,
        DPE_API_TOKEN_FILE and DPE_API_CA_FILE override them one by one (tests, or an API server
        behind another name). Raises ValueError when there is no address.
        """
        server = environment.get("DPE_API_SERVER")
        if not server:
            host = environment.get("KUBERNETES_SERVICE_HOST")
            if not host:
                raise ValueError(
                    "no API server: neither KUBERNETES_SERVICE_HOST (set in every pod) nor "
                    "DPE_API_SERVER is set"
                )
            literal = f"[{host}]" if ":" in host else host
            server = f"https://{literal}:{environment.get('KUBERNETES_SERVICE_PORT') or '443'}"
        return cls(
            server,
            token_file=Path(environment.get("DPE_API_TOKEN_FILE") or SERVICE_ACCOUNT / "token"),
            ca_file=Path(environment.get("DPE_API_CA_FILE") or SERVICE_ACCOUNT / "ca.crt"),
        )

    def get(self, path: str, *, timeout: float = 10.0) -> JsonObject:
        """Read the object (or list) at `path`, within `timeout` seconds."""
        return self._call("GET", path, None, timeout=timeout)

    def put(self, path: str, body: JsonObject, *, timeout: float = 10.0) -> JsonObject:
        """Replace the object at `path` and return what is stored now.

        Give `metadata.resourceVersion` in `body`, or a write of somebody else is lost; a 409 says
        there was one.
        """
        return self._call("PUT", path, body, timeout=timeout)

    def post(self, path: str, body: JsonObject, *, timeout: float = 10.0) -> JsonObject:
        """Create `body` in the collection at `path` and return what is stored; 409 `AlreadyExists`
        if it was there."""
        return self._call("POST", path, body, timeout=timeout)

    def watch(
        self,
        path: str,
        timeout_seconds: float,
        *,
        resource_version: str = "",
        field_selector: str = "",
        label_selector: str = "",
        timeout: float = 10.0,
    ) -> Watch:
        """Open a watch on the collection at `path`; the server ends it after `timeout_seconds`.

        `timeout` limits the opening; silence of more than `timeout_seconds` plus `timeout` breaks
        it. Raises as `get`.
        """
        query = {"watch": "1", "timeoutSeconds": str(max(1, round(timeout_seconds)))}
        options = {
            "resourceVersion": resource_version,
            "fieldSelector": field_selector,
            "labelSelector": label_selector,
        }
        query.update({key: value for key, value in options.items() if value})
        full = f"{path}?{urlencode(query)}"
        headers = self._headers()
        watch = Watch(self._connect(timeout))
        watch._open(full, headers)
        watch._allow_silence(timeout_seconds + timeout)
        return watch

    def close(self) -> None:
        """Drop the connection; the next call makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _call(
        self, method: str, path: str, body: JsonObject | None, *, timeout: float
    ) -> JsonObject:
        deadline = _Deadline(timeout)
        reused = self._connection is not None
        try:
            try:
                return self._exchange(method, path, body, deadline)
            except (http.client.RemoteDisconnected, ConnectionError):
                # The server closed an idle connection. A second PUT is harmless: its
                # resourceVersion makes it a 409 if the first one was carried out.
                self.close()
                if not reused or method == "POST":
                    raise
                return self._exchange(method, path, body, deadline)
        except (OSError, ValueError, http.client.HTTPException) as broken:
            self.close()
            raise ApiUnreachable(f"{method} {path}: {_text(broken)}") from broken
        except ApiError:
            raise
        except BaseException:
            self.close()
            raise

    def _exchange(
        self, method: str, path: str, body: JsonObject | None, deadline: _Deadline
    ) -> JsonObject:
        connection = self._connection
        if connection is None:
            connection = self._connection = self._connect(deadline.left())
        data = None if body is None else json.dumps(body).encode()
        _limit(connection, deadline)
        connection.request(method, path, body=data, headers=self._headers(body=data is not None))
        _limit(connection, deadline)
        response = connection.getresponse()
        parts: list[bytes] = []
        while True:
            _limit(connection, deadline)
            part = response.read1(_READ_BYTES)
            if not part:
                break
            parts.append(part)
        response.close()  # the connection can be used again
        content = b"".join(parts)
        if response.will_close:
            self.close()
        if response.status >= 300:
            raise _error(response.status, content)
        answer = json.loads(content)
        if not isinstance(answer, dict):
            raise ValueError("the answer is not a JSON object")
        return answer

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        connection = (
            http.client.HTTPSConnection(
                self._host, self._port, timeout=timeout, context=self._tls_context()
            )
            if self._tls
            else http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        )
        try:
            connection.connect()
        except OSError as broken:
            connection.close()
            raise ApiUnreachable(f"{self._host}:{self._port}: {_text(broken)}") from broken
        return connection

    def _tls_context(self) -> ssl.SSLContext:
        key = None
        try:
            if self._ca_file is not None:
                found = self._ca_file.stat()
                key = (found.st_mtime_ns, found.st_ino)
            if self._context is None or key != self._context_key:
                self._context = ssl.create_default_context(
                    cafile=None if self._ca_file is None else str(self._ca_file)
                )
                self._context_key = key
        except OSError as broken:
            if self._context is None:
                raise ApiUnreachable(f"CA file {self._ca_file}: {_text(broken)}") from broken
        return self._context

    def _headers(self, *, body: bool = False) -> dict[str, str]:
        if self._token_file is not None:
            # while kubelet swaps the file, the token of a moment ago is still good
            with contextlib.suppress(OSError):
                self._token = self._token_file.read_bytes().decode("ascii", "replace").strip()
            if not (self._token.isascii() and self._token.isprintable()):
                # http.client refuses it too, but with the token in its error
                raise ApiUnreachable(f"token file {self._token_file}: this is no token")
        headers = {"Accept": "application/json", "User-Agent": "dpe-elector"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        if body:
            headers["Content-Type"] = "application/json"
        return headers


def _limit(connection: http.client.HTTPConnection, deadline: _Deadline) -> None:
    """Give the next socket operation only the seconds that the whole call has left."""
    if connection.sock is not None:
        connection.sock.settimeout(deadline.left())


def _error(status: int, content: bytes) -> ApiError:
    try:
        answer = json.loads(content)
        return ApiError(status, str(answer.get("reason") or ""), str(answer.get("message") or ""))
    except (ValueError, AttributeError):
        return ApiError(status, "", content[:200].decode(errors="replace").strip())


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__
