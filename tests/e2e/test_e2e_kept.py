# SPDX-License-Identifier: Apache-2.0
"""Promise: who deletes a DpeCluster and applies it again finds memory and PAR files as they were."""

import json
import time

import pytest
from tests.e2e.kubectl import Kubectl, Object, condition, eventually
from tests.e2e.site import Site, SiteFactory
from tests.e2e.volumes import SharedVolumes
from tests.e2e.workflow import Component, Workflows, component, watcher

pytestmark = pytest.mark.e2e
SITE = "kept"


def entry(manifest: Object, name: str) -> Object:
    """A component as DpeCluster.spec.workflow has it: of the same fields, with a name of its own."""
    fields = {key: value for key, value in manifest["spec"].items() if key != "clusterRef"}
    return {"name": name, **fields}


def claims(kube: Kubectl) -> dict[str, str]:
    """UIDs of all claims by name."""
    return {pvc["metadata"]["name"]: pvc["metadata"]["uid"] for pvc in kube.list("pvc")}


def sync(site: Site, text: str) -> Object:
    """Ask for a copy and return its result."""
    store = site.kube.list("parstore")[0]["metadata"]["name"]
    before = site.kube.get("parstore", store)["status"].get("lastRun", {}).get("finishedAt")
    site.kube.annotate("dpe", site.name, sync_now=text)

    def result() -> Object | None:
        run = site.kube.get("parstore", store)["status"].get("lastRun", {})
        return run if run.get("finishedAt") not in (None, before) else None

    return eventually(result, timeout=150, what="the copy", describe=site.describe)


def databases_are_looked_at(site: Site) -> None:
    """By a Job that mounts the Secret; one PostgreSQL without fail-over is a finding, and no more."""

    def found() -> bool:
        return (
            condition(site.kube.get("dpe", site.name), "DatabasesRedundant").get("reason")
            == "OneHost"
        )

    eventually(found, timeout=150, what="the finding OneHost", describe=site.describe)
    shown = json.dumps(site.status()) + site.kube.run("describe", "dpe", site.name)
    assert "e2e-only" not in shown, "the password is in the Secret alone"
    environment = site.kube.get("deployment", f"{site.name}-member-a")["spec"]["template"]["spec"]
    (given,) = [e for e in environment["containers"][0]["env"] if e["name"] == "DPE_CORE_DSN"]
    assert given["valueFrom"]["secretKeyRef"] == {"name": "dpe-core", "key": "uri"}


def test_memory_and_par_files_outlive_their_cluster(
    sites: SiteFactory, images: dict[str, str]
) -> None:
    kube = sites.room(SITE)
    volumes = SharedVolumes(kube)
    memory, master, redundant = (
        f"{SITE}-news-table-watcher-memory", f"{SITE}-par-master", f"{SITE}-par-redundant-nightly",
    )  # fmt: skip
    volumes.make(memory, master, redundant)
    volumes.write(master, {"GLOBAL.PAR": "global\n"})
    probe = Site(kube, SITE, images, volumes.folder(memory))  # only for its name and images
    made = {"size": "1Gi", "storageClassName": "dpe-shared"}
    schedule = {"schedule": "0 3 1 1 *", "timeZone": "Europe/Berlin", "quietPeriod": "0s"}
    more = {
        "databases": {
            "core": {
                "mode": "Shared",
                "engine": "PostgreSQL",
                "secretRef": {"name": "dpe-core"},
                "env": [{"name": "DPE_CORE_DSN", "key": "uri"}],
            }
        },
        "workflow": {
            "workers": [
                entry(component("WorkflowWorker", "w", probe, mode="Concurrent"), "workers")
            ],
            "tableWatchers": [entry(watcher("news", probe, mode="Standby"), "news")],
        },
        "parFiles": {
            "master": made,
            "redundant": [{"name": "nightly", **made}],
            "sync": schedule,
        },
    }
    site = sites.create_in(kube, SITE, farms=(), more=more)
    news = Component(kube, "WorkflowTableWatcher", f"{SITE}-news")
    workflows, since = Workflows(site), time.time()
    workflows.entries("news", add=4)
    workflows.wait_titles("news-", 4)
    assert sync(site, "before")["reason"] == "FirstCopy"
    databases_are_looked_at(site)
    epoch, there = news.epoch(), claims(kube)

    kube.delete("dpe", SITE)
    eventually(
        lambda: not kube.list("pod", {"app.kubernetes.io/part-of": SITE}),
        timeout=150, what="all pods are gone",
    )  # fmt: skip
    assert claims(kube) == there, "claims stay"
    workflows.entries("news", add=1)
    kube.apply(site.manifest)
    kube.wait_ready("dpe", SITE)

    assert claims(kube) == there, "the same claims are used again"
    workflows.wait_titles("news-", 5)
    time.sleep(3)  # three more looks: a lost memory would start all of it again
    assert len(workflows.titles("news-")) == 5, workflows.titles("news-")
    assert news.epoch() > epoch, "a new Lease goes on above the epochs on the volume"
    workflows.check("news-table-watcher", since=since)
    run = sync(site, "after")
    assert run["reason"] == "UpToDate", run
