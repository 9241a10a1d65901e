# SPDX-License-Identifier: Apache-2.0
"""Promise: PAR files are copied each night, also while the node of an unfinished run stays away."""

from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import Object, eventually
from tests.e2e.nodes import Nodes
from tests.e2e.par_files import NAME, Store
from tests.e2e.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.node_fault, pytest.mark.level2]

EACH_MINUTE = "* * * * *"
RUNS = {"app.kubernetes.io/instance": NAME, "app.kubernetes.io/component": "par-sync"}
# A pod has 60 s to stop, and 60 s more until its run is given up; then comes the next minute's.
GOES_ON_WITHIN = 300


@pytest.fixture
def store(shared_site: Site) -> Iterator[Store]:
    found = Store(shared_site)
    found.make(shared_site.name, {"GLOBAL.PAR": "global\n"})
    yield found
    found.remove()


def without_the_database(site: Site, nodes: list[Object]) -> str:
    """A worker whose loss does not stop all servers."""
    (database,) = site.kube.list("pod", {"app": "dpe-postgres"})
    plane = "node-role.kubernetes.io/control-plane"
    workers = [one["metadata"] for one in nodes if plane not in one["metadata"]["labels"]]
    names = {one["name"] for one in workers} - {database["spec"]["nodeName"]}
    return sorted(names)[0]


def test_a_node_that_stays_away_does_not_stop_the_next_runs(
    shared_site: Site, nodes: Nodes, store: Store
) -> None:
    kube = store.kube
    assert store.ask()["result"] == "Succeeded", store.describe()
    node = without_the_database(shared_site, kube.list("nodes"))
    before = {pod["metadata"]["name"] for pod in kube.list("pod", RUNS)}
    here = {"spec": {"nodeSelector": {"kubernetes.io/hostname": node}}}
    # somebody holds the lock, so the next run is there for a while and waits for it
    held = '{"spec": {"holderIdentity": "another run", "leaseDurationSeconds": 60}}'
    kube.run("patch", "lease", f"{NAME}-par-sync", "--type=merge", "-p", held)
    kube.apply(store.manifest(shared_site.name, EACH_MINUTE, podTemplate=here))

    def waiting() -> Object | None:
        pods = [pod for pod in kube.list("pod", RUNS) if pod["metadata"]["name"] not in before]
        return next((pod for pod in pods if pod["status"]["phase"] == "Running"), None)

    lost = eventually(waiting, timeout=120, every=0.2, what="a run", describe=store.describe)
    nodes.kill(node)
    store.volumes.write("par-master", {"GLOBAL.PAR": "changed meanwhile\n"})
    kube.apply(store.manifest(shared_site.name, EACH_MINUTE))
    # Kubernetes tells it to end after some minutes; a person who has seen it does so at once
    kube.run("delete", "pod", lost["metadata"]["name"], "--wait=false")

    eventually(
        lambda: store.copy().get("GLOBAL.PAR") == "changed meanwhile\n",
        timeout=GOES_ON_WITHIN, every=2, what="a later run has copied", describe=store.describe,
    )  # fmt: skip
    words = kube.run("get", "events", "--field-selector=reason=RunGivenUp", "-o", "wide")
    assert lost["metadata"]["name"] in words and node in words
    still_away = kube.get("node", node)["status"]["conditions"]
    assert next(one["status"] for one in still_away if one["type"] == "Ready") != "True"
    nodes.repair(node)
