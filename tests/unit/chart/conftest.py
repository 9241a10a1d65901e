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


@cache
def _rendered(values: str, release: str, tests: bool, notes: bool) -> str:
    command = [
        helm(),
        "install" if notes else "template",
        release,
        str(ROOT / "charts/dpe-operator"),
    ]
    command += ["--namespace", "dpe-system", "--values", "-"]
    command += ["--dry-run=client"] if notes else ["--kube-version", "1.34.0"]
    command += [] if tests or notes else ["--skip-tests"]
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
        tests: bool = True,
    ) -> list[Manifest]:
        text = _rendered(json.dumps(values or {}), release, tests, False)
        return [document for document in yaml.safe_load_all(text) if document]

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
