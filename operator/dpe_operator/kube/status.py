# SPDX-License-Identifier: Apache-2.0
"""Writes status by server-side apply, and only when it says something new."""

from dpe_operator.api import constants
from dpe_operator.kube.client import KubeClient
from dpe_operator.kube.drift import status_differs
from dpe_operator.kube.errors import NotFound
from dpe_operator.planning.objects import Obj, without_nulls


async def write_status(client: KubeClient, resource: Obj, body: Obj) -> bool:
    """Bring the status of `resource` (as it was read) to `body`; return whether it was written."""
    intent: Obj = {
        "apiVersion": resource["apiVersion"],
        "kind": resource["kind"],
        "metadata": {key: resource["metadata"][key] for key in ("name", "namespace", "uid")},
        "status": without_nulls(body),
    }
    if not status_differs(intent, resource, manager=constants.MANAGER_STATUS):
        return False
    try:
        await client.apply_status(intent, manager=constants.MANAGER_STATUS)
    except NotFound:
        return False
    return True
