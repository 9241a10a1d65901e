# SPDX-License-Identifier: Apache-2.0
"""The bench lies beside the code, not in it: its parts, for tests."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def bench_on_the_path() -> Iterator[None]:
    """For all tests of a module that imports it."""
    sys.path.insert(0, str(ROOT / "hack/bench.d"))
    yield
    sys.path.remove(str(ROOT / "hack/bench.d"))


def part(name: str) -> Any:
    """One of its modules."""
    return importlib.import_module(f"dpe_bench.{name}")
