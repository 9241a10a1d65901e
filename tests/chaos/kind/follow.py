# SPDX-License-Identifier: Apache-2.0
"""Follows Leases and the balancers' record: every version that the API server has stored."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from typing import Any

from tests.chaos.frontend import BALANCER
from tests.chaos.history import Asked, Version, asked, version_of
from tests.chaos.moves import Recorded
from tests.e2e.audit import audit_log
from tests.e2e.kubectl import Kubectl

_ACTIVE, _COUNT = "dpe.dev/active-member", "dpe.dev/switch-count"


class Follower:
    """Watches all objects of a kind in a namespace until `close`; what it is told goes to `take`."""

    def __init__(self, kube: Kubectl, api: str, kind: str) -> None:
        self._kube = kube
        self._path = f"/apis/{api}/namespaces/{kube.namespace}/{kind}"
        self._closed = threading.Event()
        self._after = ""
        self._process: subprocess.Popen[str] | None = None
        # how often the watch had to begin anew without knowing what was in between
        self.holes = 0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def take(self, item: dict[str, Any], *, gone: bool) -> None:
        """Note an object as it was stored."""
        raise NotImplementedError

    def close(self) -> None:
        """End the watch."""
        self._closed.set()
        if self._process is not None:
            self._process.kill()
        self._thread.join(15)

    def _run(self) -> None:
        while not self._closed.is_set():
            try:
                if not self._after:
                    self._list()
                self._watch()
            except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
                pass  # an API server that is away, or a line that it did not finish
            self._closed.wait(0.3)

    def _list(self) -> None:
        found = json.loads(self._kube.run("get", "--raw", self._path, timeout=10, check=False))
        self._after = str(found["metadata"]["resourceVersion"])
        for item in found["items"]:
            self.take(item, gone=False)

    def _watch(self) -> None:
        query = f"?watch=1&resourceVersion={self._after}&timeoutSeconds=60&allowWatchBookmarks=true"
        command = self._kube.command("get", "--raw", self._path + query)
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert self._process.stdout is not None
            for line in self._process.stdout:
                self._event(json.loads(line))
        finally:
            self._process.kill()
            self._process.communicate(timeout=10)

    def _event(self, event: dict[str, Any]) -> None:
        if event["type"] == "ERROR":
            self.holes += 1
            self._after = ""
            raise ValueError(event["object"])
        self._after = str(event["object"]["metadata"]["resourceVersion"])
        if event["type"] != "BOOKMARK":
            self.take(event["object"], gone=event["type"] == "DELETED")


class Leases(Follower):
    """`versions` of all Leases, in their order."""

    def __init__(self, kube: Kubectl) -> None:
        self.versions: list[Version] = []
        super().__init__(kube, "coordination.k8s.io/v1", "leases")

    def take(self, item: dict[str, Any], *, gone: bool) -> None:
        self.versions.append(version_of(item, gone=gone))

    def since(self, mark: int) -> list[Version]:
        """Those after the first `mark` ones, and of each Lease the last one before that."""
        before = {one.name: one for one in self.versions[:mark]}
        return [*before.values(), *self.versions[mark:]]


class Record(Follower):
    """`recorded`: which server became the active one, as the how-manieth switch and when (seconds
    since 1970), by the balancers' record."""

    def __init__(self, kube: Kubectl) -> None:
        self.recorded: list[Recorded] = []
        super().__init__(kube, "discovery.k8s.io/v1", "endpointslices")

    def take(self, item: dict[str, Any], *, gone: bool) -> None:
        notes = item["metadata"].get("annotations") or {}
        active = notes.get(_ACTIVE, "")
        if item["metadata"]["name"] != BALANCER or gone or not active:
            return
        seen = Recorded(time.time(), active, int(notes.get(_COUNT, 0)))
        last = self.recorded[-1] if self.recorded else None
        if last is None or (last.member, last.count) != (seen.member, seen.count):
            self.recorded.append(seen)

    def wait(self, seconds: float) -> bool:
        """Wait until the record was seen."""
        end = time.monotonic() + seconds
        while not self.recorded and time.monotonic() < end:
            time.sleep(0.2)
        return bool(self.recorded)


class Audit:
    """The API server's audit log, from now on."""

    def __init__(self, namespace: str) -> None:
        self._namespace = namespace
        self._path = audit_log()
        self._from = self._path.stat().st_size if self._path.exists() else 0
        self._found: dict[tuple[str, int], float] = {}

    def asked(self) -> Asked:
        """When the updates of the namespace's Leases were asked for, so far."""
        with self._path.open(encoding="utf-8", errors="replace") as lines:
            if self._path.stat().st_size >= self._from:  # else a new file was begun
                lines.seek(self._from)
            self._found |= asked(lines, self._namespace)
            self._from = lines.tell()
        return self._found
