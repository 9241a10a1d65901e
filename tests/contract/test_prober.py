# SPDX-License-Identifier: Apache-2.0
"""The prober against a server that this test stands for: planned times, members, retries, the command."""

import asyncio
import json
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest

from dpe_operator.cli.main import main
from dpe_operator.prober.http_client import Call, Connection, Target
from dpe_operator.prober.load import Load
from dpe_operator.prober.retry import AttemptFailed
from dpe_operator.prober.running import check_destination, report


class Member:
    """A server that answers as `name`, after `delay` seconds; `down` refuses to answer."""

    def __init__(self) -> None:
        self.name, self.delay, self.down, self.body = "a", 0.0, False, b"ok"
        self.paths: list[str] = []
        self.hosts: set[str] = set()
        self.at_once = 0
        self.most_at_once = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                self.paths.append(head.split(" ")[1])
                self.hosts.add(head.split("Host: ")[1].split("\r\n")[0])
                if self.down:
                    break
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
                await asyncio.sleep(self.delay)
                self.at_once -= 1
                length = len(self.body)
                lines = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nX-Who: {self.name}\r\n\r\n"
                writer.write(lines.encode() + self.body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@contextmanager
def serving(member: Member) -> Iterator[str]:
    """Serve in a thread of its own; yields the URL."""
    loop = asyncio.new_event_loop()
    listener = socket.create_server(("127.0.0.1", 0))

    async def run() -> None:
        stop.append(asyncio.Event())
        server = await asyncio.start_server(member.serve, sock=listener)
        ready.set()
        await stop[0].wait()
        server.close()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    stop: list[asyncio.Event] = []
    ready = threading.Event()
    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    ready.wait(10)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/Dpe"
    finally:
        loop.call_soon_threadsafe(stop[0].set)
        thread.join(10)
        loop.close()


def probe(url: str, folder: Path, *more: str) -> dict[str, object]:
    result = folder / "seen.json"
    arguments = ["--seconds", "1.5s", "--rate", "60", "--fresh", "20", "--connections", "4"]
    assert main(["probe", "--url", url, *arguments, "--json", str(result), *more]) == 0
    found: dict[str, object] = json.loads(result.read_text())
    return found


def test_new_connections_are_opened_when_planned_however_slow_the_server_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    member = Member()
    member.delay = 0.6
    with serving(member) as url:
        seen = probe(url, tmp_path, "--member-header", "X-Who", "--path", "/status", "--slow", "0")
    assert member.most_at_once > 8, "one request after the other would be 4 at a time"
    assert seen["classes"]["fresh"]["requests"] == 30  # type: ignore[index]
    assert seen["members"] == {"a": seen["requests"]}
    assert seen["classes"]["keepAlive"]["maxMilliseconds"] > 700, "counts from when it was due"  # type: ignore[index]
    assert set(member.paths) == {"/Dpe/status"}
    assert "answered by  a" in capsys.readouterr().out


def test_a_run_ends_though_requests_have_piled_up_and_says_how_many(tmp_path: Path) -> None:
    member = Member()
    member.delay = 0.6  # ten a second fall due on each kept connection
    with serving(member) as url:
        seen = probe(url, tmp_path)
    assert seen["seconds"] < 1.5 + 1.5, "what was under way is waited for, nothing else is begun"  # type: ignore[operator]
    kept = seen["classes"]["keepAlive"]["requests"]  # type: ignore[index]
    assert kept + seen["notSent"] == pytest.approx(60, abs=3), "40 a second were due"


def test_one_run_tells_what_clients_with_and_without_retries_lose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Member()
    monkeypatch.setenv("DPE_RETRY_INITIAL_BACKOFF", "100ms")
    with serving(member) as url:
        threading.Timer(0.6, lambda: setattr(member, "down", True)).start()
        threading.Timer(0.9, lambda: vars(member).update(down=False, name="b")).start()
        seen = probe(url, tmp_path, "--member-header", "X-Who", "--undisturbed", "300ms")
    assert seen["failedAfterRetries"] == 0
    assert seen["failedWithoutRetry"] > 0  # type: ignore[operator]
    assert seen["gapMilliseconds"] > 200 and seen["gapIsOver"]  # type: ignore[operator]
    assert [(one["from"], one["to"]) for one in seen["switches"]] == [("a", "b")]  # type: ignore[attr-defined]
    assert seen["overlapMilliseconds"] == 0
    assert seen["undisturbed"]["failedWithoutRetry"] == 0  # type: ignore[index]


def test_a_wrong_body_is_no_success_and_the_name_of_the_server_can_be_told(tmp_path: Path) -> None:
    member = Member()
    with serving(member) as url:
        name = ("--server-name", "radio-balancer")
        seen = probe(url, tmp_path, "--body-contains", "never", "--no-retry", *name)
    assert seen["succeeded"] == 0 and not seen["gapIsOver"]
    assert "wrong-body" in seen["errorKinds"]  # type: ignore[operator]
    assert member.hosts == {"radio-balancer"}


@asynccontextmanager
async def connected_to(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[Connection]:
    """A server that does what `serve` says, and a connection to it."""
    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield Connection(Target("127.0.0.1", port, "", None), connect_timeout=5)


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 twohundred OK\r\n\r\n",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsome\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 70_000 + b"\r\n",
    ],
)
async def test_an_answer_that_is_no_http_is_a_failed_attempt(said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(said)
        with suppress(ConnectionError):  # the client leaves at once
            await reader.read()
        writer.close()
        over.set()

    over = asyncio.Event()
    async with connected_to(serve) as connection:
        with pytest.raises(AttemptFailed) as failure:
            await connection.request(Call(), within=5)
        await over.wait()
    assert failure.value.kind == "protocol"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--url: no address"),
        (["--url", "radio"], "url: 'radio' must look like"),
        (["--url", "http://x", "--fresh", "300"], "--fresh: 300 must be below --rate (200)"),
        (["--url", "http://x", "--slow", "11"], "--slow: 11 must be from 0 to --connections (10)"),
        (["--url", "http://x", "--undisturbed", "1m"], "--undisturbed: 60 s must be shorter"),
        (["--url", "http://x", "--seconds", "0"], "--seconds: 0 must be more than 0"),
        (["--url", "http://x", "--rate", "inf"], "--rate: inf must be a number"),
        (["--url", "http://x", "--rate", "nan"], "--rate: nan must be a number"),
        (["--url", "http://x", "--connections", "1"], "--connections: 1 must be above --slow (1)"),
        (["--url", "http://x", "--path", "status"], "--path: 'status' must begin with a slash"),
        (["--url", "http://x", "--slow-path", "big"], "--slow-path: 'big' must begin with a slash"),
        (["--url", "http://x", "--json", "/no/such/x.json"], "No such file or directory"),
        (["--url", "https://x", "--ca", "/no/such.crt"], "ca: /no/such.crt cannot be read"),
    ],
)
def test_wrong_options_are_told_with_status_2(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("DPE_SERVICE_ROOT", raising=False)
    # told before the run, and not instead of its result
    monkeypatch.setattr(Load, "run", lambda _: pytest.fail("it ran"))
    assert main(["probe", *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err and not out


def test_the_table_is_not_lost_with_a_file_that_can_no_longer_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(OSError, match="Is a directory"):
        report(str(tmp_path), {"a": 1}, "the table")
    assert capsys.readouterr().out == "the table\n"


def test_a_former_result_is_there_until_the_new_one_is(tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    file.write_text("former")
    check_destination(str(file))
    assert file.read_text() == "former"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("header", ["", "Content-Length: 5\r\n"])
async def test_an_answer_that_never_has_a_body_is_whole_without_one(
    status: str, header: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):  # over one connection, which is kept
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 {status}\r\n{header}\r\n".encode())
        await reader.read()
        writer.close()
        over.set()

    over = asyncio.Event()
    async with connected_to(serve) as connection:
        answers = [await connection.request(Call(), within=2) for _ in range(2)]
        connection.close()
        await over.wait()
    assert {(answer.status, answer.body) for answer in answers} == {(int(status[:3]), b"")}
