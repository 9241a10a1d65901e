# SPDX-License-Identifier: Apache-2.0
"""The copy of PAR files: a CronJob, its pods, and the Job of one run on demand.

The elector is the lock: two runs never overlap, whoever started them, since locks of files cannot
be relied on over the network. A changed CronJob restarts nothing, so it always follows the spec.
"""

from __future__ import annotations

import json
import math
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.addresses import par_sync_job_name, par_sync_name
from dpe_operator.api.common import Duration
from dpe_operator.api.par_store import ParRedundant, ParStoreTemplate, ParSync
from dpe_operator.builders.context import ComponentContext, Manifest, Owner
from dpe_operator.builders.elector import (
    Election,
    api_mount,
    api_volume,
    once_command,
)
from dpe_operator.builders.labels import labels, metadata
from dpe_operator.builders.par_claims import location_source
from dpe_operator.builders.placement import tolerations
from dpe_operator.builders.pod import (
    container_security,
    pod_basics,
    pod_security,
    resources_or,
    without_empty_lists,
)
from dpe_operator.builders.pod_template import merge_pod_template

CONTAINER: Final = "par-sync"
USER_ID: Final = 65532
DEFAULT_STARTING_DEADLINE: Final = 3600
ANNOTATION_CONFIG: Final = f"{constants.GROUP}/par-sync-config"

_MASTER_DIR: Final = "/par/master"
_REDUNDANT_DIR: Final = "/par/redundant"
_CONFIG_DIR: Final = "/etc/dpe-par-sync"
_CONFIG_FILE: Final = "config.json"
_GRACE_SECONDS: Final = 60
# The run itself has `maxRunTime`; around it lie the start of the pod and the report of the result.
_REPORT_SECONDS: Final = 120
# What the elector ends with when another run has held the lock for too long.
EXIT_LOCKED: Final = 69
# Refused (3), a config that cannot be used (2), no lock: trying again gives the same answer.
_FINAL_EXITS: Final = [2, 3, EXIT_LOCKED]
_LONGEST_WAIT: Final = 86400
_KEPT_JOBS: Final = 3
# No CPU limit: an elector that is slowed down loses its Lease.
_RESOURCES: Final[Manifest] = {
    "requests": {"cpu": "100m", "memory": "64Mi"},
    "limits": {"memory": "512Mi"},
}


def sync_config(owner: Owner, store: ParStoreTemplate, *, adopt: str) -> Manifest:
    """Build what a run is told (docs/reference/par-sync.md). `adopt`: the accepting text, or ""."""
    redundant, sync = _copied(store)
    sub_path = store.master.sub_path
    return {
        "store": owner.name,
        "namespace": owner.namespace,
        "lease": par_sync_name(owner.name),
        "master": {
            "path": f"{_MASTER_DIR}/{sub_path}" if sub_path else _MASTER_DIR,
            "mountPoint": _MASTER_DIR,
        },
        "redundant": {
            "name": redundant.name,
            "volumePath": _REDUNDANT_DIR,
            "subPath": redundant.sub_path,
        },
        "compare": sync.compare,
        "maxDeletions": sync.max_deletions,
        "onDivergence": sync.on_divergence,
        "quietPeriodSeconds": sync.quiet_period.seconds,
        "exclude": list(sync.exclude),
        "history": {"runs": sync.history.runs},
        "maxRunSeconds": _whole(sync.max_run_time),
        **({"adopt": adopt} if adopt else {}),
    }


def _copied(store: ParStoreTemplate) -> tuple[ParRedundant, ParSync]:
    assert store.sync is not None and store.redundant, "nothing is copied here"
    return store.redundant[0], store.sync


def sync_cron_job(
    context: ComponentContext, store: ParStoreTemplate, *, image: str, adopt: str = ""
) -> Manifest:
    """Build the CronJob.

    Raises PodTemplateError when ``sync.podTemplate`` has not the shape of a pod template.
    """
    owner = context.owner
    _, sync = _copied(store)
    deadline = sync.starting_deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": metadata(owner, par_sync_name(owner.name), constants.COMPONENT_PAR_SYNC),
        "spec": {
            "schedule": sync.schedule,
            "timeZone": sync.time_zone,
            "suspend": sync.suspend,
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": DEFAULT_STARTING_DEADLINE if deadline is None else deadline,
            "successfulJobsHistoryLimit": _KEPT_JOBS,
            "failedJobsHistoryLimit": _KEPT_JOBS,
            "jobTemplate": {
                "metadata": {"labels": labels(owner, constants.COMPONENT_PAR_SYNC)},
                "spec": _job_spec(context, store, image=image, adopt=adopt),
            },
        },
    }


def on_demand_job(owner: Owner, cron_job: Manifest, *, text: str, text_hash: str) -> Manifest:
    """Build the Job of the one run that ``text`` asks for, from the CronJob's template."""
    return {
        **on_demand_metadata(owner, text=text, text_hash=text_hash),
        "spec": cron_job["spec"]["jobTemplate"]["spec"],
    }


def on_demand_metadata(owner: Owner, *, text: str, text_hash: str) -> Manifest:
    """Build the part of that Job that is applied once it is there: a Job's spec is immutable."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(
            owner,
            par_sync_job_name(owner.name, text_hash),
            constants.COMPONENT_PAR_SYNC,
            annotations={constants.ANNOTATION_SYNC_NOW: text},
        ),
    }


def _job_spec(
    context: ComponentContext, store: ParStoreTemplate, *, image: str, adopt: str
) -> Manifest:
    _, sync = _copied(store)
    return {
        # one more try, for a pod that was killed; nothing is tried again that was refused
        "backoffLimit": 1,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {
                        "containerName": CONTAINER,
                        "operator": "In",
                        "values": _FINAL_EXITS,
                    },
                },
            ]
        },
        # as long as it may wait for the run before it, and then run itself
        "activeDeadlineSeconds": 2 * (_whole(sync.max_run_time) + _REPORT_SECONDS),
        "template": _pod_template(context, store, image=image, adopt=adopt),
    }


def _whole(span: Duration) -> int:
    return math.ceil(span.seconds)


def _pod_template(
    context: ComponentContext, store: ParStoreTemplate, *, image: str, adopt: str
) -> Manifest:
    owner = context.owner
    _, sync = _copied(store)
    config = json.dumps(sync_config(owner, store, adopt=adopt), sort_keys=True)
    spec: Manifest = {
        **pod_basics(context, "linux", dict(sync.node_selector)),
        "serviceAccountName": par_sync_name(owner.name),
        "restartPolicy": "Never",
        "securityContext": {
            **pod_security("linux"),
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
        },
        "tolerations": tolerations(sync.tolerations, short_stay=True),
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "containers": [_container(context, sync, image)],
        "volumes": _volumes(owner, store),
    }
    template: Manifest = {
        "metadata": {
            "labels": labels(owner, constants.COMPONENT_PAR_SYNC),
            # in the pod itself, so that a run never meets the config of another version
            "annotations": {ANNOTATION_CONFIG: config},
        },
        "spec": without_empty_lists(spec),
    }
    return merge_pod_template(template, sync.pod_template)


def _container(context: ComponentContext, sync: ParSync, image: str) -> Manifest:
    election = Election(
        lease=par_sync_name(context.owner.name), grace_seconds=_GRACE_SECONDS, profile="Safe"
    )
    container: Manifest = {
        "name": CONTAINER,
        "image": image,
        "command": once_command(
            election,
            ["dpe-par-sync", "--config", f"{_CONFIG_DIR}/{_CONFIG_FILE}"],
            deadline_seconds=min(_whole(sync.max_run_time) + _REPORT_SECONDS, _LONGEST_WAIT),
        ),
        "env": _downward_env(),
        "resources": resources_or(sync.resources, _RESOURCES),
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": "master", "mountPath": _MASTER_DIR},
            {"name": "redundant", "mountPath": _REDUNDANT_DIR},
            {"name": "config", "mountPath": _CONFIG_DIR, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - inside the container
            api_mount(),
        ],
    }
    if context.image_pull_policy is not None:
        container["imagePullPolicy"] = context.image_pull_policy
    return container


def _downward_env() -> list[Manifest]:
    """Who the pod is, for the elector, and which pod and Job the result speaks of."""
    fields = {
        "POD_NAME": "metadata.name",
        "POD_NAMESPACE": "metadata.namespace",
        "POD_UID": "metadata.uid",
        "JOB_NAME": "metadata.labels['batch.kubernetes.io/job-name']",
    }
    return [
        {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
        for name, path in fields.items()
    ]


def _volumes(owner: Owner, store: ParStoreTemplate) -> list[Manifest]:
    """Both volumes whole: beside the copy lie its identity and what it has replaced."""
    redundant, _ = _copied(store)
    config = {
        "path": _CONFIG_FILE,
        "fieldRef": {"fieldPath": f"metadata.annotations['{ANNOTATION_CONFIG}']"},
    }
    return [
        {"name": "master", **location_source(owner, store.master)},
        {"name": "redundant", **location_source(owner, redundant)},
        {"name": "config", "downwardAPI": {"items": [config]}},
        {"name": "tmp", "emptyDir": {}},
        api_volume(),
    ]
