# SPDX-License-Identifier: Apache-2.0
"""What a process says, kept in a file over a pipe, as a container runtime does it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def kept_in(path: Path) -> Iterator[int]:
    """Yield the end of a pipe that a process is to write into; what comes is appended to the file.

    HAProxy takes O_APPEND off what it writes to: given the file itself, it would write over the
    lines of others.
    """
    reader, writer = os.pipe()
    threading.Thread(target=_keep, args=(reader, path), daemon=True).start()
    try:
        yield writer
    finally:
        os.close(writer)


def _keep(reader: int, path: Path) -> None:
    with open(reader, "rb", buffering=0) as pipe, path.open("ab", buffering=0) as file:
        while data := pipe.read(65536):
            file.write(data)
