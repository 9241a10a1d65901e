# SPDX-License-Identifier: Apache-2.0
"""The raw file: one JSON object a line, one line a run, only ever added to."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Run = dict[str, Any]


def read(path: Path) -> list[Run]:
    """Return the runs of the file; none when there is no file.

    A last line that a killed bench left unfinished does not count.

    Raises:
        ValueError: a line before that is not JSON; names it.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    runs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            runs.append(json.loads(line))
        except ValueError as problem:
            if number == len(lines):  # without its line break: it was never finished
                continue
            raise ValueError(f"{path}, line {number}: {problem}; remove it by hand") from problem
    return runs


def file_of(about: str, servers: Path) -> Path:
    """The raw file for runs with servers, singletons or farms, given that for servers.

    Those of singletons and farms lie beside it, in one file.
    """
    return servers if about == "servers" else servers.with_name("singletons.jsonl")


def all_of(servers: Path) -> list[Run]:
    """Return all runs, of both files."""
    return [*read(servers), *read(file_of("singletons", servers))]


def append(path: Path, run: Run) -> None:
    """Add a run, after what a killed bench may have left unfinished."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    if text and not text.endswith("\n"):
        path.write_text(text[: text.rfind("\n") + 1], encoding="utf-8")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(run, sort_keys=True) + "\n")


def counted(runs: Iterable[Run], *, commit: str | None) -> Counter[tuple[str, str]]:
    """Count the runs of each scenario and subject; `commit` None counts those of any."""
    return Counter(
        (run["scenario"], run["subject"])
        for run in runs
        if commit is None or run["commit"] == commit
    )
