# SPDX-License-Identifier: Apache-2.0
"""Promise: a planned switch is one annotation, and clients that retry do not notice it, busy or idle."""

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e


def test_switch_under_load(shared_site: Site) -> None:
    before, target = shared_site.active(), shared_site.standby()
    with shared_site.load(seconds=120) as load:
        shared_site.kube.annotate("dpe", shared_site.name, switch_to=target)
        shared_site.wait_active(target, timeout=60)
        load.stop(after=3)
        seen = load.summary()

    assert seen["failedAfterRetries"] == 0, load.story()
    assert seen["switches"][0]["to"] == target and len(seen["switches"]) == 1, load.story()
    # Passthrough cuts each open connection at most once
    assert load.lost() <= load.connections, load.story()
    assert load.gap_seconds() < 6, load.story()
    assert (
        shared_site.status()["lastSwitch"] | {"from": before, "to": target, "cause": "Requested"}
        == (shared_site.status()["lastSwitch"])
    )


def test_switch_of_an_idle_site_takes_the_request_away(shared_site: Site) -> None:
    target = shared_site.standby()
    shared_site.kube.annotate("dpe", shared_site.name, switch_to=target)
    shared_site.wait_active(target, timeout=60)

    def request_gone() -> bool:
        item = shared_site.kube.get("dpe", shared_site.name)
        return "dpe.dev/switch-to" not in item["metadata"].get("annotations", {})

    eventually(request_gone, timeout=60, what="the annotation dpe.dev/switch-to is taken away")


def test_switch_to_an_unknown_member_is_refused_by_an_event(shared_site: Site) -> None:
    active = shared_site.active()
    shared_site.kube.annotate("dpe", shared_site.name, switch_to="nobody")

    def told() -> bool:
        return any("nobody" in text for text in shared_site.event_texts())

    try:
        eventually(told, timeout=60, what="an event that names the unknown member")
        assert shared_site.active() == active
    finally:
        shared_site.kube.run("annotate", "dpe", shared_site.name, "dpe.dev/switch-to-")
