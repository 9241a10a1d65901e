# SPDX-License-Identifier: Apache-2.0
"""The values: all documented, wrong ones refused; the CRDs' own way; and what the test asks."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import yaml

from dpe_operator.api.kinds import KINDS
from dpe_operator.cli.crds import REFUSED

CHART = Path("charts/dpe-operator")


def leaves(values, path=()):
    for key, value in values.items():
        if isinstance(value, dict) and value and (*path, key) != ("operator", "resources"):
            yield from leaves(value, (*path, key))
        else:
            yield ".".join((*path, key))


def test_every_value_is_documented():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    table = set(re.findall(r"^\| `([^`]+)` \|", (CHART / "README.md").read_text(), re.M))
    assert set(leaves(values)) == table


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"replicas": 3}, "replicas"),
        ({"watch": {"namespace": "studio"}}, "namespace"),
        ({"watch": {"namespaces": "studio"}}, "/watch/namespaces"),
        ({"watch": {"namespaces": ["Studio"]}}, "/watch/namespaces/0"),
        ({"image": {"operater": {}}}, "operater"),
        ({"image": {"pullPolicy": "Sometimes"}}, "pullPolicy"),
        ({"image": {"pullSecrets": ["mine"]}}, "pullSecrets"),
        ({"operator": {"logFormat": "xml"}}, "logFormat"),
        ({"operator": {"electorProfile": "Hot"}}, "electorProfile"),
        ({"metrics": {"port": 8081}}, "port"),
        ({"crds": {"instal": True}}, "instal"),
    ],
)
def test_wrong_values_are_refused_by_name(render, chart_refused, values, named):
    with pytest.raises(chart_refused, match=re.escape(named)):
        render(values)


def test_crds_are_applied_before_install_and_upgrade_and_by_no_rollback(render):
    hooks = [d for d in render() if d["metadata"]["name"].endswith("dpe-operator-crds")]
    assert sorted(d["kind"] for d in hooks) == [
        "ClusterRole",
        "ClusterRoleBinding",
        "Job",
        "ServiceAccount",
    ]
    for document in hooks:
        annotations = document["metadata"]["annotations"]
        assert annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert annotations["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    weights = {d["kind"]: int(d["metadata"]["annotations"]["helm.sh/hook-weight"]) for d in hooks}
    assert weights["ServiceAccount"] < weights["ClusterRoleBinding"] < weights["Job"]


def test_no_crd_belongs_to_the_release(render):
    assert not [d for d in render() if d["kind"] == "CustomResourceDefinition"]
    assert not (CHART / "crds").exists()


def test_the_crd_job_names_every_crd_that_there_is(one):
    crds = {
        yaml.safe_load(path.read_text())["metadata"]["name"] for path in Path("crds").glob("*.yaml")
    }
    rules = one("ClusterRole", "dpe-system:dpe-operator-crds")["rules"]
    named = {name for rule in rules for name in rule.get("resourceNames", [])}
    assert named == crds


def test_the_crds_have_a_switch_of_their_own(render):
    rendered = render({"crds": {"install": False}})
    assert not [d for d in rendered if d["metadata"]["name"].endswith("-crds")]


def test_fields_are_given_up_only_when_told_so_and_a_refusal_is_not_tried_again(one):
    def container(values=None):
        return one("Job", values=values)["spec"]["template"]["spec"]["containers"][0]

    assert container()["command"] == ["dpe-operator", "crds", "--apply"]
    told = container({"crds": {"allowFieldLoss": True}})
    assert told["command"] == ["dpe-operator", "crds", "--apply", "--allow-field-loss"]
    [rule] = one("Job")["spec"]["podFailurePolicy"]["rules"]
    assert rule["action"] == "FailJob"
    assert rule["onExitCodes"]["containerName"] == told["name"]
    assert rule["onExitCodes"]["values"] == [REFUSED]


def test_the_helm_test_asks_all_replicas(one):
    container = one("Pod", values={"operator": {"replicas": 3}})["spec"]["containers"][0]
    values = {entry["name"]: entry["value"] for entry in container["env"]}
    assert values["REPLICAS"] == "3"
    assert values["METRICS_SERVICE"] == "dpe-operator-metrics.dpe-system.svc"


def test_the_helm_test_asks_for_all_kinds():
    assert runpy.run_path(str(CHART / "files/helm_test.py"))["KINDS"] == {k.kind for k in KINDS}


def test_names_stay_short_for_a_long_release(render):
    for document in render({}, release="r" * 53):
        assert len(document["metadata"]["name"].rsplit(":", 1)[-1]) <= 63
