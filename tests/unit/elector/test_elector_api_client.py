# SPDX-License-Identifier: Apache-2.0
"""The API client against a small HTTP server on loopback: what it sends, and what it makes of every
answer."""

import json
import os
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from dpe_elector.api_client import ApiClient, ApiError, ApiUnreachable


class Scripted(ThreadingHTTPServer):
    """Answers with what the test put in `answers`, keeps what it was asked in `seen`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Any] = []
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # the tests break connections on purpose


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def setup(self) -> None:
        self.server.connections += 1
        super().setup()

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        self.server.seen.append((self.command, self.path, dict(self.headers), body))
        answer = self.server.answers.pop(0)
        if callable(answer):
            answer(self)
            return
        status, content = answer
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PUT = do_POST = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Scripted]:
    made = Scripted()
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def client(server: Scripted, tmp_path: Path) -> Iterator[ApiClient]:
    token = tmp_path / "token"
    token.write_text("first\n")
    made = ApiClient(server.url, token_file=token, ca_file=None)
    yield made
    made.close()


def hang_up(handler: Handler) -> None:
    handler.close_connection = True


def test_token_is_read_again_and_the_connection_kept(
    server: Scripted, client: ApiClient, tmp_path: Path
) -> None:
    server.answers = [(200, {"kind": "Lease"}), (201, {"kind": "Lease"})]
    assert client.get("/a") == {"kind": "Lease"}
    (tmp_path / "token").write_text("second")
    client.post("/b", {"x": 1})
    assert [seen[2]["Authorization"] for seen in server.seen] == ["Bearer first", "Bearer second"]
    assert server.seen[1][0] == "POST"
    assert json.loads(server.seen[1][3]) == {"x": 1}
    assert server.seen[1][2]["Content-Type"] == "application/json"
    assert server.connections == 1


def test_a_missing_token_file_keeps_the_last_token(
    server: Scripted, client: ApiClient, tmp_path: Path
) -> None:
    server.answers = [(200, {}), (200, {})]
    client.get("/a")
    (tmp_path / "token").unlink()
    client.get("/a")
    assert server.seen[1][2]["Authorization"] == "Bearer first"


@pytest.mark.parametrize("content", [b"sec\nret", b"sec\rret", b"sec\xffret", "sec€ret".encode()])
def test_a_token_that_cannot_be_sent_is_told_by_its_file_only(
    server: Scripted, client: ApiClient, tmp_path: Path, content: bytes
) -> None:
    """Python's own error repeats the header, and what is raised here comes into the log."""
    (tmp_path / "token").write_bytes(content)
    for call in (lambda: client.get("/a"), lambda: client.watch("/leases", 30)):
        with pytest.raises(ApiUnreachable, match=f"token file {tmp_path}/token") as caught:
            call()
        assert "sec" not in str(caught.value) and "ret" not in str(caught.value)
    assert server.seen == []


def test_a_status_answer_becomes_an_api_error(server: Scripted, client: ApiClient) -> None:
    status = {"kind": "Status", "reason": "Conflict", "message": "the object has been modified"}
    server.answers = [(409, status), (200, {})]
    with pytest.raises(ApiError) as caught:
        client.put("/a", {})
    assert (caught.value.status, caught.value.reason) == (409, "Conflict")
    assert "has been modified" in caught.value.message
    client.get("/a")
    assert server.connections == 1


def test_an_answer_that_is_no_status_is_still_an_api_error(
    server: Scripted, client: ApiClient
) -> None:
    server.answers = [(502, b"<html>bad gateway</html>")]
    with pytest.raises(ApiError, match="bad gateway"):
        client.get("/a")


@pytest.mark.parametrize("content", [b"not json", b"[1]"])
def test_an_unusable_body_is_unreachable(
    server: Scripted, client: ApiClient, content: bytes
) -> None:
    server.answers = [(200, content)]
    with pytest.raises(ApiUnreachable):
        client.get("/a")


def test_an_idle_connection_that_was_closed_is_opened_again(
    server: Scripted, client: ApiClient
) -> None:
    server.answers = [(200, {}), hang_up, (200, {"again": True})]
    client.get("/a")
    assert client.put("/a", {}) == {"again": True}
    assert server.connections == 2


def test_a_post_is_not_sent_twice(server: Scripted, client: ApiClient) -> None:
    server.answers = [(200, {}), hang_up, (200, {})]
    client.get("/a")
    with pytest.raises(ApiUnreachable):
        client.post("/a", {})
    assert len(server.seen) == 2


def test_a_fresh_connection_that_breaks_is_not_tried_again(
    server: Scripted, client: ApiClient
) -> None:
    server.answers = [hang_up, (200, {})]
    with pytest.raises(ApiUnreachable):
        client.get("/a")
    assert len(server.seen) == 1


def test_the_timeout_covers_the_whole_call_even_of_a_trickling_server(
    server: Scripted, client: ApiClient
) -> None:
    def trickle(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        for _ in range(40):
            handler.wfile.write(b" ")
            time.sleep(0.05)
        handler.close_connection = True

    server.answers = [trickle]
    started = time.monotonic()
    with pytest.raises(ApiUnreachable, match="timed out"):
        client.get("/a", timeout=0.3)
    assert time.monotonic() - started < 1.0


def test_nobody_listens(tmp_path: Path) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as closed:
        port = closed.server_port
    made = ApiClient(f"http://127.0.0.1:{port}", token_file=None, ca_file=None)
    with pytest.raises(ApiUnreachable, match="refused"):
        made.get("/a", timeout=1)
    with pytest.raises(ApiUnreachable, match="refused"):
        made.watch("/a", 1, timeout=1)


def stream(*lines: Any) -> Any:
    def answer(handler: Handler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in lines:
            data = json.dumps(line).encode() + b"\n"
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        handler.wfile.write(b"0\r\n\r\n")

    return answer


def test_watch_yields_events_and_ends(server: Scripted, client: ApiClient) -> None:
    server.answers = [
        stream({"type": "ADDED", "object": {"n": 1}}, {"type": "MODIFIED", "object": {}})
    ]
    with client.watch(
        "/leases", 30, resource_version="7", field_selector="metadata.name=x"
    ) as watch:
        assert [(event.type, event.object) for event in watch] == [
            ("ADDED", {"n": 1}),
            ("MODIFIED", {}),
        ]
    path = server.seen[0][1]
    assert "watch=1" in path and "timeoutSeconds=30" in path and "resourceVersion=7" in path
    assert "fieldSelector=metadata.name%3Dx" in path
    assert "labelSelector" not in path


def test_watch_raises_what_the_server_sends_as_an_error(
    server: Scripted, client: ApiClient
) -> None:
    gone = {"code": 410, "reason": "Expired", "message": "too old resource version"}
    server.answers = [stream({"type": "ERROR", "object": gone})]
    with pytest.raises(ApiError) as caught:
        list(client.watch("/leases", 30))
    assert (caught.value.status, caught.value.reason) == (410, "Expired")


NO_EVENTS = [
    *(None, 5, "x", []),
    *({"type": "ADDED"}, {"type": "ADDED", "object": None}, {"type": "ERROR", "object": None}),
]


@pytest.mark.parametrize("line", NO_EVENTS)
def test_a_line_that_is_no_event_breaks_the_watch(
    server: Scripted, client: ApiClient, line: Any
) -> None:
    server.answers = [stream(line)]
    with pytest.raises(ApiUnreachable, match="watch: "):
        list(client.watch("/leases", 30))


def test_watch_refused(server: Scripted, client: ApiClient) -> None:
    server.answers = [(403, {"reason": "Forbidden", "message": "no"})]
    with pytest.raises(ApiError, match="Forbidden"):
        client.watch("/leases", 30)


def silent(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.flush()
    handler.connection.recv(1)
    handler.close_connection = True


def test_a_watch_that_stays_silent_breaks(server: Scripted, client: ApiClient) -> None:
    server.answers = [silent]
    started = time.monotonic()
    with pytest.raises(ApiUnreachable):
        list(client.watch("/leases", 0.2, timeout=0.2))
    assert 0.3 < time.monotonic() - started < 2


def test_a_watch_can_be_closed_from_another_thread(server: Scripted, client: ApiClient) -> None:
    server.answers = [silent]
    watch = client.watch("/leases", 30)
    timer = threading.Timer(0.1, watch.close)
    timer.start()
    started = time.monotonic()
    try:
        list(watch)
    except ApiUnreachable:
        pass
    assert time.monotonic() - started < 2
    timer.join()


def test_from_environment(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="KUBERNETES_SERVICE_HOST"):
        ApiClient.from_environment({})
    pod = ApiClient.from_environment({"KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert (pod._host, pod._port, pod._tls) == ("fd00::1", 443, True)
    assert str(pod._token_file) == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    other = ApiClient.from_environment(
        {
            "KUBERNETES_SERVICE_HOST": "10.0.0.1",
            "DPE_API_SERVER": "https://127.0.0.1:6443",
            "DPE_API_TOKEN_FILE": "/t",
            "DPE_API_CA_FILE": "/c",
        }
    )
    assert (other._host, other._port, str(other._token_file), str(other._ca_file)) == (
        "127.0.0.1",
        6443,
        "/t",
        "/c",
    )


@pytest.mark.parametrize(
    ("url", "why"),
    [("127.0.0.1:6443", "not a URL"), ("http://10.0.0.1:8080", "unencrypted"), ("https://", "not")],
)
def test_unusable_addresses_are_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        ApiClient(url, token_file=None, ca_file=None)


def test_a_missing_ca_file_is_named(tmp_path: Path) -> None:
    made = ApiClient("https://127.0.0.1:1", token_file=None, ca_file=tmp_path / "ca.crt")
    with pytest.raises(ApiUnreachable, match=r"ca\.crt"):
        made.get("/a", timeout=1)
    assert os.listdir(tmp_path) == []
