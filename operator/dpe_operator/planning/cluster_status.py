# SPDX-License-Identifier: Apache-2.0
"""What the status of a site says: a summary of its DpeServer, farms and workflow components."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dpe_operator.api import constants
from dpe_operator.api.server import MAX_OUTDATED
from dpe_operator.planning.cluster_workflow import LiveComponent
from dpe_operator.planning.objects import (
    Obj,
    condition,
    dig,
    is_paused,
    is_terminating,
    kept_by,
)
from dpe_operator.planning.status_limits import some_names
from dpe_operator.planning.summary import Part

SERVER_READY: Final = "ServerReady"
FARMS_READY: Final = "ProcessorsReady"
WORKFLOW_READY: Final = {
    constants.KIND_WORKER: "WorkersReady",
    constants.KIND_SCHEDULER: "SchedulersReady",
    constants.KIND_TABLE_WATCHER: "TableWatchersReady",
    constants.KIND_FOLDER_WATCHER: "FolderWatchersReady",
}
_MIRRORED: Final = (
    "active",
    "activeSince",
    "standby",
    "members",
    "lastSwitch",
    "switchCount",
    "routedBalancer",
)


@dataclass(frozen=True, slots=True)
class LiveSite:
    """The live resources that a DpeCluster has made; None for one that is not made yet. Farms are
    found by their type."""

    server: Obj | None
    farms: Mapping[str, Obj | None]
    components: Sequence[LiveComponent]


def cluster_parts(site: LiveSite, name: str) -> list[Part]:
    """Return what the children say, as conditions of the site: one for each kind of them."""
    parts = [child_part(SERVER_READY, constants.KIND_SERVER, name, site.server)]
    if site.farms:
        parts.append(
            _merged(
                [
                    child_part(FARMS_READY, constants.KIND_FARM, f"{name}-{kind}", farm)
                    for kind, farm in site.farms.items()
                ],
                "farms are complete",
            )
        )
    for kind, condition_name in WORKFLOW_READY.items():
        found = [
            child_part(condition_name, kind, f"{name}-{component.name}", component.live)
            for component in site.components
            if component.kind == kind
        ]
        if found:
            parts.append(_merged(found, f"{kind} resources are ready"))
    return parts


def cluster_ready(site: LiveSite) -> str:
    """Return the sentence of a site that is well."""
    said = [str((condition(site.server, constants.CONDITION_READY) or {}).get("message", ""))]
    if site.farms:
        ready = [dig(farm, "status", "readyReplicas", default=0) for farm in site.farms.values()]
        said.append(f"{sum(map(int, ready))} processors in {len(site.farms)} farms are ready.")
    if site.components:
        said.append(f"{len(site.components)} workflow components work.")
    return " ".join(said)


def cluster_fields(site: LiveSite, root: str) -> Obj:
    """Return the fields of the status beside the conditions."""
    status = dig(site.server, "status", default={})
    outdated = set(status.get("outdated", []))
    for child in (*site.farms.values(), *(component.live for component in site.components)):
        outdated |= set(dig(child, "status", "outdated", default=[]))
    return {
        **{key: status.get(key) for key in _MIRRORED},
        "serviceRoot": root,
        "farms": [_farm(kind, farm) for kind, farm in site.farms.items()],
        "workflow": [component.summary() for component in site.components],
        "outdated": some_names(sorted(outdated), MAX_OUTDATED),
    }


def _farm(kind: str, farm: Obj | None) -> Obj:
    counts = {
        key: dig(farm, "status", key)
        for key in ("replicas", "readyReplicas")
        if dig(farm, "status", key) is not None
    }
    return {"type": kind, **counts}


def child_part(part: str, kind: str, name: str, child: Mapping[str, Any] | None) -> Part:
    """Return what one child says, as condition `part` of the site; None: it is not made yet."""
    if child is None:
        return Part(part, False, "NotMade", f"{kind} {name} has not been made yet", updating=True)
    if is_terminating(child):
        text = f"{kind} {name} is being deleted, and looked after again when it is made anew"
        return Part(part, False, "BeingDeleted", f"{text}{kept_by(child)}")
    if is_paused(child):
        return Part(
            part, None, "Paused", f"{kind} {name} is paused by {constants.ANNOTATION_RECONCILE}"
        )
    ready = condition(child, constants.CONDITION_READY)
    current = dig(child, "status", "observedGeneration") == child["metadata"].get("generation")
    if ready is None or not current:
        return Part(part, False, "Pending", f"{kind} {name} is being looked at", updating=True)
    if ready["status"] == "True":
        return Part(part, True, "Ready", str(ready.get("message", "")))
    degraded = condition(child, constants.CONDITION_DEGRADED) or {}
    accepted = condition(child, constants.CONDITION_ACCEPTED) or {}
    progressing = condition(child, constants.CONDITION_PROGRESSING) or {}
    return Part(
        part,
        False,
        str(ready.get("reason", "NotReady")),
        f"{kind} {name}: {ready.get('message', '')}",
        hard=degraded.get("status") == "True" or accepted.get("status") == "False",
        updating=progressing.get("status") == "True" and progressing.get("reason") == "Updating",
    )


def _merged(parts: list[Part], what: str) -> Part:
    bad = [part for part in parts if part.ok is False]
    if not bad:
        return Part(parts[0].condition, True, "Ready", f"{len(parts)} {what}.")
    return Part(
        parts[0].condition,
        False,
        bad[0].reason,
        "; ".join(part.message for part in bad),
        hard=any(part.hard for part in bad),
        updating=any(part.updating for part in bad),
    )
