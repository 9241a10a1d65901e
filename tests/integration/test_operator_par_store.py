# SPDX-License-Identifier: Apache-2.0
"""PAR files of a site with the real operator, the real elector and the real copy.

The test plays the controllers: it runs the pods of the Jobs that were made, as processes.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.operator_kit import PAR_SYNC_IMAGE, OperatorProcess, Site, eventually
from tests.support.par_kubelet import Volumes, run_job
from tests.support.planning_world import cluster

from dpe_operator.kube.kinds import object_path
from dpe_operator.planning.objects import Obj, annotations, dig

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

RESYNC = 2.0
OPERATOR = {"RESYNC_SECONDS": str(RESYNC)}
SYNC = "radio-par-sync"
CLAIM = "PersistentVolumeClaim"
MASTER, REDUNDANT = "radio-par-master", "radio-par-redundant-nightly"
PAR_FILES: Obj = {
    "master": {"size": "1Gi"},
    "redundant": [{"name": "nightly", "size": "1Gi"}],
    "sync": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin"},
    "deliverTo": ["Servers", "Processors"],
}

_CHILDREN = (
    "ConfigMap",
    "ControllerRevision",
    "CronJob",
    "Deployment",
    "EndpointSlice",
    "Lease",
    "PodDisruptionBudget",
    "Role",
    "RoleBinding",
    "Service",
    "ServiceAccount",
)


@pytest.fixture
def site(empty_site: Site, running: OperatorProcess) -> Site:
    """A namespace with a site whose PAR files are set up, their claims bound."""
    made = empty_site
    made.create(cluster(parFiles=PAR_FILES))
    eventually(lambda: made.find("CronJob", SYNC), log=running.log)
    bind(made)
    return made


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    found = Volumes(tmp_path / "volumes")
    found.write(found.master, a="1", b="2")
    return found


def bind(site: Site) -> None:
    for name in (MASTER, REDUNDANT):
        eventually(lambda name=name: site.find(CLAIM, name))
        site.patch(CLAIM, name, {"status": {"phase": "Bound"}}, subresource="status")


def said(site: Site, condition: str) -> tuple[str, str]:
    found = site.condition("ParStore", "radio", condition)
    return found.get("status", ""), found.get("reason", "")


def asked(site: Site, text: str, running: OperatorProcess) -> Obj:
    """Ask for a run on the DpeCluster and return the Job that was made for it."""
    before = {job["metadata"]["name"] for job in site.all("Job")}
    site.annotate("DpeCluster", "radio", sync_now=text)

    def made() -> list[Obj]:
        return [job for job in site.all("Job") if job["metadata"]["name"] not in before]

    (job,) = eventually(made, log=running.log)
    return dict(job)


def gone(site: Site, job: Obj) -> None:
    """Delete a Job as kubectl does."""
    path = object_path(site.ref("Job", job["metadata"]["name"]))
    code, body = site.server.request("DELETE", path, {"propagationPolicy": "Background"})
    assert code == 200, body


def status(site: Site) -> Obj:
    found: Obj = site.get("ParStore", "radio").get("status", {})
    return found


def test_what_is_made_and_what_the_pods_of_the_site_see(
    site: Site, running: OperatorProcess
) -> None:
    spec = site.get("CronJob", SYNC)["spec"]
    assert (spec["schedule"], spec["timeZone"]) == ("0 3 * * *", "Europe/Berlin")
    (container,) = spec["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == PAR_SYNC_IMAGE
    for name in ("radio-member-a", "radio-member-b", "radio-audio-processor"):
        pod = eventually(lambda name=name: site.find("Deployment", name), log=running.log)
        (dpe,) = pod["spec"]["template"]["spec"]["containers"]
        mounts = {mount["name"]: mount for mount in dpe["volumeMounts"]}
        assert mounts["dpe-par-master"]["mountPath"] == "/par/master"
        assert mounts["dpe-par-redundant-nightly"]["subPath"] == "current"
    assert not site.get(CLAIM, MASTER)["metadata"].get("ownerReferences")
    assert said(site, "Synced") == ("Unknown", "NoRunYet")
    eventually(lambda: said(site, "Ready")[0] == "True", log=running.log)


def test_a_run_on_demand_once_for_each_text_and_its_result_on_all_levels(
    site: Site, running: OperatorProcess, server: ApiServer, volumes: Volumes
) -> None:
    job = asked(site, "first", running)
    assert run_job(server, job, volumes) == 0
    assert volumes.served() == {"a": "1", "b": "2"}
    eventually(lambda: said(site, "Synced") == ("True", "FirstCopy"), log=running.log)
    assert status(site)["lastRun"]["job"] == job["metadata"]["name"]
    assert status(site)["lastSuccess"]["files"] == 2
    assert said(site, "CopyFresh") == ("True", "AsScheduled")
    assert said(site, "Divergent") == ("False", "NoEdits")
    eventually(
        lambda: dig(site.get("DpeCluster", "radio"), "status", "parFiles", "result") == "Succeeded"
    )
    eventually(lambda: site.events("Synced"))
    text = running.fetch("/metrics")[1]
    where = f'name="radio",namespace="{site.namespace}"'
    assert f'dpe_operator_par_last_run{{{where},result="Succeeded"}} 1.0' in text
    (age,) = [
        float(line.split()[-1])
        for line in text.splitlines()
        if line.startswith(f"dpe_operator_par_copy_age_seconds{{{where}}}")
    ]
    assert 0 <= age < 60

    # the same text asks once, even when its Job is gone
    gone(site, job)
    time.sleep(RESYNC * 1.5)
    assert site.all("Job") == []
    second = asked(site, "second", running)
    assert run_job(server, second, volumes) == 0
    eventually(lambda: said(site, "Synced") == ("True", "UpToDate"), log=running.log)
    assert status(site)["onDemand"] == {"text": "second", "job": second["metadata"]["name"]}


def test_an_empty_master_is_refused_and_the_copy_stays(
    site: Site, running: OperatorProcess, server: ApiServer, volumes: Volumes
) -> None:
    assert run_job(server, asked(site, "first", running), volumes) == 0
    for path in volumes.master.glob("*.par"):
        path.unlink()
    assert run_job(server, asked(site, "second", running), volumes) == 3
    eventually(lambda: said(site, "Synced") == ("False", "MasterEmpty"), log=running.log)
    assert volumes.served() == {"a": "1", "b": "2"}
    assert status(site)["lastSuccess"]["files"] == 2
    assert said(site, "Degraded")[0] == "True"
    eventually(
        lambda: site.condition("DpeCluster", "radio", "ParFilesReady").get("status") == "False"
    )
    assert eventually(lambda: site.events("SyncRefused"))


def test_edits_on_the_redundant_side_are_left_and_told(
    site: Site, running: OperatorProcess, server: ApiServer, volumes: Volumes
) -> None:
    assert run_job(server, asked(site, "first", running), volumes) == 0
    volumes.write(volumes.redundant / "current", a="edited")
    volumes.write(volumes.master, a="changed too")
    assert run_job(server, asked(site, "second", running), volumes) == 0
    eventually(lambda: said(site, "Divergent") == ("True", "LeftInPlace"), log=running.log)
    assert volumes.served()["a"] == "edited"
    assert status(site)["lastRun"]["divergent"] == {"count": 1, "names": ["a.par"]}
    assert said(site, "Ready")[0] == "True"
    assert eventually(lambda: site.events("Divergent"))


def test_a_run_needs_no_operator_and_its_result_outlives_that(
    site: Site, running: OperatorProcess, server: ApiServer, volumes: Volumes
) -> None:
    job = asked(site, "first", running)
    running.process.send_signal(signal.SIGSTOP)
    try:
        assert run_job(server, job, volumes) == 0
        gone(site, job)
    finally:
        running.process.send_signal(signal.SIGCONT)
    eventually(lambda: said(site, "Synced") == ("True", "FirstCopy"), log=running.log)


def test_a_site_made_anew_finds_its_claims_and_goes_on_with_its_history(
    site: Site, running: OperatorProcess, server: ApiServer, volumes: Volumes
) -> None:
    assert run_job(server, asked(site, "first", running), volumes) == 0
    eventually(lambda: said(site, "Synced")[0] == "True", log=running.log)
    claims = {name: site.get(CLAIM, name)["metadata"]["uid"] for name in (MASTER, REDUNDANT)}
    for kind in ("DpeCluster", "ParStore", "DpeServer", "ProcessorFarm"):
        for found in site.all(kind):
            site.delete(kind, found["metadata"]["name"])
    # what the garbage collector would do here
    for job in site.all("Job"):
        gone(site, job)
    for kind in _CHILDREN:
        for found in site.all(kind):
            if found["metadata"].get("ownerReferences"):
                site.delete(kind, found["metadata"]["name"])
    site.create(cluster(parFiles=PAR_FILES))
    eventually(lambda: site.find("CronJob", SYNC), log=running.log)
    assert {name: site.get(CLAIM, name)["metadata"]["uid"] for name in claims} == claims
    eventually(lambda: said(site, "Synced") == ("Unknown", "NoRunYet"), log=running.log)
    volumes.write(volumes.master, b="new")
    assert run_job(server, asked(site, "again", running), volumes) == 0
    eventually(lambda: said(site, "Synced") == ("True", "Copied"), log=running.log)
    kept = [path.read_text() for path in volumes.redundant.glob(".dpe-par/history/*/b.par")]
    assert kept == ["2"]


@pytest.mark.parametrize(
    ("kind", "edit"),
    [
        ("CronJob", {"spec": {"suspend": True}}),
        ("CronJob", {"spec": {"schedule": "* * * * *"}}),
        ("Role", {"rules": []}),
        ("ServiceAccount", {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}),
    ],
)
def test_edits_are_set_back(site: Site, running: OperatorProcess, kind: str, edit: Obj) -> None:
    before = site.get(kind, SYNC)
    changed = site.patch(kind, SYNC, edit)
    assert changed != before

    def as_before() -> bool:
        now = site.get(kind, SYNC)
        return all(now.get(key) == before.get(key) for key in ("spec", "rules")) and (
            now["metadata"].get("labels") == before["metadata"].get("labels")
        )

    eventually(as_before, log=running.log)
    assert eventually(lambda: site.events("Repaired"))


def test_taking_par_files_away_takes_the_copy_away_and_leaves_the_files(
    site: Site, running: OperatorProcess
) -> None:
    site.patch("DpeCluster", "radio", {"spec": {"parFiles": None}})
    eventually(lambda: site.find("ParStore", "radio") is None, log=running.log)
    assert site.find(CLAIM, MASTER) and site.find(CLAIM, REDUNDANT)

    def mounts() -> list[str]:
        pod = site.get("Deployment", "radio-audio-processor")["spec"]["template"]["spec"]
        return [mount["name"] for mount in pod["containers"][0]["volumeMounts"]]

    eventually(lambda: mounts() == ["dpe-tmp"], log=running.log)


def test_nothing_is_written_over_idle_resyncs(
    site: Site, running: OperatorProcess, server: ApiServer, volumes: Volumes
) -> None:
    job = asked(site, "first", running)
    assert run_job(server, job, volumes) == 0
    eventually(lambda: said(site, "Synced")[0] == "True", log=running.log)
    eventually(lambda: running.metric("dpe_operator_queue_depth") == 0)
    time.sleep(2)  # events about the last writes
    assert annotations(site.get("Job", job["metadata"]["name"])).get("dpe.dev/sync-now") == "first"
    before = len(server.audited_writes())
    done = running.metric("dpe_operator_reconciles_total")
    time.sleep(RESYNC * 1.1 * 2 + 0.5)
    eventually(lambda: running.metric("dpe_operator_reconciles_total") - done >= 6)
    assert [
        (write["verb"], write["requestURI"])
        for write in server.audited_writes()[before:]
        if f"/namespaces/{site.namespace}/" in write["requestURI"]
    ] == []


def test_no_reconcile_failed(running: OperatorProcess) -> None:
    text = running.log.read_text()
    assert "failed unexpectedly" not in text, text[-3000:]
