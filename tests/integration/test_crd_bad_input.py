# SPDX-License-Identifier: Apache-2.0
"""What the API server refuses, in which words, and that following the words cures it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.bad_input import CLUSTER, FARM, REFUSED_BY_API_SERVER, SERVER, BadInput, Resource

from dpe_operator.api.kinds import kind_named

pytestmark = pytest.mark.integration

# said beside errors of form (text too long), after which the server tries no rules
_NOT_CHECKED = "some validation rules were not checked"


def _create(server: ApiServer, namespace: str, resource: Resource) -> tuple[int, dict[str, Any]]:
    plural = kind_named(resource["kind"]).plural
    path = f"/apis/dpe.dev/v1alpha1/namespaces/{namespace}/{plural}"
    return server.request("POST", path, resource)


def _try(server: ApiServer, namespace: str, row: BadInput) -> tuple[int, dict[str, Any]]:
    if row.update:
        status, answer = server.apply(namespace, row.base)
        assert status in (200, 201), answer
        return server.apply(namespace, row.resource)
    return _create(server, namespace, row.resource)


@pytest.mark.parametrize("row", REFUSED_BY_API_SERVER, ids=str)
def test_refused_with_exactly_this_message_and_cured_by_it(
    dpe_api_server: ApiServer, namespace: str, row: BadInput
) -> None:
    status, answer = _try(dpe_api_server, namespace, row)

    assert status == 422, answer
    causes = {
        (cause["field"], cause["message"])
        for cause in answer["details"]["causes"]
        if _NOT_CHECKED not in cause["message"]
    }
    messages = [message for where, message in causes if where in (row.where, "<nil>")]
    assert len(causes) == 1, causes
    assert messages and messages[0].endswith(row.message), causes

    status, answer = dpe_api_server.apply(namespace, row.cured)
    assert status in (200, 201), answer


@pytest.mark.parametrize("resource", [CLUSTER, SERVER, FARM], ids=lambda r: r["kind"])
def test_the_untouched_resource_is_accepted(
    dpe_api_server: ApiServer, namespace: str, resource: Resource
) -> None:
    status, answer = _create(dpe_api_server, namespace, resource)

    assert status == 201, answer
