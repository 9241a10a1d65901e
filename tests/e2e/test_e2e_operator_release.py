# SPDX-License-Identifier: Apache-2.0
"""Promise: the operator may be tested, upgraded, rolled back and taken away by Helm, and no pod of a site is restarted by it."""

import subprocess
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import Kubectl, Object, eventually
from tests.e2e.operator_release import RELEASE, OperatorRelease
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e

NEXT_TAG = "next-release"


@pytest.fixture
def restored(operator: OperatorRelease, shared_site: Site) -> Iterator[None]:
    """The release as it was, and a site on its images."""
    tag = operator.value("image.balancer.tag")
    yield
    operator.set_value("image.balancer.tag", tag)
    approve(shared_site)


@pytest.fixture
def next_balancer_image(cluster: Kubectl, images: dict[str, str]) -> str:
    """The balancer's image under another tag, in every node: what a new release brings."""
    name = images["dpe-balancer"]
    other = f"{name.rpartition(':')[0]}:{NEXT_TAG}"
    for node in cluster.list("nodes"):
        command = ["docker", "exec", node["metadata"]["name"], "ctr", "-n", "k8s.io", "images"]
        subprocess.run(
            [*command, "tag", "--force", name, other], check=True, capture_output=True, timeout=60
        )
    return NEXT_TAG


def test_helm_test_passes(operator: OperatorRelease) -> None:
    assert "Succeeded" in operator.helm("test", RELEASE, "--timeout", "150s")


def test_upgrade_rollback_and_approval(
    cluster: Kubectl,
    operator: OperatorRelease,
    shared_site: Site,
    next_balancer_image: str,
    restored: None,
) -> None:
    pods, restarts = shared_site.pod_uids(), restart_counts(shared_site)
    crds = crd_versions(cluster)
    operator.set_value("image.balancer.tag", next_balancer_image)

    balancer = f"{shared_site.name}-balancer"
    eventually(
        lambda: outdated(shared_site) == [balancer], timeout=60, what="the balancer is outdated"
    )
    operator.helm("rollback", RELEASE, "--wait", "--timeout", "120s")
    eventually(lambda: outdated(shared_site) == [], timeout=60, what="nothing is outdated")
    assert crd_versions(cluster) == crds, "a rollback leaves the CRDs alone"
    operator.install()
    eventually(
        lambda: outdated(shared_site) == [balancer], timeout=60, what="the balancer is outdated"
    )
    assert shared_site.pod_uids() == pods, "no pod of the site was replaced"
    assert restart_counts(shared_site) == restarts, "and none restarted"

    with shared_site.load(seconds=400) as load:
        approve(shared_site)
        load.stop(after=2)
        seen = load.summary()
    assert seen["failedAfterRetries"] == 0, load.story()
    images = {
        container["image"].rpartition(":")[2]
        for pod in shared_site.kube.list("pod", {"app.kubernetes.io/component": "balancer"})
        if "deletionTimestamp" not in pod["metadata"]  # the last one replaced may still drain
        for container in pod["spec"]["containers"]
    }
    assert images == {next_balancer_image}


def test_uninstall_leaves_sites_and_kinds(
    cluster: Kubectl, operator: OperatorRelease, shared_site: Site
) -> None:
    pods, crds = shared_site.pod_uids(), crd_versions(cluster)
    try:
        operator.helm("uninstall", RELEASE, "--wait")
        assert crd_versions(cluster) == crds
        assert shared_site.kube.get("dpe", shared_site.name)
        assert shared_site.pod_uids() == pods
    finally:
        operator.install()
    operator.settle()
    shared_site.kube.wait_ready("dpe", shared_site.name)
    assert shared_site.pod_uids() == pods, "a fresh install takes the site over as it runs"


def approve(site: Site) -> None:
    """Let the site take over what the new operator makes, and wait until it has."""
    site.kube.annotate("dpe", site.name, approve_upgrade="true")
    try:
        eventually(lambda: outdated(site) == [], timeout=180, what="nothing is outdated any more")
        balancers = f"{site.name}-balancer"
        eventually(lambda: rolled_out(site, balancers), timeout=240, what="balancers are new")
        site.kube.wait_ready("dpe", site.name)
    finally:  # what stays would approve the next one
        site.kube.run("annotate", "dpe", site.name, "dpe.dev/approve-upgrade-")


def rolled_out(site: Site, deployment: str) -> bool:
    found = site.kube.get("deployment", deployment)
    status, wanted = found["status"], found["spec"]["replicas"]
    counts = [status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")]
    return (
        counts == [wanted] * 3 and status["observedGeneration"] == found["metadata"]["generation"]
    )


def outdated(site: Site) -> list[str]:
    status: Object = site.kube.get("dpeserver", site.name).get("status", {})
    return list(status.get("outdated", []))


def restart_counts(site: Site) -> dict[str, int]:
    return {
        pod["metadata"]["name"]: sum(
            status["restartCount"] for status in pod["status"].get("containerStatuses", [])
        )
        for pod in site.kube.list("pod", {"app.kubernetes.io/part-of": site.name})
    }


def crd_versions(cluster: Kubectl) -> dict[str, str]:
    return {
        crd["metadata"]["name"]: crd["metadata"]["resourceVersion"]
        for crd in cluster.list("crd")
        if crd["spec"]["group"] == "dpe.dev"
    }
