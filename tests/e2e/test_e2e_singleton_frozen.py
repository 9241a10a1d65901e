# SPDX-License-Identifier: Apache-2.0
"""Promise: who stood still past its Lease and goes on is killed before it does anything more."""

import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.nodes import Nodes
from tests.e2e.site import Site
from tests.e2e.standby import first_start, last_act, said_at, standing_watcher, starts_of
from tests.e2e.workflow import Component, Workflows, is_ready

pytestmark = [pytest.mark.e2e, pytest.mark.node_fault, pytest.mark.level2]

# The goal is 0.1 s. Four nodes on a machine of two cores wake up all at once here.
SOON = 1.0


@pytest.fixture
def frozen(shared_site: Site, workers: Component) -> Iterator[Component]:
    with standing_watcher(shared_site, "frozen") as made:
        yield made


def test_node_frozen_and_thawed_past_the_lease(
    shared_site: Site, frozen: Component, nodes: Nodes
) -> None:
    workflows = Workflows(shared_site)
    workflows.entries("frozen", add=3)
    workflows.wait_titles("frozen-", 3)
    before, epoch = frozen.holder(), frozen.epoch()
    old = shared_site.kube.get("pod", before)
    stopped_at = time.time()
    nodes.freeze(old["spec"]["nodeName"])
    after = frozen.wait_holder(besides=before, timeout=60)
    new = shared_site.kube.get("pod", after)
    started = first_start(new, frozen, since=stopped_at)
    time.sleep(3)
    thawed_at = time.time()
    nodes.repair(old["spec"]["nodeName"])

    killed = eventually(
        lambda: said_at(old, "killed the command", since=stopped_at), timeout=30,
        what="the guard has killed", describe=frozen.describe,
    )[0]  # fmt: skip
    late = last_act(old, before=killed + SOON) - thawed_at
    print(f"after the thaw the old one acted for at most {max(0.0, late):.3f} s")
    assert started < thawed_at <= killed + 0.1
    assert late < SOON, f"it acted for {late:.3f} s after the thaw"
    assert last_act(old) < killed + SOON, "it acted after it was killed"
    assert starts_of(old, since=thawed_at) == [], "it takes nothing back"
    eventually(
        lambda: is_ready(shared_site.kube.get("pod", before)), timeout=90,
        what="the thawed one stands by", describe=frozen.describe,
    )  # fmt: skip
    frozen.wait_ready(timeout=120)
    assert (frozen.holder(), frozen.epoch()) == (after, epoch + 1)
    workflows.entries("frozen", add=2)
    assert len(workflows.wait_titles("frozen-", 5)) == 5, "none twice"
