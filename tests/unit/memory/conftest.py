# SPDX-License-Identifier: Apache-2.0
"""Where the volumes of these tests lie: in memory where that exists, as every start flushes."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_IN_MEMORY = "/dev/shm"


@pytest.fixture
def root() -> Iterator[Path]:
    made = tempfile.mkdtemp(dir=_IN_MEMORY if os.access(_IN_MEMORY, os.W_OK) else None)
    yield Path(made)
    shutil.rmtree(made, ignore_errors=True)
