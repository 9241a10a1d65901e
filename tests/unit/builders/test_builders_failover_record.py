# SPDX-License-Identifier: Apache-2.0
"""Lease and slice: created once, then metadata only; and the rights to write them."""

from __future__ import annotations

from tests.unit.builders.builder_samples import SERVICE_UID, pair_context, pair_spec

from dpe_operator.api.server import DpeServerSpec
from dpe_operator.builders import balancer_rights, failover_record
from dpe_operator.builders.context import Manifest

HOLDERS_FIELDS = {"spec", "endpoints", "ports", "addressType"}


def slice_metadata(request: str | None = None) -> Manifest:
    spec = pair_spec()
    found = failover_record.slice_metadata(
        pair_context(spec), spec, service_uid=SERVICE_UID, switch_request=request
    )
    assert found is not None
    return found


def test_the_first_slice_routes_nobody() -> None:
    spec = pair_spec()
    made = failover_record.initial_slice(pair_context(spec), spec, service_uid=SERVICE_UID)
    assert made is not None
    assert (made["addressType"], made["endpoints"]) == ("IPv4", [])
    assert made["ports"] == [{"name": "https", "port": 8443, "protocol": "TCP"}]


def test_later_on_nothing_of_the_holder_s_is_applied() -> None:
    spec = pair_spec()
    lease = failover_record.lease_metadata(pair_context(spec), spec)
    assert lease is not None
    for made in (slice_metadata(), lease):
        assert not HOLDERS_FIELDS & set(made)


def test_kube_proxy_finds_the_slice_and_no_controller_touches_it() -> None:
    labels = slice_metadata()["metadata"]["labels"]
    assert labels["kubernetes.io/service-name"] == "radio-balancer"
    assert labels["endpointslice.kubernetes.io/managed-by"] == "elector.dpe.dev"
    assert labels["app.kubernetes.io/managed-by"] == "dpe-operator"


def test_the_slice_belongs_to_the_service() -> None:
    [reference] = slice_metadata()["metadata"]["ownerReferences"]
    assert (reference["kind"], reference["uid"]) == ("Service", SERVICE_UID)


def test_a_request_is_one_annotation_and_goes_away_with_it() -> None:
    asked = slice_metadata("b@3")["metadata"]
    assert asked.pop("annotations") == {"dpe.dev/switch-request": "b@3"}
    assert asked == slice_metadata()["metadata"]


def test_nobody_holds_the_first_lease() -> None:
    spec = pair_spec()
    made = failover_record.initial_lease(pair_context(spec), spec)
    assert made is not None
    assert made["spec"] == {"holderIdentity": "", "leaseTransitions": 0}


def rules(spec: DpeServerSpec) -> set[tuple[str, str, str]]:
    role = balancer_rights.role(pair_context(spec), spec)
    assert role is not None
    return {
        (resource, verb, ",".join(rule.get("resourceNames", ["*"])))
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_balancer_may_do_this_and_no_more() -> None:
    assert rules(pair_spec()) == {
        ("leases", "get", "radio-balancer"),
        ("leases", "watch", "radio-balancer"),
        ("leases", "update", "radio-balancer"),
        ("endpointslices", "get", "radio-balancer"),
        ("endpointslices", "watch", "radio-balancer"),
        ("endpointslices", "update", "radio-balancer"),
        ("endpointslices", "list", "*"),
        ("endpointslices", "watch", "*"),
    }


def test_the_role_is_given_to_the_account_and_its_token_to_nobody() -> None:
    spec = pair_spec()
    context = pair_context(spec)
    binding = balancer_rights.role_binding(context, spec)
    account = balancer_rights.service_account(context, spec)
    assert binding is not None and account is not None
    assert binding["roleRef"]["name"] == "radio-balancer"
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": "dpe"}
    ]
    assert account["automountServiceAccountToken"] is False
