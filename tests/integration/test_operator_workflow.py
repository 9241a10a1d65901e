# SPDX-License-Identifier: Apache-2.0
"""Workflow components on a real API server: composed, ready, changed, deleted, made again.

There is no garbage collector and no kubelet here; what they do is done by the tests.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.operator_kit import (
    OperatorProcess,
    Site,
    eventually,
    limited_account,
    operator,
)
from tests.support.planning_world import cluster
from tests.support.workflow_world import (
    FOLDER,
    NAME,
    SCHEDULER,
    TABLE,
    WORKER,
    concurrent,
    standby,
)

from dpe_operator.planning.objects import Obj, dig

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

RESYNC = 3.0
OPERATOR = {"RESYNC_SECONDS": str(RESYNC)}
MEMORY = {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}
IMAGE = "registry.example.com/dpe:2.15"
WORKFLOW: Obj = {
    "workers": [{"name": "work", "mode": "Concurrent", "image": IMAGE}],
    "schedulers": [
        {
            "name": "night",
            "mode": "Concurrent",
            "image": IMAGE,
            "schedule": "0 2 * * *",
            "timeZone": "Europe/Berlin",
        }
    ],
    "tableWatchers": [
        {
            "name": "entries",
            "mode": "Standby",
            "image": IMAGE,
            "command": ["/bin/dpe"],
            "memory": MEMORY,
        }
    ],
    "folderWatchers": [
        {
            "name": "ingest",
            "mode": "Concurrent",
            "image": IMAGE,
            "titleTemplate": "%filename%",
            "memory": MEMORY,
        }
    ],
}


@pytest.fixture
def site(empty_site: Site, running: OperatorProcess) -> Site:
    """A namespace with a DpeCluster that has been accepted."""
    made = empty_site
    made.create(cluster(processors=[]))
    eventually(lambda: accepted(made, "DpeCluster", "radio"), log=running.log)
    return made


def accepted(site: Site, kind: str, name: str) -> bool:
    return site.condition(kind, name, "Accepted").get("status") == "True"


def all_made(site: Site, running: OperatorProcess) -> None:
    """Wait until all that `Site.run_all` is to run has been made."""
    for deployment in (
        "radio-work-worker-concurrent",
        *("radio-night-scheduler-1", "radio-night-scheduler-2"),
        "radio-entries-table-watcher",
        *("radio-ingest-folder-watcher-1", "radio-ingest-folder-watcher-2"),
        "radio-balancer",
    ):
        eventually(partial(site.find, "Deployment", deployment), seconds=40, log=running.log)
    eventually(lambda: site.find("EndpointSlice", "radio-balancer"), log=running.log)


def ready(site: Site, kind: str, name: str) -> bool:
    return site.condition(kind, name, "Ready").get("status") == "True"


def hold(site: Site, lease: str, pod: str, *, epoch: int = 1) -> None:
    """Let a pod hold a Lease as the elector does; for so long that a slow test sees no silence."""
    renewed = datetime.now(UTC).replace(year=2099).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    identity = f"{site.get('Pod', pod)['metadata']['uid']}_1"
    record = {"identity": identity, "epoch": epoch, "seconds": 15, "state": "held", "pod": pod}
    site.patch(
        "Lease",
        lease,
        {
            "metadata": {"annotations": {"dpe.dev/elector-record": json.dumps(record)}},
            "spec": {
                "holderIdentity": identity,
                "leaseTransitions": epoch,
                "leaseDurationSeconds": 15,
                "acquireTime": renewed,
                "renewTime": renewed,
            },
        },
    )


def collect(site: Site) -> None:
    """Do what the garbage collector and kubelets do for what is deleted in the foreground."""
    for deployment in site.all("Deployment"):
        if "deletionTimestamp" not in deployment["metadata"]:
            continue
        name = deployment["metadata"]["name"]
        for pod in site.all("Pod"):
            if pod["metadata"]["name"].startswith(f"{name}-"):
                site.server.request(
                    "DELETE",
                    f"/api/v1/namespaces/{site.namespace}/pods/{pod['metadata']['name']}"
                    "?gracePeriodSeconds=0",
                )
        site.patch("Deployment", name, {"metadata": {"finalizers": None}})


def leave_no_children(site: Site, kind: str, name: str) -> None:
    """Do what the garbage collector does when a resource is gone."""
    kinds = ("Deployment", "Lease", "PodDisruptionBudget", "Role", "RoleBinding", "ServiceAccount")
    for child in kinds:
        for obj in site.all(child):
            owners = obj["metadata"].get("ownerReferences", [])
            if any((owner["kind"], owner["name"]) == (kind, name) for owner in owners):
                site.delete(child, obj["metadata"]["name"])
    for pod in site.all("Pod"):
        site.server.request(
            "DELETE",
            f"/api/v1/namespaces/{site.namespace}/pods/{pod['metadata']['name']}"
            "?gracePeriodSeconds=0",
        )


def test_a_site_with_all_four_kinds_becomes_ready(
    empty_site: Site, server: ApiServer, tmp_path: Path, running: OperatorProcess
) -> None:
    """With the very rights that the chart gives; another operator works in this namespace too."""
    site = empty_site
    account = limited_account(server, site.namespace, tmp_path)
    site.create(cluster(processors=[], workflow=WORKFLOW))
    with operator(server, tmp_path, namespaces=site.namespace, kubeconfig=account) as own:
        all_made(site, own)
        site.run_all()
        site.record("radio")
        hold(site, "radio-entries-table-watcher", "radio-entries-table-watcher-0")
        eventually(lambda: ready(site, "DpeCluster", "radio"), log=own.log)
        text = own.log.read_text()
    assert "Forbidden" not in text and "403" not in text, text[-3000:]
    status = site.get("DpeCluster", "radio")["status"]
    assert [(part["name"], part["mode"]) for part in status["workflow"]] == [
        ("work", "Concurrent"),
        ("night", "Concurrent"),
        ("entries", "Standby"),
        ("ingest", "Concurrent"),
    ]
    assert status["workflow"][2]["holder"] == "radio-entries-table-watcher-0"
    for condition in ("WorkersReady", "SchedulersReady", "TableWatchersReady"):
        assert site.condition("DpeCluster", "radio", condition)["status"] == "True"
    members = site.get(SCHEDULER, "radio-night")["status"]["members"]
    assert [member["schedule"] for member in members] == ["0 2 * * *", "30 2 * * *"]
    claims = sorted(claim["metadata"]["name"] for claim in site.all("PersistentVolumeClaim"))
    assert claims == [
        "radio-entries-table-watcher-memory",
        "radio-ingest-folder-watcher-memory-1",
        "radio-ingest-folder-watcher-memory-2",
    ]


def test_nothing_is_written_over_idle_resyncs(
    site: Site, running: OperatorProcess, server: ApiServer
) -> None:
    site.patch("DpeCluster", "radio", {"spec": {"workflow": WORKFLOW}})
    lease = "radio-entries-table-watcher"
    all_made(site, running)
    site.run_all()
    site.record("radio")
    hold(site, lease, f"{lease}-0")
    eventually(lambda: ready(site, "DpeCluster", "radio"), log=running.log)
    eventually(lambda: running.metric("dpe_operator_queue_depth") == 0)
    time.sleep(2)  # events about the last writes
    done = running.metric("dpe_operator_reconciles_total")
    before = len(server.audited_writes())
    time.sleep(RESYNC * 1.1 * 2 + 0.5)
    eventually(lambda: running.metric("dpe_operator_reconciles_total") - done >= 10)
    assert [
        (write["verb"], write["requestURI"])
        for write in server.audited_writes()[before:]
        if write["user"]["username"] != "system:apiserver"
        and f"/namespaces/{site.namespace}/" in write["requestURI"]
    ] == []


def up(site: Site, running: OperatorProcess, resource: Obj) -> None:
    """Create a component and bring it up."""
    site.create(resource)
    kind = resource["kind"]
    eventually(lambda: site.all("Deployment"), log=running.log)
    eventually(lambda: accepted(site, kind, NAME), log=running.log)
    eventually(partial(complete, site, kind), log=running.log)
    start(site, kind)
    eventually(partial(ready, site, kind, NAME), log=running.log)


def complete(site: Site, kind: str) -> bool:
    own = [one for one in site.all("Deployment") if one["metadata"]["name"].startswith(f"{NAME}-")]
    spec = site.get(kind, NAME)["spec"]
    single = spec["mode"] == "Standby" or kind == WORKER
    return len(own) == (1 if single else 2)


def start(site: Site, kind: str, *, epoch: int = 1) -> None:
    for deployment in site.all("Deployment"):
        if deployment["metadata"]["name"].startswith(f"{NAME}-"):
            site.run(deployment["metadata"]["name"])
    if site.get(kind, NAME)["spec"]["mode"] == "Standby":
        lease = site.all("Lease")[0]["metadata"]["name"]
        for found in site.all("Lease"):
            if found["metadata"]["name"].startswith(f"{NAME}-"):
                lease = found["metadata"]["name"]
        hold(site, lease, f"{lease}-0", epoch=epoch)


def modes(site: Site) -> set[str]:
    """The modes of all that is there of the component."""
    found = [
        dig(obj, "spec", "template", "metadata", "labels", "dpe.dev/mode")
        for obj in site.all("Deployment")
    ]
    found += [dig(obj, "metadata", "labels", "dpe.dev/mode") for obj in site.all("Pod")]
    return {str(mode) for mode in found if mode}


@pytest.mark.parametrize(
    ("resource", "change"),
    [
        (standby(WORKER), {"mode": "Concurrent"}),
        (concurrent(SCHEDULER), {"mode": "Standby"}),
        (standby(FOLDER), {"mode": "Concurrent", "titleTemplate": "%filename%"}),
    ],
    ids=["worker to concurrent", "scheduler to standby", "watcher to concurrent"],
)
def test_a_change_of_mode_never_has_both(
    site: Site, running: OperatorProcess, resource: Obj, change: dict[str, Any]
) -> None:
    kind = resource["kind"]
    up(site, running, resource)
    before = modes(site)
    site.patch(kind, NAME, {"spec": change})
    part = "MembersReady" if change["mode"] == "Concurrent" else "CandidatesReady"
    eventually(
        lambda: site.condition(kind, NAME, part).get("reason") == "ChangingMode", log=running.log
    )
    time.sleep(RESYNC)  # another look changes nothing
    assert modes(site) == before
    eventually(
        lambda: any("deletionTimestamp" in one["metadata"] for one in site.all("Deployment"))
    )
    collect(site)
    eventually(lambda: modes(site) == {change["mode"].lower()}, log=running.log)
    eventually(partial(complete, site, kind), log=running.log)
    start(site, kind, epoch=2)
    eventually(partial(ready, site, kind, NAME), log=running.log)


def test_a_deleted_lease_comes_back_without_a_word_about_its_holder(
    site: Site, running: OperatorProcess
) -> None:
    up(site, running, standby(WORKER))
    lease = f"{NAME}-worker"
    first = site.get("Lease", lease)["metadata"]["uid"]
    site.delete("Lease", lease)
    found = eventually(lambda: site.find("Lease", lease), log=running.log)
    assert found["metadata"]["uid"] != first
    assert "dpe.dev/elector-record" not in found["metadata"].get("annotations", {})
    assert found["spec"].get("holderIdentity", "") == ""


def test_the_holder_s_fields_are_never_written(site: Site, running: OperatorProcess) -> None:
    up(site, running, standby(WORKER))
    before = site.get("Lease", f"{NAME}-worker")
    site.annotate(WORKER, NAME, accept_memory_loss="7")
    found = eventually(
        lambda: (
            "dpe.dev/accept-memory-loss"
            in site.get("Lease", f"{NAME}-worker")["metadata"]["annotations"]
            and site.get("Lease", f"{NAME}-worker")
        ),
        log=running.log,
    )
    assert found["spec"] == before["spec"]
    key = "dpe.dev/elector-record"
    assert found["metadata"]["annotations"][key] == before["metadata"]["annotations"][key]


def test_a_take_over_is_told(site: Site, running: OperatorProcess) -> None:
    up(site, running, standby(SCHEDULER))
    lease = f"{NAME}-scheduler"
    hold(site, lease, f"{lease}-1", epoch=2)
    eventually(
        lambda: dig(site.get(SCHEDULER, NAME), "status", "holder") == f"{lease}-1", log=running.log
    )
    # the first holding (epoch 1) is told too where a reconcile had seen the Lease before it
    told = f"{lease}-1 acts instead of {lease}-0 (epoch 2)"
    notes = [f"{lease}-0 acts (epoch 1)", told]
    eventually(
        lambda: told in [event["note"] for event in site.events("TakenOver")], log=running.log
    )
    assert {event["note"] for event in site.events("TakenOver")} <= set(notes)
    assert dig(site.get(SCHEDULER, NAME), "status", "epoch") == 2


def test_claims_outlive_their_watcher_and_are_found_again(
    site: Site, running: OperatorProcess
) -> None:
    resource = standby(TABLE, memory=MEMORY)
    up(site, running, resource)
    claim = f"{NAME}-table-watcher-memory"
    before = site.get("PersistentVolumeClaim", claim)["metadata"]
    assert "ownerReferences" not in before
    site.delete(TABLE, NAME)
    leave_no_children(site, TABLE, NAME)
    time.sleep(RESYNC)
    assert site.find("PersistentVolumeClaim", claim) is not None
    up(site, running, resource)
    after = site.get("PersistentVolumeClaim", claim)["metadata"]
    assert after["uid"] == before["uid"] and "deletionTimestamp" not in after
    assert site.condition(TABLE, NAME, "ClaimsAsWanted")["status"] == "True"


def test_what_leaves_the_site_is_pruned_and_its_claims_stay(
    site: Site, running: OperatorProcess
) -> None:
    site.patch("DpeCluster", "radio", {"spec": {"workflow": WORKFLOW}})
    claim = "radio-entries-table-watcher-memory"
    eventually(lambda: site.find("PersistentVolumeClaim", claim), log=running.log)
    eventually(lambda: site.find(WORKER, "radio-work"), log=running.log)
    site.patch("DpeCluster", "radio", {"spec": {"workflow": {"tableWatchers": None}}})
    eventually(lambda: site.find(TABLE, "radio-entries") is None, log=running.log)
    assert site.find("PersistentVolumeClaim", claim) is not None
    assert site.find(WORKER, "radio-work") is not None


def test_one_member_at_a_time_is_changed(site: Site, running: OperatorProcess) -> None:
    up(site, running, concurrent(SCHEDULER))
    site.patch(SCHEDULER, NAME, {"spec": {"image": "registry.example.com/dpe:2.16"}})

    def images() -> list[str]:
        return [
            site.get("Deployment", f"{NAME}-scheduler-{number}")["spec"]["template"]["spec"][
                "containers"
            ][0]["image"][-4:]
            for number in (1, 2)
        ]

    eventually(lambda: images() == ["2.15", "2.16"], log=running.log)
    time.sleep(RESYNC)
    assert images() == ["2.15", "2.16"]
    site.run(f"{NAME}-scheduler-2")
    eventually(lambda: images() == ["2.16", "2.16"], log=running.log)


def test_no_reconcile_failed(running: OperatorProcess) -> None:
    text = running.log.read_text()
    assert "failed unexpectedly" not in text and "Traceback" not in text, text[-3000:]
