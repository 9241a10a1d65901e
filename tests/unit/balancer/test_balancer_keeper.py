# SPDX-License-Identifier: Apache-2.0
"""The record between the agent and the two threads that speak with the API server."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from dpe_balancer.keeper import Board, Writer
from dpe_balancer.model import Role
from dpe_balancer.record import Pod, Port, read_record

HOLDER = Role(holder=True, epoch=5, identity="me")


def slice_at(version: int) -> dict[str, Any]:
    """The record as the former holder left it."""
    notes = {"dpe.dev/epoch": "4", "dpe.dev/active-member": "a", "dpe.dev/switch-count": "0"}
    return {
        "metadata": {"resourceVersion": str(version), "annotations": notes},
        "endpoints": [{"addresses": ["10.1.0.1"], "targetRef": {"uid": "former"}}],
    }


def writer(board: Board, get: Callable[[], dict[str, Any]]) -> Writer:
    """A Writer whose API server answers every GET with what `get` gives."""
    config = SimpleNamespace(port=Port("https", 8443))
    client = SimpleNamespace(get=lambda _path, timeout: get())
    pod = Pod("radio-balancer-x", "new", "studio", "10.1.0.7", "node-1")
    return Writer(config, SimpleNamespace(slice="", lease=""), board, client, pod)


def test_a_new_holder_whose_reading_came_too_late_reads_again() -> None:
    """Somebody wrote just after it had read, and the watch was quicker: what it read is left out.
    Without the record as read for its epoch it would never publish itself."""
    board = Board(read_record(slice_at(100)))
    answers = [slice_at(101), slice_at(100)]

    def get() -> dict[str, Any]:
        answer = answers.pop()
        board.show(read_record(slice_at(101)))
        return answer

    board.ask(HOLDER, None)
    new = writer(board, get)
    assert new.work_once() > 0, "not at once: the next answer may be as old"
    record, _ = board.read()
    assert record is not None
    assert (record.version, record.fresh_for) == (101, 0)
    assert new.work_once() == 0
    record, _ = board.read()
    assert record is not None
    assert (record.version, record.fresh_for) == (101, HOLDER.epoch)
    assert not answers


def test_what_was_asked_before_the_wait_begins_is_not_waited_for() -> None:
    """The loop may ask between the writer's last look and its wait."""
    board = Board()
    board.asked()
    board.ask(HOLDER, None)
    begin = time.monotonic()
    board.wait(5)
    assert time.monotonic() - begin < 1
    board.asked()
    board.wait(0.1)
    assert time.monotonic() - begin >= 0.1, "it is known by now"
