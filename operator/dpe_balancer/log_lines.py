# SPDX-License-Identifier: Apache-2.0
"""Where the agent's log lines go.

The elector beside the agent goes on renewing the Lease whatever becomes of the agent. So the agent
must not stand still when nobody reads the container's output (a full disk, a stopped runtime): like
the elector it loses lines rather than time.
"""

from __future__ import annotations

import logging

from dpe_elector.log import Log

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class Lines(logging.Handler):
    """Writes to standard error and never waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self._log = Log("")

    def emit(self, record: logging.LogRecord) -> None:
        """Write what is logged, a line at a time: a line has room or is lost as a whole."""
        try:
            lines = self.format(record).splitlines()
        except Exception:
            self.handleError(record)
            return
        for line in lines:
            self._log.write(line)


def log_to_stderr() -> None:
    """From now on all that is logged goes to standard error."""
    logging.basicConfig(level=logging.INFO, format=FORMAT, handlers=[Lines()])
