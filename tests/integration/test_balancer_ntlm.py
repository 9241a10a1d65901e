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


def connections(site: Site, *, first: str) -> tuple[str, str, str]:
    """Over which connections to the server (by their ports) one client was served before and after
    another one, whose own connection the server had closed; and that other one between the two."""
    with contextlib.ExitStack() as ends:

        def ask(client: http.client.HTTPSConnection, path: str) -> str:
            client.request("GET", path)
            return client.getresponse().read().decode()

        context = site.pki.client_context()
        one, other = (
            http.client.HTTPSConnection("localhost", site.routed_port(), timeout=5, context=context)
            for _ in range(2)
        )
        ends.callback(one.close)
        ends.callback(other.close)
        ask(one, first)
        before = ask(one, "/port")
        ask(other, "/close")
        between = ask(other, "/port")
        return before, between, ask(one, "/port")


def test_who_signs_in_shares_no_connection(api_server: ApiServer, tmp_path: Path) -> None:
    with running_site(api_server, tmp_path, "Terminate") as site:
        site.settle()
        before, between, after = connections(site, first="/ntlm")
        assert before == after != between, "its own, all the time"
        before, between, _ = connections(site, first="/port")
        assert before == between, "else an idle connection is used by whoever comes"
