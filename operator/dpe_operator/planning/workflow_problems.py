# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a workflow component that the API server cannot see.

That is: arithmetic of times, free-form fields, and what other objects say. The same code judges an
entry of `spec.workflow` in a DpeCluster and the resource that is made of it.
"""

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import (
    workflow_concurrent_name,
    workflow_member_name,
    workflow_name,
)
from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.pods import Volume
from dpe_operator.api.workflow import SchedulerTemplate, WorkflowTemplate
from dpe_operator.builders.elector import API_DIR, ELECTOR_DIR
from dpe_operator.builders.workflow import component_of, members_of
from dpe_operator.builders.workflow_memory import VOLUME_DIR, memory_of
from dpe_operator.builders.workflow_parts import is_standby
from dpe_operator.planning.acceptance import (
    direct_address_problems,
    reserved_env_problems,
    template_problems,
)
from dpe_operator.planning.objects import dig
from dpe_operator.planning.schedules import ScheduleError, check_zone, clashes, equal
from dpe_operator.planning.workflow_schedules import declared_schedules

_CONTAINER: Final = "dpe"
_OWN_FOLDERS: Final = (ELECTOR_DIR, API_DIR, VOLUME_DIR)
# Folders of the image itself that an empty volume would hide: nothing in it would start any more.
_IMAGE_FOLDERS: Final = frozenset(
    {"/bin", "/dev", "/etc", "/lib", "/lib64", "/opt", "/proc", "/sbin", "/sys",
     "/usr", "/usr/bin", "/usr/lib", "/usr/local", "/var"}
)  # fmt: skip
_DECLARED: Final = (
    constants.ENV_SCHEDULE,
    constants.ENV_TIME_ZONE,
    constants.ENV_TITLE_TEMPLATE,
    constants.ENV_MEMORY_PATH,
    constants.ENV_MEMBER,
)
# A leap year that begins on a Monday. What schedules have in common must not depend on the day on
# which somebody looks, or a spec would be accepted today and refused tomorrow.
_ANY_YEAR: Final = datetime(2024, 1, 1, tzinfo=UTC)


def deployment_names(resource: str, kind: str, spec: WorkflowTemplate) -> list[str]:
    """Return the names of all Deployments of a component called `resource`."""
    component = component_of(kind)
    if is_standby(spec):
        return [workflow_name(resource, component)]
    members = members_of(kind, spec)
    if not members:
        return [workflow_concurrent_name(resource, component)]
    return [workflow_member_name(resource, component, number) for number in members]


def workflow_problems(
    spec: WorkflowTemplate,
    *,
    kind: str,
    path: str,
    clients: ClientProfile,
    hosts: Sequence[str],
    service_root: str,
    site_volumes: Sequence[Volume],
) -> Iterator[str]:
    """Find what is wrong with a component.

    Args:
        spec: the component.
        kind: its kind.
        path: where it stands, such as `spec` or `spec.workflow.workers[default]`.
        clients: the client profile in force.
        hosts: host names of single servers.
        service_root: the balancer's address.
        site_volumes: what is mounted beside its own: shared volumes, PAR files, databases.
    """
    standby = is_standby(spec)
    yield from reserved_env_problems(
        spec.env, path=path, clients=clients, service_root=service_root, default_is_free=False
    )
    yield from direct_address_problems(spec, path=path, hosts=hosts, service_root=service_root)
    yield from template_problems(spec.pod_template, path=path, clients=clients, elector=standby)
    yield from _declared_in_template(spec.pod_template, path)
    if standby:
        yield from _standby_problems(spec, path)
    if isinstance(spec, SchedulerTemplate):
        yield from schedule_problems(spec, path)
    yield from _memory_problems(spec, path, site_volumes)


def _declared_in_template(patch: Mapping[str, Any] | None, path: str) -> Iterator[str]:
    for container in own_containers(patch):
        for variable in dig(container, "env", default=[]):
            name = str(dig(variable, "name"))
            if name in _DECLARED or name.startswith("DPE_ELECTOR_"):
                yield (
                    f"{path}.podTemplate.spec.containers[{_CONTAINER}].env sets {name}, which is"
                    " made from the fields of this resource: remove it"
                )


def own_containers(patch: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    """Return DPE's own container in a patch, if it has the shape of one."""
    found = dig(patch, "spec", "containers", default=[])
    if not isinstance(found, list):
        return []
    return [
        entry for entry in found if isinstance(entry, Mapping) and entry.get("name") == _CONTAINER
    ]


def _standby_problems(spec: WorkflowTemplate, path: str) -> Iterator[str]:
    """Find volumes that would hide what the elector needs."""
    for volume in spec.volumes:
        if _inside(volume.mount_path, _OWN_FOLDERS):
            yield (
                f"{path}.volumes[{volume.name}].mountPath is {volume.mount_path}, which the"
                " operator uses itself: write another folder"
            )


def _inside(folder: str, others: Sequence[str]) -> bool:
    """Whether a folder is one of `others` or below one of them."""
    clean = posixpath.normpath(folder)
    return any(clean == other or clean.startswith(f"{other}/") for other in others)


# --- schedules


def schedule_problems(spec: SchedulerTemplate, path: str) -> Iterator[str]:
    """Find what is wrong with the times of a scheduler."""
    if spec.time_zone is not None:
        try:
            check_zone(spec.time_zone)
        except ScheduleError as error:
            yield f"{path}.timeZone: {error}"
    try:
        schedules = declared_schedules(spec)
    except ScheduleError as error:
        yield f"{path}.{'schedules' if spec.schedules else 'schedule'}: {error}"
        return
    if len(schedules) > 1:
        yield from _meetings(schedules, f"{path}.{'schedules' if spec.schedules else 'schedule'}")


def _meetings(schedules: Sequence[str], path: str) -> Iterator[str]:
    """Find members that fire at the same time on any day; clock changes are another matter."""
    for clash in clashes(schedules, "UTC", now=_ANY_YEAR):
        one, two = schedules[clash.first - 1], schedules[clash.second - 1]
        same = equal(one, two)
        how = "mean the same" if same else f"meet, for one on {clash.moment:%d %B at %H:%M}"
        yield (
            f"{path}: members {clash.first} and {clash.second} ({one!r} and {two!r}) {how}, so both"
            " would start the same workflow: write times that differ by some minutes at least"
        )


# --- memory


def _memory_problems(
    spec: WorkflowTemplate, path: str, site_volumes: Sequence[Volume]
) -> Iterator[str]:
    memory = memory_of(spec)
    if memory is None:
        return
    where = f"{path}.memory.mountPath is {memory.mount_path}"
    folder = posixpath.normpath(memory.mount_path)
    if is_standby(spec):
        # the folder itself is a link that the memory program makes
        above = posixpath.dirname(folder)
        if above in _IMAGE_FOLDERS:
            yield (
                f"{where}, and in Standby mode the folder above it, {above}, is replaced by an"
                " empty one with nothing but the memory in it: write a folder deeper down, such as"
                " /var/lib/dpe/memory"
            )
        if _inside(folder, _OWN_FOLDERS):
            yield f"{where}, which the operator uses itself: write another folder"
        folder = above
    for volume in (*spec.volumes, *site_volumes):
        taken = posixpath.normpath(volume.mount_path)
        if taken == folder or _inside(taken, [posixpath.normpath(memory.mount_path)]):
            yield (
                f"{where}, and volume {volume.name} is mounted at {volume.mount_path}: the two get"
                " into each other's way; write another folder for one of them"
            )
