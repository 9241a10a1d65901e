# SPDX-License-Identifier: Apache-2.0
"""What the operator refuses, in which words, that nothing is made of it, and that the cure cures."""

from __future__ import annotations

from functools import partial

import pytest
from tests.support.api_server import ApiServer
from tests.support.bad_input import REFUSED_BY_OPERATOR, BadInput
from tests.support.operator_kit import OperatorProcess, Site, eventually

from dpe_operator.api.kinds import KINDS
from dpe_operator.planning.objects import condition, controller_of

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

OURS = tuple(kind.kind for kind in KINDS)
_NOTHING_YET = " (nothing is made until then)"


def judged(site: Site, kind: str, name: str) -> bool:
    found = site.get(kind, name)
    seen = found.get("status", {}).get("observedGeneration")
    accepted = condition(found, "Accepted") or {}
    # While its DpeCluster is not judged a farm has no children yet; without one it never has.
    missing = (condition(found, "ClusterRefMissing") or {}).get("status") == "True"
    waits = accepted.get("status") == "Unknown" and not missing
    return seen == found["metadata"]["generation"] and not waits


@pytest.mark.parametrize("row", REFUSED_BY_OPERATOR, ids=str)
def test_refused_with_exactly_this_message_and_cured_by_it(
    server: ApiServer, running: OperatorProcess, empty_site: Site, row: BadInput
) -> None:
    site = empty_site
    for existing in row.exists:
        site.create(existing)
    for existing in row.exists:
        kind, name = existing["kind"], existing["metadata"]["name"]
        if kind in OURS:
            eventually(partial(judged, site, kind, name), log=running.log)
    bad = row.resource
    kind, name = bad["kind"], bad["metadata"]["name"]
    status, answer = server.apply(site.namespace, bad)
    assert status == 201, answer
    found = eventually(lambda: site.condition(kind, name, "Accepted"), log=running.log)

    assert (found["status"], found["reason"]) == ("False", row.reason)
    assert found["message"] == row.message.replace("NAMESPACE", site.namespace) + _NOTHING_YET
    made = [
        obj["metadata"]["name"]
        for kind_of_child in ("CronJob", "Deployment", "Service", "ConfigMap", *OURS)
        for obj in site.all(kind_of_child)
        if (controller_of(obj) or {}).get("uid") == answer["metadata"]["uid"]
    ]
    assert made == []

    status, answer = server.apply(site.namespace, row.cured)
    assert status in (200, 201), answer
    cured = row.cured["metadata"]["name"]
    eventually(
        lambda: site.condition(kind, cured, "Accepted").get("status") == "True", log=running.log
    )
