# SPDX-License-Identifier: Apache-2.0
"""`dpe-operator crds --apply` on a real API server, with the very rights that the chart gives."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.support.api_server import ApiServer

from dpe_operator.api.kinds import KINDS

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
NAMES = {kind.crd_name for kind in KINDS}


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def apply_crds(server: ApiServer, *, token: str) -> subprocess.CompletedProcess[str]:
    kubeconfig = yaml.safe_load(server.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": token}
    path = server.folder / "of-the-job"
    path.write_text(yaml.safe_dump(kubeconfig))
    environment = {**os.environ, "KUBECONFIG": str(path), "PYTHONPATH": str(ROOT / "operator")}
    command = [sys.executable, "-m", "dpe_operator", "crds", "--apply"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def job_token(server: ApiServer) -> str:
    """A token of an account with the chart's rules for its Job."""
    folder = subprocess.run(
        [ROOT / "hack/tools/build", "helm"], check=True, capture_output=True, text=True
    ).stdout.strip()
    chart = [f"{folder}/helm", "template", "dpe-operator", str(ROOT / "charts/dpe-operator")]
    chart += ["--namespace", "default", "--kube-version", "1.34.0"]
    chart += ["--show-only", "templates/crds-job.yaml"]
    text = subprocess.run(chart, check=True, capture_output=True, text=True).stdout
    rights = [d for d in yaml.safe_load_all(text) if d and d["kind"] != "Job"]
    server.kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump_all(rights))
    return server.service_account_token("default", "dpe-operator-crds")


def test_without_rights_it_says_which_are_needed(server: ApiServer) -> None:
    done = apply_crds(server, token=server.service_account_token("default", "nobody"))
    assert done.returncode == 1
    assert "get, create and patch on customresourcedefinitions" in done.stderr


def test_with_the_charts_rights_it_installs_and_repairs(server: ApiServer) -> None:
    token = job_token(server)
    done = apply_crds(server, token=token)
    assert done.returncode == 0, done.stderr
    assert {line.split()[0] for line in done.stdout.splitlines()} == NAMES
    assert server.request("GET", "/apis/dpe.dev/v1alpha1")[0] == 200
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/dpeclusters.dpe.dev"
    first = server.request("GET", path)[1]
    assert apply_crds(server, token=token).returncode == 0
    second = server.request("GET", path)[1]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    # an older schema, as a rollback of the CRD would have left it
    patch = [{"op": "replace", "path": "/spec/names/categories", "value": []}]
    content = "application/json-patch+json"
    assert server.request("PATCH", path, patch, content_type=content)[0] == 200
    assert apply_crds(server, token=token).returncode == 0
    assert server.request("GET", path)[1]["spec"]["names"]["categories"] == ["dpe-all"]
