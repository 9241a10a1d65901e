# SPDX-License-Identifier: Apache-2.0
"""A private PostgreSQL on a free port of the loopback address, for tests that need a real one."""

import ctypes
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from tests.support.ports import free_port

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
_START_SECONDS = 20.0


def find_binaries() -> Path:
    """Return the folder with initdb and postgres.

    Raises:
        RuntimeError: when there is none; names the package that has them.
    """
    on_path = shutil.which("initdb")
    folders = [Path(folder) for folder in (os.environ.get("DPE_POSTGRES_BIN"),) if folder]
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    folders += [Path(on_path).parent] if on_path else []
    for folder in folders:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise RuntimeError(
        "no PostgreSQL server found (initdb, postgres); on Debian/Ubuntu: apt-get install "
        "postgresql-15, or name the folder in DPE_POSTGRES_BIN"
    )


@dataclass
class Postgres:
    """A running cluster; `dsn` is for psycopg."""

    port: int
    user: str
    process: subprocess.Popen[bytes]

    @property
    def dsn(self) -> str:
        return f"host=127.0.0.1 port={self.port} user={self.user} dbname=postgres"

    def new_database(self, name: str) -> str:
        """Make an empty database, instead of one that a test left behind; return its dsn."""
        with psycopg.connect(self.dsn, autocommit=True) as session:
            gone = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            session.execute(gone.format(sql.Identifier(name)))
            session.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"{self.dsn} dbname={name}"

    def break_connections(self) -> None:
        """End all connections, as a fail-over of the database does."""
        with psycopg.connect(self.dsn, autocommit=True) as session:
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )

    def freeze(self) -> None:
        """Stop all its processes: connections stay, nothing answers."""
        _stop([self.process.pid])  # first, so that it starts no more of them
        _stop(self._children())

    def thaw(self) -> None:
        """Let them go on; does nothing to processes that run."""
        # the parent last: as long as it is stopped the number of no child is given to another
        for pid in [*self._children(), self.process.pid]:
            _signal(pid, signal.SIGCONT)

    def _children(self) -> list[int]:
        pid = self.process.pid
        try:
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii")
        except FileNotFoundError:  # the cluster has ended
            return []
        return [int(word) for word in text.split()]


def _signal(pid: int, number: int) -> None:
    """Send a signal. Sessions come and go: one that ended since it was listed is no fault."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _stop(pids: list[int]) -> None:
    """SIGSTOP, and wait until none of them runs any more: a busy machine takes its time."""
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    until = time.monotonic() + _START_SECONDS
    while any(_state(pid) not in "TZ" for pid in pids) and time.monotonic() < until:
        time.sleep(0.001)


def _state(pid: int) -> str:
    """The kernel's letter for what a process does: T is stopped, Z ended (also when it is gone)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def _account() -> str | None:
    """The account to run as; None: the present one. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise RuntimeError("PostgreSQL refuses to run as root; run the tests as another user")


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGQUIT, 0, 0, 0)


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Make a cluster, run it, and remove it with everything in it."""
    binaries = find_binaries()
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="dpe-postgres-"))
    if account:
        shutil.chown(folder, account)
    process: subprocess.Popen[bytes] | None = None
    try:
        _initialize(binaries, folder, account)
        port = free_port()
        arguments = [
            str(binaries / "postgres"), "-D", str(folder / "data"), "-p", str(port),
            "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
            "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=60",
        ]  # fmt: skip
        with open(folder / "log", "wb") as log:
            process = subprocess.Popen(
                arguments, stdout=log, stderr=subprocess.STDOUT, user=account, cwd=folder,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - it sets one flag and takes no lock
            )  # fmt: skip
        postgres = Postgres(port, "dpe", process)
        _wait_until_ready(postgres, folder / "log")
        yield postgres
        postgres.thaw()
    finally:
        if process is not None:
            process.send_signal(signal.SIGQUIT)
            process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def _initialize(binaries: Path, folder: Path, account: str | None) -> None:
    done = subprocess.run(
        [str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "dpe", "-A", "trust",
         "-E", "UTF8", "--locale=C", "--no-sync"],
        user=account, cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"initdb failed: {done.stdout}{done.stderr}")


def _wait_until_ready(postgres: Postgres, log: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(postgres.dsn, connect_timeout=2).close()
            return
        except psycopg.OperationalError as problem:
            if time.monotonic() > until or postgres.process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start: {log.read_text()}") from problem
        time.sleep(0.05)
