# SPDX-License-Identifier: Apache-2.0
"""Members: one pod each, judged by HAProxy and not by kubelet."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.builders.builder_samples import container, env, pair_context, pair_spec, pod_spec

from dpe_operator.api.server import DpeServerSpec
from dpe_operator.builders import members
from dpe_operator.builders.context import Manifest

EXTERNAL = {"name": "b", "external": {"host": "dpe2.studio.example"}}


def deployment(spec: DpeServerSpec, member: int = 0) -> Manifest:
    found = members.member_deployment(pair_context(spec), spec, spec.members[member])
    assert found is not None
    return found


def startup_probe(**health: Any) -> Manifest:
    spec = pair_spec(health={"path": "/status", **health})
    probe: Manifest = container(deployment(spec))["startupProbe"]
    return probe


def test_one_pod_never_beside_its_predecessor() -> None:
    spec = deployment(pair_spec())["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})


def test_an_external_member_needs_nothing() -> None:
    spec = pair_spec(members=[{"name": "a"}, EXTERNAL])
    context, member = pair_context(spec), spec.members[1]
    assert members.member_deployment(context, spec, member) is None
    assert members.member_service(context, spec, member) is None


def test_the_startup_probe_asks_for_the_health_page() -> None:
    probe = startup_probe(scheme="HTTP", hostHeader="dpe.studio.example")
    assert probe["httpGet"] == {
        "path": "/status",
        "port": "dpe",
        "scheme": "HTTP",
        "httpHeaders": [{"name": "Host", "value": "dpe.studio.example"}],
    }


def test_the_host_header_is_the_host_name_by_default() -> None:
    spec = pair_spec(members=[{"name": "a", "hostName": "dpe01"}, {"name": "b"}])
    made = deployment(spec)
    assert pod_spec(made)["hostname"] == "dpe01"
    headers = container(made)["startupProbe"]["httpGet"]["httpHeaders"]
    assert headers == [{"name": "Host", "value": "dpe01"}]


@pytest.mark.parametrize("status", ["200", "200-299", "301", "200-399", "204"])
def test_a_status_kubelet_takes_for_good_is_asked_for(status: str) -> None:
    assert "httpGet" in startup_probe(status=status)


@pytest.mark.parametrize("status", ["401", "200-401", "100", "199-200", "400", "500-599"])
def test_a_status_kubelet_refuses_makes_the_port_do(status: str) -> None:
    probe = startup_probe(status=status)
    assert (probe["tcpSocket"], "httpGet" in probe) == ({"port": "dpe"}, False)


@pytest.mark.parametrize(
    ("timeout", "startup", "seconds", "failures"),
    [("800ms", "10m", 1, 300), ("1500ms", "10s", 2, 5), ("10s", "2h", 10, 3600)],
)
def test_the_startup_probe_lasts_as_long_as_allowed(
    timeout: str, startup: str, seconds: int, failures: int
) -> None:
    probe = startup_probe(timeout=timeout, startupTimeout=startup)
    assert (probe["timeoutSeconds"], probe["failureThreshold"]) == (seconds, failures)


def test_the_deployment_waits_longer_than_the_startup_may_take() -> None:
    spec = pair_spec(health={"path": "/", "startupTimeout": "2h"})
    assert deployment(spec)["spec"]["progressDeadlineSeconds"] > 7200


def test_kubelet_judges_the_port_only_and_kills_nobody() -> None:
    made = container(deployment(pair_spec()))
    assert made["readinessProbe"]["tcpSocket"] == {"port": "dpe"}
    assert "livenessProbe" not in made


@pytest.mark.parametrize(("wanted", "total"), [(None, 70), (1, 11), (3600, 3610)])
def test_a_stopping_member_serves_on_and_then_has_its_full_time(
    wanted: int | None, total: int
) -> None:
    made = deployment(pair_spec(terminationGracePeriodSeconds=wanted))
    assert container(made)["lifecycle"]["preStop"]["sleep"]["seconds"] == 10
    assert pod_spec(made)["terminationGracePeriodSeconds"] == total


def test_members_keep_away_from_the_other_and_not_from_their_own_predecessor() -> None:
    affinity = pod_spec(deployment(pair_spec()))["affinity"]["podAntiAffinity"]
    [term] = affinity["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert term["labelSelector"]["matchExpressions"] == [
        {"key": "dpe.dev/member", "operator": "NotIn", "values": ["a"]}
    ]


def test_preferred_members_may_share_a_host() -> None:
    affinity = pod_spec(deployment(pair_spec(placement="Preferred")))["affinity"]
    assert set(affinity["podAntiAffinity"]) == {"preferredDuringSchedulingIgnoredDuringExecution"}


def test_members_are_not_moved_hastily() -> None:
    """A node that is only cut off would get its member back as a twin."""
    assert "tolerations" not in pod_spec(deployment(pair_spec()))


@pytest.mark.parametrize(
    ("port", "low"), [(443, True), (80, True), (1023, True), (1024, False), (8443, False)]
)
def test_a_program_that_is_not_root_may_listen_on_dpe_s_port(port: int, low: bool) -> None:
    made = deployment(pair_spec(containerPort=port))
    assert ("sysctls" in pod_spec(made)["securityContext"]) is low
    assert container(made)["ports"][0]["containerPort"] == port


def test_what_a_member_sets_wins_over_the_pair() -> None:
    spec = pair_spec(
        env=[{"name": "SITE", "value": "x"}, {"name": "LICENCE", "value": "none"}],
        nodeSelector={"rack": "0", "dpe": "yes"},
        volumes=[{"name": "data", "mountPath": "/data", "claimName": "pair"}],
        sharedVolumes=[
            {"name": "temp", "mountPath": "/temp", "claimName": "temp"},
            {"name": "old", "mountPath": "/data", "claimName": "site"},
        ],
        members=[
            {
                "name": "a",
                "image": "other:1",
                "env": [
                    {"name": "LICENCE", "valueFrom": {"secretKeyRef": {"name": "l", "key": "k"}}}
                ],
                "nodeSelector": {"rack": "1"},
                "volumes": [{"name": "data", "mountPath": "/own", "secretName": "licence"}],
            },
            {"name": "b"},
        ],
    )
    made = deployment(spec)
    assert container(made)["image"] == "other:1"
    assert env(made)["LICENCE"] == {
        "name": "LICENCE",
        "valueFrom": {"secretKeyRef": {"name": "l", "key": "k"}},
    }
    assert env(made)["SITE"]["value"] == "x"
    selector = {"rack": "1", "dpe": "yes", "kubernetes.io/os": "linux"}
    assert pod_spec(made)["nodeSelector"] == selector
    mounts = {mount["name"]: mount for mount in container(made)["volumeMounts"]}
    assert mounts["data"] == {"name": "data", "mountPath": "/own", "readOnly": True}
    assert set(mounts) == {"temp", "data", "dpe-tmp"}, "the shared one at /data made way"
    assert {volume["name"] for volume in pod_spec(made)["volumes"]} == set(mounts)


def test_the_member_service_leads_to_its_own_pod_only() -> None:
    spec = pair_spec(port=443, containerPort=8443)
    service = members.member_service(pair_context(spec), spec, spec.members[0])
    assert service is not None
    [port] = service["spec"]["ports"]
    assert (port["port"], port["targetPort"]) == (443, "dpe")
    labels = deployment(spec)["spec"]["template"]["metadata"]["labels"]
    other = deployment(spec, 1)["spec"]["template"]["metadata"]["labels"]
    wanted = service["spec"]["selector"].items()
    assert wanted <= labels.items()
    assert not wanted <= other.items()


def test_the_budget_covers_both_members() -> None:
    spec = pair_spec()
    budget = members.members_pdb(pair_context(spec), spec)
    assert budget is not None
    for member in (0, 1):
        labels = deployment(spec, member)["spec"]["template"]["metadata"]["labels"]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert budget["spec"]["minAvailable"] == 1
    assert budget["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


def test_no_budget_over_a_single_pod() -> None:
    spec = pair_spec(members=[{"name": "a"}, EXTERNAL])
    assert members.members_pdb(pair_context(spec), spec) is None
