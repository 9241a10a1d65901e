# SPDX-License-Identifier: Apache-2.0
"""`dpe-operator render` on files as people have them: not one of them ends in a traceback."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dpe_operator.cli.main import main

HEAD = "apiVersion: dpe.dev/v1alpha1\n"
SPEC = {
    "server": {"health": {"path": "/x"}, "members": [{"name": "a"}, {"name": "b"}], "image": "x"}
}
FARM = (
    HEAD
    + "kind: ProcessorFarm\nmetadata: {name: audio}\nspec: {type: audio, clusterRef: {name: a}}"
)


def resource(kind: str, name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "dpe.dev/v1alpha1", "kind": kind, "metadata": {"name": name, **metadata},
            "spec": SPEC}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "site.yaml"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: DpeCluster\nspec: {}", "DpeCluster: metadata.name is missing"),
        ("kind: DpeCluster\nmetadata: {generateName: x}\nspec: {}", "a generateName is not enough"),
        ("kind: DpeCluster\nmetadata: [x]\nspec: {}", "DpeCluster: metadata.name is missing"),
        ("kind: DpeCluster\nmetadata: {name: 5}\nspec: {}", "in quotes if it looks like a number"),
        ("kind: DpeCluster\nmetadata: {name: a, namespace: [x]}", "metadata.namespace is no text"),
        ("kind: DpeCluster\nmetadata: {name: a, annotations: x}", "metadata.annotations must be"),
        ("kind: DpeCluster\nmetadata: {name: a, ownerReferences: [{}]}", "metadata.ownerReferences"),
        ("kind: DpeCluster\nmetadata: {name: a}", "DpeCluster a: spec is missing or no object"),
        ("kind: DpeCluster\nmetadata: {name: a}\nspec: [1]", "spec is missing or no object"),
        ("kind: ProcessorFarm\nmetadata: {name: a}\nspec: {}", "a: spec.clusterRef.name is missing"),
        ("kind: ParStore\nmetadata: {name: a}\nspec: {clusterRef: {}}", "spec.clusterRef.name is"),
        ("kind: WorkflowWorker\nmetadata: {name: a}\nspec: {clusterRef: x}", "clusterRef.name is"),
        ("kind: [a]\nmetadata: {name: a}", "no resource of dpe.dev in it"),
        ("kind: DpeClusterList\nitems: x", "no resource of dpe.dev in it"),
        ("a: 2020-13-01", "a value in it cannot be read: month must be in 1..12"),
        ("a: " + "[" * 20_000, "a value in it cannot be read"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_file_is_told(
    text: str, said: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(HEAD + text)
    assert main(["render", str(path)]) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"dpe-operator: {path}: ") and said in err and not out


@pytest.mark.parametrize("spec", ["", "spec: {a: b}"])
def test_a_cluster_that_another_resource_names_is_looked_at_too(
    spec: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text(f"{FARM}\n---\n{HEAD}kind: DpeCluster\nmetadata: {{name: a}}\n{spec}\n")
    assert main(["render", str(path)]) == 2
    said = "DpeCluster a would not be accepted: spec.server" if spec else "a: spec is missing"
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("data", [b"a: \xff\xfe\xe4", "a: b".encode("utf-16")])
def test_a_file_in_another_encoding_is_told(
    data: bytes, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_bytes(data)
    assert main(["render", str(path)]) == 2
    assert "it is not UTF-8: save it as text in UTF-8" in capsys.readouterr().err


def test_a_list_is_unfolded_and_what_its_cluster_made_is_made_once(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = resource("DpeCluster", "radio")
    path.write_text(yaml.safe_dump(cluster))
    assert main(["render", str(path)]) == 0
    alone = capsys.readouterr().out

    owner = {"apiVersion": "dpe.dev/v1alpha1", "kind": "DpeCluster", "name": "radio", "uid": "1",
             "controller": True}  # fmt: skip
    pair = resource("DpeServer", "radio", ownerReferences=[owner])
    printed = {"apiVersion": "v1", "kind": "List", "items": [pair, cluster, "odd"]}
    path.write_text(yaml.safe_dump(printed))
    assert main(["render", str(path)]) == 0
    assert capsys.readouterr().out == alone


def test_another_owner_s_pair_is_rendered(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    owner = {"kind": "Studio", "name": "radio", "controller": True}
    pair = resource("DpeServer", "radio", ownerReferences=[owner])
    path.write_text(yaml.safe_dump({**pair, "spec": SPEC["server"]}))
    assert main(["render", str(path)]) == 0
    assert "kind: Deployment" in capsys.readouterr().out
