# SPDX-License-Identifier: Apache-2.0
"""A component whose objects were restored from a dump, and a trigger that a take-over has cost.

The real operator, the real electors; the test plays kubelet and the garbage collector.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tests.integration import test_operator_singletons as kit
from tests.support.elector_pods import boot, until
from tests.support.operator_kit import OperatorProcess, Site, eventually
from tests.support.planning_world import cluster
from tests.support.workflow_world import NAME, SCHEDULER, WORKER

from dpe_operator.planning.objects import Obj, controller_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

OPERATOR = kit.OPERATOR
KINDS = (
    *("ControllerRevision", "ServiceAccount", "Role", "RoleBinding", "Lease"),
    *("PodDisruptionBudget", "Deployment"),
)
UNIQUE = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation")


@pytest.fixture
def site(empty_site: Site, running: OperatorProcess) -> Site:
    """A namespace with a site that has been accepted."""
    empty_site.create(cluster(processors=[]))
    eventually(
        lambda: empty_site.condition("DpeCluster", "radio", "Accepted").get("status") == "True",
        log=running.log,
    )
    return empty_site


@pytest.fixture
def candidates(site: Site, tmp_path: Path) -> Iterator[kit.Candidates]:
    """No process yet; whatever is started ends with the test."""
    made = kit.Candidates(site, tmp_path)
    yield made
    made.electors.close()


def acting(candidates: kit.Candidates, *, besides: str = "") -> kit.Pod:
    return until(
        lambda: next((p for p in candidates.pods if p.acting and p.name != besides), None),
        seconds=60,
        why="one acts",
    )


def owned_by(site: Site, kind: str, name: str) -> list[Obj]:
    """All that was made of a resource."""
    return [
        site.get(child, obj["metadata"]["name"])
        for child in KINDS
        for obj in site.all(child)
        if (owner := controller_of(obj)) and (owner["kind"], owner["name"]) == (kind, name)
    ]


def collect(site: Site, kind: str, name: str) -> None:
    """Do what the garbage collector does with those whose owner is no more."""
    live = (site.find(kind, name) or {}).get("metadata", {}).get("uid")
    for obj in owned_by(site, kind, name):
        owner = controller_of(obj)
        if owner and owner["uid"] != live:
            site.delete(obj["kind"], obj["metadata"]["name"])


def test_objects_restored_from_an_old_dump_end_in_one_that_acts(
    site: Site, running: OperatorProcess, candidates: kit.Candidates
) -> None:
    """The dump is of epoch 1: its Lease names a holder that is long gone, its owner as well."""
    kit.made(site, running)
    candidates.start()
    first = acting(candidates)
    eventually(lambda: kit.said(site, "HolderActive")[0] == "True", log=running.log)
    dump = [site.get(WORKER, NAME), *owned_by(site, WORKER, NAME)]
    first.end_command()
    acting(candidates, besides=first.name)
    for pod in candidates.pods:
        pod.terminate()
        pod.wait()
    last = max(act.at for pod in candidates.pods for act in pod.acts())

    # the namespace goes, with all that is in it, and comes back as it was
    site.delete(WORKER, NAME)
    collect(site, WORKER, NAME)
    for name in candidates.names:
        site.delete("Pod", name)
    for obj in dump:
        for unique in UNIQUE:
            obj["metadata"].pop(unique, None)
    text = "\n---\n".join(json.dumps(obj) for obj in dump)
    site.server.kubectl("apply", "-n", site.namespace, "-f", "-", text=text)
    restored = site.get("Lease", candidates.component)["metadata"]["uid"]
    time.sleep(1)
    collect(site, WORKER, NAME)

    def anew() -> bool:
        lease = site.find("Lease", candidates.component)
        deployment = site.find("Deployment", candidates.component)
        owner = site.get(WORKER, NAME)["metadata"]["uid"]
        return all(
            obj is not None and (controller_of(obj) or {}).get("uid") == owner
            for obj in (lease, deployment)
        )

    eventually(anew, seconds=40, log=running.log)
    assert site.get("Lease", candidates.component)["metadata"]["uid"] != restored
    site.run(candidates.component)
    candidates.start()
    again = acting(candidates)
    assert again.acts("start")[-1].at > last
    assert candidates.electors.overlap() <= 0
    eventually(
        lambda: kit.said(site, "HolderActive")[:2] == ("True", "Held"), seconds=40, log=running.log
    )


def started(candidates: kit.Candidates, *, after: float) -> bool:
    """Whether a command was started since."""
    return any(act.at > after for pod in candidates.pods for act in pod.acts("start"))


def restarted(candidates: kit.Candidates) -> datetime:
    """What kubelet does with what has ended meanwhile, on a busy machine; the time."""
    for pod in candidates.pods:
        if pod.ended:
            pod.start()
    return datetime.now(UTC)


@pytest.mark.level2  # it waits for a full minute, as schedules know no less
def test_a_trigger_that_falls_into_a_take_over_is_reported(
    site: Site, running: OperatorProcess, tmp_path: Path
) -> None:
    name = f"{NAME}-scheduler"
    candidates = kit.Candidates(site, tmp_path, component=name)
    kit.made(site, running, kind=SCHEDULER, schedule="* * * * *", timeZone="UTC")
    try:
        candidates.start()
        acting(candidates)
        until(lambda: candidates.ready() == [True, True], seconds=30)
        # within the Lease's 6 s: whoever is killed now is replaced after the full minute
        until(lambda: 56 <= restarted(candidates).second < 59, seconds=70)
        trigger = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)
        struck = boot()
        os.kill(acting(candidates).guard, signal.SIGKILL)
        until(lambda: restarted(candidates) and started(candidates, after=struck), seconds=60)

        def missed() -> bool:
            found = site.condition(SCHEDULER, NAME, "TriggerMissed")
            text = f"the trigger of {trigger:%Y-%m-%d %H:%M:%S} UTC was most likely missed"
            return found.get("status") == "True" and text in found["message"]

        eventually(missed, seconds=40, log=running.log)
        assert site.condition(SCHEDULER, NAME, "TriggerMissed")["reason"] == "TriggerInTakeOver"
    finally:
        candidates.electors.close()
