# SPDX-License-Identifier: Apache-2.0
"""Databases of a site: a Job looks, its pod's termination message becomes conditions, then silence.

The test plays kubelet: it makes the Job's pod, runs the real command over folders with what the
Secrets hold, and writes what it printed into the pod's status.
"""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.operator_kit import OperatorProcess, Site, eventually
from tests.support.planning_world import cluster

from dpe_operator.cli.database_check import database_check
from dpe_operator.planning.objects import Obj

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

RESYNC = 1.0
PERIOD = 15
IMAGE = "localhost/dpe/dpe-operator:test"
OPERATOR = {
    "RESYNC_SECONDS": str(RESYNC),
    "OPERATOR_IMAGE": IMAGE,
    "DATABASE_CHECK_SECONDS": str(PERIOD),
}
CORE: Obj = {
    "engine": "PostgreSQL",
    "secretRef": {"name": "dpe-core"},
    "env": [{"name": "CORE_DATABASE", "key": "uri"}],
}
NEWS: Obj = {
    "name": "news",
    "engine": "SQLServer",
    "secretRef": {"name": "news-db"},
    "mountPath": "/etc/dpe/news",
    "deliverTo": ["Servers", "Processors", "Workflow"],
}
PASSWORD = "Zq9-not-for-others"


@pytest.fixture
def site(empty_site: Site, running: OperatorProcess) -> Site:
    """A namespace with a DpeCluster that has databases, and the Job that looks at them."""
    made = empty_site
    worker = {"name": "w", "mode": "Concurrent", "image": "worker:1"}
    databases = {"core": CORE, "content": [NEWS]}
    made.create(cluster(databases=databases, workflow={"workers": [worker]}))
    eventually(lambda: jobs(made), log=running.log)
    return made


def jobs(site: Site) -> list[Obj]:
    return site.all("Job")


def state(site: Site, kind: str) -> tuple[str, str]:
    found = site.condition("DpeCluster", "radio", kind)
    return found.get("status", ""), found.get("reason", "")


def run_job(site: Site, folder: Path, *secrets: dict[str, str] | None) -> None:
    """Do what the Job's controller and kubelet do with the latest Job: Secrets in its order."""
    job = max(jobs(site), key=lambda found: str(found["metadata"]["creationTimestamp"]))
    folder.mkdir(exist_ok=True)
    for number, data in enumerate(secrets):
        (folder / str(number)).mkdir()
        for key, value in (data or {}).items():
            (folder / str(number) / key).write_text(value)
    [container] = job["spec"]["template"]["spec"]["containers"]
    result = folder / "termination-log"
    assert database_check(container["args"][1], root=folder, result=result) == 0
    name = f"{job['metadata']['name']}-x"
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job["metadata"]["name"],
             "uid": job["metadata"]["uid"], "controller": True}  # fmt: skip
    site.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": name,
                "labels": job["spec"]["template"]["metadata"]["labels"],
                "ownerReferences": [owner],
            },
            "spec": job["spec"]["template"]["spec"],
        }
    )
    ended = {
        "exitCode": 0,
        "reason": "Completed",
        "message": result.read_text(),
        "finishedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    status = {
        "phase": "Succeeded",
        "containerStatuses": [
            {
                "name": container["name"],
                "image": IMAGE,
                "imageID": "",
                "ready": False,
                "restartCount": 0,
                "state": {"terminated": ended},
            }
        ],
    }
    site.patch("Pod", name, {"status": status}, subresource="status")


def test_from_the_reference_to_the_finding(
    site: Site, running: OperatorProcess, tmp_path: Path
) -> None:
    eventually(
        lambda: state(site, "DatabaseSecretsPresent") == ("Unknown", "NotChecked"),
        log=running.log,
    )
    uri = f"postgresql://dpe:{PASSWORD}@db1.studio.example:5432/core"
    text = "Server=ag-news;Database=news;MultiSubnetFailover=True"
    run_job(site, tmp_path / "secrets", {"uri": uri}, {"ConnectionString": text})
    eventually(lambda: state(site, "DatabasesRedundant") == ("False", "OneHost"), log=running.log)
    found = site.get("DpeCluster", "radio")
    assert state(site, "DatabaseSecretsPresent") == ("True", "AllThere")
    assert state(site, "CoreDatabaseConsistent") == ("True", "OneSecret")
    assert state(site, "CoreDatabaseShared") == ("True", "OneCoreDatabase")
    assert [entry["finding"] for entry in found["status"]["databases"]["references"]] == [
        "OneHost",
        "MultiSubnetFailover",
    ]
    eventually(lambda: site.events("DatabaseFinding"), log=running.log)
    everything = json.dumps([found, site.events(), jobs(site)]) + running.log.read_text()
    for secret in (PASSWORD, "db1.studio.example", "ag-news"):
        assert secret not in everything


def test_a_missing_secret_holds_ready_and_its_coming_is_seen(
    site: Site, running: OperatorProcess, tmp_path: Path
) -> None:
    former = jobs(site)[0]["metadata"]["name"]
    run_job(site, tmp_path / "first", None, {"x": "Server=ag;MultiSubnetFailover=True"})
    eventually(
        lambda: state(site, "DatabaseSecretsPresent") == ("False", "SecretMissing"),
        log=running.log,
    )
    text = site.condition("DpeCluster", "radio", "Ready")["message"]
    assert "core: Secret dpe-core is not there, or is empty: create it" in text
    eventually(
        lambda: [job["metadata"]["name"] for job in jobs(site)] not in ([], [former]),
        seconds=PERIOD + 20,
        log=running.log,
    )
    run_job(
        site,
        tmp_path / "second",
        {"uri": "host=db-rw dbname=core"},
        {"x": "Server=ag;MultiSubnetFailover=True"},
    )
    eventually(lambda: state(site, "DatabasesRedundant") == ("True", "FailOver"), log=running.log)
    assert state(site, "DatabaseSecretsPresent") == ("True", "AllThere")


def test_between_two_looks_nothing_is_written(
    site: Site, running: OperatorProcess, server: ApiServer, tmp_path: Path
) -> None:
    good = {"uri": "host=db-rw"}
    run_job(site, tmp_path / "secrets", good, {"x": "Server=ag;MultiSubnetFailover=True"})
    eventually(lambda: state(site, "DatabasesRedundant") == ("True", "FailOver"), log=running.log)

    def writes() -> list[str]:
        return [
            write["requestURI"]
            for write in server.audited_writes()
            if site.namespace in write["requestURI"]
            and write["user"]["username"] != "system:apiserver"
        ]

    def silent() -> bool:
        """Whether the site, made a moment ago, has settled."""
        count = len(writes())
        time.sleep(RESYNC * 1.1)
        return len(writes()) == count

    eventually(silent, log=running.log)
    done = running.metric("dpe_operator_reconciles_total")
    before = writes()
    time.sleep(RESYNC * 1.1 * 2 + 0.5)
    assert running.metric("dpe_operator_reconciles_total") - done >= 3, "nobody looked"
    assert writes() == before
    former = jobs(site)[0]["metadata"]["name"]
    eventually(
        lambda: [job["metadata"]["name"] for job in jobs(site)] not in ([], [former]),
        seconds=PERIOD + 20,
        log=running.log,
    )
    assert state(site, "DatabasesRedundant") == ("True", "FailOver"), "until the new one ends"


def test_other_references_are_looked_at_at_once_and_on_demand(
    site: Site, running: OperatorProcess
) -> None:
    def secrets() -> list[str]:
        return [
            volume["secret"]["secretName"]
            for job in jobs(site)
            for volume in job["spec"]["template"]["spec"]["volumes"]
        ]

    site.patch("DpeCluster", "radio", {"spec": {"databases": {"content": []}}})
    eventually(lambda: secrets() == ["dpe-core"], log=running.log)
    former = jobs(site)[0]["metadata"]["uid"]
    site.annotate("DpeCluster", "radio", check_databases="1")
    eventually(
        lambda: len(jobs(site)) == 1 and jobs(site)[0]["metadata"]["uid"] != former,
        log=running.log,
    )
    site.patch("DpeCluster", "radio", {"spec": {"databases": None}})
    eventually(
        lambda: state(site, "DatabasesRedundant") == ("Unknown", "NotDeclared"), log=running.log
    )
    assert jobs(site) == []


def test_secrets_reach_the_pods_by_reference(site: Site, running: OperatorProcess) -> None:
    def container(deployment: str) -> Obj:
        found = eventually(lambda: site.find("Deployment", deployment), log=running.log)
        return dict(found["spec"]["template"]["spec"]["containers"][0])

    member = container("radio-member-a")
    variables = {entry["name"]: entry for entry in member["env"]}
    assert variables["CORE_DATABASE"]["valueFrom"] == {
        "secretKeyRef": {"name": "dpe-core", "key": "uri"}
    }
    others = [container("radio-audio-processor"), container("radio-w-worker-concurrent")]
    for made in (member, *others):
        assert "/etc/dpe/news" in [mount["mountPath"] for mount in made["volumeMounts"]]
    assert "CORE_DATABASE" not in json.dumps(others)


def test_no_reconcile_failed(running: OperatorProcess) -> None:
    text = running.log.read_text()
    assert "failed unexpectedly" not in text and "Traceback" not in text, text[-3000:]
