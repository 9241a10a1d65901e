# SPDX-License-Identifier: Apache-2.0
"""`dpe-operator run` against a real API server: start, repair, prune, pause, idle, stop.

One operator process serves all tests of this file; each test has a namespace of its own.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.operator_kit import OperatorProcess, Site, eventually
from tests.support.planning_world import cluster, farm

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

RESYNC = 3.0
OPERATOR = {"RESYNC_SECONDS": str(RESYNC)}


def made(site: Site, running: OperatorProcess) -> Site:
    """Make a DpeCluster, and wait for all its objects."""
    site.create(cluster())
    eventually(lambda: site.find("EndpointSlice", "radio-balancer"), log=running.log)
    eventually(lambda: site.find("Deployment", "radio-balancer"), log=running.log)
    eventually(lambda: site.find("Deployment", "radio-audio-processor"), log=running.log)
    return site


@pytest.fixture
def site(empty_site: Site, running: OperatorProcess) -> Site:
    """A site of one test alone, whose objects have all been made."""
    return made(empty_site, running)


@pytest.fixture(scope="module")
def repaired(server: ApiServer, running: OperatorProcess) -> Iterator[Site]:
    """A site that one test after the other damages; each waits until the damage is repaired."""
    found = Site(server, server.create_namespace())
    yield made(found, running)
    found.leave()


@pytest.fixture
def serving(site: Site, running: OperatorProcess) -> Site:
    """The same, ready: a is active."""
    site.run_all()
    site.record("radio")
    eventually(
        lambda: site.condition("DpeCluster", "radio", "Ready").get("status") == "True",
        log=running.log,
    )
    return site


def test_from_one_resource_to_a_ready_site(serving: Site) -> None:
    status = serving.get("DpeCluster", "radio")["status"]
    assert (status["active"], status["standby"]) == ("a", "b")
    assert status["serviceRoot"] == f"https://radio-balancer.{serving.namespace}.svc"
    assert status["farms"] == [{"type": "audio", "replicas": 2, "readyReplicas": 2}]
    assert serving.get("ProcessorFarm", "radio-audio")["spec"]["replicas"] == 2


def test_nothing_is_written_over_idle_resyncs(
    serving: Site, running: OperatorProcess, server: ApiServer
) -> None:
    eventually(lambda: running.metric("dpe_operator_queue_depth") == 0)
    time.sleep(1.5)  # events about the last writes
    done = running.metric("dpe_operator_reconciles_total")
    before = len(server.audited_writes())
    time.sleep(RESYNC * 1.1 * 2 + 0.5)
    eventually(lambda: running.metric("dpe_operator_reconciles_total") - done >= 6)
    assert [
        (write["verb"], write["requestURI"])
        for write in server.audited_writes()[before:]
        if write["user"]["username"] != "system:apiserver"
    ] == []


EDITS: dict[tuple[str, str], Any] = {
    ("Deployment", "radio-balancer"): {"spec": {"replicas": 1}},
    # what the API server makes of the type does not go with ours
    ("Deployment", "radio-member-a"): {
        "metadata": {"labels": {"dpe.dev/member": None}},
        "spec": {"strategy": {"type": "RollingUpdate"}},
    },
    ("Deployment", "radio-member-b"): {
        "spec": {
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "dpe",
                            "image": "other",
                            "ports": [{"name": "dpe", "containerPort": 444}],
                        }
                    ]
                }
            }
        }
    },
    ("Deployment", "radio-audio-processor"): {"spec": {"replicas": 9}},
    ("Service", "radio-balancer"): {"spec": {"ports": [{"name": "https", "port": 444}]}},
    ("Service", "radio-member-a"): {"spec": {"selector": {"dpe.dev/member": "b", "app": "x"}}},
    ("PodDisruptionBudget", "radio-members"): {"spec": {"minAvailable": 0}},
    # the API server takes only one of the two
    ("PodDisruptionBudget", "radio-balancer"): {
        "spec": {"minAvailable": None, "maxUnavailable": 1}
    },
    ("ConfigMap", "radio-client-profile"): {"data": {"DPE_SERVICE_ROOT": "http://other"}},
    ("Role", "radio-balancer"): {"rules": []},
    ("Lease", "radio-balancer"): {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}},
    ("ServiceAccount", "radio-balancer"): {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}},
    ("EndpointSlice", "radio-balancer"): {
        "metadata": {"labels": {"kubernetes.io/service-name": "other"}}
    },
    # the last one: what is made of it changes too, for a moment
    ("DpeServer", "radio"): {"spec": {"port": 8443}},
}


@pytest.mark.parametrize(("kind", "name"), EDITS, ids=str)
def test_edits_are_set_back(repaired: Site, running: OperatorProcess, kind: str, name: str) -> None:
    site = repaired

    def core() -> object:
        live = site.get(kind, name)
        meta = live["metadata"]
        return [meta.get("labels"), live.get("spec"), live.get("data"), live.get("rules")]

    before = core()
    site.patch(kind, name, EDITS[(kind, name)])
    eventually(lambda: core() == before, log=running.log)


DELETED = [
    ("Deployment", "radio-member-a"),
    ("Service", "radio-member-a"),
    ("Service", "radio-balancer"),
    ("EndpointSlice", "radio-balancer"),
    ("Lease", "radio-balancer"),
    ("PodDisruptionBudget", "radio-balancer"),
    ("Role", "radio-balancer"),
    ("RoleBinding", "radio-balancer"),
    ("ServiceAccount", "radio-balancer"),
    ("ProcessorFarm", "radio-audio"),
    ("ConfigMap", "radio-client-profile"),
]


@pytest.mark.parametrize(("kind", "name"), DELETED, ids=str)
def test_deletions_are_made_good(
    repaired: Site, running: OperatorProcess, kind: str, name: str
) -> None:
    site = repaired
    former = site.get(kind, name)["metadata"]["uid"]
    site.delete(kind, name)

    def back() -> bool:
        found = site.find(kind, name)
        return found is not None and found["metadata"]["uid"] != former

    eventually(back, log=running.log)


def test_the_balancers_config_cannot_be_edited_and_comes_back(
    site: Site, running: OperatorProcess
) -> None:
    template = site.get("Deployment", "radio-balancer")["spec"]["template"]
    [source] = [v for v in template["spec"]["volumes"] if v["name"] == "config-source"]
    name = source["configMap"]["name"]
    with pytest.raises(AssertionError, match="immutable"):
        site.patch("ConfigMap", name, {"data": {"haproxy.cfg": "nonsense"}})
    data = site.get("ConfigMap", name)["data"]
    site.delete("ConfigMap", name)
    found = eventually(lambda: site.find("ConfigMap", name), log=running.log)
    assert found["data"] == data


def test_a_deleted_member_service_keeps_its_address(site: Site, running: OperatorProcess) -> None:
    former = site.get("Service", "radio-member-a")
    site.delete("Service", "radio-member-a")
    found = eventually(lambda: site.find("Service", "radio-member-a"), log=running.log)
    assert found["spec"]["clusterIP"] == former["spec"]["clusterIP"]


def test_a_selector_on_the_failover_service_goes(site: Site, running: OperatorProcess) -> None:
    site.patch("Service", "radio-balancer", {"spec": {"selector": {"app": "x"}}})
    eventually(
        lambda: "selector" not in site.get("Service", "radio-balancer")["spec"], log=running.log
    )


def test_endpoints_and_holder_are_never_written(serving: Site, running: OperatorProcess) -> None:
    before = serving.get("EndpointSlice", "radio-balancer")["endpoints"]
    serving.annotate("DpeServer", "radio", note="x")
    serving.patch(
        "EndpointSlice", "radio-balancer", {"metadata": {"labels": {"app.kubernetes.io/name": "x"}}}
    )
    eventually(
        lambda: (
            serving.get("EndpointSlice", "radio-balancer")["metadata"]["labels"][
                "app.kubernetes.io/name"
            ]
            == "dpe"
        ),
        log=running.log,
    )
    assert serving.get("EndpointSlice", "radio-balancer")["endpoints"] == before
    assert serving.get("Lease", "radio-balancer")["spec"]["holderIdentity"] == "holder"


def test_what_leaves_the_spec_is_pruned_and_copies_stay(
    site: Site, running: OperatorProcess
) -> None:
    live = site.get("ConfigMap", "radio-client-profile")
    copy = {**live, "metadata": {"name": "copy", "labels": live["metadata"]["labels"]}}
    site.create({**copy, "apiVersion": "v1", "kind": "ConfigMap"})
    site.patch("DpeCluster", "radio", {"spec": {"processors": []}})
    eventually(lambda: site.find("ProcessorFarm", "radio-audio") is None, log=running.log)
    assert site.find("ConfigMap", "copy") is not None


def test_farm_number_kubectl_scale_and_enforced_values(
    site: Site, running: OperatorProcess
) -> None:
    def wanted() -> int:
        return int(site.get("Deployment", "radio-audio-processor")["spec"]["replicas"])

    audio = site.get("DpeCluster", "radio")["spec"]["processors"][0]
    site.server.kubectl("scale", "dpefarm", "radio-audio", "--replicas=5", "-n", site.namespace)
    eventually(lambda: wanted() == 5, log=running.log)

    site.patch("DpeCluster", "radio", {"spec": {"processors": [{**audio, "replicas": 3}]}})
    eventually(lambda: wanted() == 3, log=running.log)
    site.server.kubectl("scale", "dpefarm", "radio-audio", "--replicas=4", "-n", site.namespace)
    eventually(lambda: site.events("Repaired"), log=running.log)
    assert (
        "processors[].replicas of DpeCluster radio is enforced"
        in site.events("Repaired")[0]["note"]
    )
    eventually(lambda: wanted() == 3, log=running.log)

    site.patch("DpeCluster", "radio", {"spec": {"processors": [audio]}})
    eventually(
        lambda: site.get("DpeCluster", "radio")["status"]["observedGeneration"] == 3,
        log=running.log,
    )
    time.sleep(1)
    assert wanted() == 3, "nothing falls back to the default"
    site.server.kubectl("scale", "dpefarm", "radio-audio", "--replicas=2", "-n", site.namespace)
    eventually(lambda: wanted() == 2, log=running.log)
    time.sleep(1)
    assert wanted() == 2


def test_scaling_below_two_needs_the_waiver(site: Site, running: OperatorProcess) -> None:
    done = site.server.kubectl(
        "scale", "dpefarm", "radio-audio", "--replicas=1", "-n", site.namespace, check=False
    )
    assert done.returncode != 0 and "allowSingleReplica" in done.stderr


def test_refused_spec_changes_nothing_and_is_told(serving: Site, running: OperatorProcess) -> None:
    generations = {
        live["metadata"]["name"]: live["metadata"]["generation"]
        for live in serving.all("Deployment")
    }
    audio = serving.get("DpeCluster", "radio")["spec"]["processors"][0]
    bad = {**audio, "image": "other", "env": [{"name": "U", "value": "radio-member-a"}]}
    serving.patch("DpeCluster", "radio", {"spec": {"processors": [bad]}})
    eventually(
        lambda: serving.condition("DpeCluster", "radio", "Accepted").get("status") == "False",
        log=running.log,
    )
    eventually(lambda: serving.events("SpecRefused"), log=running.log)  # told after the status
    assert {
        live["metadata"]["name"]: live["metadata"]["generation"]
        for live in serving.all("Deployment")
    } == generations
    serving.patch("DpeCluster", "radio", {"spec": {"processors": [audio]}})
    eventually(
        lambda: serving.condition("DpeCluster", "radio", "Ready").get("status") == "True",
        log=running.log,
    )


def test_stranger_is_left_alone(empty_site: Site, running: OperatorProcess) -> None:
    site = empty_site
    stranger = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "radio-client-profile"},
    }
    site.create({**stranger, "data": {"a": "b"}})
    site.create(cluster())
    eventually(
        lambda: site.condition("DpeCluster", "radio", "Accepted").get("reason") == "NameConflict",
        log=running.log,
    )
    assert site.get("ConfigMap", "radio-client-profile")["data"] == {"a": "b"}
    assert site.find("DpeServer", "radio") is None
    site.delete("ConfigMap", "radio-client-profile")
    eventually(lambda: site.find("DpeServer", "radio"), log=running.log)


def test_pause(site: Site, running: OperatorProcess) -> None:
    site.annotate("DpeCluster", "radio", reconcile="disabled")
    # a reconcile that is under way when the annotation comes may still write
    eventually(lambda: "paused with its DpeCluster" in running.log.read_text(), log=running.log)
    site.patch("Deployment", "radio-balancer", {"spec": {"replicas": 1}})
    site.delete("ConfigMap", "radio-client-profile")
    time.sleep(2)
    assert site.get("Deployment", "radio-balancer")["spec"]["replicas"] == 1
    assert site.find("ConfigMap", "radio-client-profile") is None
    site.annotate("DpeCluster", "radio", reconcile=None)
    eventually(lambda: site.find("ConfigMap", "radio-client-profile"), log=running.log)
    eventually(
        lambda: site.get("Deployment", "radio-balancer")["spec"]["replicas"] == 2, log=running.log
    )


def test_a_farm_of_another_team_follows_the_cluster(site: Site, running: OperatorProcess) -> None:
    site.create(farm())
    eventually(lambda: site.find("Deployment", "video-processor"), log=running.log)
    site.patch("DpeCluster", "radio", {"spec": {"clients": {"serviceRootEnv": "DPE_URL"}}})

    def environment() -> dict[str, str]:
        live = site.get("Deployment", "video-processor")["spec"]["template"]["spec"]
        return {entry["name"]: entry.get("value", "") for entry in live["containers"][0]["env"]}

    eventually(lambda: "DPE_URL" in environment(), log=running.log)
    site.delete("DpeCluster", "radio")
    eventually(
        lambda: (
            site.condition("ProcessorFarm", "video", "ClusterRefMissing").get("status") == "True"
        ),
        log=running.log,
    )
    assert "DPE_URL" in environment()


def test_rolling_update_and_switch(serving: Site, running: OperatorProcess) -> None:
    def image(member: str) -> str:
        live = serving.get("Deployment", f"radio-member-{member}")
        return str(live["spec"]["template"]["spec"]["containers"][0]["image"])

    def request() -> str | None:
        notes = serving.get("EndpointSlice", "radio-balancer")["metadata"].get("annotations", {})
        found = notes.get("dpe.dev/switch-request")
        return None if found is None else str(found)

    serving.patch("DpeCluster", "radio", {"spec": {"server": {"image": "dpe:2"}}})
    eventually(lambda: image("b") == "dpe:2", log=running.log)
    assert image("a") != "dpe:2"
    serving.run("radio-member-b")
    eventually(lambda: request() == "b@0", log=running.log)
    assert image("a") != "dpe:2"
    serving.record("radio", active="b", count=1)
    eventually(lambda: image("a") == "dpe:2" and request() is None, log=running.log)
    serving.run("radio-member-a")
    eventually(
        lambda: (
            serving.condition("DpeCluster", "radio", "Ready")
            .get("message", "")
            .startswith("b serves")
        ),
        log=running.log,
    )
    serving.annotate("DpeCluster", "radio", switch_to="a")
    eventually(lambda: request() == "a@1", log=running.log)
    serving.record("radio", active="a", count=2)
    eventually(
        lambda: (
            request() is None
            and "dpe.dev/switch-to"
            not in serving.get("DpeServer", "radio")["metadata"]["annotations"]
        ),
        log=running.log,
    )
    eventually(lambda: serving.events("SwitchDone"))


def test_health_and_metrics(serving: Site, running: OperatorProcess) -> None:
    assert running.fetch("/livez") == (200, "ok")
    text = running.fetch("/metrics")[1]
    assert (
        f'dpe_operator_condition{{condition="Ready",kind="DpeCluster",name="radio",namespace="{serving.namespace}",status="True"}} 1.0'
        in text
    )
    assert 'dpe_operator_api_writes_total{kind="Deployment",verb="apply"}' in text


def test_no_reconcile_failed(running: OperatorProcess) -> None:
    text = running.log.read_text()
    assert "failed unexpectedly" not in text, text[-3000:]
