# SPDX-License-Identifier: Apache-2.0
"""The demo's own thinking: the client pod it makes, what it reads, what it tells."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest
import yaml

from dpe_operator.api.cluster import DpeCluster

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module", autouse=True)
def demo_on_the_path():
    sys.path.insert(0, str(ROOT / "hack/demo.d"))
    yield
    sys.path.remove(str(ROOT / "hack/demo.d"))


def part(name):
    return importlib.import_module(f"dpe_demo.{name}")


def run(**changes):
    values = {
        "killed": "a",
        "activeAfterwards": "b",
        "longestGapMilliseconds": 200.0,
        "requests": 100,
        "failedWithoutRetry": 4,
        "failedAfterRetries": 0,
        "switches": 1,
    }
    return values | changes


def test_the_client_pod_is_restricted_and_knows_only_the_published_profile():
    client = part("client")
    spec = client.job("x", client.Load(), image="image")["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert container["envFrom"] == [{"configMapRef": {"name": "radio-client-profile"}}]
    assert not [word for word in container["command"] if "http" in word]


@pytest.mark.parametrize("before", ["", "   1.0 s  a=200  retried=0 failed=0\n"])
def test_the_summary_is_found_behind_the_lines_of_progress(before):
    log = before + json.dumps({"requests": 3}, indent=1) + "\n"
    assert part("client")._summary(log) == {"requests": 3}


def test_a_summary_that_is_cut_off_is_said_to_be():
    with pytest.raises(part("progress").DemoError, match="cannot be read"):
        part("client")._summary('{"requests": ')


def test_figures_of_several_runs():
    gaps = (100.0, 300.0, 200.0)
    found = part("failover").figures([run(longestGapMilliseconds=gap) for gap in gaps])
    assert found["n"] == 3
    assert found["gapMilliseconds"] == {"min": 100.0, "median": 200.0, "max": 300.0}
    assert found["failedAfterRetries"] == 0


def test_the_report_says_what_was_lost():
    text = part("failover").report([run(), run(failedAfterRetries=2)])
    assert "Requests lost for good: 2" in text
    assert "200 ms" in text


def test_columns_are_as_wide_as_needed():
    assert part("tools").columns([["a", "bb"], ["ccc", "d"]]) == "  a     bb\n  ccc   d"


def test_a_condition_is_found_by_its_type():
    site = part("site")
    resource = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert site.condition(resource, "Ready")["status"] == "True"
    assert site.condition({}, "Ready") == {}


def test_steps_are_plain_lines_when_nobody_watches(capsys):
    progress = part("progress").Progress(1)
    with progress.step("Do it"):
        pass
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("] ", 1)[1] for line in lines] == ["[1/1] Do it", "[1/1] Do it: done in 0 s"]


def test_a_step_that_fails_is_not_called_done(capsys):
    progress = part("progress").Progress(1)
    with pytest.raises(ValueError, match="no"), progress.step("Do it"):
        raise ValueError("no")
    assert "done" not in capsys.readouterr().err


def test_the_demos_site_is_valid():
    path = ROOT / "manifests/demo/radio.yaml"
    text = part("site").filled(path, {"IMAGE_SIMULATOR": "dpe-simulator:1"})
    document = yaml.safe_load(text)
    site = DpeCluster.model_validate({key: document[key] for key in ("metadata", "spec")})
    assert [member.name for member in site.spec.server.members] == ["a", "b"]
    assert [farm.type for farm in site.spec.processors] == ["audio", "video"]


class PairWithoutOperator:
    """Answers for the objects of a pair as an API server would; there is no status of the site."""

    def __init__(self, states: str, ready: dict[str, int]) -> None:
        self.states, self.ready = states, ready

    def get(self, kind: str, name: str, *_: str) -> dict:
        if kind == "endpointslice":
            return {"metadata": {"annotations": {"dpe.dev/member-states": self.states}}}
        assert kind == "deployment", f"{kind} is not known without an operator"
        replicas = 2 if name == "radio-balancer" else 1
        return {"spec": {"replicas": replicas}, "status": {"readyReplicas": self.ready[name]}}


BOTH = '{"a":"UP","b":"UP"}'
ALL = {"radio-balancer": 2, "radio-member-a": 1, "radio-member-b": 1}


@pytest.mark.parametrize(
    ("states", "ready", "redundant"),
    [
        (BOTH, ALL, True),
        ('{"a":"UP","b":"DOWN"}', ALL, False),
        (BOTH, ALL | {"radio-balancer": 1}, False),
        (BOTH, ALL | {"radio-member-b": 0}, False),
        ("", ALL, False),
    ],
)
def test_redundancy_is_told_without_an_operator(states, ready, redundant):
    """The tutorial takes the operator away and then breaks the server: nothing may wait for it."""
    assert part("failover").pair_is_redundant(PairWithoutOperator(states, ready)) is redundant
