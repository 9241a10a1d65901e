# SPDX-License-Identifier: Apache-2.0
"""A component in Standby mode for one test, and who of its pods acted when, read from the nodes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.kubectl import Object, eventually
from tests.e2e.site import Site
from tests.e2e.volumes import SharedVolumes
from tests.e2e.workflow import Component, component, log_on_node, records_on_node, watcher

FAST = {"profile": "Fast"}


@contextmanager
def standing_watcher(site: Site, name: str) -> Iterator[Component]:
    """A table watcher with a memory on a volume that all nodes mount; it and its claims go."""
    SharedVolumes(site.kube).make(f"{name}-table-watcher-memory")
    site.kube.apply(watcher(name, site, mode="Standby", timings=FAST))
    found = Component(site.kube, "WorkflowTableWatcher", name)
    try:
        found.wait_ready()
        yield found
    finally:
        site.kube.run("delete", found.kind, name, "--ignore-not-found", timeout=120)
        site.kube.run("delete", "pvc", "-l", f"app.kubernetes.io/instance={name}")


@contextmanager
def standing_worker(site: Site, name: str, *, profile: str) -> Iterator[Component]:
    """A worker, which needs no volume."""
    made = component("WorkflowWorker", name, site, mode="Standby")
    made["spec"]["timings"] = {"profile": profile}
    site.kube.apply(made)
    found = Component(site.kube, "WorkflowWorker", name)
    try:
        found.wait_ready()
        yield found
    finally:
        site.kube.run("delete", found.kind, name, "--ignore-not-found", timeout=120)


def said_at(pod: Object, *texts: str, since: float) -> list[float]:
    """When the pod's log said one of these, in seconds since 1970."""
    return [
        at for at, line in log_on_node(pod) if at > since and any(text in line for text in texts)
    ]


def starts_of(pod: Object, *, since: float) -> list[float]:
    """When the pod's program was started."""
    return said_at(pod, "started the command", since=since)


def last_act(pod: Object, *, before: float = float("inf")) -> float:
    """Until when the pod's program has acted, by its own word."""
    ends = [float(one["until"] or one["at"]) for one in records_on_node(pod)]
    return max(at for at in ends if at < before)


def first_start(pod: Object, found: Component, *, since: float) -> float:
    """Wait until the pod's program was started; when that was."""
    return eventually(
        lambda: starts_of(pod, since=since), timeout=30, what="the successor's start",
        describe=found.describe,
    )[0]  # fmt: skip
