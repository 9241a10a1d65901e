# SPDX-License-Identifier: Apache-2.0
"""Promise: a ServiceAccount that was deleted and made again stops the one that acts, and one goes on."""

import contextlib
import subprocess
import time
from collections.abc import Iterator

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.site import Site
from tests.e2e.standby import first_start, last_act, standing_worker
from tests.e2e.workflow import Component, is_ready

pytestmark = [pytest.mark.e2e, pytest.mark.level2]


@pytest.fixture
def renamed(shared_site: Site) -> Iterator[Component]:
    with standing_worker(shared_site, "account", profile="Fast") as made:
        yield made


def test_service_account_deleted_and_made_again(shared_site: Site, renamed: Component) -> None:
    """Kubelet leaves a running pod the token of the former account, so the pods are replaced."""
    kube = shared_site.kube
    pods = {pod["metadata"]["uid"]: pod for pod in renamed.pods()}
    old, epoch = kube.get("pod", renamed.holder()), renamed.epoch()
    former = kube.get("serviceaccount", renamed.full_name)["metadata"]["uid"]
    deleted = time.time()
    kube.delete("serviceaccount", renamed.full_name)
    eventually(
        lambda: (kube.find("serviceaccount", renamed.full_name) or {}).get("metadata", {}).get("uid")
        not in (None, former),
        timeout=30, what="the operator makes it again", describe=renamed.describe,
    )  # fmt: skip

    def replaced() -> bool:
        """New pods only, all of them ready; what the old one said is read before its log goes."""
        nonlocal acted
        with contextlib.suppress(subprocess.CalledProcessError):  # its log has gone with it
            acted = last_act(old)
        found = renamed.pods()
        return len(found) == 2 and all(
            is_ready(pod) and pod["metadata"]["uid"] not in pods for pod in found
        )

    acted = last_act(old)
    eventually(replaced, timeout=180, what="new pods stand by", describe=renamed.describe)
    new = kube.get("pod", renamed.wait_holder(timeout=60))
    started = first_start(new, renamed, since=deleted)
    print(f"nobody acted for {started - acted:.1f} s")
    assert acted < started
    assert renamed.epoch() == epoch + 1, renamed.describe()
    assert any("was deleted and made again" in text for text in shared_site.event_texts())
    renamed.wait_ready()


def test_balancers_of_an_account_made_again_are_replaced_and_clients_lose_nothing(
    shared_site: Site,
) -> None:
    kube, name = shared_site.kube, f"{shared_site.name}-balancer"
    before, active = shared_site.balancer_uids(), shared_site.active()
    with shared_site.load(seconds=150) as load:
        kube.delete("serviceaccount", name)
        eventually(
            lambda: len(after := shared_site.balancer_uids()) == 2 and not after & before,
            timeout=120, what="both balancers are new", describe=shared_site.describe,
        )  # fmt: skip
        eventually(
            lambda: shared_site.routed_balancer() in {
                pod["metadata"]["name"]
                for pod in kube.list("pod", {"app.kubernetes.io/component": "balancer"})
                if pod["metadata"]["uid"] not in before and is_ready(pod)
            },
            timeout=60, what="a new one is routed", describe=shared_site.describe,
        )  # fmt: skip
        load.stop(after=5)
        seen = load.summary()
    assert seen["failedAfterRetries"] == 0, load.story()
    assert list(seen["members"]) == [active], load.story()
    kube.wait_ready("dpe", shared_site.name)
