# SPDX-License-Identifier: Apache-2.0
"""The raw file: one JSON object a line, one line a run, only ever added to.

A run that gave no figures is a line too, with its `problem`.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Run = dict[str, Any]


def read(path: Path) -> list[Run]:
    """Return the lines of the file; none when there is no file.

    A last line that a killed bench left unfinished does not count; no other is passed over.

    Raises:
        ValueError: a line before that is not JSON; names it.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
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
    """Return all lines, of both files."""
    return [*read(servers), *read(file_of("singletons", servers))]


def append(path: Path, run: Run) -> None:
    """Add a line. What a killed bench has left unfinished at the end is cut off before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.read_bytes() if path.exists() else b""
    last = written.rpartition(b"\n")[2]
    if last and not _is_whole(last):
        os.truncate(path, len(written) - len(last))
        last = b""
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if last else "") + json.dumps(run, sort_keys=True) + "\n")


def _is_whole(line: bytes) -> bool:
    """Whether only its line break is missing, so that `read` takes it for a run."""
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def taken(lines: Iterable[Run]) -> list[Run]:
    """Those that have figures."""
    return [line for line in lines if "problem" not in line]


def not_taken(lines: Iterable[Run]) -> Counter[tuple[str, str]]:
    """Count the others, by scenario and subject."""
    return Counter((line["scenario"], line["subject"]) for line in lines if "problem" in line)


def counted(runs: Iterable[Run], *, commit: str | None) -> Counter[tuple[str, str]]:
    """Count the runs with figures by scenario and subject; `commit` None counts those of any."""
    return Counter(
        (run["scenario"], run["subject"])
        for run in taken(runs)
        if commit is None or run["commit"] == commit
    )
