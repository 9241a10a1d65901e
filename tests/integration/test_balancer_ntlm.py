# SPDX-License-Identifier: Apache-2.0
"""Promise: in mode Terminate a client that signs in by NTLM has a connection to the server of its own.

NTLM and Negotiate sign in a connection, not a request: over a shared one somebody would act as another.
"""

from __future__ import annotations

import contextlib
import http.client
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.balancer_kit import Site, running_site

pytestmark = pytest.mark.integration

# Which of HAProxy's threads a client comes to is chance, and idle connections are the threads' own.
OTHERS = 20


def connections(site: Site, *, first: str) -> tuple[str, list[str], str]:
    """Over which connections to the server (by their ports) one client, whose first request is for
    `first`, was served before and after others; and those others, one after the other. Each of them
    has just had its own connection closed by the server."""
    with contextlib.ExitStack() as ends:
        context = site.pki.client_context()

        def client() -> http.client.HTTPSConnection:
            made = http.client.HTTPSConnection(
                "localhost", site.routed_port(), timeout=5, context=context
            )
            ends.callback(made.close)
            return made

        def ask(client: http.client.HTTPSConnection, path: str) -> str:
            client.request("GET", path)
            return client.getresponse().read().decode()

        one = client()
        ask(one, first)
        before = ask(one, "/port")
        others = []
        for other in (client() for _ in range(OTHERS)):
            ask(other, "/close")
            others.append(ask(other, "/port"))
        return before, others, ask(one, "/port")


def test_who_signs_in_shares_no_connection(api_server: ApiServer, tmp_path: Path) -> None:
    with running_site(api_server, tmp_path, "Terminate") as site:
        site.settle()
        # first, while no connection is left of anybody else who could be given it
        before, others, _ = connections(site, first="/port")
        assert before in others, "an idle connection is used by whoever comes"
        before, others, after = connections(site, first="/ntlm")
        assert before == after, "its own, all the time"
        assert before not in others
