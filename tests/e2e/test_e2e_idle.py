# SPDX-License-Identifier: Apache-2.0
"""Promise: with nothing to do, the operator and the balancers write nothing (Lease renewals apart)."""

import time

import pytest
from tests.e2e.audit import writes_between
from tests.e2e.kubectl import Kubectl, eventually
from tests.e2e.operator_release import OperatorRelease
from tests.e2e.site import Site
from tests.e2e.site_manifests import LEFTOVER_LABEL

pytestmark = pytest.mark.e2e

RESYNC_SECONDS = 30  # the shortest the chart accepts


def test_zero_writes_over_a_full_idle_resync(
    cluster: Kubectl, operator: OperatorRelease, shared_site: Site
) -> None:
    wait_until_no_namespace_is_going(cluster)
    operator.set_value("operator.resyncSeconds", RESYNC_SECONDS)
    shared_site.kube.wait_ready("dpe", shared_site.name)
    operator.settle()
    before = operator.metric("dpe_operator_reconciles_total")
    begin = time.time()
    time.sleep(RESYNC_SECONDS * 1.1 + 10)  # a resync comes within 10 % of its time
    end = time.time()

    reconciled = operator.metric("dpe_operator_reconciles_total") - before
    assert reconciled >= 4, "a resync looks at the cluster, its server and both farms"
    writes = [
        entry
        for entry in writes_between(begin, end)
        if entry.user.startswith("system:serviceaccount:")
        and not entry.user.startswith("system:serviceaccount:kube-system:")
        and entry.resource != "leases"
    ]
    assert writes == []


def wait_until_no_namespace_is_going(cluster: Kubectl) -> None:
    """Sites of tests before this one are taken away in the background, which is not idle."""

    def gone() -> bool:
        namespaces = cluster.list("namespaces", {LEFTOVER_LABEL: "true"})
        return all("deletionTimestamp" not in each["metadata"] for each in namespaces)

    eventually(gone, timeout=180, what="no namespace is being deleted")
