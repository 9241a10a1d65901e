# SPDX-License-Identifier: Apache-2.0
"""Values that are missing or null, that look like numbers, or that say twice what the chart says.

Missing is also what an upgrade with `--reuse-values` makes of a value that the former chart did not
have.
"""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml
from tests.unit.chart.conftest import CHART

VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
# a map that is one value: what Helm finds in it is added to the defaults
WHOLE = {("operator", "resources")}


def leaves(values: dict[str, Any], path: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    found: dict[tuple[str, ...], Any] = {}
    for key, value in values.items():
        here = (*path, key)
        below = isinstance(value, dict) and value and here not in WHOLE
        found |= leaves(value, here) if below else {here: value}
    return found


def nulls(paths: set[tuple[str, ...]]) -> dict[str, Any]:
    """Return values in which these are null."""
    values: dict[str, Any] = {}
    for path in paths:
        below = values
        for key in path[:-1]:
            below = below.setdefault(key, {})
        below[path[-1]] = None
    return values


EMPTY = {path for path, value in leaves(VALUES).items() if value in ("", [], {})}
FULL = set(leaves(VALUES)) - EMPTY
BLOCKS = {path[:length] for path in leaves(VALUES) for length in range(1, len(path))}


def test_a_value_that_is_missing_is_refused_by_name(render, chart_refused):
    """Without it pods would end at once, or do what nobody asked for."""
    with pytest.raises(chart_refused) as refused:
        render(nulls(FULL))
    said = re.findall(r"at '(.*)': missing propert(?:y|ies) (.*)", str(refused.value))
    named = {(*at.split("/")[1:], key) for at, keys in said for key in re.findall(r"'(.*?)'", keys)}
    assert named == FULL


@pytest.mark.parametrize("path", sorted(BLOCKS), ids=".".join)
def test_a_block_that_is_missing_is_refused_by_name(render, chart_refused, path):
    with pytest.raises(chart_refused, match=f"missing property '{path[-1]}'"):
        render(nulls({path}))


def test_what_is_empty_anyway_may_be_missing(render):
    assert render(nulls(EMPTY)) == render()


def test_names_that_look_like_numbers_stay_texts(render):
    names = {
        "nameOverride": "0",
        "fullnameOverride": "no",
        "image": {"pullSecrets": [{"name": "123"}]},
        "watch": {"namespaces": ["7", "1e3"]},
        "operator": {"priorityClassName": "5"},
        "serviceAccount": {"name": "9"},
        "rbac": {"clusterReads": True},
        "metrics": {"serviceMonitor": {"enabled": True}},
    }
    documents = render(names, release="1", namespace="2")
    found = [entry for document in documents for entry in texts(document)]
    assert len(found) > 100
    assert [entry for entry in found if not isinstance(entry[1], str)] == []


TEXTS = {"name", "namespace", "resourceNames", "value", "serviceAccountName", "priorityClassName"}


def texts(value: Any, key: str = "") -> list[tuple[str, Any]]:
    """Return what Kubernetes takes as a text only: names, labels, values of variables."""
    if isinstance(value, dict):
        return [entry for name, below in value.items() for entry in texts(below, name)]
    if isinstance(value, list):
        return [entry for item in value for entry in texts(item, key)]
    return [(key, value)] if key in TEXTS or "/" in key else []


def test_what_the_chart_says_itself_stands_once(one):
    """The renderer of these tests refuses a key that stands twice."""
    values = {
        "operator": {
            "nodeSelector": {"kubernetes.io/os": "windows", "disk": "fast"},
            "podLabels": {"app.kubernetes.io/name": "mine", "team": "radio"},
            "podAnnotations": {"kubectl.kubernetes.io/default-container": "mine"},
        },
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"helm.sh/chart": "mine"}}},
    }
    for kind in ("Deployment", "Job"):
        spec = one(kind, values=values)["spec"]["template"]["spec"]
        assert spec["nodeSelector"] == {"kubernetes.io/os": "linux", "disk": "fast"}
    deployment = one("Deployment", values=values)["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    assert labels == {**deployment["selector"]["matchLabels"], "team": "radio"}
    assert one("ServiceMonitor", values=values)["metadata"]["labels"]["helm.sh/chart"] == "mine"


@pytest.mark.parametrize("release", ["radio.studio", "9radio"])
def test_a_release_whose_name_no_service_can_have_is_refused(render, chart_refused, release):
    with pytest.raises(chart_refused, match="fullnameOverride"):
        render(release=release)
    names = {d["metadata"]["name"] for d in render({"fullnameOverride": "radio"}, release=release)}
    assert "radio-metrics" in names


def test_a_full_name_that_no_service_can_have_is_refused(render, chart_refused):
    with pytest.raises(chart_refused, match="begin with a letter"):
        render({"fullnameOverride": "9radio"})
