# SPDX-License-Identifier: Apache-2.0
"""Log lines that never block.

Whoever reads the container's output may be stuck (a full disk, a stopped runtime), and a guard that
waits for it does not count down. Standard error itself cannot be made non-blocking, the command
shares it; so it is opened a second time. A line that finds no room is lost.
"""

import contextlib
import os
import time


class Log:
    """Writes lines to standard error for one of the processes, which it names."""

    def __init__(self, part: str) -> None:
        """Open standard error anew; where that cannot be done (a socket) nothing is logged."""
        self._part = part
        self._descriptor = -1
        with contextlib.suppress(OSError):
            self._descriptor = os.open(
                "/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
            )

    def __call__(self, message: str) -> None:
        """Write one line, or lose it."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        self.write(f"{stamp} dpe-elector {self._part}: {message}")

    def write(self, line: str) -> None:
        """Write one line as it is, or lose it."""
        # up to 4096 bytes go into a pipe whole or not at all
        with contextlib.suppress(OSError):
            os.write(self._descriptor, line.encode(errors="replace")[:4000] + b"\n")

    def named(self, part: str) -> "Log":
        """Return a log of another process."""
        return Log(part)
