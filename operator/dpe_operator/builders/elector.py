# SPDX-License-Identifier: Apache-2.0
"""What a pod needs to run a program under the elector, whatever image the program is in.

A DPE image has no elector, and perhaps no shell and no Python, so an init container copies a
self-contained one into the pod. It becomes process 1 of the main container and starts the program
only while this pod holds the Lease. Images of ours that have the elector inside use the second
form, `once_command`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from dpe_operator.api.pods import EnvVar
from dpe_operator.builders.context import Manifest
from dpe_operator.builders.pod import container_security

INIT_CONTAINER: Final = "dpe-elector"
ELECTOR_VOLUME: Final = "dpe-elector"
ELECTOR_DIR: Final = "/dpe-elector"
API_VOLUME: Final = "dpe-elector-api"
API_DIR: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
DEFAULT_PROBE_PORT: Final = 8081

# The elector kills what is left this long before kubelet does, and then gives the Lease back.
RELEASE_SECONDS: Final = 3
# Not Kubernetes' own 3607: an API server takes exactly that number for a token of an old client,
# and may quietly let it live for a year.
_TOKEN_SECONDS: Final = 3600
_RUN: Final = (
    f"{ELECTOR_DIR}/ld.so", "--library-path", f"{ELECTOR_DIR}/lib",
    f"{ELECTOR_DIR}/bin/python3", "-I", "-B", "-S", "-u",
)  # fmt: skip
_INIT_RESOURCES: Final[Manifest] = {
    "requests": {"cpu": "10m", "memory": "32Mi"},
    "limits": {"memory": "256Mi"},
}


@dataclass(frozen=True, slots=True)
class Election:
    """How one pod takes part.

    `grace_seconds` is the pod's whole terminationGracePeriodSeconds. `needs` are folders and
    programs without which the pod takes no Lease; the first word of the command is one anyway.
    """

    lease: str
    grace_seconds: int
    profile: Literal["Safe", "Fast"] = "Safe"
    probe_port: int = DEFAULT_PROBE_PORT
    needs: tuple[str, ...] = ()


def package_command(package: str) -> list[str]:
    """Return how a package of the injected tree is started, in an image of any kind."""
    return [*_RUN, f"{ELECTOR_DIR}/packages/{package}"]


def elector_command(election: Election, command: Sequence[str]) -> list[str]:
    """Return the whole command of the main container: the elector, then `command` behind `--`."""
    return [
        *package_command("dpe_elector"),
        *("--lease", election.lease),
        *("--profile", election.profile),
        *("--grace", str(election.grace_seconds - RELEASE_SECONDS)),
        *("--probe-port", str(election.probe_port)),
        *(word for need in election.needs for word in ("--needs", need)),
        "--",
        *command,
    ]


def once_command(election: Election, command: Sequence[str], *, deadline_seconds: int) -> list[str]:
    """Return the command of a Job in an image that has the elector: one run, under the Lease.

    Whoever cannot get the Lease within `deadline_seconds` gives up. No probes: a Job has none.
    """
    return [
        "dpe-elector",
        *("--lease", election.lease),
        *("--profile", election.profile),
        *("--grace", str(election.grace_seconds - RELEASE_SECONDS)),
        *("--probe-port", "0"),
        "--once",
        *("--once-deadline", str(deadline_seconds)),
        "--",
        *command,
    ]


def elector_env() -> tuple[EnvVar, ...]:
    """Return who and where the pod is; the elector keeps these from the program."""
    return pod_identity_env("DPE_ELECTOR")


def pod_identity_env(prefix: str) -> tuple[EnvVar, ...]:
    """Return name, uid and namespace of the pod as variables `PREFIX_POD_NAME` and so on."""
    fields = {"NAME": "metadata.name", "UID": "metadata.uid", "NAMESPACE": "metadata.namespace"}
    return tuple(
        EnvVar.model_validate(
            {"name": f"{prefix}_POD_{key}", "valueFrom": {"fieldRef": {"fieldPath": path}}}
        )
        for key, path in fields.items()
    )


def install_container(image: str, *, pull_policy: str | None) -> Manifest:
    """Return the init container that copies the elector into the pod."""
    container: Manifest = {
        "name": INIT_CONTAINER,
        "image": image,
        "command": ["dpe-elector-install", ELECTOR_DIR],
        "resources": _INIT_RESOURCES,
        "securityContext": container_security(),
        "volumeMounts": [{"name": ELECTOR_VOLUME, "mountPath": ELECTOR_DIR}],
    }
    return container if pull_policy is None else {**container, "imagePullPolicy": pull_policy}


def injected_volumes() -> list[Manifest]:
    """Return the volumes with the elector's own files and its access to the API server."""
    return [{"name": ELECTOR_VOLUME, "emptyDir": {}}, api_volume()]


def injected_mounts() -> list[Manifest]:
    """Return the mounts of those volumes in the main container, and in no other."""
    return [{"name": ELECTOR_VOLUME, "mountPath": ELECTOR_DIR, "readOnly": True}, api_mount()]


def api_volume() -> Manifest:
    """Return the volume with token, authority and namespace, as Kubernetes itself would mount it.

    The pod's own automatic mount stays off, or every side-car would have the token too.
    """
    namespace = {"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}
    authority = {"key": "ca.crt", "path": "ca.crt"}
    return {
        "name": API_VOLUME,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": _TOKEN_SECONDS}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [authority]}},
                {"downwardAPI": {"items": [namespace]}},
            ]
        },
    }


def api_mount() -> Manifest:
    """Return the mount of `api_volume` at the place where clients look for it."""
    return {"name": API_VOLUME, "mountPath": API_DIR, "readOnly": True}


def elector_container(election: Election, command: Sequence[str]) -> Manifest:
    """Return the fields of the main container that make it a candidate.

    The probes ask the elector and not the program: a candidate that stands by is ready to take
    over, and the program of the one that acts is looked after by the elector.
    """
    port = election.probe_port
    return {
        "command": elector_command(election, command),
        "args": [],
        "ports": [{"name": "elector", "containerPort": port, "protocol": "TCP"}],
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": port},
            "periodSeconds": 10,
            "timeoutSeconds": 3,
            "failureThreshold": 3,
        },
        "readinessProbe": {
            "httpGet": {"path": "/readyz", "port": port},
            "periodSeconds": 2,
            "timeoutSeconds": 2,
            "failureThreshold": 2,
        },
    }
