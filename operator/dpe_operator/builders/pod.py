# SPDX-License-Identifier: Apache-2.0
"""The pod template of everything that runs DPE software, on Linux and on Windows nodes.

Linux pods satisfy the Pod Security level "restricted". Windows pods leave out what only Linux
knows (the API server refuses those fields there) and run as ContainerUser. No user number is set:
the images are not ours, so the image's own user runs, which must not be root.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dpe_operator.api.pods import EnvFrom, EnvVar, PodSettings, Resources, Volume
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.databases import database_env, database_volumes
from dpe_operator.builders.environment import component_env, env_from_entries
from dpe_operator.builders.labels import Component, labels
from dpe_operator.builders.pod_template import merge_pod_template
from dpe_operator.builders.volumes import merge_volumes, pod_volume, volume_mount, with_tmp

CONTAINER = "dpe"
DEFAULT_GRACE_SECONDS = 60

_LINUX_RESOURCES: Manifest = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"memory": "1Gi"},
}
_WINDOWS_RESOURCES: Manifest = {
    "requests": {"cpu": "500m", "memory": "1Gi"},
    "limits": {"memory": "4Gi"},
}


@dataclass(frozen=True, slots=True)
class Workload:
    """What one component's pod has beside the common settings.

    ``env``, ``env_from``, ``volumes`` and ``node_selector`` come after the settings' own and win;
    ``declared`` variables come before them, so that theirs may refer to them. ``container`` and
    ``pod`` are further fields of the container and of the pod spec, ``pod_labels`` further labels.
    ``pod_volumes`` and ``mounts`` are volumes of other sorts than users may write, and theirs.
    """

    component: Component
    image: str
    member: str | None = None
    declared: tuple[EnvVar, ...] = ()
    env: tuple[EnvVar, ...] = ()
    env_from: tuple[EnvFrom, ...] = ()
    volumes: tuple[Volume, ...] = ()
    node_selector: dict[str, str] = field(default_factory=dict)
    container: Manifest = field(default_factory=dict)
    pod: Manifest = field(default_factory=dict)
    pod_labels: dict[str, str] = field(default_factory=dict)
    pod_volumes: tuple[Manifest, ...] = ()
    mounts: tuple[Manifest, ...] = ()


def dpe_pod_template(
    context: ComponentContext, settings: PodSettings, workload: Workload
) -> Manifest:
    """Build the pod template of ``workload``, with the user's ``podTemplate`` laid over it.

    Raises PodTemplateError when that patch has not the shape of a pod template.
    """
    databases = database_volumes(context.databases, member=workload.member)
    volumes = merge_volumes(
        context.shared_volumes,
        context.par_volumes,
        databases,
        settings.volumes,
        workload.volumes,
    )
    if settings.os == "linux":
        volumes = with_tmp(volumes)
    own_labels = labels(context.owner, workload.component, member=workload.member)
    metadata: Manifest = {"labels": {**settings.pod_labels, **own_labels, **workload.pod_labels}}
    if settings.pod_annotations:
        metadata["annotations"] = dict(settings.pod_annotations)
    spec: Manifest = {
        **pod_basics(context, settings.os, {**settings.node_selector, **workload.node_selector}),
        "securityContext": pod_security(settings.os),
        "containers": [_container(context, settings, workload, volumes)],
        "volumes": [*(pod_volume(volume) for volume in volumes), *workload.pod_volumes],
        **workload.pod,
    }
    if settings.service_account_name is not None:
        spec["serviceAccountName"] = settings.service_account_name
    template = {"metadata": metadata, "spec": without_empty_lists(spec)}
    return merge_pod_template(template, settings.pod_template)


def pod_basics(context: ComponentContext, os: str, node_selector: dict[str, str]) -> Manifest:
    """Fields that every pod has, the balancer's included.

    No API token is mounted (who needs one asks for it), and no variables are made from the
    Services of the namespace: they could overwrite a component's own settings.
    """
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "imagePullSecrets": [{"name": name} for name in context.image_pull_secrets],
        "nodeSelector": {**node_selector, "kubernetes.io/os": os},
        "os": {"name": os},
    }


def pod_security(os: str) -> Manifest:
    """The pod's security context at level "restricted"."""
    if os == "windows":
        return {"runAsNonRoot": True, "windowsOptions": {"runAsUserName": "ContainerUser"}}
    return {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def container_security() -> Manifest:
    """A Linux container's security context; Windows containers have none."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def _container(
    context: ComponentContext,
    settings: PodSettings,
    workload: Workload,
    volumes: tuple[Volume, ...],
) -> Manifest:
    container: Manifest = {
        "name": CONTAINER,
        "image": workload.image,
        "command": list(settings.command or ()),
        "args": list(settings.args or ()),
        "env": component_env(
            context,
            context.par_env,
            database_env(context.databases, member=workload.member),
            workload.declared,
            settings.env,
            workload.env,
        ),
        "envFrom": env_from_entries(settings.env_from, workload.env_from),
        "resources": _resources(settings),
        "volumeMounts": [*(volume_mount(volume) for volume in volumes), *workload.mounts],
        **workload.container,
    }
    if context.image_pull_policy is not None:
        container["imagePullPolicy"] = context.image_pull_policy
    if settings.os == "linux":
        container["securityContext"] = container_security()
    return without_empty_lists(container)


def _resources(settings: PodSettings) -> Manifest:
    defaults = _WINDOWS_RESOURCES if settings.os == "windows" else _LINUX_RESOURCES
    return resources_or(settings.resources, defaults)


def resources_or(wanted: Resources | None, defaults: Manifest) -> Manifest:
    """Requests and limits: the user's where there are any, the defaults' for what is not named.

    A default limit is only used with the default request beside it: a limit below a request of
    the user's would be refused by the API server, and above it would be a guess.
    """
    if wanted is None:
        return {kind: dict(values) for kind, values in defaults.items()}
    requests, limits = dict(wanted.requests or {}), dict(wanted.limits or {})
    for name, value in defaults["limits"].items():
        if name not in requests and name not in limits:
            limits[name] = value
    for name, value in defaults["requests"].items():
        if name not in requests and name not in (wanted.limits or {}):
            requests[name] = value
    return {"requests": requests, "limits": limits} if limits else {"requests": requests}


def without_empty_lists(manifest: Manifest) -> Manifest:
    """Leave out lists with nothing in them, so that templates show only what matters."""
    return {key: value for key, value in manifest.items() if value != []}
