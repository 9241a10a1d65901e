# SPDX-License-Identifier: Apache-2.0
"""Promise: what is taken out of the spec, or deleted, goes within a minute, and nothing else goes with it."""

import copy
import time

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.operator_release import OperatorRelease
from tests.e2e.site import Site, SiteFactory

pytestmark = pytest.mark.e2e

OURS = "deployment,service,pdb,configmap,lease,endpointslice,role,rolebinding,dpeserver,dpefarm"
NAME = "goes"


@pytest.fixture(scope="module")
def site(sites: SiteFactory) -> Site:
    """One site that all tests here take apart; `manifest` stays that of the whole one."""
    return sites.create(NAME, farms=("audio", "video"))


def test_entry_removed_from_the_spec_is_pruned(site: Site) -> None:
    bystander = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": f"{NAME}-bystander",
            "labels": {"app.kubernetes.io/managed-by": "dpe-operator"},
        },
    }
    site.kube.apply(bystander)
    changed = copy.deepcopy(site.manifest)
    spec = changed["spec"]
    spec["processors"] = [farm for farm in spec["processors"] if farm["type"] != "video"]
    site.kube.apply(changed)

    def gone() -> bool:
        kinds = (
            ("dpefarm", f"{NAME}-video"),
            ("deployment", f"{NAME}-video-processor"),
            ("pdb", f"{NAME}-video-processor"),
        )
        return all(site.kube.find(kind, name) is None for kind, name in kinds)

    eventually(gone, timeout=120, what="farm video and its children are gone")
    assert site.kube.find("deployment", f"{NAME}-audio-processor")
    assert site.kube.find("configmap", f"{NAME}-bystander"), "a label alone makes nothing ours"
    site.kube.delete("configmap", f"{NAME}-bystander")


def test_service_of_the_member_that_became_external_is_pruned(site: Site) -> None:
    member = site.standby()
    changed = copy.deepcopy(site.manifest)
    for entry in changed["spec"]["server"]["members"]:
        if entry["name"] == member:
            entry.clear()
            entry.update(name=member, external={"host": "192.0.2.7", "port": 443})
    site.kube.apply(changed)

    def gone() -> bool:
        name = f"{NAME}-member-{member}"
        return not site.kube.find("deployment", name) and not site.kube.find("service", name)

    eventually(
        gone, timeout=120, what="Deployment and Service of the former in-cluster member are gone"
    )
    assert site.recorded_active() != member


def test_deleted_cluster_takes_everything_it_made_with_it(site: Site) -> None:
    site.kube.apply(site.manifest)
    site.kube.wait_ready("dpe", NAME)
    started = time.monotonic()
    site.kube.delete("dpe", NAME)

    def nothing_left() -> bool:
        items = site.kube.list(OURS, {"app.kubernetes.io/managed-by": "dpe-operator"})
        pods = site.kube.list("pod", {"app.kubernetes.io/part-of": NAME})
        return not items and not pods

    eventually(nothing_left, timeout=120, what="all children are gone", describe=site.describe)
    assert time.monotonic() - started < 60
    assert site.kube.find("secret", f"{NAME}-tls"), "what the user made stays"


def test_namespace_goes_with_the_operator_absent(
    sites: SiteFactory, operator: OperatorRelease
) -> None:
    site = sites.create("goes-whole", farms=())
    with operator.absent():
        site.kube.run("delete", "namespace", site.kube.namespace, "--wait=false")
        eventually(lambda: not site.kube.list("pod"), timeout=60, what="no pod is left")
        cluster = site.kube.within("")
        eventually(
            lambda: cluster.find("namespace", site.kube.namespace) is None,
            timeout=180,  # most of it Kubernetes' own controller, which works for all namespaces
            what="the namespace is gone",
            describe=lambda: str(cluster.get("namespace", site.kube.namespace).get("status")),
        )
