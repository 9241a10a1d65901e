# SPDX-License-Identifier: Apache-2.0
"""Promise: without API server the one that acts stops in time, and one starts when it is back."""

import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import Kubectl, eventually
from tests.e2e.nodes import Nodes
from tests.e2e.placement import control_plane_node
from tests.e2e.site import Site, SiteFactory
from tests.e2e.standby import said_at, standing_worker, starts_of
from tests.e2e.workflow import Component

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.node_fault,
    pytest.mark.level2,
    pytest.mark.timeout(900),
]

# Of profile Safe; and what a machine may add on which four nodes share two cores.
DEADLINE_SECONDS, DURATION_SECONDS, SLACK = 10.0, 15.0, 3.0


@pytest.fixture(scope="module")
def quiet(cluster: Kubectl, sites: SiteFactory) -> Iterator[Component]:
    """A worker in Standby mode, with nothing of its site on the node that is taken away."""
    node = control_plane_node(cluster)
    cluster.run("cordon", node)
    try:
        site: Site = sites.create("quiet", farms=())
        with standing_worker(site, "quiet", profile="Safe") as made:
            yield made
    finally:
        cluster.run("uncordon", node)


@pytest.fixture
def nodes(quiet: Component) -> Iterator[Nodes]:
    quiet.wait_ready(timeout=240)
    machines = Nodes(quiet.kube)
    yield machines
    machines.repair_all()
    quiet.wait_ready(timeout=240)


@pytest.mark.parametrize("seconds", [60, 300])
def test_api_server_away(quiet: Component, nodes: Nodes, seconds: int) -> None:
    pods = {pod["metadata"]["name"]: pod for pod in quiet.pods()}
    before, epoch = quiet.holder(), quiet.epoch()
    away = time.time()
    nodes.cut(control_plane_node(quiet.kube))
    killed = eventually(
        lambda: said_at(pods[before], "killed the command", since=away),
        timeout=DEADLINE_SECONDS + 20, what="the one that acted was killed",
    )[0]  # fmt: skip
    assert killed - away < DEADLINE_SECONDS + SLACK
    time.sleep(max(0.0, away + seconds - time.time()))
    assert [start for pod in pods.values() for start in starts_of(pod, since=away)] == []
    back = time.time()
    nodes.repair_all()

    eventually(
        lambda: quiet.epoch() > epoch and quiet.holder(), timeout=DURATION_SECONDS + 60,
        what="one acts again", describe=quiet.describe,
    )  # fmt: skip
    started = eventually(
        lambda: [at for pod in quiet.pods() for at in starts_of(pod, since=away)],
        timeout=30, what="its program was started", describe=quiet.describe,
    )  # fmt: skip
    assert len(started) == 1 and started[0] > back, quiet.describe()
    print(f"API server away for {seconds} s: nobody acted for {started[0] - killed:.1f} s, "
          f"one started {started[0] - back:.1f} s after it was back")  # fmt: skip
    assert quiet.epoch() == epoch + 1
    # nobody tells the operator that balancers are heard again: it has to look by itself
    quiet.kube.wait_ready("dpe", "quiet", timeout=90)
