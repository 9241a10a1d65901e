# SPDX-License-Identifier: Apache-2.0
"""Objects that a test site consists of, as a user would write them."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from tests.e2e.kubectl import Object

from dpe_simulator.certs import ServerNames, make_certificates, secret_yaml

ROOT = Path(__file__).resolve().parents[2]
LEFTOVER_LABEL = "dpe.dev/e2e"


def namespace(name: str) -> Object:
    """A namespace that lets only restricted pods in."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted", LEFTOVER_LABEL: "true"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def postgres(namespace_name: str, image: str) -> list[Object]:
    """PostgreSQL as the demo has it."""
    text = (ROOT / "hack" / "simulator" / "manifests" / "postgres.yaml").read_text(encoding="utf-8")
    filled = string.Template(text).substitute(
        IMAGE_POSTGRES=image, NAMESPACE=namespace_name, POSTGRES_PASSWORD="e2e-only"
    )
    return [item for item in yaml.safe_load_all(filled) if item]


def certificate_objects(name: str, namespace_name: str, folder: Path) -> list[Object]:
    """A TLS Secret for servers and balancer, and the authority alone as a ConfigMap for clients."""
    service = f"{name}-balancer"
    names = ServerNames(
        dns=[service, f"{service}.{namespace_name}", f"{service}.{namespace_name}.svc"], ips=[]
    )
    make_certificates(folder, names, days=30)
    secret = yaml.safe_load(secret_yaml(folder, name=f"{name}-tls", namespace=namespace_name))
    authority = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": f"{name}-ca"},
        "data": {"ca.crt": (folder / "ca.crt").read_text(encoding="ascii")},
    }
    return [secret, authority]


def dpe_cluster(
    name: str,
    images: Mapping[str, str],
    *,
    farms: Sequence[str] = ("audio", "video"),
    tls: str = "Passthrough",
    external: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
) -> Object:
    """A DpeCluster of simulated DPE.

    `external` maps member names to host:port outside the cluster; `more` are further fields of the
    spec.
    """
    # Four nodes on a machine of two cores: a check may take longer there than on a real site, and
    # HAProxy gives its connection and handshake no more than the shorter of these two.
    balancer: Object = {
        "tls": {"mode": tls},
        "timings": {"checkInterval": "500ms", "connectTimeout": "1s"},
    }
    if tls == "Terminate":
        balancer["tls"]["certificateSecretRef"] = {"name": f"{name}-tls"}
    server: Object = {
        "port": 443,
        "basePath": "/DpeWebApplication",
        "health": {
            "path": "/DpeWebApplication/status",
            "bodyContains": "ok",
            "timeout": "1500ms",
            "tls": {
                "caSecretRef": {"name": f"{name}-tls", "key": "ca.crt"},
                "serverName": f"{name}-balancer",
            },
        },
        "loadBalancer": balancer,
    }
    if external:
        server["members"] = [
            external_member(member, external[member]) for member in sorted(external)
        ]
    else:
        server |= in_cluster_pair(name, images["dpe-simulator"])
    return {
        "apiVersion": "dpe.dev/v1alpha1",
        "kind": "DpeCluster",
        "metadata": {"name": name},
        "spec": {
            "server": server,
            "processors": [farm(name, kind, images["dpe-simulator"]) for kind in farms],
            **(more or {}),
        },
    }


def in_cluster_pair(name: str, image: str) -> Object:
    """Two simulated servers in the cluster."""
    return {
        "image": image,
        "command": ["dpe-simulator", "server"],
        "containerPort": 8443,
        "env": [
            *database_env(),
            {"name": "DPE_TLS_CERT", "value": "/etc/dpe-tls/tls.crt"},
            {"name": "DPE_TLS_KEY", "value": "/etc/dpe-tls/tls.key"},
            {"name": "DPE_SIMULATOR_FAULTS", "value": "1"},  # Site.misbehave
        ],
        "volumes": [{"name": "tls", "mountPath": "/etc/dpe-tls", "secretName": f"{name}-tls"}],
        "members": [
            {"name": member, "env": [{"name": "DPE_MEMBER", "value": member}]}
            for member in ("a", "b")
        ],
    }


def database_env() -> list[Object]:
    """How simulated servers find PostgreSQL (the variables of libpq)."""
    password = {"secretKeyRef": {"name": "dpe-postgres", "key": "password"}}
    return [
        {"name": "PGHOST", "value": "dpe-postgres"},
        {"name": "PGDATABASE", "value": "dpecore"},
        {"name": "PGUSER", "value": "dpe"},
        {"name": "PGPASSWORD", "valueFrom": password},
    ]


def external_member(name: str, address: str) -> Object:
    """A member outside the cluster."""
    host, _, port = address.rpartition(":")
    return {"name": name, "external": {"host": host, "port": int(port)}}


def farm(site: str, kind: str, image: str) -> Object:
    """A farm of simulated processors."""
    return {
        "type": kind,
        "image": image,
        "command": ["dpe-simulator", "processor"],
        "env": [
            {"name": "DPE_PROCESSOR_TYPE", "value": kind},
            {"name": "DPE_CA_FILE", "value": "/etc/dpe-ca/ca.crt"},
        ],
        "volumes": [{"name": "ca", "mountPath": "/etc/dpe-ca", "configMapName": f"{site}-ca"}],
    }


def restricted_pod(name: str, image: str, command: Sequence[str], **spec: Any) -> Object:
    """A pod that a restricted namespace lets in; further fields of its spec by keyword."""
    container = {
        "name": "main",
        "image": image,
        "command": list(command),
        "volumeMounts": [{"name": "ca", "mountPath": "/etc/dpe-ca"}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    security = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "automountServiceAccountToken": False,
            "securityContext": security,
            "containers": [container],
            "volumes": [{"name": "ca", "configMap": {"name": spec.pop("ca"), "optional": True}}],
            **spec,
        },
    }
