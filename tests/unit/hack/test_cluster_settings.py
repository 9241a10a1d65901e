# SPDX-License-Identifier: Apache-2.0
"""hack/cluster: its pins agree with each other, and the kind configuration says what tests rely on."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

_ROOT = Path(__file__).parents[3]
_PARTS = _ROOT / "hack" / "cluster.d"


def _bash(script: str, tmp_path: Path, **environment: str) -> str:
    """Run a piece of bash with the parts of hack/cluster loaded, and a cache of its own."""
    loaded = (
        f"set -euo pipefail; root={_ROOT}; parts={_PARTS}; . $root/hack/tools/versions.env;"
        " for p in versions.env lib.sh engine.sh base-image.sh kind.sh load.sh; do . $parts/$p; done;"
    )
    clean = {
        k: v for k, v in os.environ.items() if k not in {"CLUSTER", "NODE_IMAGE", "BASE_IMAGE"}
    }
    return subprocess.run(
        ["bash", "-c", loaded + script],
        env={**clean, "DPE_CACHE": str(tmp_path), **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def _minor(version: str) -> str:
    found = re.search(r"v?(\d+\.\d+)\.\d+$", version)
    assert found is not None, version
    return found[1]


def test_both_ways_to_a_cluster_run_the_same_kubernetes_minor(tmp_path: Path) -> None:
    pulled, made = _bash('echo "$NODE_IMAGE $KUBERNETES_VERSION"', tmp_path).split()
    assert _minor(pulled) == _minor(made)


def test_kind_configuration(tmp_path: Path) -> None:
    config: dict[str, Any] = yaml.safe_load(_bash("kind_config some/node:v1 true", tmp_path))
    nodes = config["nodes"]
    assert [node["role"] for node in nodes] == ["control-plane", "worker", "worker", "worker"]
    zones = [node["labels"]["topology.kubernetes.io/zone"] for node in nodes]
    assert zones == ["zone-0", "zone-1", "zone-2", "zone-3"]
    shared = str(tmp_path / "clusters" / "dpe" / "shared")
    for node in nodes:
        assert {"hostPath": shared, "containerPath": "/shared"} in node["extraMounts"]
    assert config["networking"]["disableDefaultCNI"] is True
    patches = [yaml.safe_load(patch) for patch in config["kubeadmConfigPatches"]]
    server = next(p["apiServer"] for p in patches if p["kind"] == "ClusterConfiguration")
    assert server["extraArgs"]["audit-log-path"] == "/audit/audit.log"
    mounted = {volume["mountPath"] for volume in server["extraVolumes"]}
    assert mounted == {"/audit", server["extraArgs"]["audit-policy-file"]}


def test_audit_policy_logs_every_write_and_nothing_else() -> None:
    rules = yaml.safe_load((_PARTS / "audit-policy.yaml").read_text())["rules"]
    assert rules == [
        {
            "level": "Metadata",
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        },
        {"level": "None"},
    ]


def test_names_of_images_are_those_of_containerd(tmp_path: Path) -> None:
    script = "for name in busybox:1 me/app:2 localhost/dpe/a:3 example.com/b:4 host:5000/c:5; do full_name $name; done"
    assert _bash(script, tmp_path).split() == [
        "docker.io/library/busybox:1",
        "docker.io/me/app:2",
        "localhost/dpe/a:3",
        "example.com/b:4",
        "host:5000/c:5",
    ]


def test_a_node_lacks_an_image_that_has_other_content_under_the_same_name(tmp_path: Path) -> None:
    listed = """REF TYPE DIGEST SIZE
localhost/same:1 t sha256:m1 9
sha256:id1 t sha256:m1 9
localhost/changed:1 t sha256:m2 9
sha256:id2 t sha256:m3 9
localhost/newer-engine:1 t sha256:m4 9
"""
    script = f"""node_ctr() {{ cat <<'LIST'
{listed}LIST
}}
printf '%s\\n' 'localhost/same:1 sha256:id1' 'localhost/changed:1 sha256:id2' \
  'localhost/newer-engine:1 sha256:m4' 'localhost/absent:1 sha256:id5' | missing_in_node any"""
    assert _bash(script, tmp_path).split() == ["localhost/changed:1", "localhost/absent:1"]
