# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the e2e tests: one kind cluster, one operator, one shared site, namespaces of one's own.

Order: the demo first (it shows the way from nothing, with the rights the chart gives by default),
node faults last. Leftovers of a killed run are removed at the start.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.kubectl import Kubectl, eventually
from tests.e2e.nodes import Nodes
from tests.e2e.operator_release import OperatorRelease
from tests.e2e.outside import OutsideServers
from tests.e2e.processes import Processes
from tests.e2e.site import Site, SiteFactory
from tests.e2e.site_manifests import LEFTOVER_LABEL, certificate_objects
from tests.e2e.workflow import Component, component

ROOT = Path(__file__).resolve().parents[2]
FIRST = "test_e2e_demo.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Demo first, node faults last, and a time limit that fits pods."""

    def place(item: pytest.Item) -> int:
        if item.path.name == FIRST:
            return 0
        return 2 if item.get_closest_marker("node_fault") else 1

    items.sort(key=place)
    for item in items:
        if "e2e" in item.keywords and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(420))


def tool(*arguments: str | Path, timeout: float = 2700) -> str:
    done = subprocess.run(
        [*arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "YES": "1"},
    )
    assert done.returncode == 0, f"{arguments}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout.strip()


@pytest.fixture(scope="session")
def cluster() -> Kubectl:
    """The kind cluster, made where it is not there yet."""
    tool("hack/cluster", "up")
    tool("hack/images", "load")
    binaries = Path(tool("hack/tools/build", "kubectl", "helm"))
    kube = Kubectl(binaries / "kubectl", Path(tool("hack/cluster", "kubeconfig")))
    for node in kube.list("nodes"):
        tool("hack/cluster", "heal", node["metadata"]["name"])
        kube.run("uncordon", node["metadata"]["name"])
    kube.run(
        "delete",
        "namespace",
        "-l",
        LEFTOVER_LABEL,
        "--ignore-not-found",
        "--wait=true",
        timeout=300,
    )
    return kube


@pytest.fixture(scope="session")
def images() -> dict[str, str]:
    """Image names by short name, at the tags of this checkout."""
    pairs = (line.split("=") for line in tool("hack/images", "tags").splitlines())
    return {name: f"localhost/dpe/{name}:{tag}" for name, tag in pairs}


@pytest.fixture(scope="session")
def operator(cluster: Kubectl, images: dict[str, str]) -> OperatorRelease:
    """The operator of this checkout, watching all namespaces."""
    release = OperatorRelease(cluster, cluster.binary.parent / "helm", images)
    release.install()
    return release


@pytest.fixture(scope="session")
def session_sites(
    cluster: Kubectl,
    images: dict[str, str],
    operator: OperatorRelease,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SiteFactory]:
    factory = SiteFactory(cluster, images, tmp_path_factory.mktemp("sites"))
    yield factory
    factory.remove_all()


@pytest.fixture(scope="session")
def whole_site(session_sites: SiteFactory) -> Site:
    return session_sites.create("radio")


@pytest.fixture
def shared_site(whole_site: Site) -> Site:
    """The site that most tests use one after the other; each finds it Ready, with both members up."""
    whole_site.set_back(timeout=90)
    eventually(lambda: len(whole_site.balancer_uids()) == 2, timeout=60, what="two balancers")
    return whole_site


@pytest.fixture
def processes(shared_site: Site) -> Iterator[Processes]:
    """Stops processes of the shared site; afterwards they go on and it is Ready again."""
    made = Processes(shared_site.kube)
    yield made
    made.go_on()
    shared_site.kube.wait_ready("dpe", shared_site.name, timeout=240)


@pytest.fixture
def nodes(shared_site: Site) -> Iterator[Nodes]:
    """Breaks nodes; afterwards they are whole and the shared site is Ready again.

    The last argument of a test, so that nodes are whole before anything else is taken away.
    """
    tool("hack/cluster", "up")  # also takes back what a failed test's clean-up has left
    machines = Nodes(shared_site.kube)
    yield machines
    machines.repair_all()
    shared_site.kube.wait_ready("dpe", shared_site.name, timeout=240)


@pytest.fixture(scope="session")
def workers(whole_site: Site) -> Component:
    """Two workers, both active, that carry out the activities of all workflows of the shared site."""
    kind, name = "WorkflowWorker", "workers"
    whole_site.kube.apply(component(kind, name, whole_site, mode="Concurrent"))
    found = Component(whole_site.kube, kind, name)
    found.wait_ready()
    return found


@pytest.fixture(scope="module")
def sites(
    cluster: Kubectl,
    images: dict[str, str],
    operator: OperatorRelease,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[SiteFactory]:
    """Makes sites in namespaces of their own, for one test file."""
    factory = SiteFactory(cluster, images, tmp_path_factory.mktemp("sites"))
    yield factory
    factory.remove_all()


@pytest.fixture
def outside_servers(
    cluster: Kubectl, images: dict[str, str], tmp_path: Path
) -> Iterator[OutsideServers]:
    """Two DPE Servers in plain containers, with certificates of the site that stands before them."""
    certificate_objects("outside", "e2e-outside", tmp_path / "certificates")
    servers = OutsideServers(images, tmp_path / "certificates")
    try:
        servers.up()
        yield servers
    finally:
        servers.down()
