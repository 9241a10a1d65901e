# SPDX-License-Identifier: Apache-2.0
"""The samples of manifests/samples, read for the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from dpe_operator.api.kinds import kind_named

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = sorted((ROOT / "manifests/samples").glob("*.yaml"))


def documents(path: Path) -> list[dict[str, Any]]:
    """Return the resources in one file."""
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def spec_of(resource: dict[str, Any]) -> Any:
    """Return the spec of a resource as our model reads it."""
    return kind_named(resource["kind"]).model.model_validate(resource).spec
