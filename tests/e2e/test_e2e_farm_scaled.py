# SPDX-License-Identifier: Apache-2.0
"""Promise: kubectl scale works on a farm, and what it set stays."""

import pytest
from tests.e2e.kubectl import Object, eventually
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e


def test_farm_scaled_by_kubectl(shared_site: Site) -> None:
    farm = f"{shared_site.name}-audio"
    shared_site.kube.run("scale", "dpefarm", farm, "--replicas=3")

    def three_run() -> Object | None:
        item = shared_site.kube.get("dpefarm", farm)
        return item if item.get("status", {}).get("readyReplicas") == 3 else None

    eventually(three_run, timeout=90, what="3 processors ready", describe=shared_site.describe)
    pods = shared_site.kube.list(
        "pod", {"dpe.dev/owner-kind": "ProcessorFarm", "app.kubernetes.io/instance": farm}
    )
    nodes = {
        pod["spec"]["nodeName"] for pod in pods if not pod["metadata"].get("deletionTimestamp")
    }
    assert len(nodes) == 3, "one processor a node"

    shared_site.kube.run("scale", "dpefarm", farm, "--replicas=2")
    deployment = f"{farm}-processor"
    eventually(
        lambda: shared_site.kube.get("deployment", deployment)["spec"]["replicas"] == 2,
        timeout=20,
        what="the Deployment follows its farm",
    )


def test_farm_below_two_needs_the_waiver(shared_site: Site) -> None:
    answer = shared_site.kube.run(
        "scale", "dpefarm", f"{shared_site.name}-audio", "--replicas=1", check=False
    )
    if "allowSingleReplica" in answer:
        return
    # Where the scale subresource passes the API server's rules, the operator must refuse it.
    deployment = f"{shared_site.name}-audio-processor"

    def refused() -> bool:
        farm = shared_site.kube.get("dpefarm", f"{shared_site.name}-audio")
        texts = [
            entry["message"]
            for entry in farm["status"]["conditions"]
            if entry["type"] == "Accepted"
        ]
        return any("allowSingleReplica" in text for text in texts)

    eventually(refused, timeout=20, what="Accepted=False naming allowSingleReplica")
    assert shared_site.kube.get("deployment", deployment)["spec"]["replicas"] == 2
    shared_site.kube.run("scale", "dpefarm", f"{shared_site.name}-audio", "--replicas=2")
