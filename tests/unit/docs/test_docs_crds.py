# SPDX-License-Identifier: Apache-2.0
"""What is said about putting the CRDs in and taking them away, with Helm and without it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import yaml

from dpe_operator.api.constants import LABEL_NAME
from dpe_operator.api.kinds import KINDS
from dpe_operator.kube.crds import MANAGER
from dpe_operator.runtime import operator

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts/dpe-operator"
UNINSTALL = ROOT / "docs/how-to/uninstall.md"
INSTALL_YAML = ROOT / "manifests/install.yaml"
# what is not taken away with the operator: sites live in the one, and are deleted by the other
KEPT = {"CustomResourceDefinition", "Namespace"}


def commands(text: str, begin: str) -> list[str]:
    """Return the commands of a text that begin so, lines that go on joined."""
    joined = re.sub(r"\\\n[ #]*", "", text)
    return re.findall(rf"{begin}[^`\n]*", joined)


def head(path: Path) -> str:
    """Return the comment that a file begins with."""
    return path.read_text().partition("\n---\n")[0]


def test_whoever_applies_the_crds_does_it_as_the_charts_job_does() -> None:
    """Under one name, so that what a later version leaves out goes; and over an older version."""
    texts = [
        *(path.read_text() for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]),
        *((CHART / name).read_text() for name in ("README.md", "values.yaml")),
        (CHART / "templates/NOTES.txt").read_text(),
        operator.CRDS_CURE,
    ]
    found = [command for text in texts for command in commands(text, "kubectl apply .*-f crds/")]
    assert len(found) >= 5
    for command in found:
        assert f"--server-side --force-conflicts --field-manager={MANAGER}" in command, command


def test_install_yaml_says_how_to_apply_it_over_an_older_version() -> None:
    [command] = commands(head(INSTALL_YAML), "kubectl apply")
    assert "--server-side --force-conflicts" in command


def test_all_kinds_are_named_where_they_are_deleted() -> None:
    [command] = commands(UNINSTALL.read_text(), "kubectl delete crd ")
    assert set(shlex.split(command)[3:]) == {kind.crd_name for kind in KINDS}


def test_install_yaml_can_be_taken_away_without_the_crds() -> None:
    """`kubectl delete -f` would begin with the CRDs, and so with all sites of the cluster."""
    assert "Never `kubectl delete -f manifests/install.yaml`" in head(INSTALL_YAML)
    said = commands(head(INSTALL_YAML), "kubectl delete .*-l ")
    assert said == commands(UNINSTALL.read_text(), "kubectl delete .*-l ")
    by_kind = {kind: line for line in said for kind in line.split()[-1].split(",")}
    made = [d for d in yaml.safe_load_all(INSTALL_YAML.read_text()) if d["kind"] not in KEPT]
    assert set(by_kind) == {document["kind"].lower() for document in made}
    for document in made:
        line, metadata = by_kind[document["kind"].lower()], document["metadata"]
        assert f"-l {LABEL_NAME}={metadata['labels'][LABEL_NAME]} " in line
        assert metadata.get("namespace", "") == (re.findall(r" -n (\S+)", line) or [""])[0]
