# SPDX-License-Identifier: Apache-2.0
"""Promise: a node with a third of the processors dies, and the others finish its jobs."""

import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import Object, eventually
from tests.e2e.load import name_of_address, placed
from tests.e2e.nodes import Nodes
from tests.e2e.placement import balancer_nodes, make_active, make_routed
from tests.e2e.site import Site
from tests.e2e.site_manifests import farm, restricted_pod
from tests.e2e.workflow import Workflows

pytestmark = [pytest.mark.e2e, pytest.mark.node_fault, pytest.mark.level2]

TYPE = "third"
JOBS = 30


@pytest.fixture
def processors(shared_site: Site) -> Iterator[list[Object]]:
    """Three processors on three nodes, of a type of their own."""
    name = f"{shared_site.name}-{TYPE}"
    spec = farm(shared_site.name, TYPE, shared_site.images["dpe-simulator"])
    spec |= {"clusterRef": {"name": shared_site.name}, "replicas": 3}
    shared_site.kube.apply(
        {
            "apiVersion": "dpe.dev/v1alpha1",
            "kind": "ProcessorFarm",
            "metadata": {"name": name},
            "spec": spec,
        }
    )
    labels = {"dpe.dev/owner-kind": "ProcessorFarm", "app.kubernetes.io/instance": name}
    try:
        shared_site.kube.wait_ready("dpefarm", name, timeout=120)
        yield shared_site.kube.list("pod", labels)
    finally:
        shared_site.kube.delete("dpefarm", name)


def spared(site: Site, nodes: set[str]) -> str:
    """The node to lose: without the database, and after this without what answers clients."""
    (database,) = site.kube.list("pod", {"app": "dpe-postgres"})
    node = sorted(nodes - {database["spec"]["nodeName"]})[0]
    others = [pod for home, pod in balancer_nodes(site).items() if home != node]
    make_routed(site, others[0])
    make_active(site, next(name for name in ("a", "b") if site.node_of_member(name) != node))
    return node


def test_jobs_of_a_lost_node_are_finished_by_the_others(
    shared_site: Site, processors: list[Object], nodes: Nodes
) -> None:
    kube, name = shared_site.kube, "third-client"
    places = {pod["spec"]["nodeName"] for pod in processors}
    assert len(places) == 3, "one processor a node"
    node = spared(shared_site, places)
    (lost,) = [pod["metadata"]["name"] for pod in processors if pod["spec"]["nodeName"] == node]
    workflows = Workflows(shared_site)
    command = [
        "dpe-simulator",
        "client",
        f"--url=https://{shared_site.name}-balancer.{kube.namespace}.svc/DpeWebApplication",
        "--ca=/etc/dpe-ca/ca.crt",
        f"--workflows={JOBS}",
        "--jobs=1",
        f"--job-type={TYPE}",
        "--job-seconds=2s",
        "--timeout=180s",
    ]
    aliases = [name_of_address(kube, f"{shared_site.name}-balancer")]
    kube.run("delete", "pod", name, "--ignore-not-found")
    kube.apply(
        restricted_pod(
            name, shared_site.images["dpe-simulator"], command, ca=f"{shared_site.name}-ca",
            hostAliases=aliases, **placed(node),
        )
    )  # fmt: skip

    def phase(*wanted: str) -> bool:
        return kube.get("pod", name)["status"].get("phase") in wanted

    try:
        eventually(lambda: phase("Running"), timeout=60, what="the client runs")
        busy = "SELECT 1 FROM dpe_jobs WHERE state = 'running' AND starts_with(claimed_by, %s)"
        eventually(
            lambda: workflows.rows(busy, f"{lost}/"), timeout=60, every=0.2,
            what="the processor that will be lost has a job in hand",
        )  # fmt: skip
        struck = time.time()
        nodes.kill(node)
        # a processor that is silent for 30 s loses its jobs, here as DPE's own time
        eventually(lambda: phase("Succeeded", "Failed"), timeout=200, what="all jobs have ended")
        took = time.time() - struck
        # the client ends with success only if each workflow is there once and its job is finished
        log = kube.run("logs", name)
        assert phase("Succeeded"), log
        taken = (
            "SELECT detail->>'takenFrom' FROM dpe_ledger WHERE kind = 'job-claimed'"
            " AND starts_with(detail->>'takenFrom', %s)"
        )
        nodes.repair(node)
        eventually(
            lambda: workflows.rows(taken, f"{lost}/"), timeout=120,
            what="that others took over what the lost one had in hand",
        )  # fmt: skip
        print(
            f"all {JOBS} jobs were finished {took:.0f} s after a third of the processors was lost"
        )
    finally:
        kube.run("delete", "pod", name, "--ignore-not-found", "--wait=false")
