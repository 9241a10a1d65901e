# SPDX-License-Identifier: Apache-2.0
"""The clients of a run: a prober in a pod, and others on this machine, outside the cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.e2e import processes
from tests.e2e.kubectl import Kubectl, Object, eventually
from tests.e2e.load import placed
from tests.e2e.site_manifests import restricted_pod

from dpe_bench.baselines import BASE, SITE
from dpe_bench.cases import UNDISTURBED_SECONDS
from dpe_bench.subjects import Subject
from dpe_operator.prober.retry import PREFIX

ROOT = Path(__file__).resolve().parents[3]
_POD = "probe"
# Seconds, of which it needs 3 or so.
POD_STARTS_WITHIN = 90
# The port of a lost node answers nobody any more, which 4 s show; its clients then need 20 s to
# give up what they have begun, and the run would have to wait for them.
_LOST_NODE_SECONDS = 4
# New connections a second, of all requests.
_POD_RATE, _POD_FRESH = 200, 50
# Slow by themselves: the first lets one wait for a second, the second takes a second to read.
_SLOW = ("--slow-path=/ping?seconds=1", "--slow-path=/ping?bytes=262144")
# Every client of every subject waits so long for an answer. The published profile has 5 s, for real
# requests that take long; a kept connection to a machine that is lost would be stuck for as long,
# and that would be measured instead of the fail-over.
_REQUEST_TIMEOUT = {"name": f"{PREFIX}REQUEST_TIMEOUT", "value": "2s"}


def _arguments(url: str, *, seconds: float, rate: int, fresh: int) -> list[str]:
    return [
        "probe", f"--url={url}", "--path=/ping", *_SLOW, f"--seconds={seconds:g}s",
        f"--undisturbed={UNDISTURBED_SECONDS}s", f"--rate={rate}", f"--fresh={fresh}", "--progress",
    ]  # fmt: skip


def sent_seconds(summary: Object, fresh: int) -> float:
    """For how long a client sent, by the new connections it has opened, `fresh` a second: one goes
    out at each planned time, whatever the servers do."""
    opened: int = summary["classes"].get("fresh", {}).get("requests", 0)
    return round(opened / fresh, 2)


class PodProbe:
    """In the cluster, over the ClusterIP: 200 requests a second; the figures that are compared."""

    def __init__(self, subject: Subject, *, seconds: int, avoid_node: str) -> None:
        self._kube = subject.kube
        self._seconds = seconds
        self._over_at = 0.0
        url = f"https://{SITE}-balancer.{subject.kube.namespace}.svc{BASE}"
        arguments = _arguments(url, seconds=seconds, rate=_POD_RATE, fresh=_POD_FRESH)
        command = ["dpe-operator", *arguments, "--ca=/etc/dpe-ca/ca.crt", "--json=-"]
        self._manifest = restricted_pod(
            _POD, subject.images["dpe-operator"], command, ca=f"{SITE}-ca", **placed(avoid_node)
        )
        container = self._manifest["spec"]["containers"][0]
        profile = {"configMapRef": {"name": f"{SITE}-client-profile", "optional": True}}
        container["envFrom"] = [profile]
        container["env"] = [*container.get("env", []), _REQUEST_TIMEOUT]

    def start(self) -> None:
        """Start it and wait until its undisturbed part is over."""
        self.remove()
        self._kube.apply(self._manifest)
        eventually(
            lambda: self._progress() >= UNDISTURBED_SECONDS,
            timeout=POD_STARTS_WITHIN,
            every=0.2,
            what="the prober's undisturbed part",
            describe=lambda: self._kube.run("logs", _POD, "--tail=20", check=False),
        )
        self._over_at = time.monotonic() + self._seconds - UNDISTURBED_SECONDS

    def end(self) -> None:
        """Let it send nothing more, and sum up."""
        processes.signal_pod(self._kube.get("pod", _POD), "TERM")
        self._over_at = time.monotonic()

    def summary(self) -> Object:
        """What it saw, once it is over."""
        # asking for it earlier would only cost the measured machine something
        time.sleep(max(0.0, self._over_at - time.monotonic()))
        found: Object = eventually(
            self._summary, timeout=self._seconds + 90, every=1, what="the prober's summary"
        )
        return found | {"sentSeconds": sent_seconds(found, _POD_FRESH)}

    def remove(self) -> None:
        """Take the pod away."""
        self._kube.run(
            "delete", "pod", _POD, "--ignore-not-found", "--grace-period=0", "--force", timeout=120
        )

    def _progress(self) -> float:
        """The second of its last line of progress; -1 before the first answer."""
        text = self._kube.run("logs", _POD, "--tail=3", check=False)
        seconds = re.findall(r"^ *([0-9.]+) s  \S+=", text, re.MULTILINE)
        return float(seconds[-1]) if seconds else -1

    def _summary(self) -> Object | None:
        text = self._kube.run("logs", _POD, check=False)
        start = text.find("\n{") + 1
        try:
            found: Object = json.JSONDecoder().raw_decode(text[start:])[0] if start else {}
        except ValueError:
            return None
        return found or None


class OutsideProbe:
    """On this machine, over the port of one node; a few requests a second beside the pod's.

    It goes on until `end`; `seconds` is only how long at most.
    """

    def __init__(self, subject: Subject, node: str, *, seconds: int, rate: int, fresh: int) -> None:
        url = subject.url(node)
        self._result = subject.folder / f"outside-{node}.json"
        self._seconds, self._fresh = seconds, fresh
        name = f"{SITE}-balancer.{subject.kube.namespace}.svc"
        arguments = _arguments(url, seconds=seconds, rate=rate, fresh=fresh)
        trust = [f"--ca={subject.folder / 'ca.crt'}", f"--server-name={name}"]
        self._command = [
            sys.executable, "-m", "dpe_operator", *arguments, *trust, f"--json={self._result}",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        self._result.unlink(missing_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "operator")}
        self._process = subprocess.Popen(
            self._command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def end(self) -> None:
        """Let it send nothing more, and sum up."""
        assert self._process is not None
        self._process.terminate()

    def summary(self) -> Object:
        """What it saw, once it is over."""
        assert self._process is not None
        self._process.wait(self._seconds + 90)
        found: Object = json.loads(self._result.read_text(encoding="utf-8"))
        return found | {"sentSeconds": sent_seconds(found, self._fresh)}

    def remove(self) -> None:
        """End it, if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)


def surviving_worker(cluster: Kubectl, lost: str) -> str:
    """A worker node that is not the one that is lost."""
    nodes = cluster.list("nodes")
    plane = "node-role.kubernetes.io/control-plane"
    workers = [node["metadata"] for node in nodes if plane not in node["metadata"]["labels"]]
    return next(str(one["name"]) for one in workers if one["name"] != lost)


class Clients:
    """All clients of one run by entry; a context manager that leaves none behind.

    None runs on `avoid_node`; with `lost_node` one of them uses its port.
    """

    def __init__(self, subject: Subject, *, seconds: int, avoid_node: str, lost_node: bool) -> None:
        # started before the pod's, and ended when that is over: for as long as a pod may take
        outside = seconds + POD_STARTS_WITHIN
        surviving = surviving_worker(subject.cluster, avoid_node)
        self._pod = PodProbe(subject, seconds=seconds, avoid_node=avoid_node)
        self._outside = {
            "nodeport": OutsideProbe(subject, surviving, seconds=outside, rate=50, fresh=15)
        }
        if lost_node:
            self._outside["lost-node"] = OutsideProbe(
                subject, avoid_node, seconds=outside, rate=20, fresh=8
            )

    def __enter__(self) -> Clients:
        try:
            for probe in self._outside.values():
                probe.start()
            self._pod.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        self._remove()

    def end(self) -> None:
        """Let the pod's send nothing more, before its time; the others end with it."""
        self._pod.end()

    def summaries(self) -> dict[str, Object]:
        """What each saw by entry, asked for right after the fault; waits for the pod's end, and
        ends the others with it, that of a lost node before."""
        if "lost-node" in self._outside:
            time.sleep(_LOST_NODE_SECONDS)
            self._outside["lost-node"].end()
        found = {"cluster": self._pod.summary()}
        for probe in self._outside.values():
            probe.end()
        return found | {entry: probe.summary() for entry, probe in self._outside.items()}

    def _remove(self) -> None:
        probes: Sequence[PodProbe | OutsideProbe] = (*self._outside.values(), self._pod)
        for probe in probes:
            probe.remove()
