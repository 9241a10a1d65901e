# SPDX-License-Identifier: Apache-2.0
"""Promise: every node may be drained, one after the other, also the one with balancer and active server."""

import pytest
from tests.e2e.nodes import Nodes
from tests.e2e.placement import gather, worker_nodes
from tests.e2e.site import Site

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.node_fault,
    pytest.mark.level2,
    pytest.mark.timeout(900),
]


def test_each_worker_in_turn_under_load(shared_site: Site, nodes: Nodes) -> None:
    first = gather(shared_site)
    others = [node for node in worker_nodes(shared_site.kube) if node != first]
    for node in (first, *others):
        # The client stays where it is: it is the site that is drained.
        with shared_site.load(seconds=60, avoid_node=node) as load:
            nodes.drain(node)
            seen = load.summary()
        assert seen["failedAfterRetries"] == 0, f"{node}: {load.story()}"
        assert load.gap_seconds() < 6, f"{node}: {load.story()}"
        nodes.repair_all()
        shared_site.kube.wait_ready("dpe", shared_site.name, timeout=240)
