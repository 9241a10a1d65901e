# SPDX-License-Identifier: Apache-2.0
"""The simulator's manifests: placeholders, references among them, and restricted pod security."""

import string
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).resolve().parents[3] / "hack" / "simulator" / "manifests"
VALUES = {
    "postgres.yaml": {
        "IMAGE_POSTGRES": "localhost/dpe/dpe-postgres:1", "NAMESPACE": "studio",
        "POSTGRES_PASSWORD": "secret",
    },
    "client-pod.yaml": {
        "IMAGE_SIMULATOR": "localhost/dpe/dpe-simulator:1", "NAMESPACE": "studio",
        "NAME": "client-1", "CLUSTER": "radio", "CA_SECRET": "studio-ca", "DURATION": "30s",
    },
}  # fmt: skip


def objects(name: str) -> list[dict[str, Any]]:
    text = string.Template((FOLDER / name).read_text(encoding="utf-8"))
    assert set(text.get_identifiers()) == set(VALUES[name])
    return list(yaml.safe_load_all(text.substitute(VALUES[name])))


def pod_spec(found: dict[str, Any]) -> dict[str, Any]:
    spec = found["spec"]
    pod: dict[str, Any] = spec["template"]["spec"] if found["kind"] == "Deployment" else spec
    return pod


@pytest.mark.parametrize("name", sorted(VALUES))
def test_every_object_lies_in_the_namespace(name: str) -> None:
    assert {found["metadata"]["namespace"] for found in objects(name)} == {"studio"}


@pytest.mark.parametrize("name", sorted(VALUES))
def test_pods_keep_the_restricted_pod_security_standard(name: str) -> None:
    pods = [pod_spec(one) for one in objects(name) if one["kind"] in ("Deployment", "Pod")]
    assert len(pods) == 1
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert security["readOnlyRootFilesystem"] is True
        assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {
            "emptyDir", "secret",
        }  # fmt: skip


def test_what_postgres_refers_to_is_there() -> None:
    password, core, service, deployment = objects("postgres.yaml")
    template = deployment["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert service["spec"]["selector"] == deployment["spec"]["selector"]["matchLabels"] == labels
    container = template["spec"]["containers"][0]
    reference = container["env"][2]["valueFrom"]["secretKeyRef"]
    assert reference["name"] == password["metadata"]["name"]
    assert reference["key"] in password["stringData"]
    mounts = {mount["name"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"] for volume in template["spec"]["volumes"]}
    host = f"{service['metadata']['name']}.studio.svc:{service['spec']['ports'][0]['port']}"
    assert core["stringData"]["uri"] == f"postgresql://dpe:secret@{host}/dpecore"
