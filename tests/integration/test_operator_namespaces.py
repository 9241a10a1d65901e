# SPDX-License-Identifier: Apache-2.0
"""A watched namespace that is deleted, with the operator's Role in it: the others go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.operator_kit import Site, eventually, grant, limited_account, operator
from tests.support.planning_world import cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

_RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """An API server that the test may stop."""
    with ApiServer() as made:
        made.install_crds()
        yield made


def delete_namespace(site: Site) -> None:
    """Delete a namespace as its controller does, which the test API server lacks.

    First the Role, as it often happens: its group comes early.
    """
    server, name = site.server, site.namespace
    path = f"/api/v1/namespaces/{name}"
    assert server.request("DELETE", path)[0] == 200
    for plural in ("rolebindings", "roles"):
        assert server.request("DELETE", f"{_RBAC}/{name}/{plural}")[0] == 200
    site.leave()
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}}
    assert server.request("PUT", f"{path}/finalize", body)[0] == 200
    eventually(lambda: server.request("GET", path)[0] == 404)


def make_namespace(site: Site, home: str) -> None:
    """Make a namespace anew, with the operator's Role."""
    meta = {"name": site.namespace}
    assert site.server.request("POST", "/api/v1/namespaces", {"metadata": meta})[0] == 201
    grant(site.server, home, site.namespace)


def reconnect(server: ApiServer) -> None:
    """Break all watch streams: an open one is not asked for its rights again."""
    server.stop()
    server.start()


def appears(site: Site, kind: str, name: str, log: Path) -> None:
    """Wait for what the operator makes."""
    eventually(lambda: site.find(kind, name), seconds=40, log=log)


def sees_changes(site: Site, log: Path) -> None:
    """Make sure that a change is seen by its event: nothing is looked at again by itself here."""
    site.delete("ConfigMap", "radio-client-profile")
    appears(site, "ConfigMap", "radio-client-profile", log)


def two_sites(server: ApiServer, folder: Path) -> tuple[Site, Site, Path]:
    """Make two namespaces with a site each, and an account with the rights for both."""
    news, studio = (Site(server, server.create_namespace(name)) for name in ("news", "studio"))
    account = limited_account(server, news.namespace, folder)
    grant(server, news.namespace, studio.namespace)
    for site in (news, studio):
        site.create(cluster())
    return news, studio, account


def test_one_is_deleted_and_made_again(server: ApiServer, tmp_path: Path) -> None:
    news, studio, account = two_sites(server, tmp_path)
    names = f"{news.namespace},{studio.namespace}"
    with operator(
        server, tmp_path, namespaces=names, kubeconfig=account, LOOK_SECONDS="3"
    ) as running:
        for site in (news, studio):
            appears(site, "ConfigMap", "radio-client-profile", running.log)
        warning = f"namespace {studio.namespace} is not looked after"
        delete_namespace(studio)
        eventually(lambda: warning in running.log.read_text(), log=running.log)
        reconnect(server)
        sees_changes(news, running.log)
        make_namespace(studio, news.namespace)
        studio.create(cluster(name="tv"))
        appears(studio, "DpeServer", "tv", running.log)
        sees_changes(news, running.log)
        text = running.log.read_text()
        assert text.count(warning) == 1 and "helm upgrade" in text
        assert f"namespace {news.namespace} is not looked after" not in text
        assert running.process.poll() is None and running.fetch("/livez") == (200, "ok")
        assert running.stop() < 5 and running.process.returncode == 0


def test_all_are_forbidden_at_first(server: ApiServer, tmp_path: Path) -> None:
    news, studio, account = two_sites(server, tmp_path)
    for site in (news, studio):
        for plural in ("rolebindings", "roles"):
            path = f"{_RBAC}/{site.namespace}/{plural}"
            assert server.request("DELETE", path)[0] == 200
    names = f"{news.namespace},{studio.namespace}"
    with operator(
        server, tmp_path, namespaces=names, kubeconfig=account, LOOK_SECONDS="3"
    ) as running:
        eventually(
            lambda: "none of the watched namespaces can be read" in running.log.read_text(),
            seconds=40,
            log=running.log,
        )
        assert running.process.poll() is None
        for site in (news, studio):
            grant(server, news.namespace, site.namespace)
        for site in (news, studio):
            appears(site, "DpeServer", "radio", running.log)


@pytest.mark.level2  # kopf takes a minute to believe a refusal
def test_kopf_is_the_first_to_be_refused(server: ApiServer, tmp_path: Path) -> None:
    news, studio, account = two_sites(server, tmp_path)
    names = f"{news.namespace},{studio.namespace}"
    with operator(
        server, tmp_path, namespaces=names, kubeconfig=account, LOOK_SECONDS="600"
    ) as running:
        for site in (news, studio):
            appears(site, "ConfigMap", "radio-client-profile", running.log)
        delete_namespace(studio)
        reconnect(server)
        warning = f"namespace {studio.namespace} is not looked after"
        eventually(lambda: warning in running.log.read_text(), seconds=90, log=running.log)
        sees_changes(news, running.log)
        assert running.stop() < 5 and running.process.returncode == 0
