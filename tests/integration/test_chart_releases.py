# SPDX-License-Identifier: Apache-2.0
"""Releases of the chart in one cluster: what an upgrade leaves alone, and which second one is
refused.

Nothing runs pods here: Helm makes the objects, and the test writes what an elector would.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
LEASES = "/apis/coordination.k8s.io/v1/namespaces/{}/leases"
HELD = {"holderIdentity": "operator-pod", "leaseDurationSeconds": 15, "leaseTransitions": 7}
RECORD = {"dpe.dev/elector-record": '{"epoch":7,"state":"held"}'}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        server.install_crds()
        yield server


class Release:
    """One release of the chart, in a namespace of its own, without the Job for the CRDs."""

    def __init__(self, server: ApiServer, name: str, namespace: str) -> None:
        self.name = name
        self.namespace = namespace
        folder = subprocess.run(
            [ROOT / "hack/tools/build", "helm"], check=True, capture_output=True, text=True
        ).stdout.strip()
        self._helm = [f"{folder}/helm", "--kubeconfig", str(server.kubeconfig)]

    def refused(self, verb: str, *arguments: str) -> str:
        """Install or upgrade; return what Helm says against it, empty: nothing."""
        command = [*self._helm, verb, self.name, str(ROOT / "charts/dpe-operator")]
        command += ["--namespace", self.namespace, "--set", "crds.install=false", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stderr or "failed" if done.returncode else ""

    def uninstall(self) -> None:
        """Take it away."""
        command = [*self._helm, "uninstall", self.name, "--namespace", self.namespace]
        subprocess.run(command, capture_output=True, check=True)


@pytest.fixture
def release(server: ApiServer) -> Iterator[Any]:
    """Return a function that names a release in a new namespace; all are gone after the test."""
    named: list[Release] = []

    def name(text: str) -> Release:
        named.append(Release(server, text, server.create_namespace("release")))
        return named[-1]

    yield name
    for one in named:
        one.uninstall()


def lease_of(server: ApiServer, release: Release) -> tuple[Any, dict[str, Any]]:
    """Holder and record of the operator's Lease."""
    path = f"{LEASES.format(release.namespace)}/{release.name}"
    status, found = server.request("GET", path)
    assert status == 200, found
    annotations = found["metadata"].get("annotations", {})
    return found.get("spec"), {key: annotations.get(key) for key in RECORD}


@pytest.mark.parametrize("force", [[], ["--force"]], ids=["merged", "replaced"])
def test_an_upgrade_leaves_the_lease_to_its_holder(
    server: ApiServer, release: Any, force: list[str]
) -> None:
    """`--force` replaces every object of the release whole, so the Lease must be none of them."""
    operator = release("dpe-operator")
    assert operator.refused("install") == ""
    body = {"metadata": {"name": operator.name, "annotations": RECORD}, "spec": HELD}
    assert server.request("POST", LEASES.format(operator.namespace), body)[0] == 201
    assert operator.refused("upgrade", "--set", "operator.logLevel=debug", *force) == ""
    assert lease_of(server, operator) == (HELD, RECORD)
