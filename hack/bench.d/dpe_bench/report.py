# SPDX-License-Identifier: Apache-2.0
"""Writes what is published, from the raw file alone: JSON, page and picture."""

from __future__ import annotations

import json
from pathlib import Path

from dpe_bench import page, plot, raw, single_figures, single_page
from dpe_bench.figures import published

ROOT = Path(__file__).resolve().parents[3]
MEASUREMENTS = ROOT / "docs" / "measurements"
RAW = MEASUREMENTS / "raw" / "failover.jsonl"
README = ROOT / "README.md"
COMMAND = "make bench-failover"
# In the README, around the table of figures.
_BEGIN, _END = "<!-- figures: made by make bench-report -->\n", "<!-- figures end -->"


def texts(raw_file: Path) -> dict[str, str]:
    """Return the files to publish by name; without a run there is no picture."""
    found = published(raw.read(raw_file), command=COMMAND)
    singles = single_figures.published(
        raw.read(raw.file_of("singletons", raw_file)), command=COMMAND
    )
    files = {
        "singletons.json": json.dumps(singles, indent=1) + "\n",
        "singletons.md": single_page.markdown(singles),
        "failover.json": json.dumps(found, indent=1) + "\n",
        "failover.md": page.markdown(found),
    }
    if found["results"]:
        files["failover.svg"] = plot.svg(found["results"])
    return files


def write(raw_file: Path = RAW, folder: Path = MEASUREMENTS) -> list[Path]:
    """Write them; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "failover.svg").unlink(missing_ok=True)
    written = []
    for name, text in texts(raw_file).items():
        (folder / name).write_text(text, encoding="utf-8")
        written.append(folder / name)
    if folder == MEASUREMENTS:
        README.write_text(readme(raw_file), encoding="utf-8")
        written.append(README)
    return written


def readme(raw_file: Path) -> str:
    """Return the README with the present figures in it."""
    head, _, rest = README.read_text(encoding="utf-8").partition(_BEGIN)
    _, _, tail = rest.partition(_END)
    table = page.summary(published(raw.read(raw_file), command=COMMAND))
    return f"{head}{_BEGIN}{table}\n{_END}{tail}"
