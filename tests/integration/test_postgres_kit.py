# SPDX-License-Identifier: Apache-2.0
"""The tests' own PostgreSQL: it is frozen and thawed as a whole, whoever of it ends meanwhile."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.postgres import Postgres

pytestmark = pytest.mark.integration

# A parent that has one child for long, and short-lived ones one after the other.
FAMILY = "sleep 600 & while :; do /bin/true; done"


@pytest.fixture
def family() -> Iterator[Postgres]:
    """A parent with children, in the place of a cluster."""
    process = subprocess.Popen(["bash", "-c", FAMILY], start_new_session=True)
    yield Postgres(port=0, user="", process=process)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def states(pids: list[int]) -> set[str]:
    texts = [Path(f"/proc/{pid}/stat").read_text() for pid in pids]
    return {text.rpartition(")")[2].split()[0] for text in texts}


def test_children_that_end_meanwhile_do_no_harm(family: Postgres) -> None:
    until = time.monotonic() + 2
    while time.monotonic() < until:
        family.thaw()  # not frozen: as at the end of a test, while sessions end


def test_nothing_of_it_runs_while_it_is_frozen(family: Postgres) -> None:
    for _ in range(30):
        family.freeze()
        listed = family._children()
        time.sleep(0.01)
        assert family._children() == listed, "no child is started"
        assert states([family.process.pid, *listed]) <= {"T", "Z"}
        family.thaw()


def test_a_cluster_that_has_ended_is_left_alone(family: Postgres) -> None:
    family.process.send_signal(signal.SIGKILL)
    family.process.wait()
    family.freeze()
    family.thaw()
