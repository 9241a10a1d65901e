# SPDX-License-Identifier: Apache-2.0
"""What the builders of the four workflow kinds have in common: which component, how many, names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import workflow_name
from dpe_operator.api.workflow import WorkflowTemplate
from dpe_operator.builders.context import Owner
from dpe_operator.builders.labels import Component
from dpe_operator.builders.pod import DEFAULT_GRACE_SECONDS

_COMPONENTS: Final[Mapping[str, Component]] = {
    constants.KIND_WORKER: constants.COMPONENT_WORKER,
    constants.KIND_SCHEDULER: constants.COMPONENT_SCHEDULER,
    constants.KIND_TABLE_WATCHER: constants.COMPONENT_TABLE_WATCHER,
    constants.KIND_FOLDER_WATCHER: constants.COMPONENT_FOLDER_WATCHER,
}

_LONGEST_HOST_NAME: Final = 63
# Windows (NetBIOS) cuts longer ones, and with that the number at their end.
_LONGEST_WINDOWS_NAME: Final = 15


def component_of(kind: str) -> Component:
    """Return the component that a workflow kind is made of; raises KeyError for other kinds."""
    return _COMPONENTS[kind]


def name_of(owner: Owner) -> str:
    """Return the name of PDB, Lease and account of a workflow component."""
    return workflow_name(owner.name, component_of(owner.kind))


def is_standby(spec: WorkflowTemplate) -> bool:
    """Whether one acts while the others stand by."""
    return spec.mode == "Standby"


def mode_label(spec: WorkflowTemplate) -> str:
    """Return the value of label dpe.dev/mode."""
    return spec.mode.lower()


def members_of(kind: str, spec: WorkflowTemplate) -> tuple[int, ...]:
    """Return the numbers of Concurrent members that differ from each other, from 1.

    Empty for candidates and for Concurrent workers, which are all alike.
    """
    if is_standby(spec) or kind == constants.KIND_WORKER:
        return ()
    return tuple(range(1, spec.wanted_replicas() + 1))


def member_host_name(owner: Owner, number: int, *, windows: bool) -> str:
    """Return the computer name of a Concurrent member, which outlives its pods.

    DPE keys local parameter files and licences by it. Cut where the name of the Deployment is
    longer than a computer name may be; on Windows, where little is left of it, four digits of its
    hash tell components apart that begin alike.
    """
    name, end = name_of(owner), f"-{number}"
    longest = _LONGEST_WINDOWS_NAME if windows else _LONGEST_HOST_NAME
    if windows and len(name + end) > longest:
        end = f"-{hashlib.sha256(name.encode()).hexdigest()[:4]}{end}"
    return f"{name[: longest - len(end)].rstrip('-')}{end}"


def grace_seconds(spec: WorkflowTemplate) -> int:
    """Return the seconds a pod has to stop."""
    wanted = spec.termination_grace_period_seconds
    return DEFAULT_GRACE_SECONDS if wanted is None else wanted


def literal(text: str) -> str:
    """Return a value for a variable or an argument in which Kubernetes replaces no $(NAME)."""
    return text.replace("$", "$$")
