# SPDX-License-Identifier: Apache-2.0
"""Promise: two schedulers of one task fire at their two times, the second one later by the stagger."""

import time

import pytest
from tests.e2e.site import Site
from tests.e2e.workflow import Component, Workflows, component, fresh

pytestmark = pytest.mark.e2e


def test_pair_fires_at_two_and_half_past_two(shared_site: Site, workers: Component) -> None:
    """By a test clock on which a minute takes a second."""
    clock = [
        {"name": "DPE_CLOCK_START", "value": "2026-11-25T00:30:00"},
        {"name": "DPE_CLOCK_ANCHOR", "value": f"{time.time():.0f}"},
        {"name": "DPE_CLOCK_RATE", "value": "60"},
    ]
    name = fresh("hard-delete")
    shared_site.kube.apply(
        component(
            "WorkflowScheduler", name, shared_site, mode="Concurrent", env=clock,
            schedule="0 2 * * *", timeZone="Europe/Berlin",
        )
    )  # fmt: skip
    found = Component(shared_site.kube, "WorkflowScheduler", name)
    try:
        status = found.wait_ready(timeout=80)["status"]
        assert [member["schedule"] for member in status["members"]] == ["0 2 * * *", "30 2 * * *"]
        titles = Workflows(shared_site).wait_titles(f"{name}-scheduler", 2, timeout=180)
        assert len(titles) == 2, titles
        assert "02:00" in titles[0] and "02:30" in titles[1], titles
        first, second = found.pods()
        assert first["spec"]["nodeName"] != second["spec"]["nodeName"]
    finally:
        shared_site.kube.delete("WorkflowScheduler", name)
