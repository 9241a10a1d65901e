# SPDX-License-Identifier: Apache-2.0
"""What dpe-elector refuses to run, as a process, and what it does without a PID namespace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.support.elector_pods import ELECTOR, namespace_of_its_own, until

pytestmark = pytest.mark.integration

RUN = [sys.executable, "-I", "-S", str(ELECTOR)]
HOT = [*RUN, "--mode", "hot", "--lease", "x", "--namespace", "n", "--probe-port", "0"]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*RUN, *arguments],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )


def test_anything_but_pid_1_is_refused() -> None:
    done = run("--lease", "x", "--namespace", "n", "--", "true")
    assert done.returncode == 2
    assert "only PID 1 of a container" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--", "true"], "--lease"),
        (["--lease", "x", "--", "true"], "no namespace"),
        (["--lease", "x", "--namespace", "n"], "no command to run"),
        (
            ["--lease", "x", "--namespace", "n", "--lease-duration", "10", "--", "true"],
            "10.20 s, and 1 s to kill the command make 11.20 s: give at least --lease-duration 12",
        ),
    ],
)
def test_unusable_flags_are_refused_with_the_cure(arguments: list[str], message: str) -> None:
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "--renew-deadline" in done.stdout


def start_alone(tmp_path: Path, *words: str) -> subprocess.Popen[bytes]:
    """A hot elector without PID namespace, allowed by the test switch, and without API server."""
    return subprocess.Popen(
        [*HOT, "--grace", "1", "--", *words],
        env={
            "PATH": os.environ["PATH"],
            "DPE_ELECTOR_TEST_NOT_PID1": "1",
            "DPE_API_SERVER": "https://127.0.0.1:1",
        },
        cwd=tmp_path,
    )


def test_outside_a_container_only_the_own_session_is_killed(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    process = start_alone(
        tmp_path, "sh", "-c", "trap '' TERM; sleep 61 & echo $! > child; sleep 62 & wait; wait"
    )
    child = int(until(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text()))
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert not _alive(child)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()


def test_a_command_that_is_not_there_is_tried_again_without_a_container_restart(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*namespace_of_its_own(), *HOT, "--", "/no/such/program"],
            env={"PATH": os.environ["PATH"], "DPE_API_SERVER": "https://127.0.0.1:1"},
            stderr=file,
        )
    until(lambda: log.read_text().count("no such command: /no/such/program") >= 3)
    assert "status 127" in log.read_text()
    process.kill()
    process.wait(10)


def test_orphans_are_reaped(tmp_path: Path) -> None:
    script = f"(sh -c 'sleep 0.2' &) ; sleep 0.6; ps -e -o stat > {tmp_path}/states; sleep 60"
    process = subprocess.Popen(
        [*namespace_of_its_own(), *HOT, "--", "sh", "-c", script],
        env={"PATH": os.environ["PATH"], "DPE_API_SERVER": "https://127.0.0.1:1"},
        stderr=subprocess.DEVNULL,
    )
    states = tmp_path / "states"
    text = until(lambda: states.exists() and "R" in states.read_text() and states.read_text())
    assert "Z" not in text
    process.kill()
    process.wait(10)


def _alive(pid: int) -> bool:
    for _ in range(20):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.05)
    return True
