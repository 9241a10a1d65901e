# SPDX-License-Identifier: Apache-2.0
"""The operator's pods: two under the elector, spread, not throttled, not restarted by versions."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dpe_operator.kube.rbac import OPERATOR_RULES


@pytest.fixture
def container(one):
    def of(values=None):
        return one("Deployment", values=values)["spec"]["template"]["spec"]["containers"][0]

    return of


def environment(container):
    return {entry["name"]: entry.get("value") for entry in container["env"]}


def test_two_replicas_run_under_the_elector(one, container):
    assert one("Deployment")["spec"]["replicas"] == 2
    command = container()["command"]
    assert command[0] == "dpe-elector"
    assert {"--mode=exclusive", "--profile=Safe", "--lease=dpe-operator", "--create-lease"} <= set(
        command
    )
    assert command[command.index("--") + 1 :] == ["dpe-operator", "run"]


def test_the_elector_is_pid_1_and_is_never_throttled(one, container):
    assert "shareProcessNamespace" not in one("Deployment")["spec"]["template"]["spec"]
    assert "cpu" not in container()["resources"]["limits"]


def test_a_cpu_limit_is_refused(render, chart_refused):
    with pytest.raises(chart_refused, match="cpu"):
        render({"operator": {"resources": {"limits": {"cpu": "1"}}}})


def test_the_lease_has_the_name_of_the_release(one, container):
    role = one("Role", "radio-dpe-operator-lease", release="radio")
    assert role["rules"][1]["resourceNames"] == ["radio-dpe-operator"]


def test_no_version_reaches_the_pod_template(one):
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert not {"app.kubernetes.io/version", "helm.sh/chart"} & set(labels)


def test_pods_are_spread_by_wish_over_hosts_and_zones(one):
    spread = one("Deployment")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert {entry["topologyKey"] for entry in spread} == {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
    }
    for entry in spread:
        assert entry["whenUnsatisfiable"] == "ScheduleAnyway"
        assert entry["nodeTaintsPolicy"] == "Honor"


def test_a_drain_leaves_one_operator_pod(one, render):
    budget = one("PodDisruptionBudget")["spec"]
    assert (budget["minAvailable"], budget["unhealthyPodEvictionPolicy"]) == (1, "AlwaysAllow")
    alone = render({"operator": {"replicas": 1}})
    assert not [document for document in alone if document["kind"] == "PodDisruptionBudget"]


@pytest.mark.parametrize(
    ("watch", "expected"),
    [
        ({}, "dpe-system"),
        ({"namespaces": ["studio", "news"]}, "studio,news"),
        ({"allNamespaces": True}, ""),
    ],
)
def test_the_watched_namespaces_reach_the_operator(container, watch, expected):
    assert environment(container({"watch": watch}))["DPE_OPERATOR_WATCH_NAMESPACES"] == expected


def test_one_list_or_all_namespaces_but_not_both(render, chart_refused):
    with pytest.raises(chart_refused, match="exclude each other"):
        render({"watch": {"namespaces": ["studio"], "allNamespaces": True}})


def test_images_come_from_the_registry_with_the_tags_of_this_checkout(container):
    tags = yaml.safe_load(Path("charts/dpe-operator/files/image-tags.yaml").read_text())
    found = container({"image": {"registry": "localhost:5000/dpe/"}})
    assert found["image"] == f"localhost:5000/dpe/dpe-operator:{tags['dpe-operator']}"
    balancer = environment(found)["DPE_OPERATOR_BALANCER_IMAGE"]
    assert balancer == f"localhost:5000/dpe/dpe-balancer:{tags['dpe-balancer']}"


def test_the_image_of_the_copy_and_what_may_be_read_reach_the_operator(container):
    found = environment(container({"image": {"registry": "r", "parSync": {"tag": "9"}}}))
    assert found["DPE_OPERATOR_PAR_SYNC_IMAGE"] == "r/dpe-par-sync:9"
    assert found["DPE_OPERATOR_READS_CLUSTER"] == "false"
    allowed = environment(container({"rbac": {"clusterReads": True}}))
    assert allowed["DPE_OPERATOR_READS_CLUSTER"] == "true"


def test_a_tag_of_ones_own_wins(container):
    values = {"image": {"registry": "r", "operator": {"tag": "7"}, "balancer": {"tag": "8"}}}
    found = container(values)
    assert (found["image"], environment(found)["DPE_OPERATOR_BALANCER_IMAGE"]) == (
        "r/dpe-operator:7",
        "r/dpe-balancer:8",
    )


def test_pull_settings_reach_the_balancers(container):
    image = {"pullPolicy": "Never", "pullSecrets": [{"name": "one"}, {"name": "two"}]}
    found = environment(container({"image": image}))
    assert found["DPE_OPERATOR_IMAGE_PULL_POLICY"] == "Never"
    assert found["DPE_OPERATOR_IMAGE_PULL_SECRETS"] == "one,two"


def test_the_rules_are_those_that_the_code_names(one):
    assert one("Role", "dpe-operator")["rules"] == [dict(rule) for rule in OPERATOR_RULES]


def test_metrics_are_served_by_each_pod(one):
    service = one("Service")["spec"]
    assert service["clusterIP"] == "None"
    assert {port["name"] for port in service["ports"]} == {"metrics", "elector"}


def test_a_service_monitor_needs_the_service(render, chart_refused):
    with pytest.raises(chart_refused, match=r"metrics\.service\.enabled"):
        render({"metrics": {"service": {"enabled": False}, "serviceMonitor": {"enabled": True}}})


def test_the_lease_is_made_by_the_pods_alone(render, container):
    """Helm must not know it: a forced upgrade would take the Lease from its holder."""
    assert not [document for document in render() if document["kind"] == "Lease"]
    assert "--create-lease" in container()["command"]
