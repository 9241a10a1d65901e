# SPDX-License-Identifier: Apache-2.0
"""What pods have written, read from the nodes' file systems as it comes.

Kubelet deletes a pod's log with the pod; a file that is open by then can still be read to its end.
Neither Kubernetes nor a process in the node is asked: a cut or frozen node tells its logs too.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tests.chaos.kind.judging import Asked
from tests.e2e.workflow import seconds_of

Line = tuple[float, str]
_LOOK_SECONDS = 1.0
# After a power cut a node has another first process.
_PID = ("docker", "inspect", "--format", "{{.State.Pid}}")
# Of a file that has grown for hours only the end is of interest: half an hour of one client.
_TAIL_BYTES = 2_000_000


@dataclass
class _Open:
    """A log file: whose it is, and what was read of a line that is not whole yet."""

    pod: str
    file: BinaryIO
    rest: bytes = b""
    lines: list[Line] = field(default_factory=list)

    def read(self) -> None:
        """Take what has come since."""
        *whole, self.rest = (self.rest + self.file.read()).split(b"\n")
        for text in whole:
            if (line := parsed(text.decode(errors="replace"))) is not None:
                self.lines.append(line)


def parsed(text: str) -> Line | None:
    """A line as containerd writes it, `TIME stream F TEXT`: seconds since 1970, and the text."""
    words = text.split(" ", 3)
    with contextlib.suppress(ValueError):
        return (seconds_of(words[0]), words[3]) if len(words) == 4 else None
    return None


class Logs:
    """Follows the logs of all pods of a namespace, on all nodes, until `close`."""

    def __init__(self, namespace: str, nodes: Sequence[str]) -> None:
        self._namespace = namespace
        self.roots = Roots(nodes)
        self._files: dict[tuple[int, int], _Open] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def of(self, beginning: str, *, since: float) -> dict[str, list[Line]]:
        """By pod whose name begins so, also those that are gone: its lines after a moment."""
        self._look()
        found: dict[str, list[Line]] = {}
        with self._lock:
            for one in self._files.values():
                if one.pod.startswith(beginning):
                    found.setdefault(one.pod, []).extend(x for x in one.lines if x[0] >= since)
        return {pod: sorted(lines, key=lambda line: line[0]) for pod, lines in found.items()}

    def forget(self, before: float) -> None:
        """Drop what was written before a moment."""
        with self._lock:
            for one in self._files.values():
                one.lines = [line for line in one.lines if line[0] >= before]

    def close(self) -> None:
        """Follow nothing more."""
        self._closed.set()
        self._thread.join(10)
        with self._lock:
            for one in self._files.values():
                one.file.close()

    def _run(self) -> None:
        while not self._closed.wait(_LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        with self._lock:
            for root in self.roots.all():
                for path in root.glob(f"var/log/pods/{self._namespace}_*/*/*.log"):
                    with contextlib.suppress(OSError):
                        self._open(path)
            for one in self._files.values():
                with contextlib.suppress(OSError, ValueError):
                    one.read()

    def _open(self, path: Path) -> None:
        seen = path.stat()  # the log may be a link to where the runtime keeps it
        if (key := (seen.st_dev, seen.st_ino)) not in self._files:
            pod = path.parts[-3].split("_")[1]
            self._files[key] = _Open(pod, path.open("rb"))


class Roots:
    """Root folders of the nodes, as this machine reaches them."""

    def __init__(self, nodes: Sequence[str]) -> None:
        self._nodes = nodes
        self._roots: dict[str, Path] = {}

    def of(self, node: str) -> Path | None:
        """Of one node; None: it does not run."""
        root = self._roots.get(node)
        if root is None or not self._is_of(root, node):
            done = subprocess.run([*_PID, node], capture_output=True, text=True, check=False)
            pid = done.stdout.strip()
            root = Path(f"/proc/{pid}/root") if pid not in ("", "0") else None
            if root is not None:
                self._roots[node] = root
        return root

    @staticmethod
    def _is_of(root: Path, node: str) -> bool:
        """Whether it is still that node's: another process may have its number by now."""
        try:
            return (root / "etc/hostname").read_text(encoding="utf-8").strip() == node
        except OSError:
            return False

    def all(self) -> list[Path]:
        """Of those that run."""
        return [root for node in self._nodes if (root := self.of(node)) is not None]


def client_requests(root: Path, folder: str, *, since: float) -> list[Asked]:
    """What the client on a machine did after a moment (seconds since 1970).

    Args:
        root: root folder of the machine.
        folder: where its client writes, as the machine names it.
        since: the moment.
    """
    found = []
    for path in (root / folder.lstrip("/")).glob("*.jsonl"):
        for line in _tail(path):
            with contextlib.suppress(ValueError, KeyError, TypeError):  # half a line
                seen = json.loads(line)
                one = Asked(seen["sentAt"], seen["doneAt"], seen["ok"], seen["member"] or "")
                if one.sent >= since:
                    found.append(one)
    return sorted(found, key=lambda one: one.sent)


def _tail(path: Path) -> Iterable[bytes]:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _TAIL_BYTES))
        return file.read().splitlines()
