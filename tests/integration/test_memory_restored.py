# SPDX-License-Identifier: Apache-2.0
"""A namespace or a volume that was restored from an older copy: no old memory is used in silence.

Lease and volume are restored apart from each other, so either may know more than the other.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration import test_memory_lease as kit
from tests.support.api_server import ApiServer
from tests.support.elector_pods import Pod, Site, until

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SECONDS = 60.0


@pytest.fixture
def site(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(api_server, namespace, tmp_path)
    made.create_lease()
    (tmp_path / "volume").mkdir()
    yield made
    made.close()


def dump(site: Site) -> dict[str, Any]:
    """The Lease as a backup has it: without what only this object had."""
    found = json.loads(json.dumps(kit.raw(site)))
    for unique in ("uid", "resourceVersion", "creationTimestamp", "managedFields"):
        found["metadata"].pop(unique, None)
    return dict(found)


def restore(site: Site, lease: dict[str, Any]) -> None:
    """Delete the Lease and apply the dump, as people and their tools do."""
    site.server.kubectl("delete", "-n", site.namespace, "lease", "x")
    site.server.kubectl("apply", "-n", site.namespace, "-f", "-", text=json.dumps(lease))


def end(pod: Pod) -> None:
    pod.terminate()
    assert pod.wait(SECONDS) == 0


def started(pod: Pod, epoch: int) -> dict[str, Any]:
    """Wait for the start with this epoch; what the watcher found then."""
    until(
        lambda: pod.acts("start") and pod.acts("start")[-1].epoch == epoch,
        seconds=SECONDS,
        why=f"{pod.name} starts with epoch {epoch}: {kit.log(pod)[-1500:]}",
    )
    return kit.met(pod, epoch)


def test_an_old_lease_beside_a_newer_volume_goes_on_with_the_newest_memory(site: Site) -> None:
    first = kit.watcher(site, "a").start()
    started(first, 1)
    old = dump(site)
    first.end_command()
    started(first, 2)
    first.end_command()
    started(first, 3)
    end(first)
    restore(site, old)
    second = kit.watcher(site, "b").start()
    found = started(second, 4)
    assert found["lines"] == kit.lines(site, 3) > kit.lines(site, 1)
    assert site.lease()["leaseTransitions"] == 4, "higher than what the volume knows"
    until(lambda: kit.report(site).get("epoch") == 4, seconds=SECONDS)
    assert (kit.report(site)["reason"], kit.report(site)["from"]) == ("Carried", 3)
    assert site.overlap() <= 0


def test_an_old_volume_beside_a_newer_lease_is_a_loss_and_starts_nobody(site: Site) -> None:
    first = kit.watcher(site, "a").start()
    started(first, 1)
    first.end_command()
    started(first, 2)
    until(lambda: kit.report(site).get("epoch") == 2, seconds=SECONDS)
    volume, backup = site.folder / "volume", site.folder / "backup"
    first.end_command()
    until(lambda: not first.acting, seconds=SECONDS)
    shutil.copytree(volume, backup, ignore=shutil.ignore_patterns("epoch-3", ".epoch-3*"))
    started(first, 3)
    until(lambda: kit.report(site).get("epoch") == 3, seconds=SECONDS)
    end(first)
    # what the volume was at the end of epoch 2
    owner = json.loads((backup / kit.FOLDER / "OWNER").read_text())
    owner.get("memory", {})["epoch"] = 2
    shutil.rmtree(volume / kit.FOLDER)
    shutil.copytree(backup / kit.FOLDER, volume / kit.FOLDER)
    (volume / kit.FOLDER / "OWNER").write_text(json.dumps(owner))

    second = kit.watcher(site, "b").start()
    until(lambda: kit.report(site).get("state") == "Lost", seconds=SECONDS)
    told = kit.report(site)
    assert (told["reason"], told["lost"], told["left"]) == ("Older", 3, 2)
    assert second.acts() == [], "an old copy is not used in silence"
    kit.annotate(site, "accept-memory-loss", told["token"])
    assert started(second, second_epoch(site))["lines"] == kit.lines(site, 2)
    until(lambda: kit.report(site)["state"] == "Ready", seconds=SECONDS)
    assert kit.report(site)["reason"] == "LossAccepted"


def second_epoch(site: Site) -> int:
    until(lambda: kit.report(site)["state"] == "Ready", seconds=SECONDS)
    return int(kit.report(site)["epoch"])
