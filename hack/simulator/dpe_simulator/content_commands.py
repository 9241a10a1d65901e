# SPDX-License-Identifier: Apache-2.0
"""What works on the content database: the table watcher, and those who change what is watched."""

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psycopg

from dpe_operator.prober.running import report
from dpe_simulator import content
from dpe_simulator.component_commands import run, watcher
from dpe_simulator.database import Database, connect
from dpe_simulator.files import change_files

TROUBLE = (ValueError, OSError, psycopg.Error)


def table_watcher(options: argparse.Namespace) -> int:
    """Run a table watcher.

    Raises:
        ValueError: when an option is missing or wrong.
    """
    content.check_table_name(options.table)
    database = Database(options.content_dsn, name=f"dpe-{options.name}"[:60], connections=1)
    source = content.TableSource(
        database, table=options.table, table_id=options.table_id, alias=options.table_alias
    )
    return run(watcher(options, source))


def entries(options: argparse.Namespace) -> int:
    """Change entries and print which."""
    content.check_table_name(options.table)
    with connect(options.content_dsn, name="dpe-entries") as session:

        def change() -> dict[str, list[Any]]:
            done = content.change_entries(
                session, table=options.table, add=options.add, update=options.update,
                delete=options.delete,
            )  # fmt: skip
            session.commit()
            return done

        return _rounds(options, change)


def files(options: argparse.Namespace) -> int:
    """Change files and print which.

    Raises:
        ValueError: when no folder is given.
    """
    if not options.folder:
        raise ValueError("--folder: none; give one here or in DPE_WATCH_FOLDER")
    folder = Path(options.folder)

    def change() -> dict[str, list[Any]]:
        done = change_files(
            folder, add=options.add, update=options.update, delete=options.delete,
            suffix=options.suffix,
        )  # fmt: skip
        if options.content_dsn:
            with connect(options.content_dsn, name="dpe-files") as session:
                content.note_changes(session, str(folder), done)
        names = {"added": "Created", "updated": "Updated", "deleted": "Deleted"}
        return {
            name: [one.subject for one in done if one.event == event]
            for name, event in names.items()
        }

    return _rounds(options, change)


def _rounds(options: argparse.Namespace, change: Callable[[], dict[str, list[Any]]]) -> int:
    done: dict[str, list[Any]] = {"added": [], "updated": [], "deleted": []}
    begun = time.time()
    for number in range(options.rounds):
        if number:
            time.sleep(options.every)
        for name, found in change().items():
            done[name] += found
    text = "  ".join(f"{name}: {_listed(found)}" for name, found in done.items())
    report(options.json, {"since": begun, "until": time.time(), **done}, text)
    return 0


def _listed(found: Sequence[Any]) -> str:
    shown = ", ".join(str(one) for one in found[:10])
    return f"{len(found)} ({shown}{', ...' if len(found) > 10 else ''})" if found else "0"
