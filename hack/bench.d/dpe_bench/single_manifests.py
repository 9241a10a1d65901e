# SPDX-License-Identifier: Apache-2.0
"""Singletons and farms as sites have them without this operator, beside the same servers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.e2e.kubectl import Object
from tests.e2e.site_manifests import database_env, restricted_pod

from dpe_bench.baselines import SITE, apart, deployment, spread

NAME = "single"
CLAIM = f"{NAME}-memory"
FARM = "processors"
JOB_TYPE = "audio"
PROCESSORS = 3
# Proofs of life come ten times a second: an overlap is seen that exactly.
HEARTBEAT = "100ms"
_MEMORY_PATH = "/var/lib/dpe/memory"
_GRACE_SECONDS = 10


def watcher_env() -> list[Object]:
    """What all watchers of the bench are given: ours, and those of the baselines."""
    return [
        {"name": "DPE_HEARTBEAT", "value": HEARTBEAT},
        # its workflows have nothing to do: whether they were started is all that is judged
        {"name": "DPE_WORKFLOW_ACTIVITIES", "value": "0"},
    ]


def plain_watcher(image: str) -> list[Object]:
    """A Deployment of one watcher, whose memory is a volume that all nodes can mount."""
    return [_claim(), deployment(NAME, 1, _watcher_pod(image, ["dpe-simulator", "table-watcher"]))]


def client_go_watcher(image: str, namespace: str) -> list[Object]:
    """Two candidates of the same watcher under client-go's leader election."""
    command = ["candidate", namespace, NAME, "--", "dpe-simulator", "table-watcher"]
    pod = _watcher_pod(image, command) | {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": True,
        "affinity": apart({"app": NAME}),
        # as long as Kubernetes gives by default: the program waits for its command meanwhile
        "terminationGracePeriodSeconds": 30,
    }
    return [_claim(), *_rights(namespace), deployment(NAME, 2, pod)]


def plain_farm(image: str) -> list[Object]:
    """A Deployment of as many processors as the operator's farm has, on different nodes."""
    env = [
        {"name": "DPE_PROCESSOR_TYPE", "value": JOB_TYPE},
        {"name": "DPE_CA_FILE", "value": "/etc/dpe-ca/ca.crt"},
    ]
    pod = _component_pod(image, ["dpe-simulator", "processor"], env)
    return [deployment(FARM, PROCESSORS, pod | {"topologySpreadConstraints": [spread(FARM)]})]


def _watcher_pod(image: str, command: list[str]) -> Object:
    values = {
        "DPE_CA_FILE": "/etc/dpe-ca/ca.crt",
        "DPE_RECORDS": "-",
        "DPE_COMPONENT": f"{NAME}-table-watcher",
        "DPE_TABLE": NAME,
        "DPE_TABLE_ID": NAME,
        "DPE_MEMORY_PATH": _MEMORY_PATH,
    }
    env = [{"name": name, "value": value} for name, value in values.items()]
    pod = _component_pod(image, command, [*env, *watcher_env(), *database_env()])
    pod["volumes"].append({"name": "memory", "persistentVolumeClaim": {"claimName": CLAIM}})
    mount = {"name": "memory", "mountPath": _MEMORY_PATH}
    pod["containers"][0]["volumeMounts"].append(mount)
    return pod


def _component_pod(image: str, command: list[str], env: list[Object]) -> dict[str, Any]:
    """The spec of a pod that works for the site; its container is called `dpe`, as ours is."""
    pod: dict[str, Any] = restricted_pod("any", image, command, ca=f"{SITE}-ca")["spec"]
    profile = {"configMapRef": {"name": f"{SITE}-client-profile"}}
    pod["containers"][0] |= {"name": "dpe", "env": env, "envFrom": [profile]}
    return pod | {"restartPolicy": "Always", "terminationGracePeriodSeconds": _GRACE_SECONDS}


def _claim() -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": CLAIM},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "dpe-shared",
            "resources": {"requests": {"storage": "1Gi"}},
        },
    }


def _rights(namespace: str) -> list[Object]:
    api, named = "rbac.authorization.k8s.io", {"metadata": {"name": NAME}}
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    account: Mapping[str, str] = {"kind": "ServiceAccount", "name": NAME, "namespace": namespace}
    role = {"apiGroup": api, "kind": "Role", "name": NAME}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", **named},
        {
            "apiVersion": f"{api}/v1", "kind": "Role", **named,
            "rules": [leases | {"verbs": ["get", "create", "update"]}],
        },
        {
            "apiVersion": f"{api}/v1", "kind": "RoleBinding", **named,
            "roleRef": role, "subjects": [account],
        },
    ]  # fmt: skip
