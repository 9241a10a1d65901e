# SPDX-License-Identifier: Apache-2.0
"""Durations, names, addresses and small helpers of the models."""

from __future__ import annotations

import operator
import re
import sysconfig
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from tests.support.bad_input import CLUSTER, FARM, changed
from tests.support.samples import spec_of

from dpe_operator.api import addresses
from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.common import Duration, HostName, Rule
from dpe_operator.api.kinds import kind_named
from dpe_operator.api.processor_farm import ProcessorFarmSpec
from dpe_operator.api.server import ServerSpec

ROOT = Path(__file__).resolve().parents[3]


def _server(**changes: Any) -> ServerSpec:
    resource = changed(CLUSTER, {f"spec.server.{path}": value for path, value in changes.items()})
    server: ServerSpec = spec_of(resource).server
    return server


def test_operator_folder_never_shadows_the_standard_library() -> None:
    assert not (ROOT / "operator/__init__.py").exists()
    assert Path(str(operator.__file__)).parent == Path(sysconfig.get_path("stdlib"))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("2s", 2), ("1m30s", 90), ("2h", 7200), ("0s", 0), ("1h1m1s", 3661)],
)
def test_duration_is_read_in_seconds_and_kept_as_text(text: str, seconds: float) -> None:
    parsed = TypeAdapter(Duration).validate_python(text)

    assert parsed == text
    assert parsed.seconds == pytest.approx(seconds)
    assert parsed.milliseconds == round(seconds * 1000)


@pytest.mark.parametrize("text", ["", "5", "5 s", "1d", "-1s", "0.5s", "s", "1s1s1s1s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Duration).validate_python(text)


@pytest.mark.parametrize(
    ("host", "taken"),
    [
        ("dpe1.studio.example", True),
        ("a", True),
        ("10.0.0.1", True),
        ("a--b.-.c-.d", True),
        ("DPE-" + "1" * 70 + ".x", True),
        ("dpe1..studio.example", False),
        ("a...b", False),
    ],
)
def test_hosts_with_an_empty_label_are_refused_and_still_read(host: str, taken: bool) -> None:
    """HAProxy refuses the whole config for one; an older release let it through."""
    adapter = TypeAdapter[str](HostName)
    assert bool(re.fullmatch(adapter.json_schema()["pattern"], host)) == taken
    assert adapter.validate_python(host) == host


@pytest.mark.parametrize("host", ["", ".a", "a.", "-a", "a-", "a_b", "a b"])
def test_what_is_no_host_is_refused(host: str) -> None:
    adapter = TypeAdapter[str](HostName)
    assert not re.fullmatch(adapter.json_schema()["pattern"], host)
    with pytest.raises(ValidationError):
        adapter.validate_python(host)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "https://radio-balancer.studio.svc"),
        ({"basePath": "/Dpe"}, "https://radio-balancer.studio.svc/Dpe"),
        ({"port": 8443, "basePath": "/Dpe"}, "https://radio-balancer.studio.svc:8443/Dpe"),
        ({"loadBalancer": {"tls": {"mode": "Terminate"}}}, "https://radio-balancer.studio.svc"),
        ({"loadBalancer": {"tls": {"mode": "None"}}}, "http://radio-balancer.studio.svc:443"),
        (
            {"loadBalancer": {"tls": {"mode": "None"}}, "port": 80},
            "http://radio-balancer.studio.svc",
        ),
        (
            {"loadBalancer": {"type": "External", "externalAddress": {"host": "dpe.example"}}},
            "https://dpe.example",
        ),
        (
            {
                "basePath": "/Dpe",
                "loadBalancer": {
                    "type": "External",
                    "externalAddress": {"host": "dpe.example", "port": 8080, "scheme": "http"},
                },
            },
            "http://dpe.example:8080/Dpe",
        ),
    ],
)
def test_service_root_is_the_url_of_the_balancer(changes: dict[str, Any], expected: str) -> None:
    url = addresses.service_root(name="radio", namespace="studio", server=_server(**changes))

    assert url == expected


def test_names_made_from_the_longest_allowed_ones_fit_into_63_characters() -> None:
    name, part = "r" * 30, "p" * 20
    farm = addresses.farm_name(name, part)

    assert len(farm) <= 52
    for made in (
        addresses.balancer_name(name),
        addresses.member_name(name, part),
        addresses.members_name(name),
        addresses.processor_name("f" * 52),
        addresses.client_profile_name(name),
        addresses.accepted_revision_name(name, "DpeCluster", 9999),
    ):
        assert len(made) <= 63, made


def test_the_nearest_placement_wins_and_required_is_the_last_word() -> None:
    assert addresses.effective_placement(None, "Preferred", "Required") == "Preferred"
    assert addresses.effective_placement(None, None) == "Required"


def test_retry_profile_is_given_under_its_prefix() -> None:
    profile = ClientProfile.model_validate({"retryEnvPrefix": "RETRY_", "maxBackoff": "3s"})

    assert profile.retry_environment() == {
        "RETRY_ATTEMPTS": "25",
        "RETRY_INITIAL_BACKOFF": "250ms",
        "RETRY_MAX_BACKOFF": "3s",
        "RETRY_CONNECT_TIMEOUT": "500ms",
        "RETRY_REQUEST_TIMEOUT": "5s",
        "RETRY_TOTAL_BUDGET": "20s",
    }


@pytest.mark.parametrize(("written", "wanted"), [(None, 2), (0, 0), (1, 1), (5, 5)])
def test_farm_without_a_number_runs_two(written: int | None, wanted: int) -> None:
    spec: ProcessorFarmSpec = spec_of(changed(FARM, {"spec.replicas": written}))

    assert spec.wanted_replicas() == wanted


def test_members_are_told_apart_by_where_they_run() -> None:
    server = _server(**{"members.1": {"name": "b", "external": {"host": "dpe2.example"}}})

    assert [member.name for member in server.in_cluster_members] == ["a"]
    assert server.members[1].is_external


def test_the_pods_port_is_the_services_unless_written() -> None:
    assert _server().pod_port == 443
    assert _server(containerPort=8443).pod_port == 8443


def test_health_without_tls_settings_demands_certificates() -> None:
    assert _server().health.tls_or_default.verify == "Required"


def test_fields_of_a_newer_operator_are_ignored() -> None:
    newer = changed(CLUSTER, {"spec.somethingNew": {"a": []}, "spec.server.health.port": 1})

    assert spec_of(newer) == spec_of(CLUSTER)


def test_a_number_is_read_where_text_is_meant() -> None:
    server = _server(**{"health.status": 200, "resources": {"requests": {"cpu": 2}}})

    assert server.health.status == "200"
    assert server.resources is not None
    assert server.resources.requests == {"cpu": "2"}


def test_unknown_kinds_are_named_with_the_known_ones() -> None:
    with pytest.raises(KeyError, match=r"DpeSever is no kind of dpe\.dev: DpeCluster, DpeServer"):
        kind_named("DpeSever")


def test_a_rule_with_values_formats_its_message_on_the_server() -> None:
    rule = Rule("self.a", "it's %s", values=("self.a",), field=".a")

    assert rule.to_schema() == {
        "rule": "self.a",
        "messageExpression": r"'it\'s %s'.format([self.a])",
        "fieldPath": ".a",
    }
