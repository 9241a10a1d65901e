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
CRDS = ["--set", "crds.install=true", "--no-hooks"]
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

    def rights(self, *arguments: str) -> str:
        """The rights as an administrator makes them without Helm."""
        command = [*self._helm, "template", self.name, str(ROOT / "charts/dpe-operator")]
        command += ["--namespace", self.namespace, "--kube-version", "1.34.0", *arguments]
        command += ["--show-only", "templates/rbac.yaml"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def uninstall(self) -> None:
        """Take it away."""
        command = [*self._helm, "uninstall", self.name, "--namespace", self.namespace]
        subprocess.run([*command, "--ignore-not-found"], capture_output=True, check=True)


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


def watching(*namespaces: str) -> list[str]:
    """The flags of a release that looks after these namespaces, or after all."""
    if not namespaces:
        return ["--set", "watch.allNamespaces=true"]
    return ["--set", f"watch.namespaces={{{','.join(namespaces)}}}"]


def test_a_namespace_has_one_release(server: ApiServer, release: Any) -> None:
    studio, news = server.create_namespace("studio"), server.create_namespace("news")
    first, second = release("dpe-operator"), release("radio")
    assert first.refused("install", *watching(studio)) == ""
    said = second.refused("install", *watching(news, studio))
    assert f'"dpe-operator" in namespace "{studio}" exists and cannot be imported' in said
    assert f'current value is "{first.namespace}"' in said
    assert second.refused("install", *watching(news)) == ""
    assert "cannot be imported" in second.refused("upgrade", *watching(news, studio))

    # handed over: first out here, then in there
    assert first.refused("upgrade", *watching(first.namespace)) == ""
    assert second.refused("upgrade", *watching(news, studio)) == ""


def test_one_release_may_look_after_all_namespaces(server: ApiServer, release: Any) -> None:
    first, second = release("dpe-operator"), release("radio")
    assert first.refused("install", *watching()) == ""
    said = second.refused("install", *watching())
    assert '"dpe-operator:all-namespaces" in namespace "" exists and cannot be imported' in said
    assert first.refused("upgrade", *watching(first.namespace)) == ""
    assert first.refused("upgrade", *watching()) == "", "its own rights are no other release's"


@pytest.mark.parametrize("flags", [["--set", "rbac.clusterReads=true"], CRDS])
def test_a_namespace_of_its_own_beside_all_namespaces_is_refused(
    server: ApiServer, release: Any, flags: list[str]
) -> None:
    studio = server.create_namespace("studio")
    first, second = release("dpe-operator"), release("radio")
    assert first.refused("install", *watching()) == ""
    said = second.refused("install", *watching(studio), *flags)
    assert f"all namespaces are looked after by the operator {first.namespace}/dpe-operator" in said


def test_all_namespaces_beside_a_namespace_of_its_own_are_refused(
    server: ApiServer, release: Any
) -> None:
    studio = server.create_namespace("studio")
    first, second = release("radio"), release("dpe-operator")
    assert first.refused("install", *watching(studio)) == ""
    said = second.refused("install", *watching())
    operator = f"{first.namespace}/radio-dpe-operator"
    assert f"namespace {studio} is looked after by the operator {operator}" in said


@pytest.mark.parametrize("way", [[], ["--server-side"]], ids=["client", "server"])
def test_rights_that_are_applied_without_helm_are_one_operators(
    server: ApiServer, release: Any, way: list[str]
) -> None:
    studio = server.create_namespace("studio")
    both = [release("dpe-operator"), release("radio")]
    for one in both:
        server.kubectl("apply", *way, "-f", "-", text=one.rights(*watching(studio)))
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{studio}/rolebindings"
    bindings = server.request("GET", path)[1]["items"]
    subjects = [subject["namespace"] for binding in bindings for subject in binding["subjects"]]
    assert subjects == [both[1].namespace], "the second has them in the first one's place"


def test_who_may_not_look_at_cluster_roles_can_install_for_a_namespace(
    server: ApiServer, release: Any
) -> None:
    """The administrator of a namespace needs no rights in the cluster: so nothing is looked up."""
    operator = release("dpe-operator")
    rights = ["create", "rolebinding", "mine", "--clusterrole=cluster-admin", "--user=somebody"]
    server.kubectl(*rights, "-n", operator.namespace)
    few = ["--kube-as-user", "somebody", "--set", "rbac.userRoles=false"]
    assert operator.refused("install", *few) == ""
