# SPDX-License-Identifier: Apache-2.0
"""Promise: the operator may be tested, upgraded, rolled back and taken away by Helm, and no pod of a site is restarted by it."""

import subprocess
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import Kubectl, Object, eventually
from tests.e2e.operator_release import RELEASE, OperatorRelease
from tests.e2e.site import Site
from tests.e2e.workflow import Component, component, fresh, restarts

pytestmark = pytest.mark.e2e

NEXT_TAG = "next-release"
# Of what a new release brings: its own, and what it puts into the pods of a site.
IMAGES = ("operator", "balancer", "elector")


@pytest.fixture
def worker(shared_site: Site) -> Iterator[Component]:
    """A Standby worker that does not work for anybody else: its pods hold the elector's image."""
    kind, name = "WorkflowWorker", fresh("standing")
    shared_site.kube.apply(component(kind, name, shared_site, mode="Standby"))
    made = Component(shared_site.kube, kind, name)
    made.wait_ready()
    yield made
    shared_site.kube.delete(kind, name)
    eventually(lambda: not made.pods(), timeout=120, what="its pods are gone")


@pytest.fixture
def restored(operator: OperatorRelease, shared_site: Site) -> Iterator[None]:
    """The release as it was, and a site on its images."""
    tags = {key: operator.value(key) for key in (f"image.{name}.tag" for name in IMAGES)}
    yield
    operator.set_values(tags)
    approve(shared_site)


@pytest.fixture
def next_images(cluster: Kubectl, images: dict[str, str]) -> dict[str, object]:
    """Images under another tag, in every node, as what a new release brings: the chart's values."""
    for node in cluster.list("nodes"):
        command = ["docker", "exec", node["metadata"]["name"], "ctr", "-n", "k8s.io", "images"]
        for image in (images[f"dpe-{name}"] for name in IMAGES):
            other = f"{image.rpartition(':')[0]}:{NEXT_TAG}"
            subprocess.run(
                [*command, "tag", "--force", image, other],
                check=True, capture_output=True, timeout=60,
            )  # fmt: skip
    return {f"image.{name}.tag": NEXT_TAG for name in IMAGES}


def test_helm_test_passes(operator: OperatorRelease) -> None:
    assert "Succeeded" in operator.helm("test", RELEASE, "--timeout", "150s")


def test_upgrade_rollback_and_approval(
    cluster: Kubectl,
    operator: OperatorRelease,
    shared_site: Site,
    next_images: dict[str, object],
    restored: None,
    worker: Component,
) -> None:
    pods, counts = all_pods(shared_site), restart_counts(shared_site)
    crds, holder = crd_versions(cluster), worker.holder()
    operator.set_values(next_images)

    old = [[f"{shared_site.name}-balancer"], [worker.full_name]]
    wait_outdated(shared_site, worker, old)
    operator.helm("rollback", RELEASE, "--wait", "--timeout", "120s")
    wait_outdated(shared_site, worker, [[], []])
    assert crd_versions(cluster) == crds, "a rollback leaves the CRDs alone"
    operator.install()
    wait_outdated(shared_site, worker, old)
    operator.settle()
    assert set(images_of(operator.kube, "operator")) == {NEXT_TAG}, "the operator itself is new"
    assert all_pods(shared_site) == pods, "no pod of the site was replaced"
    assert restart_counts(shared_site) == counts, "and none restarted"
    assert worker.holder() == holder, "and the same worker acts"

    with shared_site.load(seconds=400) as load:
        approve(shared_site)
        load.stop(after=2)
        seen = load.summary()
    assert seen["failedAfterRetries"] == 0, load.story()
    assert set(images_of(shared_site.kube, "balancer")) == {NEXT_TAG}
    approve_worker(shared_site, worker)
    tags = images_of(shared_site.kube, "worker", instance=worker.name)
    assert tags.count(NEXT_TAG) == len(worker.pods()) == 2, "the elector's, beside the worker's own"


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


def approve_worker(site: Site, worker: Component) -> None:
    """Let it take over what the new operator makes, and wait until it has."""
    site.kube.annotate(worker.kind, worker.name, approve_upgrade="true")
    eventually(lambda: old_parts(worker) == [], timeout=60, what="the worker is not outdated")
    eventually(lambda: rolled_out(site, worker.full_name), timeout=240, what="workers are new")
    worker.wait_ready()


def outdated(site: Site) -> list[str]:
    status: Object = site.kube.get("dpeserver", site.name).get("status", {})
    return list(status.get("outdated", []))


def old_parts(worker: Component) -> list[str]:
    return list(worker.get().get("status", {}).get("outdated", []))


def wait_outdated(site: Site, worker: Component, wanted: list[list[str]]) -> None:
    """Wait until the servers' and the worker's status name these as outdated."""
    eventually(
        lambda: [outdated(site), old_parts(worker)] == wanted,
        timeout=60,
        what=f"{wanted} are outdated",
        describe=lambda: str([outdated(site), old_parts(worker)]),
    )


def images_of(kube: Kubectl, part: str, *, instance: str = "") -> list[str]:
    """Tags of the images in the pods of a part; the last one replaced may still drain."""
    labels = {"app.kubernetes.io/component": part}
    return [
        container["image"].rpartition(":")[2]
        for pod in kube.list("pod", labels)
        if "deletionTimestamp" not in pod["metadata"]
        and pod["metadata"]["name"].startswith(instance)
        for container in [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]
    ]


def all_pods(site: Site) -> dict[str, str]:
    """Name to UID of all pods of the site's namespace."""
    return {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in site.kube.list("pod")}


def restart_counts(site: Site) -> dict[str, int]:
    return {pod["metadata"]["name"]: restarts(pod) for pod in site.kube.list("pod")}


def crd_versions(cluster: Kubectl) -> dict[str, str]:
    return {
        crd["metadata"]["name"]: crd["metadata"]["resourceVersion"]
        for crd in cluster.list("crd")
        if crd["spec"]["group"] == "dpe.dev"
    }
