# SPDX-License-Identifier: Apache-2.0
"""The bench lies beside the code, not in it."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def bench_on_the_path() -> Iterator[None]:
    sys.path.insert(0, str(ROOT / "hack/bench.d"))
    yield
    sys.path.remove(str(ROOT / "hack/bench.d"))
