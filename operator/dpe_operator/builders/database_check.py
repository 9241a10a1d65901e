# SPDX-License-Identifier: Apache-2.0
"""The Job that looks at the databases' Secrets where they are mounted.

It is the only thing of ours that sees them: the operator has no right to read a Secret. The Job has
no service-account token, talks to nobody, and says in its termination message what it has found, in
codes. Each Secret is an optional mount, so that a missing one is a finding and no pod that waits.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dpe_operator.api import constants
from dpe_operator.api.databases import ContentDatabase, CoreDatabase, Databases
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.builders.labels import labels, metadata
from dpe_operator.builders.pod import (
    container_security,
    pod_basics,
    pod_security,
    without_empty_lists,
)
from dpe_operator.database_check.reference import Reference

CONTAINER: Final = "check"
FOLDER: Final = "/run/databases"
USER_ID: Final = 65532
# A check takes a second. What takes this long cannot be scheduled or pulled, and is tried anew.
DEADLINE_SECONDS: Final = 300
# Its result is in the status of the DpeCluster by then.
KEPT_SECONDS: Final = 3600
_RESOURCES: Final[Manifest] = {
    "requests": {"cpu": "20m", "memory": "64Mi"},
    "limits": {"memory": "128Mi"},
}


@dataclass(frozen=True, slots=True)
class CheckedReference:
    """One Secret to be looked at. `name` is what conditions and the status call it."""

    name: str
    secret: str
    reference: Reference


def checked_references(databases: Databases | None) -> tuple[CheckedReference, ...]:
    """Return all references of a site, in the order in which they are mounted and reported."""
    if databases is None:
        return ()
    found: list[CheckedReference] = []
    core = databases.core
    if core is not None and core.secret_ref is not None:
        found.append(CheckedReference("core", core.secret_ref.name, _asked(core)))
    elif core is not None:
        compared = len(core.members) > 1
        found += [
            CheckedReference(
                f"core/{member.name}", member.secret_ref.name, _asked(core, compared=compared)
            )
            for member in core.members
        ]
    found += [
        CheckedReference(f"content/{entry.name}", entry.secret_ref.name, _asked(entry))
        for entry in databases.content
    ]
    return tuple(found)


def _asked(entry: CoreDatabase | ContentDatabase, *, compared: bool = False) -> Reference:
    keys = [variable.key for variable in entry.env]
    keys += [entry.connection_key] if entry.connection_key is not None else []
    keys += entry.required_keys
    return Reference(entry.engine, tuple(dict.fromkeys(keys)), entry.connection_key, compared)


def check_job(
    context: ComponentContext,
    references: Sequence[CheckedReference],
    *,
    name: str,
    image: str,
    references_hash: str,
) -> Manifest:
    """Build the Job for one look at all references.

    Args:
        context: of the DpeCluster, with the operator's own pull settings.
        references: what to look at.
        name: name of the Job, another one for each look.
        image: the operator's image, which has the command.
        references_hash: digest of what is looked at, by which its result is told from older ones.
    """
    marked = {constants.LABEL_REFERENCES_HASH: references_hash}
    meta = metadata(context.owner, name, constants.COMPONENT_DATABASE_CHECK)
    meta["labels"] |= marked
    spec: Manifest = {
        **pod_basics(context, "linux", {}),
        "restartPolicy": "Never",
        "securityContext": {
            **pod_security("linux"),
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
        },
        "containers": [_container(context, references, image)],
        "volumes": [
            {
                "name": f"database-{number}",
                "secret": {"secretName": entry.secret, "optional": True},
            }
            for number, entry in enumerate(references)
        ],
    }
    own = labels(context.owner, constants.COMPONENT_DATABASE_CHECK)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": meta,
        "spec": {
            "backoffLimit": 1,
            "activeDeadlineSeconds": DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "template": {
                "metadata": {"labels": {**own, **marked}},
                "spec": without_empty_lists(spec),
            },
        },
    }


def _container(
    context: ComponentContext, references: Sequence[CheckedReference], image: str
) -> Manifest:
    asked = [entry.reference.to_data() for entry in references]
    container: Manifest = {
        "name": CONTAINER,
        "image": image,
        "command": ["dpe-operator", "database-check"],
        "args": ["--references", json.dumps(asked, separators=(",", ":")), "--root", FOLDER],
        "resources": _RESOURCES,
        "securityContext": container_security(),
        "volumeMounts": [
            {"name": f"database-{number}", "mountPath": f"{FOLDER}/{number}", "readOnly": True}
            for number in range(len(references))
        ],
    }
    if context.image_pull_policy is not None:
        container["imagePullPolicy"] = context.image_pull_policy
    return container
