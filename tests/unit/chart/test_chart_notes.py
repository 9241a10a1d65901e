# SPDX-License-Identifier: Apache-2.0
"""What an administrator is told, in the notes and the README, and that doing it is enough."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.chart.conftest import CHART, helm

ROOT = CHART.parents[1]
NO_RIGHTS = {"rbac": {"create": False, "clusterReads": True}, "watch": {"namespaces": ["studio"]}}
# `helm template` leaves the notes out; so a copy of the chart carries them in an object
CARRIER = """
apiVersion: v1
kind: ConfigMap
metadata: {name: notes}
data: {notes: {{ include (print $.Template.BasePath "/NOTES.txt") . | quote }}}
"""


@pytest.fixture
def notes(one, tmp_path):
    chart = shutil.copytree(CHART, tmp_path / "chart")
    (chart / "templates/carrier.yaml").write_text(CARRIER)

    def of(values: dict[str, Any] | None = None) -> str:
        return str(one("ConfigMap", "notes", values=values, chart=chart)["data"]["notes"])

    return of


def test_values_are_never_reused_without_the_new_defaults(notes) -> None:
    """`--reuse-values` leaves out what a new version of the chart brings."""
    said = notes()
    assert "--reset-then-reuse-values --set image.registry" in said
    pages = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", CHART / "README.md"]
    console = [line for page in pages for line in page.read_text().splitlines() if "$ helm" in line]
    assert not [line for line in [*said.splitlines(), *console] if " --reuse-values" in line]


def test_the_notes_say_what_is_left_to_do_oneself(notes) -> None:
    left = {"rbac": {"create": False}, "crds": {"install": False}}
    assert "--show-only templates/rbac.yaml" in notes(left)
    assert "-f crds/" in notes(left)
    assert "templates/rbac.yaml" not in notes()


def made_by_hand(values: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Return what the README's command for rights prints."""
    (folder / "my-values.yaml").write_text(json.dumps(values))
    found = re.findall(r"\$ (helm template .*) \| kubectl apply", (CHART / "README.md").read_text())
    [line] = found
    words = shlex.split(line.replace("charts/dpe-operator", str(CHART)))
    done = subprocess.run(
        [helm(), *words[1:]], cwd=folder, check=True, capture_output=True, text=True
    )
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def test_rights_made_by_hand_are_those_that_the_chart_would_make(render, one, tmp_path) -> None:
    """The Lease too: without it the operator's pods wait for ever."""
    rights = made_by_hand(NO_RIGHTS, tmp_path)
    without = {**NO_RIGHTS["rbac"], "userRoles": False}
    there = render({**NO_RIGHTS, "rbac": {**without, "create": True}})
    missing = [d for d in there if d not in render({**NO_RIGHTS, "rbac": without})]
    assert rights == missing
    [lease] = [d for d in rights if d["metadata"]["name"] == "dpe-operator-lease" and "rules" in d]
    assert lease["metadata"]["namespace"] == "dpe-system"
    [bound] = [d for d in rights if d.get("roleRef", {}).get("name") == "dpe-operator-lease"]
    account = one("Deployment", values=NO_RIGHTS)["spec"]["template"]["spec"]["serviceAccountName"]
    assert bound["subjects"] == [
        {"kind": "ServiceAccount", "name": account, "namespace": "dpe-system"}
    ]
