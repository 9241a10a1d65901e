# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the integration tests: one real API server for each test process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.operator_kit import OperatorProcess, Site, eventually, operator


@pytest.fixture(scope="session")
def api_server() -> Iterator[ApiServer]:
    """A running API server without our CRDs, shared by the tests of this process.

    A test that stops or freezes the server makes one of its own.
    """
    with ApiServer() as server:
        yield server


@pytest.fixture(scope="module")
def own_api() -> Iterator[ApiServer]:
    """An API server that the tests of a module may freeze."""
    with ApiServer() as server:
        yield server


@pytest.fixture(scope="session")
def dpe_api_server(api_server: ApiServer) -> ApiServer:
    """The shared API server with our CRDs installed."""
    api_server.install_crds()
    return api_server


@pytest.fixture
def namespace(api_server: ApiServer) -> str:
    """A fresh namespace."""
    return api_server.create_namespace()


@pytest.fixture
def memory_path(tmp_path: Path) -> Iterator[Path]:
    """A folder of this test in memory, on a disk only where there is no such place.

    For hundreds of runs that write everything through: a process that is killed leaves the same
    behind on both, and only a disk takes its time.
    """
    if not os.access("/dev/shm", os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="dpe-test-", dir="/dev/shm") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def server() -> Iterator[ApiServer]:
    """An API server with our CRDs and an audit log, for the files that run an operator.

    One operator after the other works on all of it, so every test deletes its site when it ends.
    """
    with ApiServer(audit=True) as made:
        made.install_crds()
        yield made


@pytest.fixture
def empty_site(server: ApiServer) -> Iterator[Site]:
    """A fresh namespace for one test; its resources go when the test ends."""
    made = Site(server, server.create_namespace())
    yield made
    made.leave()


@pytest.fixture(scope="module")
def running(
    request: pytest.FixtureRequest, server: ApiServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OperatorProcess]:
    """The operator of one file, ready; with the settings in `OPERATOR` of the file, if any."""
    settings: dict[str, str] = getattr(request.module, "OPERATOR", {})
    with operator(server, tmp_path_factory.mktemp("operator"), **settings) as process:
        eventually(lambda: process.fetch("/readyz")[0] == 200, seconds=60, log=process.log)
        yield process
