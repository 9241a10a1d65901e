# SPDX-License-Identifier: Apache-2.0
"""Volumes and mounts of a pod: the component's own, the site's shared ones, and a writable /tmp."""

from __future__ import annotations

from collections.abc import Iterable

from dpe_operator.api.pods import Volume
from dpe_operator.builders.context import Manifest

TMP_NAME = "dpe-tmp"
TMP_PATH = "/tmp"  # noqa: S108 - a path inside the container, on a volume of its own


def merge_volumes(*layers: Iterable[Volume]) -> tuple[Volume, ...]:
    """Merge layers of volumes; in later layers an entry replaces one of the same name or path.

    So a member's volume wins over the pair's, and that over the site's shared one.

    Raises ValueError where two are left at one path: the API server would refuse the Deployment.
    """
    merged: list[Volume] = []
    for layer in layers:
        entries = list(layer)
        names = {entry.name for entry in entries}
        paths = {entry.mount_path for entry in entries}
        merged = [v for v in merged if v.name not in names and v.mount_path not in paths]
        merged += entries
    _one_at_a_path(merged)
    return tuple(merged)


def _one_at_a_path(volumes: Iterable[Volume]) -> None:
    seen: dict[str, str] = {}
    for volume in volumes:
        path = volume.mount_path
        if path in seen:
            raise ValueError(
                f"volumes {seen[path]} and {volume.name} are both mounted at {path}, and a pod"
                " takes one volume at a path: write another mountPath for one of them"
            )
        seen[path] = volume.name


def with_tmp(volumes: tuple[Volume, ...]) -> tuple[Volume, ...]:
    """Add an emptyDir at /tmp, since the root file system is read-only; not if one is there."""
    if any(entry.mount_path.rstrip("/") == TMP_PATH or entry.name == TMP_NAME for entry in volumes):
        return volumes
    tmp = Volume.model_validate({"name": TMP_NAME, "mountPath": TMP_PATH, "emptyDir": {}})
    return (*volumes, tmp)


def pod_volume(volume: Volume) -> Manifest:
    """The entry for ``spec.volumes``. Contents of Secrets are never read, only named."""
    source: Manifest
    if volume.claim_name is not None:
        source = {"persistentVolumeClaim": {"claimName": volume.claim_name}}
    elif volume.nfs is not None:
        source = {"nfs": {"server": volume.nfs.server, "path": volume.nfs.path}}
    elif volume.secret_name is not None:
        source = {"secret": {"secretName": volume.secret_name}}
    elif volume.config_map_name is not None:
        source = {"configMap": {"name": volume.config_map_name}}
    else:
        empty = volume.empty_dir
        source = {
            "emptyDir": empty.model_dump(mode="json", by_alias=True, exclude_none=True)
            if empty
            else {}
        }
    return {"name": volume.name, **source}


def volume_mount(volume: Volume) -> Manifest:
    """The entry for the container's ``volumeMounts``."""
    mount: Manifest = {"name": volume.name, "mountPath": volume.mount_path}
    if volume.sub_path is not None:
        mount["subPath"] = volume.sub_path
    if volume.read_only or volume.secret_name or volume.config_map_name:
        mount["readOnly"] = True
    return mount
