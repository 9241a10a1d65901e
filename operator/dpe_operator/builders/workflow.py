# SPDX-License-Identifier: Apache-2.0
"""Workers, schedulers and watchers of DPE's workflow system: Deployments and disruption budget.

Standby: one Deployment of candidates, of which the holder of the Lease acts. Concurrent: workers
are one Deployment; schedulers and watchers, which differ by schedule or memory, are one Deployment
for each member. The Deployments of the two modes have different names, and whoever applies them
makes those of one mode only when no pod of the other is left: two would act otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import workflow_concurrent_name, workflow_member_name
from dpe_operator.api.workflow import WorkflowTemplate
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.labels import metadata, selector
from dpe_operator.builders.pdb import keep_one
from dpe_operator.builders.workflow_memory import workflow_claims
from dpe_operator.builders.workflow_parts import (
    component_of,
    is_standby,
    members_of,
    mode_label,
    name_of,
)
from dpe_operator.builders.workflow_pod import (
    candidate_template,
    member_template,
    worker_template,
)
from dpe_operator.builders.workflow_rights import workflow_lease, workflow_rights

__all__ = [
    "component_of",
    "members_of",
    "workflow_claims",
    "workflow_deployments",
    "workflow_lease",
    "workflow_pdb",
    "workflow_rights",
]

# The programs have no probe of their own, so a new pod counts as available only after it has run
# this long: an image that crashes at its start stops the update at its first pod.
_MIN_READY_SECONDS: Final = 10


def workflow_deployments(
    context: ComponentContext,
    kind: str,
    spec: WorkflowTemplate,
    *,
    schedules: Sequence[str],
    elector_image: str,
    elector_pull_policy: str | None = None,
) -> list[Manifest]:
    """Build all Deployments of one workflow component, in the order of the members.

    Args:
        context: what the resource takes over from its DpeCluster.
        kind: the kind of the resource.
        spec: its spec.
        schedules: of a scheduler: the one of Standby mode, or one for each Concurrent member;
            empty where none is declared.
        elector_image: the dpe-elector image, for Standby. The caller passes on what already runs,
            since an upgrade of the operator restarts nothing by itself.
        elector_pull_policy: how that image is pulled; None leaves it to Kubernetes.

    Raises PodTemplateError when the user's ``podTemplate`` has not the shape of a pod template.
    """
    if is_standby(spec):
        template = candidate_template(
            context,
            spec,
            schedule=schedules[0] if schedules else None,
            elector_image=elector_image,
            elector_pull_policy=elector_pull_policy,
        )
        return [_candidates(context, spec, template)]
    members = members_of(kind, spec)
    if not members:
        return [_workers(context, spec)]
    shown: Sequence[str | None] = schedules or [None] * len(members)
    return [
        _member(context, spec, number=number, schedule=schedule)
        for number, schedule in zip(members, shown, strict=True)
    ]


def _candidates(context: ComponentContext, spec: WorkflowTemplate, template: Manifest) -> Manifest:
    """One after the other and none on top: as many hosts as candidates have no host for one more.

    Whenever the one that acts is replaced, it hands over within a second to one that stands by.
    """
    return _deployment(
        context,
        spec,
        name_of(context.owner),
        template,
        replicas=spec.wanted_replicas(),
        strategy=_rolling(surge=0, unavailable=1),
    )


def _workers(context: ComponentContext, spec: WorkflowTemplate) -> Manifest:
    """Updated as a farm is: one on top first, and of large ones a quarter may be missing."""
    owner = context.owner
    name = workflow_concurrent_name(owner.name, component_of(owner.kind))
    return _deployment(
        context,
        spec,
        name,
        worker_template(context, spec),
        replicas=spec.wanted_replicas(),
        # 25 % is rounded down: none of 2 or 3, one of 4.
        strategy=_rolling(surge=1, unavailable="25%"),
    )


def _rolling(*, surge: int, unavailable: int | str) -> Manifest:
    update = {"maxSurge": surge, "maxUnavailable": unavailable}
    return {"type": "RollingUpdate", "rollingUpdate": update}


def _member(
    context: ComponentContext, spec: WorkflowTemplate, *, number: int, schedule: str | None
) -> Manifest:
    """Recreate: two pods of one member would fire twice, and its claim may allow only one."""
    owner = context.owner
    name = workflow_member_name(owner.name, component_of(owner.kind), number)
    template = member_template(context, spec, number=number, schedule=schedule)
    return _deployment(
        context,
        spec,
        name,
        template,
        replicas=1,
        strategy={"type": "Recreate"},
        member=str(number),
    )


def _deployment(
    context: ComponentContext,
    spec: WorkflowTemplate,
    name: str,
    template: Manifest,
    *,
    replicas: int,
    strategy: Manifest,
    member: str | None = None,
) -> Manifest:
    owner = context.owner
    component = component_of(owner.kind)
    meta = metadata(owner, name, component, member=member)
    meta["labels"][constants.LABEL_MODE] = mode_label(spec)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": meta,
        "spec": {
            "replicas": replicas,
            "minReadySeconds": _MIN_READY_SECONDS,
            "revisionHistoryLimit": 3,
            "strategy": strategy,
            "selector": {"matchLabels": selector(owner, component, member=member)},
            "template": template,
        },
    }


def workflow_pdb(context: ComponentContext, kind: str, spec: WorkflowTemplate) -> Manifest | None:
    """Build the budget over all pods of the component; None with fewer than two of them."""
    if spec.wanted_replicas() < 2:
        return None
    return keep_one(context.owner, name_of(context.owner), component_of(kind))
