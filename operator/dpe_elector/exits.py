# SPDX-License-Identifier: Apache-2.0
"""The exit statuses of the container that are the elector's own, not the command's."""

# Refused: flags, or not PID 1.
USAGE = 2
# --once: the Lease could not be taken before the deadline, the command was not run
# (EX_UNAVAILABLE of sysexits.h).
NOT_TAKEN = 69
# --once: no renewal came in time, or the Lease was lost: everything was killed (EX_TEMPFAIL).
PERMIT_ENDED = 75
# As in a shell: the command cannot be started, or is not there.
NOT_STARTED = 126
NOT_FOUND = 127


def as_shell(code: int) -> int:
    """Return the exit status that a shell reports: 128 + N for a process that signal N ended."""
    return code if code >= 0 else 128 - code
