# SPDX-License-Identifier: Apache-2.0
"""Standby components in trouble: the real operator, and the real electors as it starts them.

The test plays kubelet: it runs the containers of both candidates as processes, with the flags that
stand in the Deployment, and says in the pods' status what their probes answer.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from tests.support import elector_pods
from tests.support.elector_pods import Pod, ask, until
from tests.support.operator_kit import OperatorProcess, Site, eventually
from tests.support.planning_world import cluster
from tests.support.ports import free_port
from tests.support.workflow_world import NAME, WORKER, standby

from dpe_operator.builders.workflow import component_of
from dpe_operator.planning.objects import Obj

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

OPERATOR = {"RESYNC_SECONDS": "10"}
COMPONENT = f"{NAME}-worker"
PODS = (f"{COMPONENT}-0", f"{COMPONENT}-1")
LEASE_SECONDS = 6.0  # of profile Fast

# Notes "BOOTTIME WHO EPOCH" and ends with a status, at once.
ENDS = """
import os, sys, time
line = f"{time.clock_gettime(time.CLOCK_BOOTTIME)} {os.environ['WHO']} {os.environ['DPE_ELECTOR_EPOCH']}\\n"
with open(sys.argv[1], "a") as file:
    file.write(line)
sys.exit(127)
"""


class Candidates:
    """Both candidates of one component as processes."""

    def __init__(self, site: Site, folder: Path, *, component: str = COMPONENT) -> None:
        self.site = site
        self.component = component
        self.names = (f"{component}-0", f"{component}-1")
        self.electors = elector_pods.Site(site.server, site.namespace, folder)
        self.ports = {name: free_port() for name in self.names}
        self.pods: list[Pod] = []

    def start(self, *, command: list[str] | None = None, token: Path | None = None) -> None:
        """Start both as the Deployment says; `command` is what it says, None: an act in the
        journal every few milliseconds. `token`: file with the token, None: the administrator's."""
        deployment = self.site.get("Deployment", self.component)
        [container] = deployment["spec"]["template"]["spec"]["containers"]
        words = container["command"]
        flags = words[words.index("--lease") : words.index("--")]
        if command is not None:
            assert words[words.index("--") + 1 :] == command
        for name in self.names:
            # both run on one machine here
            flags[flags.index("--probe-port") + 1] = str(self.ports[name])
            who = {"NAME": name, "UID": self.site.get("Pod", name)["metadata"]["uid"]}
            bare = {f"DPE_ELECTOR_POD_{key}": value for key, value in who.items()} | {
                "DPE_ELECTOR_POD_NAMESPACE": self.site.namespace,
                "PATH": "/usr/bin:/bin",
                "WHO": name,
            }
            pod = self.electors.pod(name, *flags, command=command, bare=bare, token_file=token)
            self.pods.append(pod.start())

    def ready(self) -> list[bool]:
        """Do what kubelet does: ask the probes, write the answers into the pods' status."""
        answers = [ask(self.ports[name], "/readyz")[0] == 200 for name in self.names]
        for name, answer in zip(self.names, answers, strict=True):
            if self.site.find("Pod", name) is None:
                continue  # deleted by the operator; the others are looked at all the same
            condition = {
                "type": "Ready",
                "status": "True" if answer else "False",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            }
            status = {"phase": "Running", "conditions": [condition]}
            self.site.patch("Pod", name, {"status": status}, subresource="status")
        return answers

    def lease(self) -> Obj:
        """The spec of the Lease."""
        return dict(self.site.get("Lease", self.component)["spec"])


@pytest.fixture
def site(empty_site: Site, running: OperatorProcess) -> Site:
    """A namespace with a site that has been accepted."""
    made = empty_site
    made.create(cluster(processors=[]))
    eventually(
        lambda: made.condition("DpeCluster", "radio", "Accepted").get("status") == "True",
        log=running.log,
    )
    return made


@pytest.fixture
def candidates(site: Site, tmp_path: Path) -> Iterator[Candidates]:
    """No process yet; whatever is started ends with the test."""
    made = Candidates(site, tmp_path)
    yield made
    made.electors.close()


def made(
    site: Site, running: OperatorProcess, *, kind: str = WORKER, ready: bool = True, **spec: Any
) -> None:
    """Create a Standby worker (or another kind), and the pods that its Deployment would have."""
    site.create(standby(kind, timings={"profile": "Fast"}, **spec))
    component = f"{NAME}-{component_of(kind)}"
    eventually(lambda: site.find("Deployment", component), log=running.log)
    eventually(lambda: site.find("Lease", component), log=running.log)
    site.run(component, ready=ready)


def said(site: Site, condition: str) -> tuple[str, str, str]:
    found = site.condition(WORKER, NAME, condition)
    return found.get("status", ""), found.get("reason", ""), found.get("message", "")


def starts(journal: Path) -> dict[str, list[float]]:
    """When each candidate started the command; fails if one epoch had two starts."""
    lines = [line.split() for line in journal.read_text().splitlines()] if journal.exists() else []
    epochs = [int(epoch) for _, _, epoch in lines]
    assert epochs == sorted(set(epochs)), "each start has an epoch of its own, one after the other"
    return {name: [float(at) for at, who, _ in lines if who == name] for name in PODS}


def test_a_command_that_always_ends_is_a_crash_loop_and_the_lease_comes_to_rest(
    site: Site, running: OperatorProcess, candidates: Candidates, tmp_path: Path
) -> None:
    journal, program = tmp_path / "starts", tmp_path / "program.py"
    program.write_text(ENDS)
    command = [sys.executable, "-I", "-S", str(program), str(journal)]
    made(site, running, command=command)
    candidates.start(command=command)
    eventually(lambda: said(site, "CrashLooping")[0] == "True", seconds=60, log=running.log)
    assert said(site, "CrashLooping")[1] == "CommandEnds"
    status, reason, message = said(site, "HolderActive")
    assert (status, reason) == ("False", "CrashLooping")
    assert f"in {PODS[0]} and {PODS[1]}, last in pod" in message
    assert "exit code 127 (there is no such program in the image)" in message
    assert said(site, "Degraded")[0] == "True"
    eventually(lambda: site.events("CrashLooping"), log=running.log)
    told = len(site.events("TakenOver"))

    until(lambda: min(map(len, starts(journal).values())) >= 4, seconds=60, why="4 starts each")
    for at in starts(journal).values():
        pauses = [after - before for before, after in pairwise(at)]
        # less is no delay of a busy machine: they are doubled from 1 s, minus what a clock shows
        assert all(pause > 0.95 * 2**n for n, pause in enumerate(pauses)), pauses
    assert not any(pod.ended for pod in candidates.pods), "no container restarts for it"
    assert candidates.ready() == [True, True], "each could start it, if only it stayed"
    assert len(site.events("TakenOver")) == told, "not a word about each turn"
    assert said(site, "CrashLooping")[0] == "True"


def test_a_command_that_is_not_there_is_named_and_nobody_takes_the_lease(
    site: Site, running: OperatorProcess, candidates: Candidates, tmp_path: Path
) -> None:
    program = tmp_path / "dpe-worker"
    made(site, running, ready=False, command=[str(program)])
    candidates.start(command=[str(program)])
    for port in candidates.ports.values():
        gone = (503, f"{program} is not there, or cannot be used\n")
        until(lambda port=port, gone=gone: ask(port, "/readyz") == gone)
    candidates.ready()
    needs = f"no candidate is ready (each needs the program {program};"
    eventually(lambda: needs in said(site, "HolderActive")[2], log=running.log)
    assert said(site, "HolderActive")[1] == "NotTakenYet"
    time.sleep(LEASE_SECONDS + 1)
    assert candidates.lease().get("holderIdentity", "") == ""
    assert said(site, "CrashLooping")[0] != "True", "nothing was started"

    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    until(lambda: candidates.ready() == [True, True], seconds=30, why="the program has come")
    site.run(COMPONENT)
    eventually(lambda: said(site, "HolderActive")[:2] == ("True", "Held"), log=running.log)
    assert candidates.lease()["leaseTransitions"] == 1


def test_a_lease_deleted_under_its_holder_is_made_again_and_one_goes_on(
    site: Site, running: OperatorProcess, candidates: Candidates
) -> None:
    made(site, running)
    candidates.start()
    first = until(lambda: next((pod for pod in candidates.pods if pod.acting), None), seconds=30)
    eventually(lambda: said(site, "HolderActive")[:2] == ("True", "Held"), log=running.log)
    uid = site.get("Lease", COMPONENT)["metadata"]["uid"]
    site.delete("Lease", COMPONENT)

    def again() -> bool:
        found = site.find("Lease", COMPONENT)
        return found is not None and found["metadata"]["uid"] != uid

    eventually(again, log=running.log)
    gone = elector_pods.boot()
    until(lambda: not first.acting, seconds=30, why="the holder of the former Lease stops")
    stopped = first.acts()[-1].at
    acting = until(lambda: next((pod for pod in candidates.pods if pod.acting), None), seconds=60)
    begun = acting.acts("start")[-1].at
    assert begun > stopped
    assert begun - gone > LEASE_SECONDS - 1, "a holder may live unseen for one Lease duration"
    assert candidates.electors.overlap() <= 0
    eventually(
        lambda: said(site, "HolderActive")[2].startswith(f"{acting.name} acts"),
        seconds=40,
        log=running.log,
    )


def account_token(site: Site) -> str:
    """A token of the candidates' account as it is now; does not make one."""
    uid = site.get("ServiceAccount", COMPONENT)["metadata"]["uid"]
    token = site.server.service_account_token(site.namespace, COMPONENT)
    assert site.get("ServiceAccount", COMPONENT)["metadata"]["uid"] == uid
    return token


@pytest.mark.timeout(240)
def test_pods_of_a_service_account_that_was_made_again_are_replaced_and_one_goes_on(
    site: Site, running: OperatorProcess, candidates: Candidates, tmp_path: Path
) -> None:
    """Kubelet leaves a running pod the token of the former account, which is refused."""
    token = tmp_path / "token"
    made(site, running)
    token.write_text(account_token(site))
    candidates.start(token=token)
    first = until(lambda: next((pod for pod in candidates.pods if pod.acting), None), seconds=30)
    candidates.ready()
    uids = {name: site.get("Pod", name)["metadata"]["uid"] for name in PODS}
    former = site.get("ServiceAccount", COMPONENT)["metadata"]["uid"]
    time.sleep(1.1)  # times of creation are whole seconds
    site.delete("ServiceAccount", COMPONENT)

    def made_again() -> bool:
        found = site.find("ServiceAccount", COMPONENT)
        return found is not None and found["metadata"]["uid"] != former

    eventually(made_again, log=running.log)
    first.wait_fenced(40)
    stopped = first.acts()[-1].at

    def replaced() -> bool:
        with contextlib.suppress(AssertionError):  # one may go at any moment
            candidates.ready()
        found = {name: site.find("Pod", name) for name in PODS}
        return all(
            pod is None or pod["metadata"]["uid"] != uids[name] for name, pod in found.items()
        )

    eventually(replaced, seconds=60, log=running.log)
    assert site.events("TokenRefused"), "it says why"
    assert candidates.electors.overlap() <= 0
    for pod in candidates.pods:
        pod.close()
    token.write_text(account_token(site))
    site.run(COMPONENT)
    candidates.start(token=token)
    acting = until(
        lambda: next((pod for pod in candidates.pods[2:] if pod.acting), None), seconds=60
    )
    assert acting.acts("start")[-1].at > stopped
    until(lambda: candidates.ready() == [True, True], seconds=30)
    eventually(
        lambda: said(site, "HolderActive")[:2] == ("True", "Held"), seconds=40, log=running.log
    )
    assert {site.get("Pod", name)["metadata"]["uid"] for name in PODS}.isdisjoint(uids.values())
