# SPDX-License-Identifier: Apache-2.0
"""A master and a redundant volume on this machine, and the real program between them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "dpe_par_sync"]
# Python itself may lie in a folder that only root can enter: all is imported before root is left.
_AS_USER = (
    "import os, sys, dpe_par_sync.__main__ as program; user = int(sys.argv.pop(1)); "
    "os.setgroups([]); os.setgid(user); os.setuid(user); sys.exit(program.main())"
)
STATE = ".dpe-par"
MARK = ".dpe-par-id"
NOBODY = 65532
Tree = dict[bytes, bytes]


@dataclass(frozen=True)
class Ended:
    """A run that has ended: exit status, result, what it said, how long it took (seconds)."""

    status: int
    result: dict[str, Any]
    log: str
    seconds: float

    @property
    def reason(self) -> str:
        """The reason, with the outcome before it: `Succeeded/Copied`."""
        return f"{self.result['result']}/{self.result['reason']}"

    def counts(self) -> dict[str, int]:
        """All counters that are not 0, but those of the master as a whole."""
        found = {
            key: value["count"] if isinstance(value, dict) else value
            for key, value in self.result.items()
            if key in ("copied", "deleted", "restored", "retimed", "deferred")
            or isinstance(value, dict)
        }
        return {key: value for key, value in found.items() if value}


class Site:
    """Two folders below `root`; files written by `write` are old enough to be copied."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.master = root / "master"
        self.volume = root / "redundant"
        self.current = self.volume / "current"
        self.state = self.volume / STATE
        self.config_file = root / "config.json"
        self.termination = root / "termination-log"
        for path in (self.master, self.volume):
            path.mkdir(parents=True, exist_ok=True)

    def config(self, **changes: Any) -> dict[str, Any]:
        """The config file's content; `changes` replace whole top fields."""
        self.termination.touch()
        return {
            "store": "radio",
            "namespace": "studio",
            "master": {"path": str(self.master)},
            "redundant": {"name": "nightly", "volumePath": str(self.volume)},
            "requireMount": False,
            "terminationMessagePath": str(self.termination),
            **changes,
        }

    def start(
        self,
        *,
        user: int | None = None,
        environment: Mapping[str, str] | None = None,
        **changes: Any,
    ) -> subprocess.Popen[str]:
        """Start a run and do not wait for it."""
        self.config_file.write_text(json.dumps(self.config(**changes)))
        command = COMMAND if user is None else [sys.executable, "-c", _AS_USER, str(user)]
        return subprocess.Popen(
            [*command, "--config", str(self.config_file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT / "operator"), **(environment or {})},
        )

    def run(self, *, seconds: float = 50.0, **options: Any) -> Ended:
        """Make one run and return what came of it."""
        started = time.monotonic()
        process = self.start(**options)
        try:
            out, log = process.communicate(timeout=seconds)
        finally:
            process.kill()
        assert out.strip(), f"no result: {log}"
        took = time.monotonic() - started
        return Ended(process.returncode, json.loads(out.strip().splitlines()[-1]), log, took)

    def write(
        self, where: Path, files: Mapping[str | bytes, str | bytes], *, age: float = 3600
    ) -> None:
        """Write files below `where`, last changed `age` seconds ago."""
        when = time.time() - age
        for name, content in files.items():
            path = os.path.join(os.fsencode(where), os.fsencode(name))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())
            os.utime(path, (when, when))
        self.settle(where, age)

    def settle(self, where: Path, age: float = 3600) -> None:
        """Make all folders look as if nothing had been changed in them for `age` seconds."""
        when = time.time() - age
        for folder, _, _ in os.walk(where):
            os.utime(folder, (when, when))

    def remove(self, path: Path) -> None:
        """Delete a file, long ago."""
        path.unlink()
        self.settle(path.parent)

    def history(self) -> Tree:
        """What is kept, without the names of the runs; for sites with one kept version a path."""
        return {path: next(iter(contents)) for path, contents in self.versions().items()}

    def versions(self) -> dict[bytes, set[bytes]]:
        """All contents that are kept of each path."""
        found: dict[bytes, set[bytes]] = {}
        for path, content in tree(self.state / "history").items():
            found.setdefault(path.split(b"/", 1)[1], set()).add(content)
        return found


def tree(root: Path) -> Tree:
    """All files (and links, as their targets) below `root`, without the master's mark."""
    found: Tree = {}
    top = os.fsencode(root)
    for folder, folders, names in os.walk(top):
        for name in [
            *names,
            *(name for name in folders if os.path.islink(os.path.join(folder, name))),
        ]:
            path = os.path.join(folder, name)
            short = os.path.relpath(path, top)
            if short == MARK.encode():
                continue
            if os.path.islink(path):
                found[short] = b"-> " + os.readlink(path)
            else:
                with open(path, "rb") as file:
                    found[short] = file.read()
    return found


def stamps(root: Path) -> dict[str, tuple[int, int, int]]:
    """Inode, time of change and size of everything below `root`: a write would show."""
    found = {}
    for folder, folders, names in os.walk(root):
        for name in [*folders, *names]:
            state = os.lstat(os.path.join(folder, name))
            found[os.path.join(folder, name)] = (state.st_ino, state.st_ctime_ns, state.st_size)
    return found
