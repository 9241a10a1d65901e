# SPDX-License-Identifier: Apache-2.0
"""As it runs in a cluster: `dpe-elector --once --lease L -- dpe-par-sync --config F`.

Elector and copy are real processes in a PID namespace of their own, the API server is a real one,
and the account has the rights of a ParStore's runs and no others.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ROOT, ApiServer
from tests.support.elector_pods import LEASES, NEVER_HELD, namespace_of_its_own, until
from tests.support.mounts import hanging, needs_root
from tests.support.par_sync import MARK, Site, tree

pytestmark = pytest.mark.integration

LEASE = "radio-par-sync"
FLAGS = ("--lease-duration", "3", "--renew-deadline", "1.9", "--retry-period", "0.5")
FILES: dict[str | bytes, str | bytes] = {f"file-{number:02}": f"{number}" for number in range(20)}


class Runs:
    """Jobs of one ParStore: each is a pod that runs the copy under the elector."""

    def __init__(self, server: ApiServer, namespace: str, folder: Path) -> None:
        self.server = server
        self.namespace = namespace
        self.path = f"{LEASES.format(namespace)}/{LEASE}"
        self.site = Site(folder)
        self.site.write(self.site.master, FILES)
        self.token = folder / "token"
        self.token.write_text(server.service_account_token(namespace, LEASE))
        self.give_rights(["get", "watch", "update"])
        self.make_lease()

    def make_lease(self) -> None:
        body = {"metadata": {"name": LEASE, "annotations": dict(NEVER_HELD)}, "spec": {}}
        status, answer = self.server.request("POST", LEASES.format(self.namespace), body)
        assert status == 201, answer

    def give_rights(self, verbs: list[str]) -> None:
        rule = {
            "apiGroups": ["coordination.k8s.io"],
            "resources": ["leases"],
            "resourceNames": [LEASE],
            "verbs": verbs,
        }
        rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{self.namespace}"
        meta = {"name": LEASE}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": LEASE}
        subject = {"kind": "ServiceAccount", "name": LEASE, "namespace": self.namespace}
        for kind, body in (
            ("roles", {"metadata": meta, "rules": [rule]}),
            ("rolebindings", {"metadata": meta, "subjects": [subject], "roleRef": reference}),
        ):
            status, answer = self.server.request("POST", f"{rbac}/{kind}", body)
            assert status == 201, answer

    def start(self, pod: str = "pod-1", **changes: Any) -> subprocess.Popen[str]:
        config = self.site.root / f"{pod}.json"
        content = self.site.config(namespace=self.namespace, lease=LEASE, **changes)
        config.write_text(json.dumps(content))
        return subprocess.Popen(
            [
                *namespace_of_its_own(),
                *(sys.executable, "-m", "dpe_elector", "--lease", LEASE, *FLAGS),
                *("--once", "--once-deadline", "60", "--grace", "20", "--probe-port", "0", "--"),
                *(sys.executable, "-m", "dpe_par_sync", "--config", str(config)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(ROOT / "operator"),
                "DPE_API_SERVER": self.server.url,
                "DPE_API_TOKEN_FILE": str(self.token),
                "DPE_API_CA_FILE": str(self.server.ca_file),
                "POD_NAME": pod,
                "POD_UID": f"uid-{pod}",
                "POD_NAMESPACE": self.namespace,
                "JOB_NAME": f"job-of-{pod}",
            },
        )

    def run(self, pod: str = "pod-1", **changes: Any) -> int:
        process = self.start(pod, **changes)
        try:
            out, _ = process.communicate(timeout=50)
        finally:
            process.kill()
        print(out)
        return process.returncode

    def lease(self) -> dict[str, Any]:
        status, answer = self.server.request("GET", self.path)
        assert status == 200, answer
        return answer

    def note(self, name: str) -> Any:
        text = self.lease()["metadata"]["annotations"].get(f"dpe.dev/{name}")
        return None if text is None else json.loads(text)


@pytest.fixture
def runs(api_server: ApiServer, namespace: str, tmp_path: Path) -> Iterator[Runs]:
    """A site, a Lease as the operator makes it, and the rights of its runs."""
    yield Runs(api_server, namespace, tmp_path)


def test_the_result_lies_in_the_lease_and_the_lease_is_free(runs: Runs) -> None:
    assert runs.run("pod-1") == 0
    assert tree(runs.site.current) == tree(runs.site.master)
    result = runs.note("par-sync-result")
    assert (result["result"], result["reason"]) == ("Succeeded", "FirstCopy")
    assert (result["files"], result["copied"], result["verified"]) == (20, 20, True)
    assert (result["pod"], result["job"]) == ("pod-1", "job-of-pod-1")
    assert (result["store"], result["redundant"]) == ("radio", "nightly")
    assert runs.note("par-sync-last-success") == result
    assert json.loads(runs.site.termination.read_text()) == result
    spec = runs.lease()["spec"]
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("", 1)


def test_a_refused_run_is_told_beside_the_last_success(runs: Runs) -> None:
    assert runs.run("pod-1") == 0
    for name in FILES:
        runs.site.remove(runs.site.master / os.fsdecode(name))
    assert runs.run("pod-2") == 3, "the Job sees the status of the copy"
    assert runs.note("par-sync-result")["reason"] == "MasterEmpty"
    assert runs.note("par-sync-last-success")["pod"] == "pod-1"
    assert runs.lease()["spec"]["holderIdentity"] == ""
    assert len(tree(runs.site.current)) == 20


def test_two_runs_at_once_follow_each_other(runs: Runs) -> None:
    both = [runs.start(f"pod-{number}") for number in (1, 2)]
    assert [process.communicate(timeout=50) and process.returncode for process in both] == [0, 0]
    lines = (runs.site.state / "results.jsonl").read_text().splitlines()
    first, second = map(json.loads, lines)
    assert (first["reason"], second["reason"]) == ("FirstCopy", "UpToDate")
    assert first["finishedAt"] <= second["startedAt"]
    assert runs.lease()["spec"]["leaseTransitions"] == 2


def test_a_text_that_has_counted_is_known_even_when_both_marks_are_lost(runs: Runs) -> None:
    assert runs.run("pod-1") == 0
    (runs.site.master / MARK).unlink()
    assert runs.run("pod-2", adopt="yes") == 0
    assert runs.note("par-sync-result")["reason"] == "Adopted"
    assert runs.note("par-sync-adopted") == ["yes"]
    # other volumes are mounted by mistake, and the annotation is still there
    (runs.site.master / MARK).unlink()
    (runs.site.state / "id.json").unlink()
    assert runs.run("pod-3", adopt="yes") == 3
    assert runs.note("par-sync-result")["reason"] == "NotPaired"
    assert runs.run("pod-4", adopt="yes again") == 0


@needs_root
def test_a_hung_volume_is_told_and_the_next_run_is_not_held_up(runs: Runs) -> None:
    assert runs.run("pod-1") == 0
    with hanging(runs.site.master):
        began = time.monotonic()
        assert runs.run("pod-2", maxRunSeconds=10) == 1
        assert time.monotonic() - began < 45
        assert runs.note("par-sync-result")["reason"] == "TimedOut"
        assert runs.lease()["spec"]["holderIdentity"] == ""
    assert runs.run("pod-3") == 0
    assert runs.note("par-sync-result")["reason"] == "UpToDate"


def children(pid: int) -> list[int]:
    """Process ids of the direct children of a process; none when it is gone."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def copying(pid: int) -> list[int]:
    """All descendants that are the copy's own program, the elector left out."""
    found = []
    for child in children(pid):
        try:
            words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        except FileNotFoundError:
            continue
        if b"dpe_par_sync" in words and b"dpe_elector" not in words:
            found.append(child)
        found += copying(child)
    return found


@needs_root
def test_a_pod_that_is_deleted_meanwhile_tells_so_and_gives_the_lease_back(runs: Runs) -> None:
    assert runs.run("pod-1") == 0
    with hanging(runs.site.volume):
        process = runs.start("pod-2")
        # the copy and its worker: from that fork on the copy answers a signal
        until(lambda: len(copying(process.pid)) == 2, seconds=30)
        os.kill(children(process.pid)[0], 15)
        assert process.communicate(timeout=50)[0]
        assert process.returncode == 1
    assert runs.note("par-sync-result")["reason"] == "Interrupted"
    assert runs.lease()["spec"]["holderIdentity"] == ""
