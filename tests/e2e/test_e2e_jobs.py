# SPDX-License-Identifier: Apache-2.0
"""Promise: jobs go through the balancer to the farms, and a fail-over in between loses and doubles none."""

import pytest
from tests.e2e.kubectl import eventually
from tests.e2e.site import Site
from tests.e2e.site_manifests import restricted_pod

pytestmark = pytest.mark.e2e


def test_every_job_is_done_once_while_the_active_server_dies(shared_site: Site) -> None:
    kube, before = shared_site.kube, shared_site.active()
    command = [
        "dpe-simulator",
        "client",
        f"--url=https://{shared_site.name}-balancer.{kube.namespace}.svc/DpeWebApplication",
        "--ca=/etc/dpe-ca/ca.crt",
        "--workflows=40",
        "--jobs=2",
        "--job-type=audio",
        "--job-type=video",
        "--job-seconds=300ms",
        "--timeout=300s",
    ]
    image, ca = shared_site.images["dpe-simulator"], f"{shared_site.name}-ca"
    kube.run("delete", "pod", "workflows", "--ignore-not-found")
    kube.apply(restricted_pod("workflows", image, command, ca=ca))

    def phase(*wanted: str) -> bool:
        return kube.get("pod", "workflows")["status"].get("phase") in wanted

    eventually(lambda: phase("Running", "Succeeded"), timeout=90, what="the client runs")
    kube.delete("pod", shared_site.member_pod(before), "--grace-period=0", "--force")
    eventually(lambda: phase("Succeeded", "Failed"), timeout=330, what="all workflows have ended")

    # the client ends with success only if each workflow is there once and all its jobs are finished
    log = kube.run("logs", "workflows")
    assert phase("Succeeded"), log
    assert shared_site.active() != before
    kube.delete("pod", "workflows")
