# SPDX-License-Identifier: Apache-2.0
"""Starting, listing and killing processes, for the guard.

As PID 1 of a container the guard owns every process in it and kills with kill(-1). Anywhere else
(only in tests) it owns just the session of the command, and kill(-1) is never called: it would end
every process of the machine.
"""

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping, Sequence

from dpe_elector import exits

PID_ONE = 1
# A runtime stops a container by the signal that its image names: SIGTERM, or that of its program,
# as SIGQUIT (nginx), SIGWINCH (httpd), SIGRTMIN+3 (systemd). The kernel drops one that PID 1 has no
# handler for. SIGHUP, SIGUSR1 and SIGUSR2 are not here: to most programs they say "reload".
STOPS: tuple[int, ...] = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGPWR,
    signal.SIGWINCH,
    signal.SIGRTMIN + 3,
)
# The signals that the guard has handlers for.
HANDLED = (
    *STOPS,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
)


class Processes:
    """The processes that the guard is responsible for."""

    def __init__(self) -> None:
        self._alone = os.getpid() == PID_ONE
        self._sessions: set[int] = set()

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start `command` in a session of its own and return its PID.

        Fork, then exec in the child: if the program lies on a volume that hangs, only the child
        hangs. A command that cannot be started exits with 127 (not found) or 126, like in a shell.
        """
        # a signal that comes while the child has the guard's handlers would be lost: it waits
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                _become(command, environment, mask)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        self._sessions.add(pid)
        return pid

    def left(self, keep: int) -> list[int]:
        """Return the PIDs of everything but this process and `keep` (the elector)."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        if self._alone:
            return [pid for pid in pids if pid not in (PID_ONE, keep)]
        return [pid for pid in pids if pid != keep and _session(pid) in self._sessions]

    def kill_left(self, keep: int) -> bool:
        """Kill everything but this process and `keep`; return whether there was nothing to kill."""
        pids = self.left(keep)
        for pid in pids:
            kill(pid, signal.SIGKILL)
        return not pids

    def kill_all(self, elector: int) -> None:
        """Kill everything but this process, at once and without looking."""
        if os.getpid() == PID_ONE:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            return
        self.kill_left(keep=0)
        if elector:
            kill(elector, signal.SIGKILL)


def kill(pid: int, number: int) -> None:
    """Send a signal to one process that may be gone already."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def stops() -> tuple[int, ...]:
    """Return the signals by which this container may be stopped.

    Under a terminal (`kubectl run -it`) SIGWINCH says that its window has another size.
    """
    with open("/proc/self/stat", "rb") as file:
        terminal = int(file.read().rpartition(b")")[2].split()[4])
    return tuple(number for number in STOPS if not terminal or number != signal.SIGWINCH)


def forget_signals() -> None:
    """In a new child: no handlers of the guard any more."""
    signal.set_wakeup_fd(-1)
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)


def close_all_but(*keep: int) -> None:
    """In a new child: close all files but these, what the guard itself inherited included."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in keep:
            with contextlib.suppress(OSError):  # the one that the list was read by
                os.close(int(name))


def _become(command: Sequence[str], environment: Mapping[str, str], mask: Iterable[int]) -> None:
    status = exits.NOT_STARTED
    try:
        forget_signals()
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        # Python ignores these, and what is ignored stays ignored in the new program
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        os.setsid()
        close_all_but(0, 1, 2)
        os.execvpe(command[0], list(command), dict(environment))  # noqa: S606 - no shell wanted
    except FileNotFoundError:
        status = exits.NOT_FOUND
        os.write(2, f"dpe-elector: no such command: {command[0]}\n".encode())
    except OSError as error:
        os.write(2, f"dpe-elector: {command[0]} cannot be started: {error}\n".encode())
    finally:
        os._exit(status)


def _session(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # the name in parentheses may hold anything, the fields after it are plain
            fields = file.read().rpartition(b")")[2].split()
            # the dead that wait for a parent of somebody else's are none of ours
            return 0 if fields[0] == b"Z" else int(fields[3])
    except (OSError, IndexError, ValueError):
        return 0
