# SPDX-License-Identifier: Apache-2.0
"""Promise: when the node of the one that acts loses its power another goes on, and it stays so."""

import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.nodes import Nodes
from tests.e2e.site import Site
from tests.e2e.standby import first_start, last_act, standing_worker, starts_of
from tests.e2e.workflow import Component

pytestmark = [pytest.mark.e2e, pytest.mark.node_fault, pytest.mark.level2]


@pytest.fixture
def powered(shared_site: Site) -> Iterator[Component]:
    with standing_worker(shared_site, "powered", profile="Fast") as made:
        yield made


def test_node_loses_its_power_and_comes_back(
    shared_site: Site, powered: Component, nodes: Nodes
) -> None:
    before, epoch = powered.holder(), powered.epoch()
    old = shared_site.kube.get("pod", before)
    lost = time.time()
    nodes.kill(old["spec"]["nodeName"])
    after = powered.wait_holder(besides=before, timeout=60)
    new = shared_site.kube.get("pod", after)
    started = first_start(new, powered, since=lost)
    print(f"from the loss to the successor's start: {started - lost:.1f} s")

    nodes.repair(old["spec"]["nodeName"])
    eventually(
        lambda: len(powered.ready_pods()) == 2, timeout=120, what="both stand ready again",
        describe=powered.describe,
    )  # fmt: skip
    assert last_act(old) < started
    assert starts_of(old, since=lost) == [], "it takes nothing back"
    assert (powered.holder(), powered.epoch()) == (after, epoch + 1)
    powered.wait_ready(timeout=120)
