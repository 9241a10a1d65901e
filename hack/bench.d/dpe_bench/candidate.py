# SPDX-License-Identifier: Apache-2.0
"""The image of the baseline client-go: the simulator, and the program of hack/bench.d/candidate.

Both are made once for each state of their sources; the program lies in the cache, outside the
checkout. From nothing it takes a minute or more, because client-go is compiled for it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SOURCE = Path(__file__).resolve().parents[1] / "candidate"
FILES = ("go.mod", "go.sum", "main.go")
PROGRAM = "candidate"
_DOCKERFILE = f"""ARG BASE
FROM ${{BASE}}
COPY {PROGRAM} /usr/local/bin/{PROGRAM}
"""


def image(simulator: str, cache: Path) -> str:
    """Make the image, put it into the nodes and return its name.

    Args:
        simulator: the image that it is made from.
        cache: folder for what is slow to make.
    """
    program = build(cache)
    key = hashlib.sha256(f"{simulator} {program.parent.name}".encode()).hexdigest()[:12]
    name = f"localhost/dpe/bench-{PROGRAM}:{key}"
    if not _there(name):
        (program.parent / "Dockerfile").write_text(_DOCKERFILE, encoding="ascii")
        _run("docker", "build", "--network", "none", "--build-arg", f"BASE={simulator}", "-t", name,
             str(program.parent), DOCKER_BUILDKIT="0")  # fmt: skip
    _run("hack/cluster", "load", name)
    return name


def build(cache: Path) -> Path:
    """Compile the program, unless it is there; return its path."""
    text = b"".join((SOURCE / name).read_bytes() for name in FILES)
    folder = cache / PROGRAM / hashlib.sha256(text).hexdigest()[:12]
    if not (folder / PROGRAM).exists():
        folder.mkdir(parents=True, exist_ok=True)
        new = folder / f"{PROGRAM}.new"
        _run(_go(), "build", "-C", str(SOURCE), "-mod=readonly", "-trimpath", "-buildvcs=false",
             "-ldflags=-s -w", "-o", str(new), ".", CGO_ENABLED="0")  # fmt: skip
        new.rename(folder / PROGRAM)
    return folder / PROGRAM


def _go() -> str:
    """The Go that hack/tools/build uses: the one it has installed, else that of this machine.

    Raises:
        RuntimeError: there is none; says what to do.
    """
    home = os.environ.get("XDG_CACHE_HOME") or f"{Path.home()}/.cache"
    cache = Path(os.environ.get("DPE_CACHE") or f"{home}/dpe-operator")
    own = cache / "tools" / "go-venv" / "bin" / "go"
    found = str(own) if own.exists() else shutil.which("go")
    if not found:
        raise RuntimeError("the baseline client-go is compiled with Go 1.24 or newer: install it")
    return found


def _there(image_name: str) -> bool:
    inspected = subprocess.run(
        ["docker", "image", "inspect", image_name], capture_output=True, check=False
    )
    return inspected.returncode == 0


def _run(*command: str, **environment: str) -> None:
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False,
        env={**os.environ, "YES": "1", **environment},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stdout[-800:]}{done.stderr[-1500:]}")
