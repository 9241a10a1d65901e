# SPDX-License-Identifier: Apache-2.0
"""What a run says at its end, and where it is written."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_elector.api_client import ApiError, ApiUnreachable
from dpe_par_sync import publish
from dpe_par_sync.result import Failed, Figures, Names, Outcome, Result, shown
from dpe_par_sync.supervisor import supervised

RESULT = Result(
    outcome=Outcome.SUCCEEDED,
    reason="Copied",
    message="3 files, 1 copied, 0 deleted.",
    started_at="2026-11-24T02:00:00Z",
    finished_at="2026-11-24T02:00:02Z",
    seconds=1.23456,
    about=(("run", "20261124T020000Z-abcd"), ("store", "radio"), ("redundant", "nightly")),
    figures=Figures(
        files=3,
        bytes=300,
        copied=1,
        divergent=Names.of([b"edited"]),
        verified=True,
    ),
)


def test_the_result_is_one_object_of_known_fields() -> None:
    """docs/reference/par-sync.md lists them, and the operator reads them."""
    assert json.loads(RESULT.line()) == {
        "startedAt": "2026-11-24T02:00:00Z",
        "finishedAt": "2026-11-24T02:00:02Z",
        "run": "20261124T020000Z-abcd",
        "store": "radio",
        "redundant": "nightly",
        "result": "Succeeded",
        "reason": "Copied",
        "message": "3 files, 1 copied, 0 deleted.",
        "files": 3,
        "bytes": 300,
        "copied": 1,
        "deleted": 0,
        "restored": 0,
        "retimed": 0,
        "divergent": {"count": 1, "names": ["edited"]},
        "overwritten": {"count": 0, "names": []},
        "deferred": 0,
        "skipped": {"count": 0, "names": []},
        "verified": True,
        "warnings": [],
        "seconds": 1.235,
    }


@pytest.mark.parametrize(
    ("outcome", "reason", "status"),
    [
        (Outcome.SUCCEEDED, "Copied", 0),
        (Outcome.FAILED, "TimedOut", 1),
        (Outcome.FAILED, "ConfigInvalid", 2),
        (Outcome.REFUSED, "MasterEmpty", 3),
    ],
)
def test_exit_statuses(outcome: Outcome, reason: str, status: int) -> None:
    assert replace(RESULT, outcome=outcome, reason=reason).exit_status == status


def test_names_are_the_first_in_order_and_all_are_counted() -> None:
    names = Names.of(f"{number:03}".encode() for number in reversed(range(50)))
    assert names.count == 50
    assert names.names == tuple(f"{number:03}" for number in range(20))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("Größe.par".encode(), "Größe.par"),
        (b"new\nline", "new\\nline"),
        (b"\xff", "\\xff"),
        (b"esc\x1b[31m", "esc\\x1b[31m"),
        ("right\u202eto left".encode(), "right\\u202eto left"),
        (b"x" * 300, "x" * 197 + "..."),
    ],
)
def test_any_name_can_be_shown_on_one_line(path: bytes, text: str) -> None:
    assert shown(path) == text


def test_half_a_character_in_a_message_does_no_harm() -> None:
    line = replace(RESULT, message="/par/\udcff").line()
    assert line.encode()
    assert json.loads(line)["message"] == "/par/\udcff"


@given(st.binary(max_size=300))
def test_shown_names_are_printable_and_short(path: bytes) -> None:
    assert shown(path).isprintable() and len(shown(path)) <= 200


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=40), st.text(max_size=3000))
def test_the_termination_message_fits_into_what_kubelet_takes(
    paths: list[bytes], message: str
) -> None:
    figures = replace(
        RESULT.figures,
        divergent=Names.of(paths),
        overwritten=Names.of(paths),
        skipped=Names.of(paths),
        warnings=(message,) * 5,
    )
    line = replace(RESULT, message=message, figures=figures).within(publish.TERMINATION_BYTES)
    assert len(line.encode()) <= publish.TERMINATION_BYTES
    found = json.loads(line)
    assert found["divergent"]["count"] == len(paths)
    assert found["result"] == "Succeeded"


def test_the_termination_message_is_written_where_kubelet_has_made_the_file(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    path.write_text("old" * 1000)
    assert publish.write_termination_message(str(path), RESULT) == ""
    assert path.read_text() == RESULT.line()
    assert publish.write_termination_message("", RESULT) == ""


def test_outside_of_a_pod_no_file_is_made_for_it(tmp_path: Path) -> None:
    path = tmp_path / "termination-log"
    assert publish.write_termination_message(str(path), RESULT) == ""
    assert not path.exists()
    assert "Is a directory" in publish.write_termination_message(str(tmp_path), RESULT)


class FakeApi:
    """A Lease that somebody else renews between each read and write, `conflicts` times."""

    def __init__(self, *, conflicts: int = 0, failure: Exception | None = None) -> None:
        self.lease: dict[str, Any] = {
            "metadata": {"resourceVersion": "1", "annotations": {"other": "stays"}},
            "spec": {"renewTime": "1"},
        }
        self.conflicts = conflicts
        self.failure = failure
        self.calls = 0

    def get(self, path: str, *, timeout: float = 10.0) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(json.dumps(self.lease))
        return found

    def put(self, path: str, body: dict[str, Any], *, timeout: float = 10.0) -> dict[str, Any]:
        self.calls += 1
        if self.failure:
            raise self.failure
        if self.conflicts:
            self.conflicts -= 1
            version = str(int(self.lease["metadata"]["resourceVersion"]) + 1)
            self.lease["metadata"]["resourceVersion"] = version
            self.lease["spec"]["renewTime"] = version
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "changed")
        self.lease = body
        return body


def write(api: FakeApi, result: Result, adopt: str = "", *, patience: float = 30) -> str:
    return publish.write_lease(
        api, "/lease", lambda lease: publish.with_result(lease, result, adopt), patience=patience
    )


def test_the_lease_gets_the_result_and_loses_nothing() -> None:
    api = FakeApi(conflicts=3)
    assert write(api, RESULT, "yes") == ""
    notes = api.lease["metadata"]["annotations"]
    assert api.calls == 4
    assert api.lease["spec"]["renewTime"] == "4", "the renewals of the elector stay"
    assert notes["other"] == "stays"
    assert notes["dpe.dev/par-sync-result"] == RESULT.line()
    assert notes["dpe.dev/par-sync-last-success"] == RESULT.line()
    assert publish.adopted_texts(api.lease) == {"yes"}


def test_a_failed_run_leaves_the_last_success_and_uses_no_text() -> None:
    api = FakeApi()
    write(api, RESULT)
    failed = replace(RESULT, outcome=Outcome.REFUSED, reason="MasterEmpty")
    write(api, failed)
    notes = api.lease["metadata"]["annotations"]
    assert notes["dpe.dev/par-sync-result"] == failed.line()
    assert notes["dpe.dev/par-sync-last-success"] == RESULT.line()
    assert publish.adopted_texts(api.lease) == frozenset()


@pytest.mark.parametrize(
    ("failure", "calls"),
    [(ApiError(403, "Forbidden", "no"), 1), (ApiError(404, "NotFound", "no"), 1)],
)
def test_an_answer_that_will_not_change_is_taken(failure: Exception, calls: int) -> None:
    api = FakeApi(failure=failure)
    assert "no" in write(api, RESULT)
    assert api.calls == calls


def test_a_server_that_is_away_is_asked_again_for_a_while() -> None:
    api = FakeApi(failure=ApiUnreachable("refused"))
    assert write(api, RESULT, patience=0.1) == "refused"
    assert api.calls > 1


@pytest.mark.parametrize("note", ["", "{", "3", "null", '{"a": 1}', "[1, null]"])
def test_a_note_that_is_no_list_of_texts_is_none(note: str) -> None:
    lease = {"metadata": {"annotations": {publish.ANNOTATION_ADOPTED: note}}}
    assert publish.adopted_texts(lease) <= {"a"}
    assert publish.adopted_texts({"metadata": {}}) == frozenset()


def test_the_child_answers_and_nothing_is_left() -> None:
    assert supervised(lambda: b"x" * 200_000, 10) == b"x" * 200_000


def test_a_child_that_hangs_is_ended_with_what_it_has_started(tmp_path: Path) -> None:
    note = tmp_path / "pid"

    def hang() -> bytes:
        grandchild = os.fork()
        if grandchild == 0:
            time.sleep(60)
            os._exit(0)
        note.write_text(str(grandchild))
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
        return b""

    with pytest.raises(Failed) as failed:
        supervised(hang, 1)
    assert failed.value.reason == "TimedOut"
    assert "a volume may hang" in str(failed.value) and "sync.maxRunTime" in str(failed.value)
    end = time.monotonic() + 10
    while time.monotonic() < end and _lives(int(note.read_text())):
        time.sleep(0.01)
    assert not _lives(int(note.read_text()))


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("end", "why"),
    [
        (lambda: os.kill(os.getpid(), signal.SIGKILL), "signal SIGKILL"),
        (lambda: os._exit(7), "exit status 7"),
    ],
)
def test_a_child_that_dies_is_told_apart(end: Any, why: str) -> None:
    def die() -> bytes:
        end()
        return b""

    with pytest.raises(Failed, match=why) as failed:
        supervised(die, 10)
    assert failed.value.reason == "WorkerDied"


def test_a_signal_ends_the_run_with_a_result() -> None:
    parent = os.getpid()

    def work() -> bytes:
        os.kill(parent, signal.SIGTERM)
        time.sleep(60)
        return b""

    with pytest.raises(Failed) as failed:
        supervised(work, 30)
    assert failed.value.reason == "Interrupted"
