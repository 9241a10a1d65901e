# SPDX-License-Identifier: Apache-2.0
"""The workflow kinds on a real API server: accepted as meant, listed, explained.

What is refused stands in the table of bad input.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.api_server import ApiServer
from tests.support.bad_input_row import Resource, changed
from tests.support.bad_input_workflow import (
    FOLDER,
    SCHEDULER,
    TABLE,
    concurrent,
    standby,
)
from tests.support.samples import SAMPLES, documents

from dpe_operator.api.constants import WORKFLOW_KINDS
from dpe_operator.api.kinds import kind_named
from dpe_operator.crd_schema.definitions import custom_resource_definition, to_yaml

pytestmark = pytest.mark.integration

MODES = ("Standby", "Concurrent")
_BERLIN = {"spec.schedule": "0 2 * * *", "spec.timeZone": "Europe/Berlin"}
_MEMORY = {"spec.memory": {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}}


@pytest.mark.parametrize("kind", WORKFLOW_KINDS)
@pytest.mark.parametrize("make", [standby, concurrent])
def test_the_smallest_are_accepted(
    dpe_api_server: ApiServer, namespace: str, kind: str, make: Callable[[str], Resource]
) -> None:
    status, answer = dpe_api_server.apply(namespace, make(kind))
    assert status == 201, answer


@pytest.mark.parametrize(
    "resource",
    [
        changed(standby(SCHEDULER), _BERLIN),
        changed(concurrent(SCHEDULER), {**_BERLIN, "spec.stagger": "15m", "spec.replicas": 3}),
        changed(standby(TABLE), {**_MEMORY, "spec.timings": {"profile": "Fast"}}),
        changed(standby(FOLDER), {**_MEMORY, "spec.titleTemplate": "!0 %guid%"}),
        changed(concurrent(FOLDER), {**_MEMORY, "spec.replicas": 10}),
    ],
)
def test_what_is_meant_to_be_written_is_accepted(
    dpe_api_server: ApiServer, namespace: str, resource: Resource
) -> None:
    status, answer = dpe_api_server.apply(namespace, resource)
    assert status == 201, answer


@pytest.mark.parametrize("kind", WORKFLOW_KINDS)
def test_a_definition_stays_small(kind: str) -> None:
    assert len(to_yaml(custom_resource_definition(kind_named(kind)))) < 100_000


# --- samples, status and kubectl


def test_every_kind_has_samples() -> None:
    shown = {
        (document["kind"], document["spec"]["mode"])
        for path in SAMPLES
        for document in documents(path)
        if document["kind"] in WORKFLOW_KINDS
    }

    assert {kind for kind, _ in shown} == set(WORKFLOW_KINDS)
    assert {(kind, mode) for kind in (TABLE, FOLDER) for mode in MODES} <= shown


_STATUS = {
    "observedGeneration": 3,
    "conditions": [
        {
            "type": "Ready",
            "status": "False",
            "observedGeneration": 3,
            "lastTransitionTime": "2026-11-22T03:00:00Z",
            "reason": "CandidatesMissing",
            "message": "1 of 2 candidates is ready: a pod finds no second node",
        }
    ],
    "mode": "Standby",
    "replicas": 2,
    "readyReplicas": 1,
    "holder": "news-table-watcher-5d9c7-abcde",
    "epoch": 7,
    "since": "2026-11-22T02:59:58Z",
    "members": [{"name": "1", "ready": True, "schedule": "0 2 * * *", "claim": "news-memory-1"}],
    "memory": {"epoch": 7, "from": 6, "files": 42, "bytes": 81920, "at": "2026-11-22T02:59:59Z"},
    "outdated": ["Deployment/news-table-watcher"],
}


@pytest.mark.parametrize("kind", WORKFLOW_KINDS)
def test_full_status_is_read_back_as_it_was_written(
    dpe_api_server: ApiServer, namespace: str, kind: str
) -> None:
    resource = standby(kind)
    dpe_api_server.apply(namespace, resource)
    head = {key: resource[key] for key in ("apiVersion", "kind", "metadata")}

    code, stored = dpe_api_server.apply(
        namespace, {**head, "status": _STATUS}, subresource="/status"
    )

    assert code == 200, stored
    assert stored["status"] == _STATUS
    lines = dpe_api_server.kubectl("get", kind.lower(), "-n", namespace).stdout.splitlines()
    assert lines[0].split() == ["NAME", "READY", "MODE", "HOLDER", "MESSAGE", "AGE"]
    assert lines[1].split()[:4] == ["news", "False", "Standby", _STATUS["holder"]]
    assert "a pod finds no second node" in lines[1]


def test_short_names_and_category_list_them(dpe_api_server: ApiServer, namespace: str) -> None:
    for kind in WORKFLOW_KINDS:
        dpe_api_server.apply(namespace, concurrent(kind))

    listed = dpe_api_server.kubectl("get", "dpe-all", "-n", namespace, "-o", "name").stdout.split()
    short = dpe_api_server.kubectl(
        "get", "dpeworker,dpesched,dpetable,dpefolder", "-n", namespace, "-o", "name"
    ).stdout.split()

    assert sorted(listed) == sorted(short)
    assert len(listed) == len(WORKFLOW_KINDS)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("dpetable", "one active with its memory, or several kept apart by titles"),
        ("dpeworker.spec.mode", "there is no default, because both have consequences"),
        ("dpetable.spec.memory.onLoss", "nobody watches until you have restored it"),
        ("dpefolder.spec.titleTemplate", "the only guard against doubles"),
        ("dpesched.spec.stagger", "Default: 30m"),
        ("dpesched.spec.timings.profile", "a lost node costs up to 17 s"),
        ("dpefolder.status.holder", "the pod that acts"),
    ],
)
def test_explain_reads_like_a_manual(dpe_api_server: ApiServer, field: str, expected: str) -> None:
    text = dpe_api_server.kubectl("explain", field).stdout

    assert expected in " ".join(text.split())
