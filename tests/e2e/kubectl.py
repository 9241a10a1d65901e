# SPDX-License-Identifier: Apache-2.0
"""kubectl for e2e tests: our own binary, our own kubeconfig, JSON in and out.

Waiting is polling with a deadline, and a wait that fails says what it last saw.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
Object = dict[str, Any]


class KubectlError(RuntimeError):
    """kubectl ended with an error; the text is what it printed."""


@dataclass(frozen=True)
class Kubectl:
    """kubectl bound to the test cluster and, where given, to one namespace."""

    binary: Path
    kubeconfig: Path
    namespace: str = ""

    def within(self, namespace: str) -> Kubectl:
        """The same cluster, another namespace."""
        return Kubectl(self.binary, self.kubeconfig, namespace)

    def command(self, *arguments: str) -> list[str]:
        """The words of one kubectl command, for who runs it himself."""
        words = [str(self.binary), "--kubeconfig", str(self.kubeconfig)]
        return [*words, *(["-n", self.namespace] if self.namespace else []), *arguments]

    def run(
        self, *arguments: str, stdin: str | None = None, timeout: float = 60, check: bool = True
    ) -> str:
        """Run one kubectl command and return what it printed; KubectlError when it fails."""
        command = self.command(*arguments)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=timeout)
        if check and done.returncode:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout if done.returncode == 0 else done.stdout + done.stderr

    def apply(self, *objects: Object) -> None:
        """Server-side apply, as a user would do it (field manager kubectl)."""
        text = "\n---\n".join(json.dumps(item) for item in objects)
        self.run("apply", "--server-side", "-f", "-", stdin=text)

    def refused(self, item: Object) -> str:
        """The API server's words when it refuses the object; fails the test if it does not."""
        try:
            self.apply(item)
        except KubectlError as error:
            return str(error)
        raise AssertionError(f"{item['kind']} {item['metadata']['name']} was not refused")

    def get(self, kind: str, name: str) -> Object:
        """One object; KubectlError if it is not there."""
        found: Object = json.loads(self.run("get", kind, name, "-o", "json"))
        return found

    def find(self, kind: str, name: str) -> Object | None:
        """One object, or None."""
        text = self.run("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def list(self, kind: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """All objects of a kind in the namespace, narrowed by labels."""
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        items: list[Object] = json.loads(
            self.run("get", kind, "-o", "json", *(["-l", selector] if selector else []))
        )["items"]
        return items

    def annotate(self, kind: str, name: str, **pairs: str) -> None:
        """Set annotations of ours: the keyword switch_to stands for dpe.dev/switch-to."""
        texts = [f"dpe.dev/{key.replace('_', '-')}={value}" for key, value in pairs.items()]
        self.run("annotate", "--overwrite", kind, name, *texts)

    def patch(self, kind: str, name: str, change: Object) -> None:
        """A merge patch."""
        self.run("patch", kind, name, "--type=merge", "-p", json.dumps(change))

    def delete(self, kind: str, name: str, *more: str, timeout: float = 90) -> None:
        """Delete and wait until it is gone."""
        self.run("delete", kind, name, *more, timeout=timeout)

    def wait_ready(self, kind: str, name: str, *, timeout: float = 180) -> Object:
        """Wait for our own Ready condition at the current generation, and return the object."""

        def ready() -> Object | None:
            item = self.find(kind, name)
            if not item or condition(item, "Ready").get("status") != "True":
                return None
            observed = item.get("status", {}).get("observedGeneration", 0)
            return item if observed == item["metadata"]["generation"] else None

        def describe() -> str:
            item = self.find(kind, name) or {}
            return json.dumps(item.get("status", {}), indent=1) + self.run(
                "get", "pods", "-o", "wide", check=False
            )

        return eventually(ready, timeout=timeout, what=f"{kind} {name} Ready", describe=describe)


def condition(item: Object, kind: str) -> Object:
    """The condition of that type, or an empty dict."""
    conditions = item.get("status", {}).get("conditions", [])
    return next((entry for entry in conditions if entry["type"] == kind), {})


def eventually(
    probe: Callable[[], T | None],
    *,
    timeout: float,
    what: str,
    every: float = 0.5,
    describe: Callable[[], str] | None = None,
) -> T:
    """Ask until the probe gives something true; AssertionError with the last sight after timeout seconds.

    A question that could not be asked, as the API server was slow or a container just restarts, is
    asked again.
    """
    deadline = time.monotonic() + timeout
    while True:
        trouble = ""
        try:
            if found := probe():
                return found
        except (KubectlError, subprocess.SubprocessError) as error:
            trouble = f"; {error}"
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:.0f} s: {what}{trouble}{_seen(describe)}")
        time.sleep(every)


def _seen(describe: Callable[[], str] | None) -> str:
    try:
        return f"; seen: {describe()}" if describe else ""
    except (KubectlError, subprocess.SubprocessError) as error:
        return f"; nothing is seen: {error}"
