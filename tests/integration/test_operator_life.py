# SPDX-License-Identifier: Apache-2.0
"""The operator's own life: least rights, missing CRDs, an API server that is away, a quick end."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.operator_kit import Site, eventually, limited_account, operator
from tests.support.planning_world import cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """An API server that the tests may stop."""
    with ApiServer() as made:
        made.install_crds()
        yield made


@pytest.mark.parametrize("everywhere", [False, True], ids=["one namespace", "all namespaces"])
def test_the_stated_rights_are_enough(server: ApiServer, tmp_path: Path, everywhere: bool) -> None:
    site = Site(server, server.create_namespace())
    account = limited_account(server, site.namespace, tmp_path, everywhere=everywhere)
    watched = "" if everywhere else site.namespace
    core = {"engine": "Other", "secretRef": {"name": "dpe-core"}}
    site.create(cluster(databases={"core": core}))
    with operator(
        server, tmp_path, namespaces=watched, kubeconfig=account, OPERATOR_IMAGE="dpe-operator:1"
    ) as running:
        eventually(lambda: site.all("Job"), seconds=40, log=running.log)
        for name in ("radio-balancer", "radio-audio-processor"):
            eventually(lambda n=name: site.find("Deployment", n), seconds=40, log=running.log)
        eventually(lambda: site.find("EndpointSlice", "radio-balancer"), log=running.log)
        site.run_all()
        site.record("radio")
        eventually(
            lambda: site.condition("DpeCluster", "radio", "Ready").get("status") == "True",
            log=running.log,
        )
        foreign = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "foreign",
                "labels": {"kubernetes.io/service-name": "radio-balancer"},
            },
            "addressType": "IPv4",
            "endpoints": [{"addresses": ["10.9.9.9"]}],
        }
        site.create(foreign)
        site.annotate("DpeServer", "radio", switch_to="b")
        eventually(lambda: site.find("EndpointSlice", "foreign") is None, log=running.log)
        site.record("radio", active="b", count=1)
        eventually(lambda: site.events("SwitchDone"), log=running.log)
        site.patch("DpeCluster", "radio", {"spec": {"processors": [], "databases": None}})
        eventually(lambda: site.find("ProcessorFarm", "radio-audio") is None, log=running.log)
        eventually(lambda: site.all("Job") == [], log=running.log)
        text = running.log.read_text()
    assert "Forbidden" not in text and "403" not in text, text[-3000:]


def test_it_is_quick_to_start_and_to_end(server: ApiServer, tmp_path: Path) -> None:
    site = Site(server, server.create_namespace())
    site.create(cluster())
    began = time.monotonic()
    with operator(server, tmp_path, namespaces=site.namespace) as running:
        eventually(lambda: site.find("DpeServer", "radio"), seconds=30, log=running.log)
        started = time.monotonic() - began
        eventually(lambda: running.fetch("/readyz")[0] == 200, log=running.log)
        memory = running.resident_mib()
        ended = running.stop()
        assert running.process.returncode == 0, running.log.read_text()[-2000:]
    print(f"first reconcile {started:.2f} s, {memory:.0f} MiB, end {ended:.2f} s")
    assert ended < 5
    assert memory < 150


def test_without_crds_it_says_what_to_do(tmp_path: Path) -> None:
    with ApiServer() as bare, operator(bare, tmp_path) as running:
        assert running.process.wait(timeout=30) == 1
        text = running.log.read_text()
    assert "does not know dpe.dev/v1alpha1" in text and "install the CRDs" in text


def test_without_image_it_says_what_to_do(server: ApiServer, tmp_path: Path) -> None:
    with operator(server, tmp_path, BALANCER_IMAGE="") as running:
        assert running.process.wait(timeout=30) == 2
        assert "DPE_OPERATOR_BALANCER_IMAGE" in running.log.read_text()


def test_an_api_server_that_is_away_is_waited_for(server: ApiServer, tmp_path: Path) -> None:
    site = Site(server, server.create_namespace())
    site.create(cluster())
    with operator(server, tmp_path, namespaces=site.namespace, RESYNC_SECONDS="2") as running:
        eventually(lambda: site.find("Deployment", "radio-balancer"), seconds=30, log=running.log)
        server.stop()
        time.sleep(4)
        assert running.process.poll() is None, running.log.read_text()[-3000:]
        assert running.fetch("/livez")[0] == 200
        server.start()
        site.delete("ConfigMap", "radio-client-profile")
        eventually(
            lambda: site.find("ConfigMap", "radio-client-profile"), seconds=40, log=running.log
        )
