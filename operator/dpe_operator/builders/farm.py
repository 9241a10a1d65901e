# SPDX-License-Identifier: Apache-2.0
"""A farm of processors: one Deployment spread over hosts, and its PDB."""

from __future__ import annotations

from dpe_operator.api import constants
from dpe_operator.api.addresses import processor_name
from dpe_operator.api.processor_farm import ProcessorFarmSpec
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.labels import metadata, selector
from dpe_operator.builders.pdb import keep_one
from dpe_operator.builders.placement import spread, tolerations
from dpe_operator.builders.pod import DEFAULT_GRACE_SECONDS, Workload, dpe_pod_template
from dpe_operator.builders.values import is_device

# Processors have no probe (nobody knows what to ask them), so a new one counts as available only
# after it has run this long: an image that crashes at its start stops the update at its first pod.
_MIN_READY_SECONDS = 10


def farm_deployment(
    context: ComponentContext, farm: ProcessorFarmSpec, *, replicas: int
) -> Manifest:
    """Build the farm's Deployment. ``replicas``: the number in force (own, else the default).

    Updates add one new pod before they take an old one away, so two processors stay two; large
    farms may also lack a quarter meanwhile, for clusters that have no room for one more pod. A
    device is seldom free beside those in use: there an old pod goes first, in small farms too.
    """
    owner = context.owner
    template = dpe_pod_template(context, farm, _workload(context, farm))
    # 25 % is rounded down: none of 2 or 3, one of 4.
    # Kubernetes makes it one where no more pod is allowed either.
    update: Manifest = {"maxSurge": 0 if _needs_device(template) else 1, "maxUnavailable": "25%"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata(owner, processor_name(owner.name), constants.COMPONENT_PROCESSOR),
        "spec": {
            "replicas": replicas,
            "minReadySeconds": _MIN_READY_SECONDS,
            "revisionHistoryLimit": 3,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": update},
            "selector": {"matchLabels": selector(owner, constants.COMPONENT_PROCESSOR)},
            "template": template,
        },
    }


def _needs_device(template: Manifest) -> bool:
    """Whether any container does; `podTemplate` may say so as well as `resources`.

    What it says of a container of its own may be of any form: the API server judges that.
    """
    for container in template["spec"]["containers"]:
        resources = container.get("resources")
        limits = resources.get("limits") if isinstance(resources, dict) else None
        if isinstance(limits, dict) and any(is_device(name) for name in limits):
            return True
    return False


def _workload(context: ComponentContext, farm: ProcessorFarmSpec) -> Workload:
    grace = farm.termination_grace_period_seconds
    return Workload(
        component=constants.COMPONENT_PROCESSOR,
        image=farm.image,
        pod={
            "topologySpreadConstraints": spread(
                context.owner, constants.COMPONENT_PROCESSOR, context.placement
            ),
            "tolerations": tolerations(farm.tolerations, short_stay=True),
            "terminationGracePeriodSeconds": DEFAULT_GRACE_SECONDS if grace is None else grace,
        },
    )


def farm_pdb(context: ComponentContext, *, replicas: int) -> Manifest | None:
    """Build the farm's PDB; None with fewer than two replicas (a waived single one, or none)."""
    if replicas < 2:
        return None
    owner = context.owner
    return keep_one(owner, processor_name(owner.name), constants.COMPONENT_PROCESSOR)
