# SPDX-License-Identifier: Apache-2.0
"""The standby's questions to the routed balancer: what counts as an answer, and as silence."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dpe_balancer import metrics
from dpe_balancer.config import peers_from_environment
from dpe_balancer.keeper import Board
from dpe_balancer.local_files import choice_text, says_up, word_text
from dpe_balancer.metrics import Figures
from dpe_balancer.model import Choice, Record, Switch
from dpe_balancer.peer import NEVER_HEARD_QUESTIONS, Peer, SignFile, Trials, answers, target


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def answer(server: socket.socket, text: bytes, times: int = 1) -> None:
    def serve() -> None:
        for _ in range(times):
            connection, _address = server.accept()
            with connection:
                connection.recv(100)
                connection.sendall(text)

    threading.Thread(target=serve, daemon=True).start()


def test_any_answer_of_http_counts(server: socket.socket) -> None:
    answer(server, b"HTTP/1.1 404 Not Found\r\n\r\n")
    assert answers("127.0.0.1", server.getsockname()[1])


def test_a_port_that_only_the_kernel_serves_is_silent(server: socket.socket) -> None:
    begin = time.monotonic()
    assert not answers("127.0.0.1", server.getsockname()[1])
    assert 0.3 < time.monotonic() - begin < 5


def test_something_else_that_answers_is_not_haproxy(server: socket.socket) -> None:
    answer(server, b"SSH-2.0\r\n")
    assert not answers("127.0.0.1", server.getsockname()[1])


def test_a_refused_connection_is_a_no(server: socket.socket) -> None:
    port = server.getsockname()[1]
    server.close()
    assert not answers("127.0.0.1", port)


def test_three_in_a_row_are_silence_of_a_pod_that_was_heard() -> None:
    trials = Trials().after("x", answered=True)
    for _ in range(2):
        trials = trials.after("x", answered=False)
    assert not trials.silent
    assert trials.after("x", answered=False).silent
    assert not trials.after("x", answered=True).after("x", answered=False).silent
    # another pod begins anew
    assert not trials.after("y", answered=False).silent


def test_a_pod_that_was_never_heard_is_not_silent() -> None:
    trials = Trials()
    for _ in range(50):
        trials = trials.after("x", answered=False)
    assert not trials.silent


def test_whom_to_ask() -> None:
    routed = Record(routed_to="x", address="10.1.0.1")
    assert target(routed, "me") == ("x", "10.1.0.1")
    for nobody in (None, Record(), Record(routed_to="x"), Record(routed_to="me", address="10.0")):
        assert target(nobody, "me") is None


def test_a_path_that_never_worked_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    board = Board(Record(routed_to="x", address="10.1.0.1"))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    peer = Peer(board, "me", lambda _: ("127.0.0.1", port, port))
    with caplog.at_level(logging.WARNING):
        for _ in range(NEVER_HEARD_QUESTIONS + 5):
            peer.ask_once()
    assert peer.silent == ""
    assert [f"127.0.0.1:{port}" in line for line in caplog.messages] == [True]
    assert "NetworkPolicy" in caplog.text


def test_the_thread_tells_who_is_silent(server: socket.socket) -> None:
    board = Board(Record(routed_to="x", address="10.1.0.1"))
    port = server.getsockname()[1]
    peer = Peer(board, "me", lambda _: ("127.0.0.1", port, port))
    answer(server, b"HTTP/1.0 200 OK\r\n\r\n")
    peer.ask_once()
    server.close()
    for _ in range(3):
        peer.ask_once()
    assert peer.silent == "x"
    board.show(Record(routed_to="me", address="10.1.0.2", version=9))
    peer.ask_once()
    assert peer.silent == ""


def test_the_word_of_the_routed_pod_is_asked_for_and_kept_when_it_falls_silent(
    server: socket.socket,
) -> None:
    told = Choice("b", "2026-11-26T16:44:03Z", 25, Switch("a", "b", "MemberDown", "t", 300))
    word = [choice_text(told, "x")]
    agent = metrics.serve("127.0.0.1", 0, Figures, lambda _: word[0])
    board = Board(Record(routed_to="x", address="10.1.0.1"))
    haproxy = server.getsockname()[1]
    peer = Peer(board, "me", lambda _: ("127.0.0.1", haproxy, agent.server_address[1]))
    assert peer.told is None
    answer(server, b"HTTP/1.0 404 Not Found\r\n\r\n", times=4)
    peer.ask_once()
    assert peer.told == as_recorded_by("x", told)
    for nothing in ("", "not JSON", "[" * 16_000):
        word[0] = nothing
        peer.ask_once()
        assert peer.told == as_recorded_by("x", told)
    server.close()
    agent.shutdown()
    agent.server_close()
    peer.ask_once()
    assert peer.told == as_recorded_by("x", told)
    board.show(Record(routed_to="me", address="10.1.0.2", version=9))
    peer.ask_once()
    assert peer.told is None


def test_the_question_says_whether_this_balancer_sees_a_member_up(server: socket.socket) -> None:
    heard: list[bool] = []

    def word(sees_up: bool) -> str:
        heard.append(sees_up)
        return ""

    agent = metrics.serve("127.0.0.1", 0, Figures, word)
    board = Board(Record(routed_to="x", address="10.1.0.1"))
    haproxy = server.getsockname()[1]
    peer = Peer(board, "me", lambda _: ("127.0.0.1", haproxy, agent.server_address[1]))
    answer(server, b"HTTP/1.0 404 Not Found\r\n\r\n", times=3)
    peer.sees_up = True  # that alone would not do: it may not reach the API server
    for could_serve in (False, True, False):
        peer.could_serve = could_serve
        peer.ask_once()
    agent.shutdown()
    agent.server_close()
    assert heard == [False, True, False]


@pytest.mark.parametrize(("sees_up", "whose"), [(True, "x"), (False, "x"), (True, "another's")])
def test_the_answer_says_whether_the_routed_balancer_sees_a_member_up(
    server: socket.socket, sees_up: bool, whose: str
) -> None:
    text = word_text(Choice("b", "2026-11-26T16:44:03Z", 25), whose, sees_up=sees_up)
    agent = metrics.serve("127.0.0.1", 0, Figures, lambda _: text)
    board = Board(Record(routed_to="x", address="10.1.0.1"))
    haproxy = server.getsockname()[1]
    peer = Peer(board, "me", lambda _: ("127.0.0.1", haproxy, agent.server_address[1]))
    answer(server, b"HTTP/1.0 404 Not Found\r\n\r\n")
    peer.ask_once()
    agent.shutdown()
    agent.server_close()
    assert peer.told is not None and peer.told.active == "b"
    assert peer.sight.is_fresh(time.monotonic()) == (sees_up and whose == "x")


@pytest.mark.parametrize("text", [b"", b"[]", b"[" * 9000, b'{"seesUp": 1}', b'{"choice": {}}'])
def test_any_other_text_does_not_say_so(text: bytes) -> None:
    assert not says_up(text)


def as_recorded_by(pod: str, choice: Choice) -> Record:
    return Record(
        active=choice.active,
        since=choice.since,
        switch_count=choice.switch_count,
        last_switch=choice.last_switch,
        routed_to=pod,
    )


def test_the_sign_is_a_file_that_is_kept_fresh(tmp_path: Path) -> None:
    path = tmp_path / "peer.json"
    sign = SignFile(path)
    sign.say("")
    assert not path.exists()
    sign.say("x")
    first = json.loads(path.read_text())
    assert first["pod"] == "x"
    assert abs(first["at"] - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
    time.sleep(0.6)
    sign.say("x")
    assert json.loads(path.read_text())["at"] > first["at"]
    sign.say("")
    assert not path.exists()
    sign.say("x")
    sign.clear()
    assert not path.exists()


def test_other_places_are_for_tests() -> None:
    text = "10.1.0.1=127.0.0.1:7:9,10.1.0.2=127.0.0.1:8:10"
    found = peers_from_environment({"DPE_BALANCER_TEST_PEERS": text})
    assert found == {"10.1.0.1": ("127.0.0.1", 7, 9), "10.1.0.2": ("127.0.0.1", 8, 10)}
    assert peers_from_environment({}) == {}
