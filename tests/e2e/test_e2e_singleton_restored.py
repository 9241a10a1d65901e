# SPDX-License-Identifier: Apache-2.0
"""Promise: after a restore from older copies nothing is started twice, and a lost memory is told."""

import json
import shutil
import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import Object, condition, eventually
from tests.e2e.site import Site
from tests.e2e.standby import standing_watcher
from tests.e2e.volumes import SharedVolumes
from tests.e2e.workflow import Component, Workflows

pytestmark = [pytest.mark.e2e, pytest.mark.level2]

NAME = "restored"
UNIQUE = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation")


@pytest.fixture
def restored(shared_site: Site, workers: Component) -> Iterator[Component]:
    with standing_watcher(shared_site, NAME) as made:
        yield made


def dump(found: Component) -> list[Object]:
    """The resource and its Lease, as a backup has them."""
    objects = [found.lease(), found.get()]  # the resource last: with it the operator begins
    for item in objects:
        item.pop("status", None)
        for key in UNIQUE:
            item["metadata"].pop(key, None)
    return objects


def hand_over(found: Component) -> None:
    """Delete the pod that acts, until the other one does."""
    before = found.holder()
    found.kube.run("delete", "pod", before, "--wait=false")
    found.wait_holder(besides=before)
    found.wait_ready()


def create(found: Component, objects: list[Object]) -> None:
    found.kube.run("create", "-f", "-", stdin="\n---\n".join(json.dumps(item) for item in objects))


def test_objects_of_an_old_dump_go_on_with_the_newest_memory(
    shared_site: Site, restored: Component
) -> None:
    workflows, since = Workflows(shared_site), time.time()
    workflows.entries(NAME, add=3)
    workflows.wait_titles(f"{NAME}-", 3)
    old = dump(restored)
    hand_over(restored)
    hand_over(restored)
    workflows.entries(NAME, add=2)
    workflows.wait_titles(f"{NAME}-", 5)
    epoch = restored.epoch()
    assert epoch > int(old[0]["spec"]["leaseTransitions"])

    shared_site.kube.delete(restored.kind, NAME, "--cascade=foreground", timeout=150)
    create(restored, old)
    restored.wait_ready(timeout=240)
    assert restored.wait_holder(timeout=60)
    eventually(
        lambda: restored.epoch() > epoch, timeout=60,
        what="an epoch above what the volume knows", describe=restored.describe,
    )  # fmt: skip
    workflows.entries(NAME, add=1)
    workflows.wait_titles(f"{NAME}-", 6)
    time.sleep(3)  # three more looks: an old memory would start the later ones again
    assert len(workflows.titles(f"{NAME}-")) == 6, workflows.titles(f"{NAME}-")
    workflows.check(restored.full_name, since=since)


def test_a_volume_of_an_older_day_starts_nobody_until_it_is_accepted(
    shared_site: Site, restored: Component
) -> None:
    claim = f"{NAME}-table-watcher-memory"
    memory = SharedVolumes(shared_site.kube).folder(claim) / f"workflowtablewatcher-{NAME}"
    workflows = Workflows(shared_site)
    workflows.entries(NAME, add=2)
    eventually(lambda: any(memory.glob("epoch-*/files/*")), timeout=30, what="a memory")
    hand_over(restored)
    newest = restored.epoch()
    complete = memory / f"epoch-{newest}" / "COMPLETE"
    eventually(complete.exists, timeout=30, what="its copy")
    time.sleep(3)  # what it found has been started by then
    before = len(workflows.titles(f"{NAME}-"))
    shutil.rmtree(memory / f"epoch-{newest}")
    shared_site.kube.run("delete", "pod", restored.holder(), "--wait=false")

    def lost() -> Object | None:
        entry = condition(restored.get(), "MemoryKept")
        return entry if entry.get("reason") == "MemoryLost" else None

    eventually(lost, timeout=90, what="the loss is told", describe=restored.describe)
    report = json.loads(restored.lease()["metadata"]["annotations"]["dpe.dev/memory"])
    assert (report["reason"], report["lost"]) == ("Older", newest), report
    workflows.entries(NAME, add=1)
    time.sleep(5)
    assert len(workflows.titles(f"{NAME}-")) == before, "nobody watches with an old memory"

    shared_site.kube.annotate(restored.kind, NAME, accept_memory_loss=report["token"])
    eventually(
        lambda: condition(restored.get(), "MemoryKept").get("status") == "True", timeout=90,
        what="it goes on with the older one", describe=restored.describe,
    )  # fmt: skip
    workflows.wait_titles(f"{NAME}-", before + 1, timeout=60)
