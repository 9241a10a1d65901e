# SPDX-License-Identifier: Apache-2.0
"""The watchers' memory under the real elector and a real API server, on a real folder.

Two pods, each with guard, elector, `dpe_memory` and a watcher that appends to a memory file all the
time, share a folder as they would share a volume.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.elector_pods import ROOT, Pod, Site, ask, boot, until
from tests.support.ports import free_port

from dpe_operator.builders.elector import Election, elector_command

pytestmark = pytest.mark.integration

QUICK = ("--lease-duration", "3", "--renew-deadline", "1.9", "--retry-period", "0.5")
MEMORY = ROOT / "operator/dpe_memory"
FOLDER = "workflowtablewatcher-news"
OWNER = "studio/WorkflowTableWatcher/news"

# Notes acts as the command of elector_pods does, and keeps a memory: one line for each of its acts.
WATCHER = """
import json, os, sys, time
descriptors = sorted(os.listdir("/proc/self/fd"), key=int)
journal, link = sys.argv[1:3]
epoch = os.environ["DPE_ELECTOR_EPOCH"]
out = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
def note(what):
    line = f"{epoch} {time.clock_gettime(time.CLOCK_BOOTTIME):.6f} {what} {os.getpid()}\\n"
    os.write(out, line.encode())
memory = os.path.join(link, "entries")
lines = open(memory).read().split() if os.path.exists(memory) else []
with open(f"{journal}.{epoch}", "w") as file:
    json.dump({"lines": len(lines), "files": sorted(os.listdir(link)), "cwd": os.getcwd(),
               "environment": dict(os.environ),
               "open": descriptors}, file)
note("start")
keep = os.open(memory, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
while not os.path.exists(journal + ".exit"):
    note("command")
    os.write(keep, f"{epoch}\\n".encode())
    time.sleep(0.005)
os.unlink(journal + ".exit")
os._exit(3)
"""


@pytest.fixture
def site(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Site]:
    made = Site(api_server, namespace, tmp_path)
    made.create_lease()
    (tmp_path / "volume").mkdir()
    yield made
    made.close()


def watcher(
    site: Site,
    name: str,
    *flags: str,
    command: tuple[str, ...] = (),
    elector: tuple[str, ...] = (),
    volume: Path | None = None,
) -> Pod:
    """Make the pod of a candidate; `flags` are for `dpe_memory`, `elector` for the elector."""
    (site.folder / name).mkdir(exist_ok=True)
    link = str(site.folder / name / "memory")
    journal = str(site.folder / f"{name}.journal")
    own = [
        *(sys.executable, "-I", "-B", "-S", "-u", str(MEMORY)),
        *("--volume", str(volume or site.folder / "volume"), "--folder", FOLDER, "--owner", OWNER),
        *("--link", link, "--lease", "x", *flags, "--"),
        *(command or (sys.executable, "-I", "-S", "-c", WATCHER, journal, link)),
    ]
    pod = site.pod(name, *QUICK, *elector, command=own)
    pod._environment = {
        **pod._environment,
        "DPE_MEMORY_POD_NAMESPACE": site.namespace,
        "DPE_MEMORY_POD_NAME": name,
        "DPE_MEMORY_POD_UID": f"uid-{name}",
        "DPE_MEMORY_PATH": link,
        "RADIO": "on",
    }
    return pod


def folder(site: Site) -> Path:
    return site.folder / "volume" / FOLDER


def lines(site: Site, epoch: int) -> int:
    return len((folder(site) / f"epoch-{epoch}" / "files" / "entries").read_text().split())


def met(pod: Pod, epoch: int) -> dict[str, Any]:
    """What the watcher of this epoch found at its start."""
    path = Path(f"{pod.journal}.{epoch}")
    until(lambda: pod.acts("start") and pod.acts("start")[-1].epoch == epoch)
    return dict(json.loads(path.read_text()))


def raw(site: Site) -> dict[str, Any]:
    return dict(site.client.get(f"{site.leases}/x"))


def report(site: Site) -> dict[str, Any]:
    notes = raw(site)["metadata"].get("annotations", {})
    return dict(json.loads(notes.get("dpe.dev/memory", "{}")))


def annotate(site: Site, name: str, value: str) -> None:
    """What the operator does: apply metadata, and nothing else."""
    body = {"metadata": {"annotations": {f"dpe.dev/{name}": value}}}
    status, answer = site.server.request(
        "PATCH", f"{site.leases}/x", body, content_type="application/merge-patch+json"
    )
    assert status == 200, answer


def log(pod: Pod) -> str:
    return pod.log.read_text()


def seed(site: Site, files: int, epoch: int = 1) -> None:
    """Put a memory of many files there, as somebody does who brings one along."""
    target = folder(site) / f"epoch-{epoch}" / "files"
    target.mkdir(parents=True)
    for number in range(files):
        (target / f"{number:05}").write_text("x" * 100)
    (target / "entries").write_text("0\n")
    (target.parent / "COMPLETE").write_text(json.dumps({"epoch": epoch, "owner": OWNER}))


def test_the_memory_follows_the_holder_through_deaths_of_all_kinds(site: Site) -> None:
    first, second = watcher(site, "a").start(), watcher(site, "b")
    assert met(first, 1)["lines"] == 0
    second.start()
    time.sleep(4)  # longer than the Lease lasts: two writers of one Lease get along
    until(lambda: first.acting)
    first.end_command()
    found = met(second, 2)
    assert found["lines"] == lines(site, 1) > 100
    until(lambda: report(site).get("epoch") == 2)
    told = report(site)
    assert (told["state"], told["reason"], told["from"], told["pod"]) == (
        "Ready",
        "Carried",
        1,
        "b",
    )
    assert told["files"] == 1
    # the pod is killed, nobody says good-bye
    os.kill(second.guard, signal.SIGKILL)
    assert met(first, 3)["lines"] == lines(site, 2) > found["lines"]
    # the network fails: the guard kills, the other one takes over
    second.wait()
    second.start()
    until(lambda: "memory:" in log(second) and second.role()["role"] == "standby")
    site.proxies["a"].cut()
    first.wait_fenced()
    assert met(second, 4)["lines"] == lines(site, 3)
    assert site.overlap() <= 0
    assert sorted(path.name for path in folder(site).glob("*")) == [
        *("OWNER", "epoch-1", "epoch-2", "epoch-3", "epoch-4"),
    ]


def test_the_elector_keeps_a_lifted_epoch(site: Site) -> None:
    """A Lease that was made anew, beside a volume that knows better."""
    seed(site, 3, epoch=57)
    busy = threading.Event()

    def edit() -> None:
        # the operator and people write to the same Lease
        number = 0
        while not busy.wait(0.02):
            number += 1
            annotate(site, "note", str(number))

    editor = threading.Thread(target=edit)
    editor.start()
    try:
        pod = watcher(site, "a").start()
        found = met(pod, 58)
    finally:
        busy.set()
        editor.join()
    assert found["lines"] == 1
    assert len(found["files"]) == 4
    assert found["environment"]["DPE_ELECTOR_EPOCH"] == "58"
    time.sleep(4)  # several renewals
    until(lambda: pod.acting)
    assert "lost the Lease" not in log(pod)
    assert site.lease()["leaseTransitions"] == 58
    assert site.lease()["holderIdentity"].startswith("uid-a_")
    record = json.loads(raw(site)["metadata"]["annotations"]["dpe.dev/elector-record"])
    assert (record["epoch"], record["state"]) == (58, "held")
    assert report(site)["epoch"] == 58
    # and it is given back, and taken again, with the higher numbers
    other = watcher(site, "b").start()
    until(lambda: other.role()["role"] == "standby")
    pod.terminate()
    assert pod.wait() == 0
    assert met(other, 59)["lines"] == lines(site, 58)
    assert site.overlap() <= 0


def test_a_lifted_epoch_outlives_the_elector_s_process(site: Site) -> None:
    seed(site, 1, epoch=57)
    pod = watcher(site, "a").start()
    met(pod, 58)
    os.kill(pod.elector, signal.SIGKILL)
    time.sleep(4)
    until(lambda: pod.acting)
    assert site.lease()["leaseTransitions"] == 58
    assert [act.epoch for act in pod.acts("start")] == [58]


def test_the_command_gets_what_it_would_have_without_us(site: Site) -> None:
    pod = watcher(site, "a").start()
    found = met(pod, 1)
    names = set(found["environment"])
    assert {name for name in names if name.startswith("DPE_")} - {
        *("DPE_API_SERVER", "DPE_API_TOKEN_FILE", "DPE_API_CA_FILE"),
    } == {"DPE_ELECTOR_EPOCH", "DPE_MEMORY_PATH"}
    assert found["environment"]["RADIO"] == "on"
    assert found["cwd"] == os.getcwd()
    assert found["open"] == ["0", "1", "2", "3"], "the last one is the listing's own"
    started = next(line for line in log(pod).splitlines() if "started the command" in line)
    assert started.endswith(f"PID {pod.acts('start')[-1].pid}"), "it became the command"


def test_a_loss_stops_both_and_is_accepted_while_it_is_waited_for(site: Site) -> None:
    first, second = watcher(site, "a"), watcher(site, "b")
    first.start()
    met(first, 1)
    first.end_command()
    met(first, 2)
    first.terminate()
    first.wait()
    (folder(site) / "epoch-2" / "files" / "entries").unlink()
    second.start()
    until(lambda: report(site).get("state") == "Lost")
    assert report(site)["reason"] == "Empty"
    annotate(site, "accept-memory-loss", "2-000000")
    time.sleep(3)
    assert second.acts() == []
    annotate(site, "accept-memory-loss", report(site)["token"])
    assert met(second, 3)["lines"] == 0
    until(lambda: report(site)["state"] == "Ready")
    assert report(site)["reason"] == "LossAccepted"


def test_a_loss_that_nobody_answers_gives_the_lease_back(site: Site) -> None:
    first = watcher(site, "a").start()
    met(first, 1)
    first.end_command()
    met(first, 2)
    first.terminate()
    first.wait()
    (folder(site) / "epoch-2" / "files" / "entries").unlink()
    pods = [watcher(site, name, "--wait", "0").start() for name in "bc"]
    for pod in pods:
        until(lambda pod=pod: "ended with status 80" in log(pod))
    assert all(pod.acts() == [] for pod in pods)
    assert not any(pod.ended for pod in pods)


def test_a_candidate_without_its_volume_is_not_ready_and_takes_no_lease(site: Site) -> None:
    """With the words that the operator's builder puts before the command of a watcher."""
    mounted, port = site.folder / "not-mounted-yet", free_port()
    words = elector_command(
        Election(lease="x", grace_seconds=30, probe_port=port, needs=("sh", str(mounted))), ["sh"]
    )
    flags = tuple(words[words.index("--grace") : words.index("--")])
    late = watcher(site, "a", elector=flags, volume=mounted).start()
    said = (503, f"{mounted} is not there, or cannot be used\n")
    until(lambda: ask(port, "/readyz") == said)
    assert ask(port, "/livez") == (200, "ok\n"), "a restart would not bring it"
    other = watcher(site, "b").start()
    met(other, 1)
    other.terminate()
    other.wait()
    time.sleep(4)  # longer than the Lease lasts: it is free, and whoever could would have it
    assert site.lease()["holderIdentity"] == ""
    assert (ask(port, "/readyz"), late.acts()) == (said, [])
    mounted.symlink_to(site.folder / "volume")
    assert met(late, 2)["lines"] == lines(site, 1)
    until(lambda: ask(port, "/readyz") == (200, "ok\n"))


def preparing(pod: Pod) -> int:
    """PID of dpe_memory, seen from outside."""
    for pid in pod.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if (
            str(MEMORY).encode() in words
            and str(ROOT / "operator/dpe_elector").encode() not in words
        ):
            return pid
    raise AssertionError(f"nothing is prepared in {pod.name}")


@pytest.mark.parametrize("ending", ["terminate", "hang"])
def test_a_start_that_is_ended_while_it_copies_ends_at_once(site: Site, ending: str) -> None:
    seed(site, 3000)
    first = watcher(site, "a").start()
    until(lambda: list(folder(site).glob(".epoch-*.new/files/0*")), why="it copies")
    second = watcher(site, "b").start()
    asked = boot()
    if ending == "terminate":
        first.terminate()
        assert first.wait() == 0
        assert boot() - asked < 2
    else:
        # the volume does not answer any more, and then the network does not either
        os.kill(preparing(first), signal.SIGSTOP)
        site.proxies["a"].cut()
        first.wait_fenced()
    assert first.acts() == []
    until(lambda: second.acts("start"), seconds=60, why="the second pod has copied it all")
    epoch = second.acts("start")[-1].epoch
    assert len(met(second, epoch)["files"]) == 3001
    names = {path.name for path in folder(site).iterdir()}
    assert names == {"OWNER", "epoch-1", f"epoch-{epoch}"}


@pytest.mark.parametrize(
    ("command", "status"), [(("/no/such/program",), 127), ((str(ROOT / "README.md"),), 126)]
)
def test_a_command_that_cannot_be_started(
    site: Site, command: tuple[str, ...], status: int
) -> None:
    pod = watcher(site, "a", command=command).start()
    until(lambda: f"ended with status {status}" in log(pod))
    assert command[0] in log(pod)


def test_a_signal_reaches_the_watcher(site: Site) -> None:
    program = "trap 'echo got it; exit 5' TERM; while :; do sleep 0.05; done"
    pod = watcher(site, "a", command=("/bin/sh", "-c", program)).start()
    until(lambda: report(site).get("state") == "Ready")
    time.sleep(0.5)
    pod.terminate()
    assert pod.wait() == 0
    assert "got it" in log(pod)
    assert "ended with status 5" in log(pod)
