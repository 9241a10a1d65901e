# SPDX-License-Identifier: Apache-2.0
"""Promise: a wrong spec is refused with field, value and cure, and never harms what runs."""

import copy

import pytest
from tests.e2e.kubectl import condition, eventually
from tests.e2e.site import Site

pytestmark = pytest.mark.e2e


def test_operator_refuses_and_keeps_the_last_accepted_spec(shared_site: Site) -> None:
    name, kube = shared_site.name, shared_site.kube
    uids = shared_site.pod_uids()
    wrong = copy.deepcopy(shared_site.manifest)
    member = f"https://{name}-member-a.{kube.namespace}.svc"
    wrong["spec"]["processors"][0]["env"] = [{"name": "SOME_URL", "value": member}]

    def refused() -> bool:
        accepted = condition(kube.get("dpe", name), "Accepted")
        return accepted.get("status") == "False" and f"{name}-member-a" in accepted["message"]

    try:
        kube.apply(wrong)
        what = "Accepted=False naming the member"
        eventually(refused, timeout=60, what=what, describe=shared_site.describe)
        with shared_site.load(seconds=4) as load:
            assert load.summary()["failedAfterRetries"] == 0, load.story()
        assert shared_site.pod_uids() == uids, "nothing that runs was touched"
    finally:
        kube.apply(shared_site.manifest)
    kube.wait_ready("dpe", name)
    assert shared_site.pod_uids() == uids


def test_a_stranger_keeps_its_object(shared_site: Site) -> None:
    kube = shared_site.kube
    stranger = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "taken-client-profile"},
        "data": {"a": "b"},
    }
    kube.apply(stranger)
    cluster = copy.deepcopy(shared_site.manifest)
    cluster["metadata"]["name"] = "taken"
    cluster["spec"]["processors"] = []

    def refused() -> bool:
        accepted = condition(kube.get("dpe", "taken"), "Accepted")
        return (
            accepted.get("reason") == "NameConflict"
            and "taken-client-profile" in accepted["message"]
        )

    try:
        kube.apply(cluster)
        eventually(refused, timeout=60, what="Accepted=False/NameConflict")
        assert kube.get("configmap", "taken-client-profile")["data"] == {"a": "b"}
    finally:
        kube.delete("dpe", "taken", "--ignore-not-found")
        kube.delete("configmap", "taken-client-profile")
