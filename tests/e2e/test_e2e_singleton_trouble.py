# SPDX-License-Identifier: Apache-2.0
"""Promise: whatever is done to a component in Standby mode, never two of it act, and it says what is wrong."""

import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import Object, condition, eventually
from tests.e2e.site import Site
from tests.e2e.workflow import Component, component, is_ready, log_on_node, restarts

pytestmark = pytest.mark.e2e

KIND, NAME = "WorkflowWorker", "trouble"
FAST = {"profile": "Fast"}


@pytest.fixture
def trouble(shared_site: Site) -> Iterator[Component]:
    """The name of a worker; each test makes it as it likes."""
    yield Component(shared_site.kube, KIND, NAME)
    shared_site.kube.delete(KIND, NAME)


def worker(site: Site, *, mode: str = "Standby", **spec: object) -> Object:
    made = component(KIND, NAME, site, mode=mode)
    made["spec"] |= ({"timings": FAST} if mode == "Standby" else {}) | spec
    return made


def told(found: Component, kind: str, text: str) -> Object:
    """Wait until a condition of the component says this."""

    def says() -> Object | None:
        entry = condition(found.get(), kind)
        return entry if text in entry.get("message", "") else None

    return eventually(
        says, timeout=60, what=f"{kind} says {text!r}", describe=found.describe
    )  # fmt: skip


def test_command_that_does_not_exist_is_named_and_nobody_takes_the_lease(
    shared_site: Site, trouble: Component
) -> None:
    shared_site.kube.apply(worker(shared_site, command=["/opt/there-is-no-such-worker"]))
    entry = told(trouble, "HolderActive", "no candidate is ready")
    assert "/opt/there-is-no-such-worker" in entry["message"], trouble.describe()
    eventually(
        lambda: [pod["status"].get("phase") for pod in trouble.pods()] == ["Running"] * 2,
        timeout=60, what="both candidates run", describe=trouble.describe,
    )  # fmt: skip
    assert trouble.ready_pods() == [], "a candidate that cannot act is not ready"
    for pod in trouble.pods():
        eventually(
            lambda pod=pod: "/opt/there-is-no-such-worker is not there" in log(trouble, pod),
            timeout=20, what="the candidate's log says it", describe=trouble.describe,
        )  # fmt: skip
        assert restarts(pod) == 0, "a restart would not bring it"
    assert trouble.epoch() == 0, "the Lease was never taken"


@pytest.mark.level2
def test_command_that_always_ends_is_a_crash_loop(shared_site: Site, trouble: Component) -> None:
    shared_site.kube.apply(worker(shared_site, command=["/bin/false"]))
    entry = told(trouble, "CrashLooping", "the command keeps ending by itself")
    assert entry["status"] == "True"
    assert condition(trouble.get(), "HolderActive").get("reason") == "CrashLooping"
    # the pauses double: what takes seconds at first takes minutes soon
    first = trouble.epoch()
    eventually(lambda: trouble.epoch() > first, timeout=90, what="another turn")
    for pod in trouble.pods():
        assert is_ready(pod), trouble.describe()
        assert restarts(pod) == 0, trouble.describe()
    shared_site.kube.apply(worker(shared_site))
    trouble.wait_ready(timeout=240)


@pytest.mark.level2
def test_lease_deleted_under_its_holder(shared_site: Site, trouble: Component) -> None:
    shared_site.kube.apply(worker(shared_site))
    trouble.wait_ready()
    former = trouble.lease()["metadata"]["uid"]
    old, deleted = shared_site.kube.get("pod", trouble.holder()), time.time()
    shared_site.kube.delete("lease", trouble.full_name)
    eventually(
        lambda: (trouble.lease_or_nothing().get("metadata") or {}).get("uid") not in (None, former),
        timeout=20, what="the operator makes the Lease again", describe=trouble.describe,
    )  # fmt: skip
    new = shared_site.kube.get("pod", trouble.wait_holder(timeout=40))
    started = eventually(
        lambda: said_at(new, "started the command", since=deleted),
        timeout=20, what="the start under the new Lease", describe=trouble.describe,
    )  # fmt: skip
    ended = said_at(old, "the command ended", "killed the command", since=deleted)
    assert len(started) == 1 and ended and ended[0] < started[0], trouble.describe()
    trouble.wait_ready()


@pytest.mark.level2
def test_a_change_of_mode_there_and_back_never_has_both(
    shared_site: Site, trouble: Component
) -> None:
    """Before the first of one mode starts, the last of the other has gone."""
    shared_site.kube.apply(worker(shared_site))
    trouble.wait_ready()
    for mode in ("Concurrent", "Standby"):
        before = {pod["metadata"]["uid"] for pod in trouble.pods()}
        shared_site.kube.apply(worker(shared_site, mode=mode))
        seen = modes_until_only(trouble, mode)
        assert not any(len(modes) > 1 for modes in seen), f"both at once: {seen}"
        trouble.wait_ready()
        assert not before & {pod["metadata"]["uid"] for pod in trouble.pods()}


def modes_until_only(found: Component, mode: str) -> set[frozenset[str]]:
    """Look until all pods are of this mode; return which modes were there at the same time."""
    seen: set[frozenset[str]] = set()

    def only() -> bool:
        modes = modes_of_all_pods(found)
        seen.add(modes)
        return modes == frozenset({mode.lower()})

    eventually(
        only, timeout=90, every=0.2, what=f"all pods are {mode}", describe=found.describe
    )  # fmt: skip
    return seen


def modes_of_all_pods(found: Component) -> frozenset[str]:
    """Also of those that are on their way out: they may still act."""
    labels = {"dpe.dev/owner-kind": found.kind, "app.kubernetes.io/instance": found.name}
    pods = found.kube.list("pod", labels)
    return frozenset(pod["metadata"]["labels"].get("dpe.dev/mode", "") for pod in pods)


def log(found: Component, pod: Object) -> str:
    return found.kube.run("logs", pod["metadata"]["name"], check=False)


def said_at(pod: Object, *texts: str, since: float) -> list[float]:
    """When the pod's log said one of these, in seconds since 1970."""
    return [
        at for at, line in log_on_node(pod) if at > since and any(text in line for text in texts)
    ]
