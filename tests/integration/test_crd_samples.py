# SPDX-License-Identifier: Apache-2.0
"""CRDs and samples on a real API server: accepted, defaulted, listed, explained, scaled."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tests.support.api_server import ApiServer
from tests.support.bad_input import CLUSTER, FARM, REFUSED_BY_API_SERVER, BadInput, changed
from tests.support.bad_input_par import PAR_STORE
from tests.support.samples import SAMPLES, documents, spec_of

from dpe_operator.api.kinds import KINDS, Kind

pytestmark = pytest.mark.integration


def _names(sample: Path) -> str:
    return sample.stem


@pytest.mark.parametrize("sample", SAMPLES, ids=_names)
def test_sample_is_accepted_and_means_the_same_with_the_servers_defaults(
    dpe_api_server: ApiServer, namespace: str, sample: Path
) -> None:
    dpe_api_server.kubectl("apply", "-n", namespace, "--validate=strict", "-f", str(sample))

    for written in documents(sample):
        kind, name = written["kind"].lower(), written["metadata"]["name"]
        got = dpe_api_server.kubectl("get", kind, name, "-n", namespace, "-o", "json")
        assert spec_of(json.loads(got.stdout)) == spec_of(written)


@pytest.mark.parametrize("row", REFUSED_BY_API_SERVER, ids=str)
def test_models_read_what_the_server_accepts_the_same_with_its_defaults(
    dpe_api_server: ApiServer, namespace: str, row: BadInput
) -> None:
    status, stored = dpe_api_server.apply(namespace, row.cured)

    assert status == 201, stored
    assert spec_of(stored) == spec_of(row.cured)


def test_stable_choices_are_written_into_the_stored_object(
    dpe_api_server: ApiServer, namespace: str
) -> None:
    _, stored = dpe_api_server.apply(namespace, CLUSTER)

    spec = stored["spec"]
    assert spec["placement"] == "Required"
    assert spec["clients"] == {"serviceRootEnv": "DPE_SERVICE_ROOT"}
    assert spec["server"]["health"] == {"path": "/status", "scheme": "HTTPS", "status": "200"}
    assert spec["server"]["loadBalancer"] == {
        "type": "HAProxy",
        "tls": {"mode": "Passthrough"},
        "service": {"type": "ClusterIP"},
        "failback": {"policy": "Never"},
    }
    assert "replicas" not in spec["processors"][0]


def test_one_field_of_a_list_entry_can_be_applied_on_its_own(
    dpe_api_server: ApiServer, namespace: str
) -> None:
    dpe_api_server.apply(namespace, CLUSTER)
    patch = {
        "apiVersion": CLUSTER["apiVersion"],
        "kind": "DpeCluster",
        "metadata": {"name": "radio"},
        "spec": {"server": {"members": [{"name": "b", "hostName": "dpe-b"}]}},
    }
    path = f"/apis/dpe.dev/v1alpha1/namespaces/{namespace}/dpeclusters/radio?fieldManager=other"
    status, stored = dpe_api_server.request(
        "PATCH", path, patch, content_type="application/apply-patch+yaml"
    )

    assert status == 200, stored
    assert stored["spec"]["server"]["members"] == [
        {"name": "a"},
        {"name": "b", "hostName": "dpe-b"},
    ]


# --- status

_CONDITION = {
    "type": "Ready",
    "status": "False",
    "observedGeneration": 3,
    "lastTransitionTime": "2026-11-22T03:00:00Z",
    "reason": "StandbyDown",
    "message": "member b is down since 02:59:58: its health page answers 503",
}
_PAIR_STATUS = {
    "observedGeneration": 3,
    "conditions": [_CONDITION],
    "active": "a",
    "activeSince": "2026-11-22T02:59:58.250000Z",
    "standby": "b",
    "serviceRoot": "https://radio-balancer.studio.svc/DpeWebApplication",
    "members": [
        {"name": "a", "state": "Up", "address": "10.96.0.7:443"},
        {"name": "b", "state": "Down", "address": "dpe2.studio.example:443"},
    ],
    "lastSwitch": {
        "from": "b",
        "to": "a",
        "cause": "MemberDown",
        "at": "2026-11-22T02:59:58.250000Z",
        "gap": "310ms",
    },
    "switchCount": 4,
    "routedBalancer": "radio-balancer-5d9c7-abcde",
    "outdated": ["Deployment/radio-member-b"],
}
_FARM_STATUS = {
    "observedGeneration": 3,
    "conditions": [_CONDITION],
    "replicas": 3,
    "readyReplicas": 2,
    "selector": "app.kubernetes.io/instance=video",
    "outdated": ["Deployment/video-processor"],
}
_FARMS = [{"type": "audio", "replicas": 3, "readyReplicas": 2}]
_DATABASES = {
    "referencesHash": "0123456789abcdef",
    "checkedAt": "2026-11-22T03:00:00Z",
    "job": "radio-database-check-0123456789",
    "likeness": "Different",
    "references": [
        {"name": "core/a", "found": True, "finding": "OneHost"},
        {"name": "content/news", "found": True, "missing": ["password"], "finding": "Alias"},
    ],
}
_PAR_RUN = {
    "startedAt": "2026-11-22T02:00:04Z",
    "finishedAt": "2026-11-22T02:00:09Z",
    "result": "Succeeded",
    "reason": "Copied",
    "message": "12 files, 3 copied, 0 deleted.",
    "job": "radio-par-sync-29403000",
    "files": 12,
    "bytes": 4096,
    "copied": 3,
    "deleted": 0,
    "deferred": 1,
    "divergent": {"count": 1, "names": ["a.par"]},
    "overwritten": {"count": 1, "names": ["b.par"]},
    "skipped": {"count": 0},
    "verified": True,
    "warnings": ["the times of 2 equal files could not be set: not their owner"],
}
_PAR_STATUS = {
    "observedGeneration": 3,
    "conditions": [_CONDITION],
    "lastRun": _PAR_RUN,
    "lastSuccess": {"finishedAt": "2026-11-22T02:00:09Z", "files": 12, "bytes": 4096},
    "nextRun": "2026-11-23T02:00:00Z",
    "onDemand": {"text": "now", "job": "radio-par-sync-now-0123abcd"},
    "running": "radio-par-sync-29403001",
}
_PAR_FILES = {
    "result": "Succeeded",
    "lastSuccess": "2026-11-22T02:00:09Z",
    "nextRun": "2026-11-23T02:00:00Z",
}
_WORKFLOW = [
    {
        "name": "news-entries",
        "kind": "WorkflowTableWatcher",
        "mode": "Standby",
        "replicas": 2,
        "readyReplicas": 1,
        "holder": "radio-news-entries-table-watcher-5d9c7-abcde",
    }
]
FULL_STATUS = {
    "DpeCluster": {
        **_PAIR_STATUS,
        "farms": _FARMS,
        "workflow": _WORKFLOW,
        "databases": _DATABASES,
        "parFiles": _PAR_FILES,
    },
    "DpeServer": _PAIR_STATUS,
    "ProcessorFarm": _FARM_STATUS,
    "ParStore": _PAR_STATUS,
}
_SAMPLE = {
    "DpeCluster": "full",
    "DpeServer": "server-alone",
    "ProcessorFarm": "farm",
    "ParStore": "par-store",
}


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind.kind in FULL_STATUS], ids=lambda kind: kind.kind
)
def test_full_status_is_read_back_as_it_was_written(
    dpe_api_server: ApiServer, namespace: str, kind: Kind
) -> None:
    path = next(path for path in SAMPLES if path.stem == _SAMPLE[kind.kind])
    resource = documents(path)[0]
    dpe_api_server.apply(namespace, resource)
    status = FULL_STATUS[kind.kind]

    code, stored = dpe_api_server.apply(
        namespace,
        {**{key: resource[key] for key in ("apiVersion", "kind", "metadata")}, "status": status},
        subresource="/status",
    )

    assert code == 200, stored
    assert stored["status"] == status
    assert set(status) == set(_schema_of(dpe_api_server, kind)["status"]["properties"])


def _schema_of(server: ApiServer, kind: Kind) -> Any:
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{kind.crd_name}"
    _, definition = server.request("GET", path)
    return definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]


def test_columns_tell_the_state_in_one_line(dpe_api_server: ApiServer, namespace: str) -> None:
    dpe_api_server.apply(namespace, CLUSTER)
    head = {key: CLUSTER[key] for key in ("apiVersion", "kind", "metadata")}
    dpe_api_server.apply(
        namespace, {**head, "status": FULL_STATUS["DpeCluster"]}, subresource="/status"
    )

    lines = dpe_api_server.kubectl("get", "dpe", "-n", namespace).stdout.splitlines()

    assert lines[0].split() == ["NAME", "READY", "ACTIVE", "STANDBY", "MESSAGE", "AGE"]
    assert lines[1].split()[:4] == ["radio", "False", "a", "b"]
    assert "its health page answers 503" in lines[1]


def test_columns_tell_how_old_the_copy_is(dpe_api_server: ApiServer, namespace: str) -> None:
    dpe_api_server.apply(namespace, PAR_STORE)
    head = {key: PAR_STORE[key] for key in ("apiVersion", "kind", "metadata")}
    dpe_api_server.apply(namespace, {**head, "status": _PAR_STATUS}, subresource="/status")

    lines = dpe_api_server.kubectl("get", "dpepar", "-n", namespace).stdout.splitlines()

    assert re.split("  +", lines[0].strip()) == [
        "NAME", "READY", "LAST SYNC", "COPY AGE", "RESULT", "MESSAGE", "AGE",
    ]  # fmt: skip
    found = re.split("  +", lines[1])
    assert (found[0], found[1], found[4]) == ("radio", "False", "Succeeded")
    assert re.fullmatch("[0-9]+[a-z].*", found[2]) and re.fullmatch("[0-9]+[a-z].*", found[3])


# --- scale


def test_farm_is_scaled_by_kubectl(dpe_api_server: ApiServer, namespace: str) -> None:
    dpe_api_server.apply(namespace, FARM)

    dpe_api_server.kubectl("scale", "dpefarm/video", "-n", namespace, "--replicas=4")

    got = dpe_api_server.kubectl("get", "dpefarm/video", "-n", namespace, "-o", "json")
    assert json.loads(got.stdout)["spec"]["replicas"] == 4


def test_scaling_below_two_is_refused_without_the_waiver(
    dpe_api_server: ApiServer, namespace: str
) -> None:
    dpe_api_server.apply(namespace, changed(FARM, {"spec.replicas": 2}))

    refused = dpe_api_server.kubectl(
        "scale", "dpefarm/video", "-n", namespace, "--replicas=1", check=False
    )

    assert refused.returncode != 0
    assert "replicas is 1, so one fault stops all video jobs" in refused.stderr


def test_scaling_below_two_is_accepted_with_the_waiver(
    dpe_api_server: ApiServer, namespace: str
) -> None:
    dpe_api_server.apply(
        namespace, changed(FARM, {"spec.replicas": 2, "spec.allowSingleReplica": True})
    )

    dpe_api_server.kubectl("scale", "dpefarm/video", "-n", namespace, "--replicas=1")


# --- kubectl


def test_category_lists_every_kind(dpe_api_server: ApiServer, namespace: str) -> None:
    for sample in ("smallest", "server-alone", "farm", "par-store"):
        path = next(path for path in SAMPLES if path.stem == sample)
        dpe_api_server.kubectl("apply", "-n", namespace, "-f", str(path))

    listed = dpe_api_server.kubectl("get", "dpe-all", "-n", namespace, "-o", "name").stdout

    assert sorted(listed.split()) == [
        "dpecluster.dpe.dev/radio",
        "dpeserver.dpe.dev/archive",
        "parstore.dpe.dev/radio-archive",
        "processorfarm.dpe.dev/video",
    ]


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("dpe", "A whole DPE site"),
        ("dpe.spec.server", "one active and one hot standby"),
        ("dpe.spec.server.health", "IIS puts an idle application to sleep"),
        ("dpe.spec.server.members.external", "outside the cluster"),
        ("dpe.spec.server.loadBalancer.tls.mode", "a planned switch fails"),
        ("dpe.spec.clients.totalBudget", "Default: 20s"),
        ("dpeserver.status.lastSwitch", "active member"),
        ("dpefarm.spec.replicas", "Two at least"),
        ("dpe.spec.parFiles.sync.onDivergence", "it stays as it is and is reported"),
        ("dpepar.spec.sync.maxDeletions", "must not empty the copy"),
    ],
)
def test_explain_reads_like_a_manual(dpe_api_server: ApiServer, field: str, expected: str) -> None:
    text = dpe_api_server.kubectl("explain", field).stdout

    assert expected in " ".join(text.split())
