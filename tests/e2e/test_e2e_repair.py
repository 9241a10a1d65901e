# SPDX-License-Identifier: Apache-2.0
"""Promise: what somebody edits or deletes by hand is repaired within seconds."""

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e


def test_edited_children_are_set_right(shared_site: Site) -> None:
    name = shared_site.name
    shared_site.kube.patch(
        "service", f"{name}-balancer", {"spec": {"ports": [{"name": "https", "port": 444}]}}
    )
    shared_site.kube.patch("deployment", f"{name}-balancer", {"spec": {"replicas": 1}})
    shared_site.kube.patch("pdb", f"{name}-members", {"spec": {"minAvailable": 0}})

    def repaired() -> bool:
        service = shared_site.kube.get("service", f"{name}-balancer")
        return (
            [port["port"] for port in service["spec"]["ports"]] == [443]
            and shared_site.kube.get("deployment", f"{name}-balancer")["spec"]["replicas"] == 2
            and shared_site.kube.get("pdb", f"{name}-members")["spec"]["minAvailable"] == 1
        )

    eventually(repaired, timeout=60, what="Service, Deployment and PodDisruptionBudget as before")
    shared_site.kube.wait_ready("dpe", name)


@pytest.mark.parametrize(
    ("kind", "suffix"),
    [
        ("pdb", "-balancer"),
        ("configmap", "-client-profile"),
        ("role", "-balancer"),
        ("rolebinding", "-balancer"),
        ("deployment", "-video-processor"),
        ("dpefarm", "-video"),
        ("service", "-member-a"),
    ],
)
def test_deleted_children_come_back(shared_site: Site, kind: str, suffix: str) -> None:
    name = shared_site.name + suffix
    former = shared_site.kube.get(kind, name)["metadata"]["uid"]
    shared_site.kube.delete(kind, name)

    def back() -> bool:
        item = shared_site.kube.find(kind, name)
        return item is not None and item["metadata"]["uid"] != former

    eventually(back, timeout=60, what=f"{kind} {name} made again")


def test_site_is_ready_after_all_repairs(shared_site: Site) -> None:
    shared_site.kube.wait_ready("dpe", shared_site.name)
    with shared_site.load(seconds=4) as load:
        assert load.summary()["failedAfterRetries"] == 0, load.story()
