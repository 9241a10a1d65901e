# SPDX-License-Identifier: Apache-2.0
"""Builders know nothing but their arguments, so templates do not follow the nodes of the moment.

Equal templates for one, two and three nodes are promised; as no builder can learn of a node, there
is nothing that could differ. These tests keep it that way.
"""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import dpe_operator.builders

FOLDER = Path(dpe_operator.builders.__file__).parent
MODULES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
ALLOWED_IMPORTS = {
    "__future__",
    "base64",
    "collections",
    "copy",
    "dataclasses",
    "dpe_operator",
    "functools",
    "hashlib",
    "ipaddress",
    "jinja2",
    "json",
    "math",
    "re",
    "typing",
}
NAMES = [
    "import dpe_operator.builders",
    "from tests.unit.builders.builder_samples import *",
    "import json; found = pair_objects(pair_spec()); print(json.dumps(found.applied))",
]


@pytest.mark.parametrize("name", MODULES)
def test_no_clock_no_environment_no_network(name: str) -> None:
    tree = ast.parse((FOLDER / f"{name}.py").read_text(encoding="utf-8"))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            found.add((node.module or "").split(".")[0])
    assert found <= ALLOWED_IMPORTS


@pytest.mark.parametrize("name", MODULES)
def test_no_builder_is_told_of_nodes(name: str) -> None:
    module = import_module(f"dpe_operator.builders.{name}")
    for _, function in inspect.getmembers(module, inspect.isfunction):
        parameters = set(inspect.signature(function).parameters)
        assert not {p for p in parameters if "node" in p} - {"node_selector"}


def test_the_same_spec_gives_the_same_bytes_in_every_process() -> None:
    root = FOLDER.parents[2]
    made = {
        subprocess.run(
            [sys.executable, "-c", "\n".join(NAMES)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{root}/operator:{root}"},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(made) == 1
