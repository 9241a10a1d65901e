# SPDX-License-Identifier: Apache-2.0
"""Renders the chart with the pinned Helm, as a user's `helm install` would, without a cluster."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
CHART = ROOT / "charts/dpe-operator"
Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


class ChartRefused(Exception):
    """Helm refused the values; the text is what a user would read."""


@cache
def helm() -> str:
    """Path of the pinned Helm (built at the first use on a machine)."""
    folder = subprocess.run(
        [ROOT / "hack/tools/build", "helm"], check=True, capture_output=True, text=True
    ).stdout.strip()
    return f"{folder}/helm"


class _NoKeyTwice(yaml.SafeLoader):
    """Refuses a map in which a key stands twice: of those, YAML readers take either one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"a key stands twice: {sorted(keys)}"
        return super().construct_mapping(node, deep=deep)


@cache
def _rendered(values: str, release: str, namespace: str, chart: Path) -> str:
    command = [helm(), "template", release, str(chart)]
    command += ["--namespace", namespace, "--values", "-", "--kube-version", "1.34.0"]
    done = subprocess.run(command, input=values, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ChartRefused(done.stderr)
    return done.stdout


@pytest.fixture
def render() -> Render:
    """Return a function from values to the list of all objects that Helm would send."""

    def rendered(
        values: dict[str, Any] | None = None,
        *,
        release: str = "dpe-operator",
        namespace: str = "dpe-system",
        chart: Path = CHART,
    ) -> list[Manifest]:
        text = _rendered(json.dumps(values or {}), release, namespace, chart)
        found = yaml.load_all(text, _NoKeyTwice)
        return [document for document in found if document]

    return rendered


@pytest.fixture
def one(render: Render) -> Callable[..., Manifest]:
    """Return a function that picks the one object of a kind (and name) out of a rendering."""

    def pick(kind: str, name: str = "", **arguments: Any) -> Manifest:
        found = [
            document
            for document in render(**arguments)
            if document["kind"] == kind and name in ("", document["metadata"]["name"])
        ]
        assert len(found) == 1, [document["metadata"]["name"] for document in found]
        return found[0]

    return pick


@pytest.fixture(scope="session")
def chart_refused() -> type[ChartRefused]:
    """The exception that a refused set of values raises."""
    return ChartRefused
