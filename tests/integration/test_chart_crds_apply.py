# SPDX-License-Identifier: Apache-2.0
"""The CRDs on a real API server: put in with the very rights of the chart's Job, and left alone.

What is said about an operator that is taken away, and about a Job that fails, is done here too.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.support.api_server import ApiServer
from tests.support.operator_kit import Site, eventually
from tests.support.planning_world import cluster

from dpe_operator.api.kinds import KINDS
from dpe_operator.crd_schema.definitions import custom_resource_definitions
from dpe_operator.kube.crds import FieldsLost
from dpe_operator.kube.crds import apply_crds as apply_definitions
from dpe_operator.kube.rest import RestClient, load_configuration

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]
NAMES = {kind.crd_name for kind in KINDS}
SPEC_FIELDS = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties"
CLUSTERS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/dpeclusters.dpe.dev"


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def kubeconfig_with(server: ApiServer, token: str) -> str:
    kubeconfig = yaml.safe_load(server.kubeconfig.read_text())
    kubeconfig["users"][0]["user"] = {"token": token}
    path = server.folder / "of-the-job"
    path.write_text(yaml.safe_dump(kubeconfig))
    return str(path)


def apply_crds(server: ApiServer, *flags: str, token: str) -> subprocess.CompletedProcess[str]:
    path = kubeconfig_with(server, token)
    environment = {**os.environ, "KUBECONFIG": path, "PYTHONPATH": str(ROOT / "operator")}
    command = [sys.executable, "-m", "dpe_operator", "crds", "--apply", *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def helm() -> str:
    command = [ROOT / "hack/tools/build", "helm"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return f"{done.stdout.strip()}/helm"


def job_token(server: ApiServer) -> str:
    """A token of an account with the chart's rules for its Job."""
    chart = [helm(), "template", "dpe-operator", str(ROOT / "charts/dpe-operator")]
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
    first = server.request("GET", CLUSTERS)[1]
    assert apply_crds(server, token=token).returncode == 0
    second = server.request("GET", CLUSTERS)[1]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    # an older schema, as a rollback of the CRD would have left it
    patch = [{"op": "replace", "path": "/spec/names/categories", "value": []}]
    content = "application/json-patch+json"
    assert server.request("PATCH", CLUSTERS, patch, content_type=content)[0] == 200
    assert apply_crds(server, token=token).returncode == 0
    assert server.request("GET", CLUSTERS)[1]["spec"]["names"]["categories"] == ["dpe-all"]


def spec_schema(definition: dict[str, Any]) -> dict[str, Any]:
    """The schema of `spec` in a CRD; to read and to change."""
    schema = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = schema["properties"]["spec"]
    return found


def next_version() -> dict[str, Any]:
    """The CRD of DpeCluster as a later version may have it: another rule, and a field less."""
    definition = next(
        d for d in custom_resource_definitions() if CLUSTERS.endswith(d["metadata"]["name"])
    )
    schema = spec_schema(definition)
    del schema["properties"]["imagePullSecrets"]
    schema["x-kubernetes-validations"][0]["rule"] = "has(self.server)"
    return definition


async def apply_as_the_job(definition: dict[str, Any], *, allow_field_loss: bool = False) -> None:
    async with RestClient(await load_configuration()) as client:
        await apply_definitions(client, [definition], say=print, allow_field_loss=allow_field_loss)


def test_old_rules_and_fields_go_whoever_applied_them(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of versions is one field of server-side apply: it is replaced as a whole."""
    monkeypatch.setenv("KUBECONFIG", kubeconfig_with(server, job_token(server)))
    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    with pytest.raises(FieldsLost, match=r"^spec\.imagePullSecrets of dpeclusters\.dpe\.dev$"):
        asyncio.run(apply_as_the_job(next_version()))
    asyncio.run(apply_as_the_job(next_version(), allow_field_loss=True))
    schema, wanted = spec_schema(server.request("GET", CLUSTERS)[1]), spec_schema(next_version())
    rules = [rule["rule"] for rule in schema["x-kubernetes-validations"]]
    assert rules == [rule["rule"] for rule in wanted["x-kubernetes-validations"]]
    assert set(schema["properties"]) == set(wanted["properties"])


def newer_crds(server: ApiServer) -> None:
    """Make the CRD of DpeCluster one of a later version, with a field of which we know nothing."""
    patch = {"op": "add", "path": f"{SPEC_FIELDS}/later", "value": {"type": "string"}}
    content = "application/json-patch+json"
    assert server.request("PATCH", CLUSTERS, [patch], content_type=content)[0] == 200


def test_crds_of_an_older_image_are_refused_as_they_would_take_what_resources_hold(
    server: ApiServer,
) -> None:
    token, site = job_token(server), Site(server, server.create_namespace())
    assert apply_crds(server, "--allow-field-loss", token=token).returncode == 0
    newer_crds(server)
    site.create(cluster(processors=[]))

    def held() -> bool:
        return site.get("DpeCluster", "radio")["spec"].get("later") == "held"

    def is_taken() -> bool:  # a moment after the schema was
        site.patch("DpeCluster", "radio", {"spec": {"later": "held"}})
        return held()

    eventually(is_taken)
    before = server.request("GET", CLUSTERS)[1]["metadata"]["resourceVersion"]
    done = apply_crds(server, token=token)
    assert (done.returncode, done.stdout) == (3, "")
    assert "lack what the cluster's have: spec.later of dpeclusters.dpe.dev. " in done.stderr
    assert "crds.install=false" in done.stderr and "crds.allowFieldLoss=true" in done.stderr
    assert server.request("GET", CLUSTERS)[1]["metadata"]["resourceVersion"] == before
    assert held()

    assert apply_crds(server, "--allow-field-loss", token=token).returncode == 0
    eventually(lambda: not held())


def test_a_failed_job_stays_for_its_log_and_its_rights_go(server: ApiServer) -> None:
    """Nothing runs Jobs here: so it is never done, and Helm gives it up."""
    command = [helm(), "install", "dpe-operator", str(ROOT / "charts/dpe-operator")]
    command += ["--namespace", "default", "--timeout", "3s", "--kubeconfig", str(server.kubeconfig)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "failed pre-install" in done.stderr
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    assert server.request("GET", f"{jobs}/dpe-operator-crds")[0] == 200
    for kind in ("clusterroles", "clusterrolebindings"):
        path = f"/apis/rbac.authorization.k8s.io/v1/{kind}/default:dpe-operator-crds"
        assert server.request("GET", path)[0] == 404


def test_what_install_yaml_made_goes_without_the_crds(server: ApiServer) -> None:
    manifest = ROOT / "manifests/install.yaml"
    head, _, _ = manifest.read_text().partition("\n---\n")
    server.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(manifest))
    for command in re.findall(r"kubectl (delete .*-l .*)", head.replace("\\\n#", "")):
        server.kubectl(*command.split())
    left = server.kubectl("get", "-f", str(manifest), "--ignore-not-found", "-o", "name").stdout
    crds = {f"customresourcedefinition.apiextensions.k8s.io/{name}" for name in NAMES}
    assert set(left.split()) == {*crds, "namespace/dpe-system"}
