# SPDX-License-Identifier: Apache-2.0
"""A field that this Kubernetes does not know changes nothing, and is told as what it is."""

from __future__ import annotations

import pytest
from tests.support.operator_kit import OperatorProcess, Site, eventually
from tests.support.planning_world import cluster

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_in_a_pod_template_of_a_farm_that_runs(running: OperatorProcess, empty_site: Site) -> None:
    site = empty_site
    site.create(cluster())
    before = eventually(lambda: site.find("Deployment", "radio-audio-processor"), log=running.log)
    container = {"name": "dpe", "ressources": {}, "env": [{"name": "NEW", "value": "1"}]}
    farm = {"type": "audio", "podTemplate": {"spec": {"containers": [container]}}}
    processors = site.get("DpeCluster", "radio")["spec"]["processors"]
    site.patch("DpeCluster", "radio", {"spec": {"processors": [processors[0] | farm]}})
    found = eventually(
        lambda: (
            found
            if (found := site.condition("ProcessorFarm", "radio-audio", "Degraded")).get("reason")
            == "ApplyFailed"
            else None
        ),
        log=running.log,
    )
    assert found["status"] == "True"
    assert ".ressources: field not declared in schema" in found["message"]
    after = site.get("Deployment", "radio-audio-processor")
    assert after["spec"]["template"] == before["spec"]["template"], "nor what stood beside it"
    site.patch("DpeCluster", "radio", {"spec": {"processors": processors}})
    eventually(
        lambda: (
            site.condition("ProcessorFarm", "radio-audio", "Degraded").get("reason")
            != "ApplyFailed"
        ),
        log=running.log,
    )
