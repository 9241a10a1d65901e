# SPDX-License-Identifier: Apache-2.0
"""Nothing of the elector reaches the command: it finds what it would find without one.

The command is /bin/sh that copies what the kernel knows of it. The same command, started without an
elector in a container of the same kind, is what it is compared with.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.api_server import ApiServer
from tests.support.elector_pods import Site, namespace_of_its_own, until

pytestmark = pytest.mark.integration

# `status` is read by the shell itself: while it starts another program, all signals may be blocked.
# `exec` first: what is dumped is the command itself, not a shell that python or the guard forked
DUMP = """
cd_before=$(pwd)
for what in environ limits oom_score_adj oom_score timerslack_ns stat cgroup coredump_filter
do cat /proc/$$/$what > "$1/$what" 2>/dev/null; done
while IFS= read -r line; do echo "$line"; done < /proc/$$/status > "$1/status"
ls -l /proc/$$/fd > "$1/fd"
umask > "$1/umask"
echo "$cd_before" > "$1/cwd"
touch "$1/done"
exec sleep 1000
"""
# what a user's pod may have set beside ours
USERS = {"PATH": os.environ["PATH"], "KUBERNETES_SERVICE_PORT_HTTPS": "443", "ODD": "a=b c\n\xe9"}
OURS = {
    "DPE_ELECTOR_POD_NAME": "a",
    "DPE_ELECTOR_POD_UID": "uid-a",
    "DPE_ELECTOR_SOMETHING": "new",
    "DPE_ELECTOR_EPOCH": "77",
}


@dataclass(frozen=True)
class Seen:
    """What the kernel said of the command."""

    folder: Path

    def text(self, name: str) -> str:
        return (self.folder / name).read_bytes().decode(errors="surrogateescape")

    def environment(self) -> dict[str, str]:
        items = (item.partition("=") for item in self.text("environ").split("\0") if item)
        return {name: value for name, _, value in items}

    def status(self, key: str) -> str:
        return next(
            line.split(":", 1)[1].strip()
            for line in self.text("status").splitlines()
            if line.startswith(f"{key}:")
        )

    def descriptors(self) -> dict[int, str]:
        """Number and target of each open file; the shell's own have numbers from 10 on."""
        lines = (line for line in self.text("fd").splitlines() if " -> " in line)
        return {int(line.split()[8]): line.split(" -> ")[1] for line in lines}

    def session(self) -> tuple[bool, bool]:
        """Whether the command leads its process group and its session."""
        pid, rest = self.text("stat").split(" ", 1)
        fields = rest.rpartition(")")[2].split()
        return fields[2] == pid, fields[3] == pid


@pytest.fixture
def site(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(api_server, namespace, tmp_path)
    made.create_lease()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def nothing_is_ignored() -> Iterator[None]:
    """As in a container: who runs the tests in the background, or with nohup, ignores signals."""
    numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
    before = {number: signal.getsignal(number) for number in numbers}
    for number in (number for number in numbers if before[number] is signal.SIG_IGN):
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in numbers:
        signal.signal(number, before[number])


def dump(folder: Path) -> list[str]:
    folder.mkdir()
    return ["/bin/sh", "-c", DUMP, "sh", str(folder)]


@pytest.fixture
def seen(site: Site, tmp_path: Path) -> Seen:
    folder = tmp_path / "under"
    environment = {**USERS, **OURS, "DPE_ELECTOR_POD_NAMESPACE": site.namespace}
    reader, writer = os.pipe()  # a descriptor that the container was started with by mistake
    pod = site.pod("a", command=dump(folder), bare=environment, pass_fds=(writer,)).start()
    try:
        until((folder / "done").exists, why=pod.log.read_text())
    finally:
        os.close(reader)
        os.close(writer)
    assert site.lease()["holderIdentity"].startswith("uid-a_"), "it read its own variables"
    return Seen(folder)


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[Seen]:
    folder = tmp_path / "alone"
    process = subprocess.Popen(
        [*namespace_of_its_own(), *dump(folder)], env=USERS, stdin=subprocess.DEVNULL
    )
    until((folder / "done").exists)
    yield Seen(folder)
    process.kill()
    process.wait()


def test_the_environment_is_the_pods_and_the_epoch(seen: Seen, site: Site) -> None:
    expected = {**USERS, **site.api_environment("a"), "DPE_ELECTOR_EPOCH": "1"}
    found = {
        name: value.encode(errors="surrogateescape") for name, value in seen.environment().items()
    }
    assert found == {name: os.fsencode(value) for name, value in expected.items()}


def test_no_descriptors_but_the_standard_ones(seen: Seen, alone: Seen) -> None:
    assert sorted(seen.descriptors()) == sorted(alone.descriptors())
    assert not any(
        name.startswith(("pipe:", "socket:", "anon")) for name in seen.descriptors().values()
    )


@pytest.mark.parametrize(
    "key",
    [
        "SigBlk", "SigIgn", "SigCgt", "ShdPnd", "NoNewPrivs", "Seccomp", "CapInh", "CapPrm",
        "CapEff", "CapBnd", "CapAmb", "Uid", "Gid", "Groups", "Umask", "Cpus_allowed", "Threads",
    ],
)  # fmt: skip
def test_the_kernel_says_of_it_what_it_says_without_an_elector(
    seen: Seen, alone: Seen, key: str
) -> None:
    assert seen.status(key) == alone.status(key)


@pytest.mark.parametrize(
    "what",
    ["limits", "oom_score_adj", "timerslack_ns", "umask", "cwd", "cgroup", "coredump_filter"],
)
def test_limits_and_settings_are_the_containers(seen: Seen, alone: Seen, what: str) -> None:
    assert seen.text(what) == alone.text(what) != ""


def test_it_has_a_session_and_a_group_of_its_own(seen: Seen) -> None:
    """Like process 1 of a container, which is made the leader of both."""
    assert seen.session() == (True, True)
