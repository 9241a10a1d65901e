# SPDX-License-Identifier: Apache-2.0
"""Promise: two parts lost at once cost what the document says, and the site comes back by itself."""

import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import Kubectl
from tests.e2e.nodes import Nodes
from tests.e2e.placement import balancer_nodes, control_plane_node, gather, make_routed
from tests.e2e.site import Site, SiteFactory

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.node_fault,
    pytest.mark.level2,
    pytest.mark.timeout(600),
]

AWAY_SECONDS = 25


@pytest.fixture(scope="module", params=["Passthrough", "Terminate"])
def apart(request: pytest.FixtureRequest, cluster: Kubectl, sites: SiteFactory) -> Site:
    """A site whose database does not run on the control plane, which these tests take away."""
    tls: str = request.param
    node = control_plane_node(cluster)
    cluster.run("cordon", node)
    try:
        return sites.create(f"apart-{tls.lower()}", farms=(), tls=tls)
    finally:
        cluster.run("uncordon", node)


@pytest.fixture
def nodes(apart: Site) -> Iterator[Nodes]:
    apart.kube.wait_ready("dpe", apart.name, timeout=240)
    machines = Nodes(apart.kube)
    yield machines
    machines.repair_all()
    apart.kube.wait_ready("dpe", apart.name, timeout=240)


def expendable_balancer(site: Site) -> tuple[str, str]:
    """A balancer's node without the database, and the other balancer's node."""
    (database,) = site.kube.list("pod", {"app": "dpe-postgres"})
    first, second = sorted(
        balancer_nodes(site), key=lambda node: node == database["spec"]["nodeName"]
    )
    return first, second


def test_balancer_and_active_server_on_one_lost_node(shared_site: Site) -> None:
    nodes = Nodes(shared_site.kube)
    node = gather(shared_site)
    before, after = shared_site.active(), shared_site.standby()
    try:
        with shared_site.load(seconds=45, avoid_node=node, pinned=True) as load:
            nodes.cut(node)
            seen = load.summary()
    finally:
        nodes.repair_all()
        shared_site.kube.wait_ready("dpe", shared_site.name, timeout=240)
    assert seen["failedAfterRetries"] == 0, load.story()
    assert load.gap_seconds() < 16, load.story()
    assert [(each["from"], each["to"]) for each in seen["switches"]] == [(before, after)], (
        load.story()
    )


def test_control_plane_and_standby_balancer_lost(apart: Site, nodes: Nodes) -> None:
    lost, kept = expendable_balancer(apart)
    make_routed(apart, balancer_nodes(apart)[kept])
    apart.move_active_off(lost)
    active, epoch = apart.active(), apart.epoch()
    control_plane = control_plane_node(apart.kube)
    with apart.load(seconds=40, avoid_node=lost, pinned=True) as load:
        nodes.cut(control_plane)
        nodes.cut(lost)
        time.sleep(AWAY_SECONDS)
        nodes.repair_all()
        seen = load.summary()
    assert seen["failedAfterRetries"] == 0, load.story()
    assert list(seen["members"]) == [active], load.story()
    assert apart.node_of_pod(apart.routed_balancer()) == kept, "the routed one went on"
    assert apart.epoch() == epoch, "nobody took over"
    if apart.name.endswith("terminate"):
        assert load.lost() == 0, load.story()


def test_control_plane_and_routed_balancer_lost(apart: Site, nodes: Nodes) -> None:
    lost, kept = expendable_balancer(apart)
    make_routed(apart, balancer_nodes(apart)[lost])
    apart.move_active_off(lost)
    active, epoch = apart.active(), apart.epoch()
    control_plane = control_plane_node(apart.kube)
    seconds = 70
    with apart.load(seconds=seconds, avoid_node=lost, pinned=True) as load:
        nodes.cut(control_plane)
        nodes.cut(lost)
        time.sleep(AWAY_SECONDS)
        nodes.repair(control_plane)  # the balancer's node stays away
        apart.wait_epoch_above(epoch, timeout=90)
        seen = load.summary()
    # Nobody may take over without the API server: the outage is as long as its absence, and ends
    # without anybody's help.
    print(
        f"API server away for {AWAY_SECONDS} s, clients without an answer: {load.gap_seconds()} s"
    )
    assert load.gap_seconds() > AWAY_SECONDS / 2, load.story()
    assert apart.node_of_pod(apart.routed_balancer()) == kept
    assert list(seen["members"]) == [active], load.story()
    # later ones are only the end of requests that took long
    assert seen["membersOverTime"][seconds - 2].get(active), load.story()
