# SPDX-License-Identifier: Apache-2.0
"""The pod of a workflow component: candidate under the elector, or Concurrent member as it is."""

from __future__ import annotations

from dpe_operator.api import constants
from dpe_operator.api.pods import EnvVar
from dpe_operator.api.workflow import SchedulerTemplate, WatcherTemplate, WorkflowTemplate
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.elector import (
    DEFAULT_PROBE_PORT,
    Election,
    elector_container,
    elector_env,
    injected_mounts,
    injected_volumes,
    install_container,
)
from dpe_operator.builders.placement import apart, spread, tolerations
from dpe_operator.builders.pod import Workload, dpe_pod_template
from dpe_operator.builders.workflow_memory import (
    memory_command,
    memory_env,
    memory_needs,
    memory_of,
    memory_security,
    memory_volumes,
)
from dpe_operator.builders.workflow_parts import (
    component_of,
    grace_seconds,
    literal,
    member_host_name,
    mode_label,
    name_of,
)
from dpe_operator.builders.workflow_rights import account_of


def candidate_template(
    context: ComponentContext,
    spec: WorkflowTemplate,
    *,
    schedule: str | None,
    elector_image: str,
    elector_pull_policy: str | None,
) -> Manifest:
    """Build the pod template of Standby candidates.

    Raises PodTemplateError when the user's ``podTemplate`` has not the shape of a pod template.
    """
    owner = context.owner
    component = component_of(owner.kind)
    program = [*(spec.command or ()), *(spec.args or ())]
    election = Election(
        lease=name_of(owner),
        grace_seconds=grace_seconds(spec),
        profile=spec.timings.profile if spec.timings else "Safe",
        probe_port=spec.probe_port or DEFAULT_PROBE_PORT,
        needs=memory_needs(spec, program),
    )
    command = memory_command(owner, spec, program)
    workload = Workload(
        component=component,
        image=spec.image,
        declared=_declared(spec, schedule=schedule, member=None),
        env=(*elector_env(), *memory_env(spec)),
        volumes=memory_volumes(owner, spec, member=None),
        container=elector_container(election, command),
        pod={
            "serviceAccountName": account_of(owner, spec),
            "initContainers": [install_container(elector_image, pull_policy=elector_pull_policy)],
            "affinity": apart(owner, component, context.placement),
            "tolerations": tolerations(spec.tolerations, short_stay=False),
            "terminationGracePeriodSeconds": election.grace_seconds,
            **memory_security(spec),
        },
        pod_labels={constants.LABEL_MODE: mode_label(spec)},
        pod_volumes=tuple(injected_volumes()),
        mounts=tuple(injected_mounts()),
    )
    return dpe_pod_template(context, spec, workload)


def member_template(
    context: ComponentContext, spec: WorkflowTemplate, *, number: int, schedule: str | None
) -> Manifest:
    """Build the pod template of one Concurrent member that differs from the others.

    Tolerations are Kubernetes' own 300 s: the other members act all the while, and one moved
    hastily fires twice while its node is merely cut off.
    """
    owner = context.owner
    component, member = component_of(owner.kind), str(number)
    workload = Workload(
        component=component,
        image=spec.image,
        member=member,
        declared=_declared(spec, schedule=schedule, member=member),
        volumes=memory_volumes(owner, spec, member=number),
        pod={
            "hostname": member_host_name(owner, number, windows=spec.os == "windows"),
            "affinity": apart(owner, component, context.placement, member=member),
            "tolerations": tolerations(spec.tolerations, short_stay=False),
            "terminationGracePeriodSeconds": grace_seconds(spec),
            **memory_security(spec),
        },
        pod_labels={constants.LABEL_MODE: mode_label(spec)},
    )
    return dpe_pod_template(context, spec, workload)


def worker_template(context: ComponentContext, spec: WorkflowTemplate) -> Manifest:
    """Build the pod template of Concurrent workers, which keep nothing: a farm like another."""
    owner = context.owner
    component = component_of(owner.kind)
    workload = Workload(
        component=component,
        image=spec.image,
        pod={
            "topologySpreadConstraints": spread(owner, component, context.placement),
            "tolerations": tolerations(spec.tolerations, short_stay=True),
            "terminationGracePeriodSeconds": grace_seconds(spec),
        },
        pod_labels={constants.LABEL_MODE: mode_label(spec)},
    )
    return dpe_pod_template(context, spec, workload)


def _declared(
    spec: WorkflowTemplate, *, schedule: str | None, member: str | None
) -> tuple[EnvVar, ...]:
    """The declared values, word for word; whether DPE uses them cannot be seen."""
    memory = memory_of(spec)
    values = {
        constants.ENV_MEMBER: member,
        constants.ENV_SCHEDULE: schedule,
        constants.ENV_TIME_ZONE: spec.time_zone if isinstance(spec, SchedulerTemplate) else None,
        constants.ENV_TITLE_TEMPLATE: (
            spec.title_template if isinstance(spec, WatcherTemplate) else None
        ),
        constants.ENV_MEMORY_PATH: memory.mount_path if memory else None,
    }
    return tuple(
        EnvVar(name=name, value=literal(value))
        for name, value in values.items()
        if value is not None
    )
