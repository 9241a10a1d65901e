# SPDX-License-Identifier: Apache-2.0
"""Where a watcher keeps what it has seen: claims, mounts, and the program that carries it over.

Standby: one claim for all candidates. `dpe_memory` runs between elector and watcher, prepares a
folder of this epoch on the claim, and makes the configured path a link to it. Concurrent: each
member has a claim of its own, mounted at the configured path itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dpe_operator.api.addresses import memory_claim_name
from dpe_operator.api.pods import EnvVar, Volume
from dpe_operator.api.workflow import WatcherMemory, WatcherTemplate, WorkflowTemplate
from dpe_operator.builders.claims import retained_claim
from dpe_operator.builders.context import ComponentContext, Manifest, Owner
from dpe_operator.builders.elector import package_command, pod_identity_env
from dpe_operator.builders.pod import pod_security
from dpe_operator.builders.workflow_parts import (
    component_of,
    is_standby,
    literal,
    members_of,
    name_of,
)

VOLUME: Final = "dpe-memory"
VOLUME_DIR: Final = "/dpe-memory"
LINK_VOLUME: Final = "dpe-memory-link"
# A new claim belongs to root, and as whom an image runs that is not ours is not known. Any group
# will do: all programs of the pod are in it. OnRootMismatch: only the first mount takes time.
_CLAIM_GROUP: Final[Manifest] = {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}


def memory_of(spec: WorkflowTemplate) -> WatcherMemory | None:
    """Return the memory of a watcher; None for others, and for watchers without one."""
    return spec.memory if isinstance(spec, WatcherTemplate) else None


def memory_folder(owner: Owner) -> str:
    """Return the watcher's folder on the claim, which several watchers may share."""
    return f"{owner.kind.lower()}-{owner.name}"


def memory_volumes(
    owner: Owner, spec: WorkflowTemplate, *, member: int | None
) -> tuple[Volume, ...]:
    """Return the volumes of one pod; none without a memory."""
    memory = memory_of(spec)
    if memory is None:
        return ()
    name = memory.claim_name or memory_claim_name(owner.name, component_of(owner.kind), member)
    standby = is_standby(spec)
    mount_path = VOLUME_DIR if standby else memory.mount_path
    found: list[dict[str, object]] = [
        {"name": VOLUME, "mountPath": mount_path, "claimName": name},
    ]
    if standby:
        above = memory.mount_path.rstrip("/").rpartition("/")[0]
        found.append({"name": LINK_VOLUME, "mountPath": above, "emptyDir": {}})
    return tuple(Volume.model_validate(entry) for entry in found)


def memory_security(spec: WorkflowTemplate) -> Manifest:
    """Return what a pod needs to write to a claim that was made for it; nothing for others.

    A claim of the user's own is left as it is, with its owner.
    """
    memory = memory_of(spec)
    if memory is None or memory.size is None or spec.os != "linux":
        return {}
    return {"securityContext": {**pod_security("linux"), **_CLAIM_GROUP}}


def memory_command(owner: Owner, spec: WorkflowTemplate, command: Sequence[str]) -> list[str]:
    """Return what the elector starts: the watcher, after its memory has been prepared if any."""
    memory = memory_of(spec)
    if memory is None:
        return list(command)
    return [
        *package_command("dpe_memory"),
        *("--volume", VOLUME_DIR),
        *("--folder", memory_folder(owner)),
        *("--owner", f"{owner.namespace}/{owner.kind}/{owner.name}"),
        *("--link", literal(memory.mount_path)),
        *("--on-loss", memory.on_loss or "Stop"),
        *("--lease", name_of(owner)),
        "--",
        *command,
    ]


def memory_needs(spec: WorkflowTemplate, command: Sequence[str]) -> tuple[str, ...]:
    """Return what a candidate must have beside what the elector starts: watcher and volume.

    The elector looks for the first word of its own command by itself. With a memory that is the
    program which prepares it, so the watcher is named here. Left out is what the elector would
    refuse, or cannot be seen through before the pod runs: a path without a slash at its beginning,
    and a bare name with `$(VARIABLE)` in it.
    """
    if memory_of(spec) is None:
        return ()
    program = command[0] if command else ""
    named = "/" not in program and "$" not in program
    found = (program,) if program.startswith("/") or (program and named) else ()
    return (*found, VOLUME_DIR)


def memory_env(spec: WorkflowTemplate) -> tuple[EnvVar, ...]:
    """Return what `dpe_memory` is told by variables, which it keeps from the watcher."""
    if memory_of(spec) is None or not is_standby(spec):
        return ()
    return pod_identity_env("DPE_MEMORY")


def workflow_claims(context: ComponentContext, kind: str, spec: WorkflowTemplate) -> list[Manifest]:
    """Build the claims with the memory of a watcher, as they are created.

    None where there is no memory or the user names a claim. They outlive their watcher and are
    found again by their labels. All candidates mount the one of Standby mode; that of a Concurrent
    member is mounted by one pod at a time, which every storage class can do.
    """
    memory = memory_of(spec)
    if memory is None or memory.size is None:
        return []
    owner, component = context.owner, component_of(kind)
    if is_standby(spec):
        name = memory_claim_name(owner.name, component)
        return [
            retained_claim(
                owner,
                name,
                component,
                size=memory.size,
                storage_class=memory.storage_class_name,
            )
        ]
    return [
        retained_claim(
            owner,
            memory_claim_name(owner.name, component, number),
            component,
            size=memory.size,
            storage_class=memory.storage_class_name,
            access_modes=("ReadWriteOnce",),
            member=str(number),
        )
        for number in members_of(kind, spec)
    ]
