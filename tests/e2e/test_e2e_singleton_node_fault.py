# SPDX-License-Identifier: Apache-2.0
"""Promise: when the machine of the one that acts is lost, it has stopped before another begins."""

import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.nodes import Nodes
from tests.e2e.site import Site
from tests.e2e.standby import standing_watcher
from tests.e2e.workflow import (
    Component,
    Workflows,
    fresh,
    is_ready,
    log_on_node,
    records_on_node,
    restarts,
)

pytestmark = [pytest.mark.e2e, pytest.mark.node_fault]


@pytest.fixture
def lone(shared_site: Site, workers: Component) -> Iterator[Component]:
    with standing_watcher(shared_site, fresh("lone")) as made:
        yield made


def test_command_on_a_cut_off_node_is_dead_before_another_starts(
    shared_site: Site, lone: Component, nodes: Nodes
) -> None:
    workflows, since = Workflows(shared_site), time.time()
    workflows.entries(lone.name, add=3)
    workflows.wait_titles(f"{lone.name}-", 3)
    before, epoch = lone.holder(), lone.epoch()
    old = shared_site.kube.get("pod", before)
    cut_at = time.time()
    nodes.cut(old["spec"]["nodeName"])
    after = lone.wait_holder(besides=before, timeout=60)
    new = shared_site.kube.get("pod", after)
    started = eventually(
        lambda: [r for r in records_on_node(new) if r["kind"] == "start" and r["at"] > cut_at],
        timeout=60, what="the successor's start", describe=lone.describe,
    )[0]  # fmt: skip

    old_lines = list(log_on_node(old))
    killed = [at for at, line in old_lines if "killed the command" in line and at > cut_at]
    last_act = max(r["until"] or r["at"] for r in records_on_node(old))
    assert killed, old_lines[-10:]
    assert last_act <= killed[0] + 0.1
    assert killed[0] < started["at"], f"killed {killed[0]:.3f}, successor {started['at']:.3f}"
    assert started["epoch"] == epoch + 1

    nodes.repair(old["spec"]["nodeName"])
    eventually(
        lambda: is_ready(shared_site.kube.get("pod", before)),
        timeout=180, what="the healed one stands by", describe=lone.describe,
    )  # fmt: skip
    lone.wait_ready(timeout=120)
    assert lone.holder() == after, "the healed one does not take it back"
    healed = shared_site.kube.get("pod", before)
    assert restarts(healed) == restarts(old), "a restart is what kubelet makes wait for minutes"
    workflows.check(lone.full_name, since=since)


@pytest.mark.level2
def test_each_worker_node_is_drained_in_turn(
    shared_site: Site, lone: Component, nodes: Nodes
) -> None:
    workflows, since = Workflows(shared_site), time.time()
    workers = [
        node["metadata"]["name"]
        for node in shared_site.kube.list("nodes")
        if "node-role.kubernetes.io/control-plane" not in node["metadata"]["labels"]
    ]
    begun = len(workflows.titles(f"{lone.name}-"))
    for number, node in enumerate(workers, start=1):
        nodes.drain(node)
        workflows.entries(lone.name, add=1)
        assert lone.wait_holder(timeout=30), "somebody acts while the node is away"
        shared_site.kube.run("uncordon", node)
        workflows.wait_titles(f"{lone.name}-", begun + number)
        lone.wait_ready(timeout=120)
        shared_site.kube.wait_ready("dpe", shared_site.name, timeout=240)
    workflows.check(lone.full_name, since=since)
