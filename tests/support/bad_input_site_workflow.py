# SPDX-License-Identifier: Apache-2.0
"""Bad input about the workflow system: of a site, by the API server, and what the operator refuses.

What the operator refuses is tried in both places: in a resource of its own and in `spec.workflow`.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, Final

from tests.support.bad_input_row import ABSENT, CLUSTER, BadInput, Resource, changed
from tests.support.bad_input_workflow import (
    FOLDER,
    SCHEDULER,
    TABLE,
    WORKER,
    concurrent,
    standby,
)

_LISTS: Final = {
    "workers": WORKER,
    "schedulers": SCHEDULER,
    "tableWatchers": TABLE,
    "folderWatchers": FOLDER,
}
_ROOT: Final = "https://radio-balancer.NAMESPACE.svc"


def _entry(kind: str, name: str = "news", *, mode: str = "Standby") -> dict[str, Any]:
    """An entry of `spec.workflow`: what stands in the resource made of it, and a name."""
    base = standby(kind) if mode == "Standby" else concurrent(kind)
    spec = {key: value for key, value in base["spec"].items() if key != "clusterRef"}
    return {"name": name, **spec}


def _site(**lists: list[dict[str, Any]]) -> Resource:
    return changed(CLUSTER, {"spec.workflow": lists})


# --- refused by the API server

_EQUAL_NAMES: Final = [
    BadInput(
        f"{first}-and-{second}-of-one-name",
        _site(**{first: [_entry(_LISTS[first])], second: [_entry(_LISTS[second], "other")]}),
        {f"spec.workflow.{second}.0.name": "news"},
        f"spec.workflow.{second}",
        f"{first} and {second} both have news: names are unique in the whole workflow system, where"
        " status and events tell components apart by them: write another name",
        {f"spec.workflow.{second}.0.name": "tonight"},
    )
    for first, second in combinations(_LISTS, 2)
]
_RESERVED: Final = [
    BadInput(
        f"reserved-variable-in-{field}",
        changed(_site(**{field: [_entry(kind)]}), {"spec.clients.serviceRootEnv": "DPE_URL"}),
        {f"spec.workflow.{field}.0.env": [{"name": "DPE_URL", "value": "x"}]},
        "spec",
        f"env of workflow.{field} news sets DPE_URL, which the operator sets to the balancer's "
        "address so that no component talks to a single server: remove it",
        {f"spec.workflow.{field}.0.env": ABSENT},
    )
    for field, kind in _LISTS.items()
]
SITE_WORKFLOW_ROWS: Final = [*_EQUAL_NAMES, *_RESERVED]


# --- refused by the operator


def _row(
    name: str,
    base: Resource,
    changes: dict[str, Any],
    message: str,
    cure: dict[str, Any],
    *,
    reason: str = "NotAllowed",
    exists: list[Resource] | None = None,
) -> BadInput:
    own = [] if base["kind"] == "DpeCluster" else [CLUSTER]
    return BadInput(
        name,
        base,
        changes,
        "",
        message,
        cure,
        refused_by="operator",
        reason=reason,
        exists=own if exists is None else exists,
    )


_UTC: Final = {"spec.timeZone": "UTC"}
_TIMES: Final = [
    _row(
        "unknown-zone",
        standby(SCHEDULER),
        {"spec.schedule": "0 2 * * *", "spec.timeZone": "Europe/Nowhere"},
        "spec.timeZone: 'Europe/Nowhere' is no time zone of the IANA list: write one such as "
        "Europe/Berlin or UTC",
        {"spec.timeZone": "Europe/Berlin"},
    ),
    _row(
        "minute-61",
        standby(SCHEDULER),
        {"spec.schedule": "61 2 * * *", **_UTC},
        "spec.schedule: '61 2 * * *' is no schedule (Bad minute): write five fields, minute hour "
        "day-of-month month day-of-week, such as 0 2 * * *",
        {"spec.schedule": "1 2 * * *"},
    ),
    _row(
        "stagger-of-a-cycle",
        concurrent(SCHEDULER),
        {"spec.schedule": "*/5 * * * *", **_UTC},
        "spec.schedule: '*/5 * * * *' is no fixed daily time (plain numbers for minute and hour), "
        "so it is not known how to move it: write schedules, one for each member",
        {
            "spec.schedule": ABSENT,
            "spec.schedules": [{"schedule": "0-58/2 * * * *"}, {"schedule": "1-59/2 * * * *"}],
        },
    ),
    _row(
        "stagger-into-another-day",
        concurrent(SCHEDULER),
        {"spec.schedule": "45 23 * * 5", **_UTC},
        "spec.schedule: member 2 of '45 23 * * 5' would fire after midnight, on a day that the "
        "schedule does not mean: write schedules, one for each member, or a shorter stagger",
        {"spec.stagger": "10m"},
    ),
    _row(
        "one-schedule-written-twice",
        concurrent(SCHEDULER),
        {"spec.schedules": [{"schedule": "0 2 * * 0"}, {"schedule": "0 2 * * 7"}], **_UTC},
        "spec.schedules: members 1 and 2 ('0 2 * * 0' and '0 2 * * 7') mean the same, so both "
        "would start the same workflow: write times that differ by some minutes at least",
        {"spec.schedules.1.schedule": "30 2 * * 0"},
    ),
    _row(
        "schedules-that-meet-on-mondays",
        concurrent(SCHEDULER),
        {"spec.schedules": [{"schedule": "0 2 * * *"}, {"schedule": "0 2 * * 1"}], **_UTC},
        "spec.schedules: members 1 and 2 ('0 2 * * *' and '0 2 * * 1') meet, for one on 01 January "
        "at 02:00, so both would start the same workflow: write times that differ by some minutes "
        "at least",
        {"spec.schedules.1.schedule": "15 2 * * 1"},
    ),
]

_MEMORY: Final = {"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}


def _volume(path: str) -> list[dict[str, Any]]:
    return [{"name": "cache", "mountPath": path, "emptyDir": {}}]


_FOLDERS: Final = [
    _row(
        "memory-in-a-folder-of-the-image",
        standby(TABLE),
        {"spec.memory": {**_MEMORY, "mountPath": "/etc/memory"}},
        "spec.memory.mountPath is /etc/memory, and in Standby mode the folder above it, /etc, is "
        "replaced by an empty one with nothing but the memory in it: write a folder deeper down, "
        "such as /var/lib/dpe/memory",
        {"spec.memory.mountPath": "/var/lib/dpe/memory"},
    ),
    _row(
        "memory-in-the-elector",
        standby(FOLDER),
        {"spec.memory": {**_MEMORY, "mountPath": "/dpe-elector/lib/memory"}},
        "spec.memory.mountPath is /dpe-elector/lib/memory, which the operator uses itself: write "
        "another folder",
        {"spec.memory": _MEMORY},
    ),
    _row(
        "volume-where-the-link-is-to-be",
        standby(TABLE),
        {"spec.memory": _MEMORY, "spec.volumes": _volume("/var/lib/dpe/memory/")},
        "spec.memory.mountPath is /var/lib/dpe/memory, and volume cache is mounted at "
        "/var/lib/dpe/memory/: the two get into each other's way; write another folder for one of "
        "them",
        {"spec.volumes": ABSENT},
    ),
    _row(
        "volume-in-the-folder-above-the-memory",
        standby(FOLDER),
        {"spec.memory": _MEMORY, "spec.volumes": _volume("/var/lib/dpe")},
        "spec.memory.mountPath is /var/lib/dpe/memory, and volume cache is mounted at "
        "/var/lib/dpe: the two get into each other's way; write another folder for one of them",
        {"spec.volumes": _volume("/cache")},
    ),
    _row(
        "volume-in-the-memory-of-a-member",
        concurrent(FOLDER),
        {"spec.memory": _MEMORY, "spec.volumes": _volume("/var/lib/dpe/memory/cache")},
        "spec.memory.mountPath is /var/lib/dpe/memory, and volume cache is mounted at "
        "/var/lib/dpe/memory/cache: the two get into each other's way; write another folder for "
        "one of them",
        {"spec.volumes": ABSENT},
    ),
    _row(
        "volume-in-a-folder-of-the-elector",
        standby(WORKER),
        {"spec.volumes": _volume("/dpe-elector/cache")},
        "spec.volumes[cache].mountPath is /dpe-elector/cache, which the operator uses itself: write "
        "another folder",
        {"spec.volumes": _volume("/cache")},
    ),
]


def _patch(**container: Any) -> Resource:
    return {"spec": {"containers": [{"name": "dpe", **container}]}}


_TEMPLATES: Final = [
    _row(
        "component-among-the-hosts-processes",
        standby(WORKER),
        {"spec.podTemplate": {"spec": {"hostPID": True}}},
        "spec.podTemplate.spec.hostPID is true, but the elector must be process 1 of its container "
        "to stop everything in it: leave it out",
        {"spec.podTemplate": ABSENT},
    ),
    _row(
        "cpu-limit-in-the-pod-template-of-a-candidate",
        standby(WORKER),
        {"spec.podTemplate": _patch(resources={"limits": {"cpu": "1"}})},
        "spec.podTemplate.spec.containers[dpe].resources.limits.cpu is 1, but a slowed-down elector "
        "loses its Lease: write a CPU request instead",
        {"spec.mode": "Concurrent"},
    ),
    _row(
        "command-in-the-pod-template-of-a-candidate",
        standby(WORKER),
        {"spec.podTemplate": _patch(command=["/opt/dpe/run"])},
        "spec.podTemplate.spec.containers[dpe].command would start the program without the elector,"
        " in all pods at once: write command in the spec",
        {"spec.podTemplate": ABSENT},
    ),
    _row(
        "declared-value-in-a-pod-template",
        concurrent(TABLE),
        {"spec.podTemplate": _patch(env=[{"name": "DPE_TITLE_TEMPLATE", "value": "x"}])},
        "spec.podTemplate.spec.containers[dpe].env sets DPE_TITLE_TEMPLATE, which is made from the "
        "fields of this resource: remove it",
        {"spec.podTemplate": ABSENT},
    ),
]


def _single(where: str) -> str:
    return (
        f"{where} names radio-member-a, one single server, and would not follow a fail-over; "
        f"write the balancer's address {_ROOT}, which every component is also given by itself"
    )


_CURE: Final = (
    ": delete or rename that object if it is not needed, or give this resource another name"
)
_OTHERS: Final = [
    _row(
        "member-address-in-a-worker",
        standby(WORKER),
        {"spec.args": ["--server", "radio-member-a"]},
        _single("spec.args[1]"),
        {"spec.args": ABSENT},
    ),
    _row(
        "variable-reserved-by-the-site-of-a-worker",
        standby(WORKER),
        {"spec.env": [{"name": "DPE_URL", "value": "https://dpe.studio.example"}]},
        f"spec.env sets DPE_URL, which the operator sets to the balancer's address {_ROOT}: remove "
        "it, or write another name in clients.serviceRootEnv of the DpeCluster",
        {"spec.env": ABSENT},
        exists=[changed(CLUSTER, {"spec.clients.serviceRootEnv": "DPE_URL"})],
    ),
    _row(
        "claim-of-a-stranger",
        standby(TABLE),
        {"spec.memory": _MEMORY},
        "PersistentVolumeClaim news-table-watcher-memory is there already and was not made for this"
        " resource (to use it, write its name in claimName instead of a size)" + _CURE,
        {
            "spec.memory": {
                "mountPath": "/var/lib/dpe/memory",
                "claimName": "news-table-watcher-memory",
            }
        },
        reason="NameConflict",
        exists=[
            CLUSTER,
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": "news-table-watcher-memory"},
                "spec": {
                    "accessModes": ["ReadWriteMany"],
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            },
        ],
    ),
    _row(
        "component-name-of-another-team",
        _site(workers=[_entry(WORKER, "w")]),
        {"spec.workflow.workers.0.name": "news"},
        f"WorkflowWorker radio-news is there already and was not made by this resource{_CURE}",
        {"spec.workflow.workers.0.name": "tonight"},
        reason="NameConflict",
        exists=[changed(standby(WORKER), {"metadata.name": "radio-news"})],
    ),
]
_SITE: Final = [
    _row(
        "member-address-in-the-workflow-of-a-site",
        _site(tableWatchers=[_entry(TABLE)]),
        {"spec.workflow.tableWatchers.0.env": [{"name": "URL", "value": "https://radio-member-a"}]},
        _single("spec.workflow.tableWatchers[news].env[URL].value"),
        {"spec.workflow.tableWatchers.0.env": ABSENT},
    ),
    _row(
        "default-variable-in-the-workflow-of-a-site-with-another",
        changed(_site(workers=[_entry(WORKER)]), {"spec.clients.serviceRootEnv": "DPE_URL"}),
        {"spec.workflow.workers.0.env": [{"name": "DPE_SERVICE_ROOT", "value": "x"}]},
        "spec.workflow.workers[news].env sets DPE_SERVICE_ROOT, which is reserved for the "
        "balancer's address in every component: remove it",
        {"spec.workflow.workers.0.env": ABSENT},
    ),
    _row(
        "schedule-of-a-site-that-cannot-be-read",
        _site(schedulers=[_entry(SCHEDULER)]),
        {
            "spec.workflow.schedulers.0.schedule": "0 25 * * *",
            "spec.workflow.schedulers.0.timeZone": "UTC",
        },
        "spec.workflow.schedulers[news].schedule: '0 25 * * *' is no schedule (Bad hour): write "
        "five fields, minute hour day-of-month month day-of-week, such as 0 2 * * *",
        {"spec.workflow.schedulers.0.schedule": "0 2 * * *"},
    ),
    _row(
        "component-and-server-member-of-one-name",
        _site(workers=[_entry(WORKER)]),
        {"spec.workflow.workers.0.name": "member", "spec.server.members.1.name": "worker"},
        "spec.workflow.workers[member] needs a Deployment radio-member-worker, which is that of "
        "server member worker: write another name for one of them",
        {"spec.workflow.workers.0.name": "news"},
    ),
    _row(
        "shared-volume-in-the-way-of-a-memory",
        _site(folderWatchers=[_entry(FOLDER) | {"memory": _MEMORY}]),
        {
            "spec.sharedVolumes": [
                {"name": "temp", "mountPath": "/var/lib/dpe", "claimName": "temp"}
            ]
        },
        "spec.workflow.folderWatchers[news].memory.mountPath is /var/lib/dpe/memory, and volume "
        "temp is mounted at /var/lib/dpe: the two get into each other's way; write another folder "
        "for one of them",
        {"spec.sharedVolumes": ABSENT},
    ),
]
WORKFLOW_OPERATOR_ROWS: Final = [*_TIMES, *_FOLDERS, *_TEMPLATES, *_OTHERS, *_SITE]
