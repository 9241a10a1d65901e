# SPDX-License-Identifier: Apache-2.0
"""Every object of typical sites, compared with what is stored in golden/.

A difference means that running pods may restart at the next operator upgrade: look at it, then
write the files anew with `DPE_UPDATE_GOLDEN=1 pytest tests/unit/builders`. The text of haproxy.cfg
is not in here, it has tests of its own.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.builders.builder_samples import (
    LONG_NAME,
    LONG_PART,
    cluster_objects,
    farm_objects,
    farm_spec,
    owner,
    pair_objects,
    pair_spec,
)
from tests.unit.builders.par_samples import PAR_CASES
from tests.unit.builders.workflow_samples import WORKFLOW_CASES

from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.databases import Databases
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.database_check import check_job, checked_references

GOLDEN = Path(__file__).parent / "golden"


class _Plain(yaml.SafeDumper):
    """Writes shared parts out in full, without anchors."""

    def ignore_aliases(self, _data: object) -> bool:
        return True


def _pair(*, name: str = "radio", **changes: Any) -> list[Manifest]:
    found = pair_objects(pair_spec(**changes), name=name, config=False)
    return found.applied + found.initial


def _terminate() -> list[Manifest]:
    return _pair(
        members=[{"name": "a"}, {"name": "b", "external": {"host": "dpe2.studio.example"}}],
        health={
            "path": "/status",
            "status": "200-299",
            "hostHeader": "dpe.studio.example",
            "timeout": "1500ms",
            "tls": {"caSecretRef": {"name": "site-ca", "key": "root.pem"}},
        },
        loadBalancer={
            "tls": {"mode": "Terminate", "certificateSecretRef": {"name": "dpe-tls"}},
            "service": {
                "type": "LoadBalancer",
                "nodePort": 30443,
                "annotations": {"metallb.example/pool": "studio"},
                "loadBalancerClass": "metallb.example/l2",
            },
            "placement": "Preferred",
            "tolerations": [{"key": "dpe", "operator": "Exists"}],
        },
    )


def _full_linux() -> list[Manifest]:
    """Every field of the servers once."""
    return _pair(
        port=8443,
        containerPort=18443,
        placement="Preferred",
        command=["/opt/dpe/server"],
        args=["--name", "Größe $(DPE_SERVICE_ROOT) \"'"],
        env=[{"name": "STATION", "value": "Hörfunk – Süd 🎙"}, {"name": "EMPTY"}],
        envFrom=[{"secretRef": {"name": "core-database"}}],
        volumes=[
            {"name": "par", "mountPath": "/data/par", "claimName": "par-master", "readOnly": True},
            {"name": "cache", "mountPath": "/cache", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
        sharedVolumes=[
            {"name": "temp", "mountPath": "/data/temp", "nfs": {"server": "nas", "path": "/temp"}}
        ],
        resources={"requests": {"cpu": 2, "memory": "4Gi"}, "limits": {"memory": "4Gi"}},
        nodeSelector={"dpe": "yes"},
        tolerations=[{"key": "dpe", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}],
        terminationGracePeriodSeconds=120,
        serviceAccountName="dpe-runtime",
        podLabels={"team": "playout"},
        podAnnotations={"logs.example/parser": "iis"},
        imagePullSecrets=[{"name": "registry"}],
        members=[
            {
                "name": "a",
                "image": "registry.example.com/dpe-server:2.16-rc1",
                "hostName": "dpe01",
                "env": [{"name": "STATION", "value": "a"}],
                "envFrom": [{"secretRef": {"name": "licence-a"}}],
                "nodeSelector": {"rack": "1"},
                "volumes": [{"name": "licence", "mountPath": "/licence", "secretName": "lic-a"}],
            },
            {"name": "b"},
        ],
        podTemplate={
            "spec": {
                "priorityClassName": "studio",
                "containers": [
                    {"name": "dpe", "securityContext": {"readOnlyRootFilesystem": False}},
                    {"name": "shipper", "image": "registry.example.com/shipper:1"},
                ],
            }
        },
    )


def _windows() -> list[Manifest]:
    return _pair(
        os="windows",
        tolerations=[{"key": "os", "value": "windows", "effect": "NoSchedule"}],
        volumes=[{"name": "temp", "mountPath": "C:\\DPE\\Temp", "claimName": "temp"}],
    )


def _cluster() -> list[Manifest]:
    spec = {
        "server": {
            "image": "registry.example.com/dpe-server:2.15",
            "health": {"path": "/status"},
            "members": [{"name": "a"}, {"name": "b"}],
            "podTemplate": {"spec": {"priorityClassName": None}},
        },
        "sharedVolumes": [{"name": "temp", "mountPath": "/data/temp", "claimName": "temp"}],
        "imagePullSecrets": [{"name": "registry"}],
        "clients": {"serviceRootEnv": "DPE_URL", "attempts": 5},
        "processors": [
            {"type": "audio", "image": "registry.example.com/dpe-audio:2.15", "replicas": 3},
            {"type": "video", "image": "registry.example.com/dpe-video:2.15"},
        ],
    }
    return cluster_objects(DpeClusterSpec.model_validate(spec))


DATABASES = [
    {
        "name": "core",
        "secretRef": {"name": "dpe-core"},
        "env": [{"name": "CORE", "key": "connection"}, {"name": "CORE_PASSWORD", "key": "pw"}],
    },
    {
        "name": "content-news",
        "secretRef": {"name": "news"},
        "mountPath": "/etc/dpe/news",
    },
]


def _cluster_databases() -> list[Manifest]:
    spec = {
        "server": {
            "image": "registry.example.com/dpe-server:2.15",
            "health": {"path": "/status"},
            "members": [{"name": "a"}, {"name": "b"}],
        },
        "databases": {
            "core": {
                "engine": "SQLServer",
                "secretRef": {"name": "dpe-core"},
                "env": [{"name": "CORE", "key": "connection"}],
                "requiredKeys": ["password"],
            },
            "content": [
                {
                    "name": "news",
                    "engine": "PostgreSQL",
                    "secretRef": {"name": "news"},
                    "mountPath": "/etc/dpe/news",
                },
                {
                    "name": "jobs",
                    "engine": "Other",
                    "secretRef": {"name": "jobs"},
                    "mountPath": "/etc/dpe/jobs",
                    "deliverTo": ["Processors"],
                },
            ],
        },
    }
    return cluster_objects(DpeClusterSpec.model_validate(spec))


def _database_check() -> list[Manifest]:
    databases = Databases.model_validate(
        {
            "core": {
                "mode": "Independent",
                "engine": "SQLServer",
                "members": [
                    {"name": "a", "secretRef": {"name": "core-a"}},
                    {"name": "b", "secretRef": {"name": "core-b"}},
                ],
                "env": [{"name": "CORE", "key": "connection"}],
                "connectionKey": "connection",
                "requiredKeys": ["password"],
            },
            "content": [{"name": "n", "engine": "PostgreSQL", "secretRef": {"name": "news"}}],
        }
    )
    context = ComponentContext(
        owner=owner("DpeCluster"),
        image_pull_secrets=("registry",),
        image_pull_policy="IfNotPresent",
    )
    return [
        check_job(
            context,
            checked_references(databases),
            name="radio-database-check-0123456789",
            image="localhost/dpe/dpe-operator:0123456789ab",
            references_hash="0123456789abcdef",
        )
    ]


def _external_balancer() -> list[Manifest]:
    return _pair(
        loadBalancer={"type": "External", "externalAddress": {"host": "dpe.studio.example"}}
    )


def _external_members() -> list[Manifest]:
    return _pair(
        image=None,
        members=[
            {"name": "a", "external": {"host": "192.0.2.11", "port": 8443}},
            {"name": "b", "external": {"host": "dpe2.studio.example"}},
        ],
    )


CASES: dict[str, Callable[[], list[Manifest]]] = {
    "pair": _pair,
    "pair-http": lambda: _pair(
        port=80,
        health={"path": "/status", "scheme": "HTTP", "status": "401"},
        loadBalancer={"tls": {"mode": "None"}, "service": {"type": "NodePort"}},
    ),
    "pair-terminate": _terminate,
    "pair-full": _full_linux,
    "pair-windows": _windows,
    "pair-external-members": _external_members,
    "pair-external-balancer": _external_balancer,
    "pair-long-names": lambda: _pair(
        name=LONG_NAME, members=[{"name": LONG_PART}, {"name": f"{LONG_PART[:-1]}y"}]
    ),
    "farm": lambda: farm_objects(farm_spec(), replicas=2),
    "farm-single": lambda: farm_objects(farm_spec(allowSingleReplica=True), replicas=1),
    "farm-stopped": lambda: farm_objects(farm_spec(allowSingleReplica=True), replicas=0),
    "farm-windows": lambda: farm_objects(farm_spec(os="windows"), replicas=5),
    "farm-preferred": lambda: farm_objects(
        farm_spec(
            placement="Preferred",
            terminationGracePeriodSeconds=7200,
            env=[{"name": "DPE_RETRY_ATTEMPTS", "value": "20"}],
        ),
        replicas=3,
    ),
    "farm-long-names": lambda: farm_objects(
        farm_spec(type=LONG_PART), replicas=2, name=f"{LONG_NAME}-{LONG_PART}"
    ),
    "cluster": _cluster,
    "cluster-databases": _cluster_databases,
    "database-check": _database_check,
    "pair-databases": lambda: _pair(databases=DATABASES),
    "pair-core-databases": lambda: _pair(
        databases=[
            {
                "name": "core",
                "members": [
                    {"name": "a", "secretRef": {"name": "core-a"}},
                    {"name": "b", "secretRef": {"name": "core-b"}},
                ],
                "env": [{"name": "CORE", "key": "uri"}],
                "mountPath": "/etc/dpe/core",
            }
        ]
    ),
    **WORKFLOW_CASES,
    **PAR_CASES,
}


@pytest.mark.parametrize("case", CASES)
def test_objects_are_as_stored(case: str) -> None:
    text = yaml.dump_all(
        CASES[case](),
        Dumper=_Plain,
        sort_keys=False,
        allow_unicode=True,
        width=100,
        default_flow_style=False,
    )
    path = GOLDEN / f"{case}.yaml"
    if os.environ.get("DPE_UPDATE_GOLDEN") == "1":
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


def test_no_golden_file_is_left_over() -> None:
    assert {path.stem for path in GOLDEN.glob("*.yaml")} == set(CASES)
