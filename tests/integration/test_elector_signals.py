# SPDX-License-Identifier: Apache-2.0
"""The signals by which a container is stopped: those of the images of others too."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.elector_pods import ELECTOR, Site, namespace_of_its_own, until

pytestmark = pytest.mark.integration

STOPS = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGPWR,
    signal.SIGWINCH,
    signal.SIGRTMIN + 3,
)


@pytest.fixture
def site(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(api_server, namespace, tmp_path)
    made.create_lease()
    yield made
    made.close()


@pytest.mark.parametrize("number", STOPS)
def test_whichever_signal_stops_a_container_stops_it_in_order(site: Site, number: int) -> None:
    """The kernel drops a signal that process 1 has no handler for: the pod would be killed only
    when its time is over, and the Lease would not be given back."""
    # without a terminal, which is where SIGWINCH means something else
    pod = site.pod("a", own_session=True).start()
    until(lambda: pod.acting)
    # a terminal sends it to the whole group, and the elector has to give the Lease back
    os.kill(pod.elector, number)
    os.kill(pod.guard, number)
    assert pod.wait() == 0
    assert pod.acts("sigterm") and pod.acts("end")
    assert site.lease()["holderIdentity"] == ""
    assert "the elector ended" not in pod.log.read_text()


def test_another_size_of_the_terminal_is_no_stop(tmp_path: Path) -> None:
    """As in `kubectl run -it` and `kubectl attach`."""
    ours, theirs = os.openpty()
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            ["setsid", "--ctty", *namespace_of_its_own(),
             sys.executable, "-I", "-S", str(ELECTOR), "--mode", "hot", "--lease", "x",
             "--namespace", "n", "--probe-port", "0", "--", "sleep", "60"],
            env={"PATH": os.environ["PATH"], "DPE_API_SERVER": "https://127.0.0.1:1"},
            stdin=theirs,
            stderr=file,
        )  # fmt: skip
    try:
        until(lambda: "started the command" in log.read_text())
        fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
        time.sleep(0.5)
        assert "being stopped" not in log.read_text()
    finally:
        process.kill()
        process.wait(10)
        os.close(ours)
        os.close(theirs)
