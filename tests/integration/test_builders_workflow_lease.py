# SPDX-License-Identifier: Apache-2.0
"""The Lease of candidates on a real API server: what the operator applies, what an elector may."""

from __future__ import annotations

import pytest
from tests.integration.test_builders_dry_run import apply, create
from tests.support.api_server import ApiServer
from tests.unit.builders.workflow_samples import TABLE, workflow_context, workflow_spec

from dpe_operator.api import constants
from dpe_operator.builders import workflow
from dpe_operator.builders.context import ComponentContext
from dpe_operator.planning.objects import Obj

pytestmark = pytest.mark.integration

NAME = "news-table-watcher"
SPEC = workflow_spec(TABLE, "Standby")
ACCEPTED = {constants.ANNOTATION_ACCEPT_MEMORY_LOSS: "7"}


@pytest.fixture
def context(namespace: str) -> ComponentContext:
    return workflow_context(TABLE, SPEC, namespace=namespace)


def lease_path(namespace: str, name: str = f"/{NAME}") -> str:
    return f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases{name}"


def hold(server: ApiServer, lease: Obj, *, token: str | None = None) -> Obj:
    """Write as an elector does: the whole object, with what it has read."""
    record = '{"identity":"me","epoch":7,"seconds":15,"state":"held"}'
    lease["metadata"]["annotations"][constants.ANNOTATION_ELECTOR_RECORD] = record
    lease["spec"] |= {"holderIdentity": "me", "leaseTransitions": 7, "leaseDurationSeconds": 15}
    path = lease_path(lease["metadata"]["namespace"])
    status, answer = server.request("PUT", f"{path}?fieldManager=elector", lease, token=token)
    assert status == 200, answer
    return answer


def test_applied_metadata_leaves_the_holder_s_fields_alone(
    api_server: ApiServer, context: ComponentContext
) -> None:
    first, _ = workflow.workflow_lease(context, TABLE, first=True)
    held = hold(api_server, create(api_server, first, dry_run=False))

    _, wish = workflow.workflow_lease(context, TABLE, annotations=ACCEPTED)
    live = apply(api_server, wish, dry_run=False)

    assert live["spec"] == held["spec"]
    assert live["metadata"]["annotations"] == held["metadata"]["annotations"] | ACCEPTED


def test_an_accepted_loss_is_taken_back_even_after_the_holder_wrote(
    api_server: ApiServer, context: ComponentContext
) -> None:
    first, _ = workflow.workflow_lease(context, TABLE, first=True)
    create(api_server, first, dry_run=False)
    _, wish = workflow.workflow_lease(context, TABLE, annotations=ACCEPTED)
    held = hold(api_server, apply(api_server, wish, dry_run=False))
    assert held["metadata"]["annotations"].items() >= ACCEPTED.items()

    _, applied = workflow.workflow_lease(context, TABLE)
    live = apply(api_server, applied, dry_run=False)

    assert set(live["metadata"]["annotations"]) == {constants.ANNOTATION_ELECTOR_RECORD}
    assert live["spec"] == held["spec"]


def test_the_elector_s_rights_are_enough_and_no_more(
    api_server: ApiServer, context: ComponentContext, namespace: str
) -> None:
    for manifest in workflow.workflow_rights(context, TABLE, SPEC):
        apply(api_server, manifest, dry_run=False)
    first, _ = workflow.workflow_lease(context, TABLE, first=True)
    made = create(api_server, first, dry_run=False)
    token = api_server.service_account_token(namespace, NAME)

    def status(method: str, path: str) -> int:
        return api_server.request(method, path, {} if method == "POST" else None, token=token)[0]

    watch = f"watch=1&timeoutSeconds=1&fieldSelector=metadata.name%3D{NAME}"
    assert status("GET", lease_path(namespace)) == 200
    assert status("GET", f"{lease_path(namespace, '')}?{watch}") == 200
    hold(api_server, made, token=token)
    for method, path in [
        ("GET", lease_path(namespace, "")),
        ("POST", lease_path(namespace, "")),
        ("GET", lease_path(namespace, "/other")),
        ("DELETE", lease_path(namespace)),
        ("GET", f"/api/v1/namespaces/{namespace}/secrets"),
        ("GET", f"/api/v1/namespaces/{namespace}/pods"),
        ("GET", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"),
    ]:
        assert status(method, path) == 403, f"{method} {path}"
