# SPDX-License-Identifier: Apache-2.0
"""What sites have without this operator: the same servers, and plain ways to double them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.e2e.kubectl import Object
from tests.e2e.site_manifests import in_cluster_pair

SITE = "radio"
BASE = "/DpeWebApplication"
_STATUS = f"{BASE}/status"
# Check timings are HAProxy's own (every 2 s, 3 failed ones); the timeouts are those of the
# configuration that Debian ships. `backup` makes it one active server, as with ours.
_HAPROXY = f"""global
  maxconn 2000
defaults
  mode tcp
  timeout connect 5s
  timeout client 50s
  timeout server 50s
frontend dpe
  bind :8443
  default_backend servers
backend servers
  option httpchk GET {_STATUS}
  default-server check check-ssl verify none
  server a member-a:8443
  server b member-b:8443 backup
"""


def deployment_subject(images: Mapping[str, str]) -> list[Object]:
    """Two servers of one Deployment behind the Service; probes as most charts have them."""
    probe = {"httpGet": {"path": _STATUS, "port": 8443, "scheme": "HTTPS"}}
    name = [{"name": "DPE_MEMBER", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    pod = _server_pod(images, name) | {"topologySpreadConstraints": [spread("server")]}
    pod["containers"][0] |= {"readinessProbe": probe, "livenessProbe": probe}
    return [
        deployment("server", 2, pod),
        service(f"{SITE}-balancer", "server", 8443, outside=True),
    ]


def haproxy_subject(images: Mapping[str, str]) -> list[Object]:
    """Two servers, and two HAProxy pods behind an ordinary Service."""
    made = []
    for member in ("a", "b"):
        name = f"member-{member}"
        pod = _server_pod(images, [{"name": "DPE_MEMBER", "value": member}])
        pod |= {"affinity": apart({"tier": "server"})}
        made += [
            deployment(name, 1, pod, {"tier": "server"}, strategy="Recreate"),
            service(name, name, 8443, port=8443),
        ]
    config = {"metadata": {"name": "haproxy"}, "data": {"haproxy.cfg": _HAPROXY}}
    return [
        *made,
        {"apiVersion": "v1", "kind": "ConfigMap", **config},
        deployment("haproxy", 2, _haproxy_pod(images["dpe-balancer"])),
        service(f"{SITE}-balancer", "haproxy", 8443, outside=True),
    ]


def service(name: str, app: str, target: int, *, port: int = 443, outside: bool = False) -> Object:
    """An ordinary Service; `outside`: also on a port of every node.

    Members have a port of their own: on 443 clients saw a foreign certificate for a moment when a
    Service had lost its last endpoint, as if their packets had left the cluster.
    """
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {
            "type": "NodePort" if outside else "ClusterIP",
            "selector": {"app": app},
            "ports": [{"name": "https", "port": port, "targetPort": target}],
        },
    }


def database_port() -> Object:
    """PostgreSQL on a port of every node: the bench reads the ledger from outside."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "bench-postgres"},
        "spec": {
            "type": "NodePort",
            "selector": {"app": "dpe-postgres"},
            "ports": [{"name": "postgres", "port": 5432, "targetPort": "postgres"}],
        },
    }


def _haproxy_pod(image: str) -> Object:
    container = {
        "name": "haproxy",
        "image": image,
        "command": ["haproxy", "-W", "-db", "-f", "/etc/haproxy/haproxy.cfg"],
        "ports": [{"containerPort": 8443}],
        "readinessProbe": {"tcpSocket": {"port": 8443}},
        "livenessProbe": {"tcpSocket": {"port": 8443}},
        "volumeMounts": [{"name": "config", "mountPath": "/etc/haproxy"}],
        "securityContext": _container_security(),
    }
    volume = {"name": "config", "configMap": {"name": "haproxy"}}
    return {
        **_pod_security(),
        "topologySpreadConstraints": [spread("haproxy")],
        "containers": [container],
        "volumes": [volume],
    }


def _server_pod(images: Mapping[str, str], name: list[Object]) -> dict[str, Any]:
    pair = in_cluster_pair(SITE, images["dpe-simulator"])
    container = {
        "name": "server",
        "image": pair["image"],
        "command": pair["command"],
        "env": [*pair["env"], *name],
        "ports": [{"containerPort": 8443}],
        "readinessProbe": {"tcpSocket": {"port": 8443}},
        "volumeMounts": [{"name": "tls", "mountPath": "/etc/dpe-tls", "readOnly": True}],
        "securityContext": _container_security(),
    }
    volume = {"name": "tls", "secret": {"secretName": f"{SITE}-tls"}}
    return {**_pod_security(), "containers": [container], "volumes": [volume]}


def deployment(
    name: str, replicas: int, pod: Object, labels: Object | None = None, *, strategy: str = ""
) -> Object:
    """A Deployment of a pod (its spec), with the label `app`."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name, **(labels or {})}}, "spec": pod},
            **({"strategy": {"type": strategy}} if strategy else {}),
        },
    }


def apart(labels: Object) -> Object:
    """Affinity of pods of which no two may be on one node."""
    term = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    return {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}


def spread(app: str) -> Object:
    """Constraint of pods that go to different nodes where that is possible."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": app}},
    }


def _pod_security() -> Object:
    security = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {"automountServiceAccountToken": False, "securityContext": security}


def _container_security() -> Object:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
