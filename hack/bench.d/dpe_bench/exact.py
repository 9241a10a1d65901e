# SPDX-License-Identifier: Apache-2.0
"""Faults whose moment is known: what has to be found out for them is found out before.

`hack/cluster` does the same to nodes, but takes up to a second for it, which is as long as some of
what is measured. Like there, the nodes must be containers of this very machine.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.e2e.kubectl import Object


def command_processes(pod: Object, program: str, *, proc: Path = Path("/proc")) -> list[int]:
    """Process ids, on this machine, of a program in a pod's first container.

    What only names the program as the command that it will start (behind `--`) is left out.
    """
    container = pod["status"]["containerStatuses"][0]["containerID"].split("://")[-1]
    found = []
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            inside = container in (folder / "cgroup").read_text(encoding="utf-8")
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
        if inside and "--" not in words and any(Path(word).name == program for word in words):
            found.append(int(folder.name))
    return found


def kill(processes: list[int]) -> float:
    """Kill processes; return when, in seconds since 1970."""
    struck = time.time()
    for number in processes:
        os.kill(number, signal.SIGKILL)
    return struck


class Cable:
    """The network cable of a node."""

    def __init__(self, node: str) -> None:
        self.node = node
        self._end = self._find()

    def pull(self) -> float:
        """Pull it; return when, in seconds since 1970."""
        struck = time.time()
        _run("ip", "link", "set", self._end, "down")
        return struck

    def plug(self) -> None:
        """Plug it in again."""
        _run("ip", "link", "set", self._end, "up")

    def _find(self) -> str:
        process = _run("docker", "inspect", "--format", "{{.State.Pid}}", self.node).strip()
        shown = _run("nsenter", "-t", process, "-n", "ip", "-o", "link", "show", "eth0")
        index = re.search(r"eth0@if(\d+):", shown)
        for folder in Path("/sys/class/net").iterdir():
            if index and (folder / "ifindex").read_text(encoding="ascii").strip() == index[1]:
                return folder.name
        raise RuntimeError(f"no cable of {self.node} found on this machine: does Docker run here?")


def freeze(node: str) -> float:
    """Stop all processes of a node; return when, in seconds since 1970."""
    struck = time.time()
    _run("docker", "pause", node)
    return struck


def thaw(node: str) -> None:
    """Let them go on, if they are stopped."""
    state = _run("docker", "inspect", "--format", "{{.State.Status}}", node).strip()
    if state == "paused":
        _run("docker", "unpause", node)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout
