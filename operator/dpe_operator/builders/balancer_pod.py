# SPDX-License-Identifier: Apache-2.0
"""The pod template of the balancer: elector, agent and HAProxy in one container.

The image is ours, so its user number is set here. The config is copied once per pod by the init
container: the kubelet would otherwise put a changed ConfigMap under a running HAProxy, and a
restarted one would read a config that nobody has checked.
"""

from __future__ import annotations

from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import balancer_config_name, balancer_name, effective_placement
from dpe_operator.api.server import ServerSpec
from dpe_operator.builders.balancer_ports import (
    AGENT_METRICS_PORT,
    METRICS_PORT,
    PROBE_PORT,
    listen_port,
    port_name,
)
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.labels import labels
from dpe_operator.builders.placement import ZONE, apart, tolerations
from dpe_operator.builders.pod import (
    container_security,
    pod_basics,
    pod_security,
    resources_or,
    without_empty_lists,
)
from dpe_operator.builders.pod_template import merge_pod_template

CONTAINER: Final = "balancer"
INIT_CONTAINER: Final = "check-config"
ANNOTATION_CONFIG_HASH: Final = f"{constants.GROUP}/config-hash"

CONFIG_DIR: Final = "/etc/dpe-balancer"
HAPROXY_CONFIG: Final = f"{CONFIG_DIR}/haproxy.cfg"
AGENT_CONFIG: Final = f"{CONFIG_DIR}/agent.json"
CERTIFICATE_DIR: Final = "/etc/dpe-balancer-tls"
MEMBER_CA_DIR: Final = "/etc/dpe-balancer-ca"
MEMBER_CA_FILE: Final = f"{MEMBER_CA_DIR}/ca.crt"
RUN_DIR: Final = "/run/dpe"
_SOURCE_DIR: Final = "/etc/dpe-balancer-source"
_TOKEN_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a folder

USER_ID: Final = 65532
# The agent waits up to 7 s for another balancer to be routed, then up to `drainSeconds` (30) for
# open connections.
_COMMAND_GRACE_SECONDS: Final = 40
# The elector gives up the Lease before it stops the command; that takes a few API calls.
_GRACE_SECONDS: Final = _COMMAND_GRACE_SECONDS + 10

# No CPU limit: an elector that is slowed down loses its Lease.
_RESOURCES: Final[Manifest] = {
    "requests": {"cpu": "100m", "memory": "128Mi"},
    "limits": {"memory": "512Mi"},
}
_INIT_RESOURCES: Final[Manifest] = {
    "requests": {"cpu": "10m", "memory": "64Mi"},
    "limits": {"memory": "256Mi"},
}


def balancer_pod_template(
    context: ComponentContext, server: ServerSpec, *, image: str, config_hash: str
) -> Manifest:
    """Build the template, with the user's ``loadBalancer.podTemplate`` laid over it.

    Raises PodTemplateError when that patch has not the shape of a pod template.
    """
    owner, balancer = context.owner, server.load_balancer
    placement = effective_placement(balancer.placement, context.placement)
    security: Manifest = {
        **pod_security("linux"),
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
    }
    spec: Manifest = {
        **pod_basics(context, "linux", dict(balancer.node_selector)),
        "serviceAccountName": balancer_name(owner.name),
        "securityContext": security,
        "affinity": apart(owner, constants.COMPONENT_BALANCER, placement),
        "tolerations": tolerations(balancer.tolerations, short_stay=False),
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "initContainers": [_init_container(context, server, image)],
        "containers": [_container(context, server, image)],
        "volumes": _volumes(context, server, config_hash),
    }
    template: Manifest = {
        "metadata": {
            "labels": labels(owner, constants.COMPONENT_BALANCER),
            "annotations": {ANNOTATION_CONFIG_HASH: config_hash},
        },
        "spec": without_empty_lists(spec),
    }
    return merge_pod_template(template, balancer.pod_template)


def _init_container(context: ComponentContext, server: ServerSpec, image: str) -> Manifest:
    """Copy the config and let HAProxy check it: a bad one stops at the first new pod."""
    script = f"cp {_SOURCE_DIR}/* {CONFIG_DIR}/ && exec haproxy -c -f {HAPROXY_CONFIG}"
    return _with_pull_policy(
        context,
        {
            "name": INIT_CONTAINER,
            "image": image,
            "command": ["/bin/sh", "-ec", script],
            "resources": _INIT_RESOURCES,
            "securityContext": container_security(),
            "volumeMounts": [
                {"name": "config-source", "mountPath": _SOURCE_DIR, "readOnly": True},
                {"name": "config", "mountPath": CONFIG_DIR},
                *_shared_mounts(server),
            ],
        },
    )


def _container(context: ComponentContext, server: ServerSpec, image: str) -> Manifest:
    probe_port = "probes"
    return _with_pull_policy(
        context,
        {
            "name": CONTAINER,
            "image": image,
            "command": _command(balancer_name(context.owner.name)),
            "env": _downward_env(),
            "ports": [
                {"name": name, "containerPort": port, "protocol": "TCP"}
                for name, port in (
                    (port_name(server), listen_port(server)),
                    (probe_port, PROBE_PORT),
                    ("haproxy-metrics", METRICS_PORT),
                    ("agent-metrics", AGENT_METRICS_PORT),
                )
            ],
            "livenessProbe": {
                "httpGet": {"path": "/livez", "port": probe_port},
                "periodSeconds": 10,
                "timeoutSeconds": 3,
                "failureThreshold": 3,
            },
            "readinessProbe": {
                "httpGet": {"path": "/readyz", "port": probe_port},
                "periodSeconds": 2,
                "timeoutSeconds": 2,
                "failureThreshold": 2,
            },
            "resources": resources_or(server.load_balancer.resources, _RESOURCES),
            "securityContext": container_security(),
            "volumeMounts": [
                {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
                {"name": "api-access", "mountPath": _TOKEN_DIR, "readOnly": True},
                *_shared_mounts(server),
            ],
        },
    )


def _command(name: str) -> list[str]:
    """The elector as process 1, the agent under it."""
    elector = f"dpe-elector --mode hot --profile Hot --lease {name}"
    files = " ".join(
        f"--{kind}-file {RUN_DIR}/{name}"
        for kind, name in (("state", "role.json"), ("ready", "ready"), ("peer", "peer.json"))
    )
    end = f"--probe-port {PROBE_PORT} --grace {_COMMAND_GRACE_SECONDS}"
    return f"{elector} {files} {end} -- dpe-balancer --config {AGENT_CONFIG}".split()


def _downward_env() -> list[Manifest]:
    """Who and where the pod is. The zone is a label that newer Kubernetes puts on pods; else ''."""
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_UID": "metadata.uid",
        "POD_IP": "status.podIP",
        "NODE_NAME": "spec.nodeName",
        "NODE_ZONE": f"metadata.labels['{ZONE}']",
    }
    return [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in fields.items()
    ]


def _shared_mounts(server: ServerSpec) -> list[Manifest]:
    """Mounts of both containers: HAProxy's check reads the certificates too."""
    mounts: list[Manifest] = [
        {"name": "run", "mountPath": RUN_DIR},
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - inside the container
    ]
    for name, path, present in (
        ("certificate", CERTIFICATE_DIR, _certificate_secret(server) is not None),
        ("member-ca", MEMBER_CA_DIR, has_member_ca(server)),
    ):
        if present:
            mounts.append({"name": name, "mountPath": path, "readOnly": True})
    return mounts


def _certificate_secret(server: ServerSpec) -> str | None:
    tls = server.load_balancer.tls
    if tls.mode != "Terminate" or tls.certificate_secret_ref is None:
        return None
    return tls.certificate_secret_ref.name


def has_member_ca(server: ServerSpec) -> bool:
    """Whether the members' certificates are checked against an authority of the site's own."""
    return server.health.scheme == "HTTPS" and (
        server.health.tls_or_default.ca_secret_ref is not None
    )


def _volumes(context: ComponentContext, server: ServerSpec, config_hash: str) -> list[Manifest]:
    """All volumes. Secrets are mounted whole or by key, their contents never read here.

    ``run`` and ``config`` are in memory: a hanging disk must not stop the agent.
    """
    name = balancer_config_name(context.owner.name, config_hash)
    found: list[Manifest] = [
        {"name": "config-source", "configMap": {"name": name}},
        {"name": "config", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "api-access", "projected": {"sources": _token_sources()}},
    ]
    certificate = _certificate_secret(server)
    if certificate is not None:
        found.append({"name": "certificate", "secret": {"secretName": certificate}})
    ca = server.health.tls_or_default.ca_secret_ref
    if has_member_ca(server) and ca is not None:
        items = [{"key": ca.key, "path": "ca.crt"}]
        found.append({"name": "member-ca", "secret": {"secretName": ca.name, "items": items}})
    return found


def _token_sources() -> list[Manifest]:
    """What Kubernetes itself would mount, for this one container only."""
    return [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {
            "configMap": {
                "name": "kube-root-ca.crt",
                "items": [{"key": "ca.crt", "path": "ca.crt"}],
            }
        },
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]
            }
        },
    ]


def _with_pull_policy(context: ComponentContext, container: Manifest) -> Manifest:
    if context.image_pull_policy is None:
        return container
    return {**container, "imagePullPolicy": context.image_pull_policy}
