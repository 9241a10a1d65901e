# SPDX-License-Identifier: Apache-2.0
"""Promise: two watchers at once start an overlapping workflow once, if the title allows it to be known."""

import pytest
from tests.e2e.site import Site
from tests.e2e.volumes import SharedVolumes
from tests.e2e.workflow import Component, Workflows, fresh, watcher

pytestmark = pytest.mark.e2e


def test_good_title_runs_once_what_both_have_seen(shared_site: Site, workers: Component) -> None:
    shared = SharedVolumes(shared_site.kube)
    name = fresh("twice")
    claims = {f"{name}-table-watcher-memory-{member}" for member in (1, 2)}
    shared.make(*sorted(claims))
    # longer than the time between the two watchers' looks: titles guard overlap, nothing else
    manifest = watcher(name, shared_site, mode="Concurrent", seconds=20)
    shared_site.kube.apply(manifest)
    found = Component(shared_site.kube, "WorkflowTableWatcher", name)
    try:
        found.wait_ready()
        assert len(found.ready_pods()) == 2
        workflows = Workflows(shared_site)
        workflows.entries(name, add=4)
        titles = workflows.wait_titles(f"{name}-", 4)
        # both have looked since: what each of them was told is in its memory
        workflows.entries(name, add=1)
        titles = workflows.wait_titles(f"{name}-", 5)
        assert len(titles) == len(set(titles)), titles
        assert claims_of(shared_site, name) == claims, "each member has a memory of its own"
    finally:
        shared_site.kube.delete("WorkflowTableWatcher", name)
    assert claims_of(shared_site, name) == claims, "claims stay"
    shared_site.kube.run("delete", "pvc", *claims, timeout=90)


def claims_of(site: Site, name: str) -> set[str]:
    found = site.kube.list("pvc", {"app.kubernetes.io/instance": name})
    return {claim["metadata"]["name"] for claim in found}


@pytest.mark.parametrize("title", ["!0 %tableid%-%entryid%", "%entryid%-%guid%", "%tableid%"])
def test_title_that_would_run_twice_is_refused(shared_site: Site, title: str) -> None:
    manifest = watcher("refused", shared_site, mode="Concurrent")
    manifest["spec"]["titleTemplate"] = title
    assert "titleTemplate" in shared_site.kube.refused(manifest)
