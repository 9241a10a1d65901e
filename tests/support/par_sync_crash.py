# SPDX-License-Identifier: Apache-2.0
"""Runs inside of this process: fast enough for thousands, and killed exactly where one wants."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

from tests.support.par_sync import Site

from dpe_par_sync.config import parse
from dpe_par_sync.places import Adoption
from dpe_par_sync.result import Outcome, Result
from dpe_par_sync.run import Run

# every call by which a run changes a file system, and rsync itself
_STEPS = ("replace", "rename", "link", "symlink", "mkdir", "rmdir", "unlink", "utime", "fsync")
_numbers = iter(range(1 << 16))


def run_here(site: Site, **changes: Any) -> Result:
    """Make one run in this process; the umask is put back."""
    old = os.umask(0)
    try:
        name = f"20261124T{next(_numbers):06}Z-abcd"
        run = Run(parse(site.config(**changes)), Adoption("", None), name, log=lambda line: None)
        template = Result(Outcome.FAILED, "", "", "", "", 0.0)
        result = run.result(template)
        run.record(result)
        return result
    finally:
        os.umask(old)


def run_until(site: Site, step: int, **changes: Any) -> bool:
    """Make one run in a child that is killed right before its `step`-th change of a file system.

    Returns whether it was: False if the run had ended before.
    """
    child = os.fork()
    if child == 0:
        try:
            _kill_at(step)
            run_here(site, **changes)
        finally:
            os._exit(0)
    next(_numbers)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def _kill_at(step: int) -> None:
    left = step

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def instead(*args: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left <= 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)

        return instead

    for name in _STEPS:
        setattr(os, name, counted(getattr(os, name)))
    subprocess.run = counted(subprocess.run)  # type: ignore[assignment]
