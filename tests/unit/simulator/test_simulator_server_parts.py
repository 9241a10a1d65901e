# SPDX-License-Identifier: Apache-2.0
"""Parts of the server and the client that need no network: parsing, faults, notification, options."""

import asyncio
import ssl
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from dpe_operator.prober.http_client import Call, encode_call, failure_of, parse_target
from dpe_simulator.bell import Bell
from dpe_simulator.certs import CertificateTrouble, ServerNames
from dpe_simulator.cli import build_parser, main
from dpe_simulator.faults import NO_FAULT, Fault, FaultSwitch, parse_fault
from dpe_simulator.health import Health
from dpe_simulator.http_server import BadRequest, Response, read_request
from dpe_simulator.identity import Identity
from dpe_simulator.ledger import Entry, Ledger, Scribe
from dpe_simulator.routes import Refused, Routes, RouteSettings, parse_workflow


async def received(data: bytes) -> Any:
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    reader.feed_eof()
    return await read_request(reader)


async def test_a_request_is_taken_apart() -> None:
    request = await received(
        b"POST /Dpe/jobs/claim?type=audio%20x&n=1&n=2 HTTP/1.1\r\nHost: h\r\nX-Dpe-Attempt: 2\r\n"
        b"Content-Length: 4\r\n\r\nbody"
    )
    assert (request.method, request.path, request.body) == ("POST", "/Dpe/jobs/claim", b"body")
    assert request.query == {"type": "audio x", "n": "2"}
    assert request.headers["x-dpe-attempt"] == "2"


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        ("HTTP/1.1", "", True),
        ("HTTP/1.1", "Connection: close\r\n", False),
        ("HTTP/1.0", "", False),
        ("HTTP/1.0", "Connection: keep-alive\r\n", True),
    ],
)
async def test_who_wants_the_connection_kept(version: str, header: str, kept: bool) -> None:
    request = await received(f"GET / {version}\r\n{header}\r\n".encode())
    assert request.keep_alive is kept


@pytest.mark.parametrize("head", [
    b"hello\r\n\r\n",
    b"GET / HTTP/2\r\n\r\n",
    b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    b"POST / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
])  # fmt: skip
async def test_what_is_not_understood_is_refused(head: bytes) -> None:
    with pytest.raises(BadRequest):
        await received(head)


def test_faults_are_read_field_by_field() -> None:
    wish = {"path": "/status", "slowSeconds": 2, "hang": True, "body": "no", "status": 500}
    assert parse_fault({**wish, "forSeconds": 5}, now=10) == Fault(
        "/status", 2.0, True, "no", 500, 15
    )
    assert parse_fault({}, now=10) == NO_FAULT


@pytest.mark.parametrize("wish", [{"slow": 1}, {"hang": "yes"}, {"status": 999}, {"path": 3}])
def test_a_wrong_fault_names_its_field(wish: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wish))):
        parse_fault(wish, now=0)


async def test_a_hanging_request_goes_on_when_the_fault_is_taken_away() -> None:
    switch = FaultSwitch()
    switch.set(Fault(path="/ping", hang=True))
    await switch.before("/status")  # not meant
    waiting = asyncio.create_task(switch.before("/ping"))
    await asyncio.sleep(0.01)
    assert not waiting.done()
    switch.set(NO_FAULT)
    await asyncio.wait_for(waiting, 1)


async def test_a_fault_for_a_time_ends_by_itself() -> None:
    switch = FaultSwitch()
    switch.set(
        parse_fault({"hang": True, "forSeconds": 0.02}, now=asyncio.get_running_loop().time())
    )
    await asyncio.wait_for(switch.before("/ping"), 1)


def test_a_fault_falsifies_body_and_status_where_it_is_meant() -> None:
    switch = FaultSwitch()
    switch.set(Fault(path="/status", body="broken", status=500))
    wrong = switch.falsify(Response(200, b"ok"), path="/status")
    assert (wrong.status, wrong.body) == (500, b"broken")
    assert switch.falsify(Response(200, b"ok"), path="/ping") == Response(200, b"ok")


async def test_a_ring_between_taking_the_place_and_waiting_is_not_missed() -> None:
    bell = Bell()
    with bell.place("audio") as place:
        bell.ring("video")
        assert not await place.wait(0.001)
        bell.ring("audio")
        assert await place.wait(1)


async def test_a_closed_bell_lets_nobody_wait() -> None:
    bell = Bell()
    with bell.place("audio") as before:
        bell.close()
        assert await before.wait(1)
    with bell.place("audio") as after:
        assert await after.wait(1)


def test_a_workflow_is_read_with_its_jobs() -> None:
    new = parse_workflow(
        {"type": "copy", "title": "!0x", "jobs": [{"type": "audio", "seconds": 1.5}]},
        request_id="r",
    )
    assert (new.type, new.title.checked, new.request_id) == ("copy", False, "r")
    assert [(job.type, job.seconds) for job in new.jobs] == [("audio", 1.5)]


class OneRow:
    """A database in which each query finds one row, with the number 7; remembers the values."""

    def __init__(self) -> None:
        self.given: list[Any] = []

    async def run(self, work: Any, *, within: float) -> Any:
        return work(self)

    def execute(self, query: str, values: Any = ()) -> Any:
        self.given += values
        return self

    def fetchone(self) -> tuple[int]:
        return (7,)

    def fetchall(self) -> list[Any]:
        return []


async def test_a_workflow_is_noted_with_the_attempt_that_made_it() -> None:
    database: Any = OneRow()
    scribe = Scribe(Identity("server", "a", "server-a", None))
    routes = Routes(
        RouteSettings("", 30.0, False), core=database, ledger=Ledger(database, scribe),
        health=Health(database, bound=1.0), bell=Bell(),
    )  # fmt: skip
    body = b'{"type": "copy", "title": "x", "jobs": [{"type": "audio"}]}'
    head = "POST /workflow/instances HTTP/1.1\r\nX-DPE-Request-Id: r-1\r\nX-DPE-Attempt: 2\r\n"
    request = await received(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    assert (await routes.handle(request)).status == 201
    [made] = [one.obj for one in database.given if isinstance(one, Jsonb)]
    assert (made["requestId"], made["attempt"]) == ("r-1", "2")


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"title": "x"}, "type"),
        ({"type": "copy"}, "title"),
        ({"type": "copy", "title": "a\nb"}, "title"),
        ({"type": "copy", "title": "x", "jobs": 3}, "jobs"),
        ({"type": "copy", "title": "x", "jobs": [{"type": "a", "seconds": -1}]}, "seconds"),
    ],
)
def test_a_wrong_workflow_names_its_field(wish: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused, match=f"{field}: ") as refusal:
        parse_workflow(wish, request_id=None)
    assert refusal.value.status == 400


def test_a_base_url_is_taken_apart() -> None:
    target = parse_target("https://radio-balancer.studio.svc/DpeWebApplication/", ca_file=None)
    assert (target.host, target.port, target.base) == (
        "radio-balancer.studio.svc", 443, "/DpeWebApplication",
    )  # fmt: skip
    assert target.tls is not None
    assert parse_target("http://127.0.0.1:8080", ca_file=None).authority == "127.0.0.1:8080"


@pytest.mark.parametrize("url", ["radio-balancer", "ftp://x", "https:///path"])
def test_a_wrong_url_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(ValueError, match=r"url: .* must look like https://"):
        parse_target(url, ca_file=None)


def test_a_request_carries_host_and_headers() -> None:
    target = parse_target("http://dpe:81/base", ca_file=None)
    data = encode_call(target, Call("POST", "/x", b"{}", {"X-DPE-Request-Id": "7"}))
    assert data.startswith(b"POST /base/x HTTP/1.1\r\nHost: dpe:81\r\nContent-Length: 2\r\n")
    assert data.endswith(b"X-DPE-Request-Id: 7\r\n\r\n{}")


@pytest.mark.parametrize(
    ("problem", "kind"),
    [
        (TimeoutError(), "connect-timeout"),
        (ConnectionRefusedError(), "refused"),
        (ConnectionResetError(), "reset"),
        (asyncio.IncompleteReadError(b"", 1), "closed"),
        (ssl.SSLCertVerificationError(), "certificate"),
        (ssl.SSLError(), "tls"),
        (OSError("no route"), "network"),
    ],
)
def test_failures_are_told_apart(problem: BaseException, kind: str) -> None:
    failure = failure_of(problem, stage="connect")
    assert failure.kind == kind
    assert failure.retryable is (kind != "certificate")


def test_a_ledger_line_carries_identity_epoch_and_a_number() -> None:
    identity = Identity.here("server", member="a", environment={"DPE_ELECTOR_EPOCH": "12"})
    scribe = Scribe(identity)
    first = scribe.row(Entry("start", 1.0))
    second = scribe.row(Entry("request", 2.0, 3.0, "r-1", detail={"status": 200}))
    assert [first[1], second[1]] == [1, 2]
    assert (second[0], second[4:10]) == (
        identity.process, ("server", "request", "a", 12, "r-1", None),
    )  # fmt: skip
    assert Identity.here("server", member="a", environment={}).epoch is None


def test_server_names_become_alternative_names() -> None:
    names = ServerNames(["dpe.studio.svc"], ["127.0.0.1", "::1"])
    assert names.alternative_names() == "DNS:dpe.studio.svc,IP:127.0.0.1,IP:::1"
    with pytest.raises(CertificateTrouble, match="at least one"):
        ServerNames([], []).alternative_names()
    with pytest.raises(CertificateTrouble, match="--ip"):
        ServerNames([], ["dpe.studio.svc"]).alternative_names()


def test_options_take_their_defaults_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPE_MEMBER", "b")
    monkeypatch.setenv("DPE_JOB_LEASE", "500ms")
    options = build_parser().parse_args(["server"])
    assert (options.member, options.lease, options.port) == ("b", 0.5, 8443)
    options = build_parser().parse_args(["client", "--fresh", "--seconds=5s", "--json=-"])
    assert (options.fresh, options.seconds, options.json, options.slow) == (20.0, 5.0, "-", 1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["client"], "--url: no address"),
        (["client", "--url=http://x", "--slow=3", "--connections=2"], "--slow: 3 must be"),
        (["server", "--cert=x"], "give both for HTTPS"),
        (["server", "--base-path=dpe"], "must begin with /"),
        (["processor", "--url=http://x", "--quota=0"], "--quota: 0"),
    ],
)
def test_wrong_options_end_with_a_message_and_status_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert said in capsys.readouterr().err
