# SPDX-License-Identifier: Apache-2.0
"""Promise: with no healthy server a client is told so at once, and served again without any help."""

from __future__ import annotations

import contextlib
import http.client
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Site, running_site
from tests.support.balancer_load import load
from tests.support.balancer_parts import until
from tests.support.balancer_scenes import PATIENT_CONNECT_MS, wait_state

from dpe_operator.builders.haproxy import Timings, TlsMode

pytestmark = pytest.mark.integration

# What "at once" may take on a busy machine; the client's own limit is 5 s.
AT_ONCE_SECONDS = 2.5


@dataclass(frozen=True)
class Answer:
    """What one request got. `status` 0: the connection was refused or closed."""

    status: int
    text: str
    retry_after: str | None
    seconds: float


def ask(site: Site) -> Answer:
    begin = time.monotonic()
    connection = http.client.HTTPSConnection(
        "localhost", site.routed_port(), timeout=5, context=site.pki.client_context()
    )
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/")
            got = connection.getresponse()
            text, after = got.read().decode(), got.getheader("Retry-After")
            return Answer(got.status, text, after, time.monotonic() - begin)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException):
            return Answer(0, "", None, time.monotonic() - begin)


@pytest.mark.parametrize("mode", ["Passthrough", "Terminate"])
def test_told_at_once_and_served_again(
    mode: TlsMode, api_server: ApiServer, tmp_path: Path
) -> None:
    timings = Timings(connect_ms=PATIENT_CONNECT_MS, check_interval_ms=PATIENT_CONNECT_MS)
    with running_site(api_server, tmp_path / mode, mode, timings=timings) as site:
        site.settle()
        active, standby = site.active(), site.standby()
        # One is gone, the other runs and has the wrong page: neither may get a request.
        standby.kill()
        wait_state(site, standby, "DOWN")
        active.sicken()
        wait_state(site, active, "DOWN")
        told = [ask(site) for _ in range(3)]
        assert max(answer.seconds for answer in told) < AT_ONCE_SECONDS, told
        if mode == "Terminate":
            assert {(answer.status, answer.retry_after) for answer in told} == {(503, "1")}
            assert all("No DPE Server answers" in answer.text for answer in told)
        else:
            assert {answer.status for answer in told} == {0}
        assert site.active() is active

        # the one that was not active recovers first: better than nobody
        standby.start()
        until(lambda: ask(site).status == 200, 20, "clients are served again")
        until(lambda: site.active() is standby, 10, "that is recorded")
        with load(site.routed_port, site.pki.client_context()) as clients:
            begin = time.monotonic()
            active.start()
            wait_state(site, active, "UP")
            time.sleep(0.5)
            figures = clients.after(begin)
        assert set(figures.answered) == {standby.name}, "and it is not taken away again"
        assert figures.failed == 0
