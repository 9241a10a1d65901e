# SPDX-License-Identifier: Apache-2.0
"""Logs are read from the nodes' files, also of a pod whose log was deleted meanwhile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tests.chaos.kind import logs
from tests.chaos.kind.judging import Asked
from tests.chaos.kind.logs import Logs, client_requests, parsed

STAMP = "2026-11-26T10:00:{:02}.500000000Z"
AT = 1795687200.5


def line(second: int, text: str) -> str:
    return f"{STAMP.format(second)} stdout F {text}\n"


def test_a_line_of_the_runtime() -> None:
    assert parsed(line(0, "all of it, with spaces").strip()) == (AT, "all of it, with spaces")
    assert parsed("half of") is None
    assert parsed("no time stdout F x") is None


def test_a_pod_that_was_deleted_is_read_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_LOOK_SECONDS", 3600.0)
    folder = tmp_path / "var/log/pods/chaos_news-1_uid/dpe"
    folder.mkdir(parents=True)
    file = folder / "0.log"
    file.write_text(line(1, "first"))
    followed = Logs("chaos", ["w1"])
    monkeypatch.setattr(followed.roots, "of", lambda node: tmp_path)
    try:
        assert followed.of("news", since=0) == {"news-1": [(AT + 1, "first")]}
        with file.open("a") as more:
            more.write(line(2, "second") + line(3, "third")[:20])
        shutil.rmtree(tmp_path / "var")
        assert followed.of("news", since=AT + 2) == {"news-1": [(AT + 2, "second")]}
        followed.forget(AT + 3)
        assert followed.of("news", since=0) == {"news-1": []}
        assert followed.of("ingest", since=0) == {}
    finally:
        followed.close()


def test_what_a_client_wrote(tmp_path: Path) -> None:
    folder = tmp_path / "var/lib/records"
    folder.mkdir(parents=True)
    seen = [
        {"sentAt": at, "doneAt": at + 1, "ok": bool(member), "member": member}
        for at, member in ((5, "a"), (20, "b"), (10, None))
    ]
    text = "".join(json.dumps(one) + "\n" for one in seen)
    (folder / "1.jsonl").write_text(text + '{"sentAt": 30, "do')
    assert client_requests(tmp_path, "/var/lib/records", since=8) == [
        Asked(10, 11, False, ""), Asked(20, 21, True, "b"),
    ]  # fmt: skip
    assert client_requests(tmp_path, "/nowhere", since=0) == []
