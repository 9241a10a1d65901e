# SPDX-License-Identifier: Apache-2.0
"""Promise: two schedulers of one task fire at their two times, the second one later by the stagger."""

import time

import pytest
from tests.e2e.site import Site
from tests.e2e.workflow import Component, Workflows, component

pytestmark = pytest.mark.e2e


def test_pair_fires_at_two_and_half_past_two(shared_site: Site, workers: Component) -> None:
    """By a test clock on which a minute takes a second."""
    clock = [
        {"name": "DPE_CLOCK_START", "value": "2026-11-25T01:00:00"},
        {"name": "DPE_CLOCK_ANCHOR", "value": f"{time.time():.0f}"},
        {"name": "DPE_CLOCK_RATE", "value": "60"},
    ]
    shared_site.kube.apply(
        component(
            "WorkflowScheduler", "hard-delete", shared_site, mode="Concurrent", env=clock,
            schedule="0 2 * * *", timeZone="Europe/Berlin",
        )
    )  # fmt: skip
    found = Component(shared_site.kube, "WorkflowScheduler", "hard-delete")
    try:
        status = found.wait_ready(timeout=50)["status"]
        assert [member["schedule"] for member in status["members"]] == ["0 2 * * *", "30 2 * * *"]
        titles = Workflows(shared_site).wait_titles("hard-delete", 2, timeout=120)
        assert len(titles) == 2, titles
        assert "02:00" in titles[0] and "02:30" in titles[1], titles
        first, second = found.pods()
        assert first["spec"]["nodeName"] != second["spec"]["nodeName"]
    finally:
        shared_site.kube.delete("WorkflowScheduler", "hard-delete")
