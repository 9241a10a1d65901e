# SPDX-License-Identifier: Apache-2.0
"""The reference page names every reason, field and setting that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dpe_par_sync.result import Figures, Outcome, Result

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/reference/par-sync.md").read_text()
SOURCES = {path: path.read_text() for path in (ROOT / "operator/dpe_par_sync").glob("*.py")}


def reasons() -> set[str]:
    found = set()
    for text in SOURCES.values():
        found |= set(re.findall(r'(?:Refused|Failed)\(\s*f?"([A-Z]\w+)"', text))
        for rest in re.findall(r'Refused\(\s*f"\{where\}(\w+)"', text):
            found |= {f"Master{rest}", f"Redundant{rest}"}
        found |= set(re.findall(r'reason="([A-Z]\w+)"', text))
        found |= set(re.findall(r'return "([A-Z][a-z]+[A-Z]\w+)", ', text))
    return found | {"FirstCopy", "Adopted", "Copied", "UpToDate", "CopyFailed", "PlanFailed"}


def settings() -> set[str]:
    text = SOURCES[ROOT / "operator/dpe_par_sync/config.py"]
    return set(re.findall(r'\.(?:text|absolute|choice|number|whole|flag|take)\("(\w+)"', text))


@pytest.mark.parametrize("reason", sorted(reasons()))
def test_every_reason_is_explained(reason: str) -> None:
    assert f"`{reason}`" in PAGE


def test_the_reasons_were_found() -> None:
    assert len(reasons()) > 30
    assert {"MasterNotMounted", "TimedOut", "WrongPair", "RedundantFull"} <= reasons()


@pytest.mark.parametrize("setting", sorted(settings()))
def test_every_setting_has_a_heading(setting: str) -> None:
    assert re.search(rf"^### (?:.*[ .])?{setting}\b", PAGE, re.M), setting


@pytest.mark.parametrize(
    "field", Result(Outcome.FAILED, "", "", "", "", 0.0, figures=Figures()).as_json()
)
def test_every_field_of_the_result_is_explained(field: str) -> None:
    assert re.search(rf"^\|[^|]*`{field}`", PAGE, re.M), field
