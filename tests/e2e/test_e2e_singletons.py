# SPDX-License-Identifier: Apache-2.0
"""Promise: of a component in Standby mode one acts; when its pod goes another goes on with its memory."""

import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.operator_release import OperatorRelease
from tests.e2e.site import Site
from tests.e2e.volumes import SharedVolumes
from tests.e2e.workflow import Component, Workflows, component, restarts, watcher

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def watching(whole_site: Site, workers: Component) -> Iterator[Component]:
    """A table watcher in Standby mode whose memory lies on a volume that all nodes mount."""
    SharedVolumes(whole_site.kube).make("entries-table-watcher-memory")
    whole_site.kube.apply(watcher("entries", whole_site, mode="Standby"))
    yield Component(whole_site.kube, "WorkflowTableWatcher", "entries")
    whole_site.kube.delete("WorkflowTableWatcher", "entries")
    whole_site.kube.run("delete", "pvc", "-l", "app.kubernetes.io/instance=entries")


@pytest.fixture
def entries(shared_site: Site, watching: Component) -> Component:
    """The same for one test after the other; each finds one that acts, and one that stands by."""
    watching.wait_ready()
    eventually(
        lambda: len(watching.ready_pods()) == 2 and watching.holder(),
        timeout=60, what="one acts and one stands by", describe=watching.describe,
    )  # fmt: skip
    return watching


def test_both_candidates_are_ready_and_one_acts(shared_site: Site, entries: Component) -> None:
    assert len(entries.ready_pods()) == 2, entries.describe()
    nodes = {pod["spec"]["nodeName"] for pod in entries.pods()}
    assert len(nodes) == 2, "one candidate a node"
    holder = entries.holder()
    standby = next(name for name in entries.ready_pods() if name != holder)
    assert "started the command" in shared_site.kube.run("logs", holder)
    said = shared_site.kube.run("logs", standby)
    ended = max(said.rfind(text) for text in ("the command ended", "killed the command"))
    assert said.rfind("started the command") <= ended, said


def test_pod_of_the_active_watcher_is_deleted(shared_site: Site, entries: Component) -> None:
    workflows, since = Workflows(shared_site), time.time()
    begun = len(workflows.titles("entries-"))
    workflows.entries("entries", add=5)
    workflows.wait_titles("entries-", begun + 5)
    before, epoch = entries.holder(), entries.epoch()

    shared_site.kube.run("delete", "pod", before, "--wait=false")
    workflows.entries("entries", add=3, update=2)
    after = entries.wait_holder(besides=before)
    workflows.wait_titles("entries-", begun + 10)

    assert entries.epoch() == epoch + 1, entries.describe()
    status = eventually(
        lambda: s if (s := entries.get()["status"]).get("holder") == after else None,
        timeout=60, what="the status names the new holder", describe=entries.describe,
    )  # fmt: skip
    assert status["epoch"] == epoch + 1
    assert status["memory"]["from"] == epoch, status
    assert status["memory"]["files"] > 0, status
    time.sleep(3)  # three more looks at the table: a lost memory would start all of it again
    assert len(workflows.titles("entries-")) == begun + 10, workflows.titles("entries-")
    workflows.check(entries.full_name, since=since)
    entries.wait_ready()


def test_take_over_needs_no_operator(
    shared_site: Site, entries: Component, operator: OperatorRelease
) -> None:
    with operator.absent():
        before, epoch = entries.holder(), entries.epoch()
        shared_site.kube.run("delete", "pod", before, "--wait=false")
        entries.wait_holder(besides=before)
        assert entries.epoch() == epoch + 1, entries.describe()
    entries.wait_ready()


def test_command_that_ends_gives_the_other_its_turn(shared_site: Site, entries: Component) -> None:
    before, epoch = entries.holder(), entries.epoch()
    before_it = restart_counts(entries)
    shared_site.kube.run(
        "exec", before, "--", "python3", "-c",
        "import os, signal; [os.kill(int(p), 9) for p in os.listdir('/proc') if p.isdigit()"
        " and b'dpe-simulator' in open(f'/proc/{p}/cmdline', 'rb').read()"
        " and b'dpe_elector' not in open(f'/proc/{p}/cmdline', 'rb').read()]",
        check=False,
    )  # fmt: skip
    entries.wait_holder(besides=before)
    assert entries.epoch() == epoch + 1, entries.describe()
    assert restart_counts(entries) == before_it, "no container was restarted for it"


def restart_counts(found: Component) -> dict[str, int]:
    return {pod["metadata"]["name"]: restarts(pod) for pod in found.pods()}


@pytest.mark.level2
def test_worker_in_standby_mode(shared_site: Site) -> None:
    shared_site.kube.apply(component("WorkflowWorker", "only-one", shared_site, mode="Standby"))
    found = Component(shared_site.kube, "WorkflowWorker", "only-one")
    found.wait_ready()
    try:
        before = found.holder()
        shared_site.kube.run("delete", "pod", before, "--wait=false")
        assert found.wait_holder(besides=before)
    finally:
        shared_site.kube.delete("WorkflowWorker", "only-one")


def test_image_without_shell_python_or_libc(shared_site: Site) -> None:
    """The elector brings its own interpreter along: here into the image of Kubernetes' own pause."""
    images = [
        name
        for node in shared_site.kube.list("nodes")
        for image in node["status"]["images"]
        for name in image.get("names", [])
        if "/pause:" in name
    ]
    manifest = component("WorkflowWorker", "foreign", shared_site, mode="Standby")
    manifest["spec"] |= {"image": images[0], "command": ["/pause", "-P"]}
    manifest["spec"]["podTemplate"] = {"spec": {"securityContext": {"runAsUser": 65532}}}
    shared_site.kube.apply(manifest)
    found = Component(shared_site.kube, "WorkflowWorker", "foreign")
    try:
        found.wait_ready()
        before = found.holder()
        assert "started the command" in shared_site.kube.run("logs", before)
        shared_site.kube.run("delete", "pod", before, "--wait=false")
        assert found.wait_holder(besides=before)
    finally:
        shared_site.kube.delete("WorkflowWorker", "foreign")
