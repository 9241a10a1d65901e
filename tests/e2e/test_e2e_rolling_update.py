# SPDX-License-Identifier: Apache-2.0
"""Promise: an update takes the standby first, switches, then the former active; it stops at the first unhealthy step."""

import copy
import time

import pytest
from tests.e2e.kubectl import condition, eventually
from tests.e2e.processes import Processes
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e


def test_update_under_load_standby_first(shared_site: Site) -> None:
    before, standby = shared_site.active(), shared_site.standby()
    changed = copy.deepcopy(shared_site.manifest)
    mark = f"{time.time():.0f}"  # another one when the test is repeated
    changed["spec"]["server"]["podAnnotations"] = {"example.com/round": mark}
    with shared_site.load(seconds=400) as load:
        shared_site.kube.apply(changed)
        eventually(
            lambda: all(
                shared_site.member_annotation(name, "example.com/round") == mark
                for name in (before, standby)
            ),
            timeout=180,
            what="both members carry the new template",
            describe=shared_site.describe,
        )
        shared_site.kube.wait_ready("dpe", shared_site.name)
        load.stop(after=2)
        seen = load.summary()

    assert seen["failedAfterRetries"] == 0, load.story()
    assert [(switch["from"], switch["to"]) for switch in seen["switches"]] == [(before, standby)], (
        load.story()
    )
    shared_site.manifest.update(changed)


def test_update_stops_at_the_first_unhealthy_step_and_can_be_set_back(shared_site: Site) -> None:
    active, standby = shared_site.active(), shared_site.standby()
    kept = shared_site.member_uid(active)
    broken = copy.deepcopy(shared_site.manifest)
    broken["spec"]["server"]["image"] = "localhost/dpe/there-is-no-such-image:1"
    try:
        shared_site.kube.apply(broken)
        eventually(
            lambda: shared_site.member_image(standby) == broken["spec"]["server"]["image"],
            timeout=90,
            what="the standby is tried first",
            describe=shared_site.describe,
        )
        with shared_site.load(seconds=10) as load:
            assert load.summary()["failedAfterRetries"] == 0, load.story()
        assert shared_site.member_uid(active) == kept, "the active member is left alone"
    finally:
        shared_site.kube.apply(shared_site.manifest)
    shared_site.kube.wait_ready("dpe", shared_site.name)
    assert shared_site.member_uid(active) == kept
    assert shared_site.active() == active


@pytest.mark.level2
def test_another_port_of_the_servers_leaves_one_that_serves(shared_site: Site) -> None:
    """Old balancers ask for the former port, new ones for the new one, and both find both."""
    changed = copy.deepcopy(shared_site.manifest)
    changed["spec"]["server"]["port"] = 8444

    def ports() -> set[int]:
        services = [f"{shared_site.name}-member-{member}" for member in ("a", "b")]
        found = [shared_site.kube.get("service", name)["spec"]["ports"] for name in services]
        return {port["port"] for each in found for port in each}

    def client_port() -> list[int]:
        service = shared_site.kube.get("service", f"{shared_site.name}-balancer")
        return [port["port"] for port in service["spec"]["ports"]]

    try:
        shared_site.kube.apply(changed)
        eventually(
            lambda: client_port() == [8444],
            timeout=60,
            what="clients find the pair at the new port",
            describe=shared_site.describe,
        )
        with shared_site.load(seconds=400, port=8444) as load:
            eventually(
                lambda: ports() == {8444},
                timeout=240,
                what="the former port is gone, when the last balancer is new",
                describe=shared_site.describe,
            )
            shared_site.kube.wait_ready("dpe", shared_site.name)
            load.stop(after=2)
            seen = load.summary()
        assert seen["failedAfterRetries"] == 0, load.story()
        assert load.gap_seconds() < 10, load.story()
    finally:
        shared_site.kube.apply(shared_site.manifest)
    shared_site.kube.wait_ready("dpe", shared_site.name)


@pytest.mark.level2
def test_a_version_that_fails_as_soon_as_it_serves_is_left_and_stays_left(
    shared_site: Site, processes: Processes
) -> None:
    former, new = shared_site.active(), shared_site.standby()
    kept, count = shared_site.member_uid(former), shared_site.switch_count()
    changed = copy.deepcopy(shared_site.manifest)
    changed["spec"]["server"]["podAnnotations"] = {"example.com/round": f"fails-{time.time():.0f}"}

    def told() -> bool:
        found = shared_site.kube.get("dpeserver", shared_site.name)
        return "went down while it served" in condition(found, "Degraded").get("message", "")

    try:
        with shared_site.load(seconds=400) as load:
            shared_site.kube.apply(changed)
            shared_site.wait_switch_count(count + 1, timeout=120)
            processes.kill(shared_site.member_pod(new))
            shared_site.wait_active(former)
            eventually(told, timeout=60, what="the update stops", describe=shared_site.describe)
            time.sleep(15)  # longer than a member has to serve, and than its container needs
            load.stop(after=1)
            seen = load.summary()
        assert seen["failedAfterRetries"] == 0, load.story()
        assert shared_site.switch_count() == count + 2, "there, and back, and no more"
        assert shared_site.active() == former and shared_site.member_uid(former) == kept
    finally:
        shared_site.kube.apply(shared_site.manifest)
    shared_site.kube.wait_ready("dpe", shared_site.name)
    assert shared_site.member_uid(former) == kept
