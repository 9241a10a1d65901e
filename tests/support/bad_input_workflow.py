# SPDX-License-Identifier: Apache-2.0
"""Bad input about the components of the workflow system, refused by the API server."""

from __future__ import annotations

from typing import Any, Final

from tests.support.bad_input_row import ABSENT, BadInput, Resource, changed

WORKER, SCHEDULER = "WorkflowWorker", "WorkflowScheduler"
TABLE, FOLDER = "WorkflowTableWatcher", "WorkflowFolderWatcher"
TITLES: Final = {TABLE: "%tableid%-%entryid%-%event%", FOLDER: "%filename%-%event%"}


def standby(kind: str) -> Resource:
    """A good resource of which one pod acts."""
    spec = {
        "clusterRef": {"name": "radio"},
        "mode": "Standby",
        "image": "registry.example.com/dpe:2.15",
        "command": ["/opt/dpe/run"],
    }
    return {
        "apiVersion": "dpe.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "news"},
        "spec": spec,
    }


def concurrent(kind: str) -> Resource:
    """A good resource whose pods all act."""
    changes: dict[str, Any] = {"spec.mode": "Concurrent"}
    if kind in TITLES:
        changes["spec.titleTemplate"] = TITLES[kind]
    return changed(standby(kind), changes)


def _row(
    name: str,
    base: Resource,
    changes: dict[str, Any],
    where: str,
    message: str,
    cure: dict[str, Any],
    *,
    update: bool = False,
) -> BadInput:
    return BadInput(name, base, changes, where, message, cure, update=update)


_FOLDER: Final = "/var/lib/dpe/memory"
_DAILY: Final = {"spec.schedule": "0 2 * * *", "spec.timeZone": "Europe/Berlin"}
_TWO: Final = [{"schedule": "0 3 * * *"}, {"schedule": "0 4 * * *"}]


def _memory(**fields: str) -> dict[str, Any]:
    return {"spec.memory": {"mountPath": _FOLDER, **fields}}


_MODES: Final = [
    _row(
        "workflow-without-a-mode",
        standby(WORKER),
        {"spec.mode": ABSENT},
        "spec.mode",
        "Required value",
        {"spec.mode": "Standby"},
    ),
    _row(
        "standby-without-a-command",
        standby(WORKER),
        {"spec.command": ABSENT},
        "spec.command",
        "mode is Standby and there is no command, so nobody knows what to start in the pod that "
        "acts: write command, which is what the image starts by itself otherwise, or mode: "
        "Concurrent",
        {"spec.command": ["/opt/dpe/run"]},
    ),
    _row(
        "standby-on-windows-nodes",
        standby(SCHEDULER),
        {"spec.os": "windows"},
        "spec.os",
        "mode is Standby and os is windows, where the elector that lets one act at a time does not "
        "run yet: write mode: Concurrent",
        {"spec.mode": "Concurrent"},
    ),
    _row(
        "concurrent-with-timings",
        concurrent(WORKER),
        {"spec.timings": {"profile": "Fast"}},
        "spec.timings",
        "mode is Concurrent, so nobody takes over from anybody and timings are not used: remove "
        "timings, or write mode: Standby",
        {"spec.timings": ABSENT},
    ),
    _row(
        "concurrent-with-a-probe-port",
        concurrent(FOLDER),
        {"spec.probePort": 9000},
        "spec.probePort",
        "mode is Concurrent, so no elector runs that would use probePort 9000: remove probePort, "
        "or write mode: Standby",
        {"spec.mode": "Standby"},
    ),
    _row(
        "standby-with-a-cpu-limit",
        standby(WORKER),
        {"spec.resources": {"limits": {"cpu": 2}}},
        "spec.resources.limits",
        "resources.limits.cpu is 2: in Standby mode the elector runs in the same container, and "
        "one that is slowed down loses its Lease: write a CPU request instead",
        {"spec.resources": {"requests": {"cpu": 2}}},
    ),
    _row(
        "standby-with-no-time-to-stop",
        standby(WORKER),
        {"spec.terminationGracePeriodSeconds": 9},
        "spec.terminationGracePeriodSeconds",
        "terminationGracePeriodSeconds is 9, and in Standby mode the last 3 are needed to hand "
        "over: write 10 or more",
        {"spec.terminationGracePeriodSeconds": 10},
    ),
]

_NUMBERS: Final = [
    _row(
        "one-candidate",
        standby(WORKER),
        {"spec.replicas": 1},
        "spec.replicas",
        "replicas is 1 in Standby mode: write 2 to 10 candidates, one of which acts",
        {"spec.replicas": 2},
    ),
    _row(
        "eleven-candidates",
        standby(WORKER),
        {"spec.replicas": 11},
        "spec.replicas",
        "replicas is 11 in Standby mode: write 2 to 10 candidates, one of which acts",
        {"spec.replicas": 10},
    ),
    _row(
        "one-worker",
        concurrent(WORKER),
        {"spec.replicas": 1},
        "spec.replicas",
        "replicas is 1, so one fault stops all workflows: write 2 or more, or allowSingleReplica: "
        "true if you accept that",
        {"spec.allowSingleReplica": True},
    ),
    _row(
        "one-watcher",
        concurrent(TABLE),
        {"spec.replicas": 1},
        "spec.replicas",
        "replicas is 1: write 2 to 10, because one alone stops with its node, and each member is a "
        "Deployment of its own",
        {"spec.replicas": 2},
    ),
    _row(
        "eleven-schedulers",
        concurrent(SCHEDULER),
        {"spec.replicas": 11},
        "spec.replicas",
        "replicas is 11: write 2 to 10, because one alone stops with its node, and each member is "
        "a Deployment of its own",
        {"spec.replicas": 10},
    ),
]

_ENVIRONMENT: Final = [
    _row(
        "declared-value-in-env",
        concurrent(SCHEDULER),
        {"spec.env": [{"name": "DPE_SCHEDULE", "value": "0 2 * * *"}]},
        "spec.env",
        "env sets DPE_SCHEDULE, which is made from the fields of this resource: remove it; other "
        "variables may refer to it as $(NAME)",
        {"spec.env": [{"name": "TIMES", "value": "$(DPE_SCHEDULE)"}]},
    ),
    _row(
        "variable-of-the-elector",
        standby(WORKER),
        {"spec.env": [{"name": "DPE_ELECTOR_EPOCH", "value": "1"}]},
        "spec.env",
        "env sets DPE_ELECTOR_EPOCH, which the operator's own programs in the pod go by: write "
        "another name",
        {"spec.env": [{"name": "EPOCH", "value": "1"}]},
    ),
    _row(
        "api-server-of-the-elector",
        standby(TABLE),
        {"spec.env": [{"name": "DPE_API_SERVER", "value": "https://api.studio.example"}]},
        "spec.env",
        "env sets DPE_API_SERVER, which the operator's own programs in the pod go by: write "
        "another name",
        {"spec.env": [{"name": "API_SERVER", "value": "https://api.studio.example"}]},
    ),
    _row(
        "service-root-in-a-worker",
        standby(WORKER),
        {"spec.env": [{"name": "DPE_SERVICE_ROOT", "value": "https://dpe1.studio.example"}]},
        "spec",
        "env of the component sets DPE_SERVICE_ROOT, which the operator sets to the balancer's "
        "address so that no component talks to a single server: remove it",
        {"spec.env": ABSENT},
    ),
    _row(
        "volume-of-the-elector",
        standby(TABLE),
        {"spec.volumes": [{"name": "dpe-elector", "mountPath": "/x", "emptyDir": {}}]},
        "spec.volumes",
        "there is a volume dpe-elector, but names that begin with dpe-elector or dpe-memory are "
        "the operator's own: write another name",
        {"spec.volumes": [{"name": "elector", "mountPath": "/x", "emptyDir": {}}]},
    ),
    _row(
        "volume-of-the-memory",
        concurrent(TABLE),
        {"spec.volumes": [{"name": "dpe-memory", "mountPath": "/x", "claimName": "memory"}]},
        "spec.volumes",
        "there is a volume dpe-memory, but names that begin with dpe-elector or dpe-memory are the "
        "operator's own: write another name",
        {"spec.volumes": ABSENT, **_memory(size="1Gi")},
    ),
    _row(
        "nfs-in-a-windows-watcher",
        concurrent(FOLDER),
        {
            "spec.os": "windows",
            "spec.volumes": [
                {"name": "in", "mountPath": "C:\\in", "nfs": {"server": "nas", "path": "/in"}}
            ],
        },
        "spec.volumes",
        "volume in is nfs, which Windows nodes cannot mount: write claimName with a claim of an SMB "
        "driver",
        {"spec.volumes": [{"name": "in", "mountPath": "C:\\in", "claimName": "in"}]},
    ),
]

_TIMES: Final = [
    _row(
        "schedule-without-a-zone",
        standby(SCHEDULER),
        {"spec.schedule": "0 2 * * *"},
        "spec.timeZone",
        "there is a schedule and no timeZone: write the zone its times are meant in, such as "
        "timeZone: Europe/Berlin",
        {"spec.timeZone": "Europe/Berlin"},
    ),
    _row(
        "schedule-in-words",
        standby(SCHEDULER),
        {"spec.schedule": "@daily", "spec.timeZone": "UTC"},
        "spec.schedule",
        'schedule is "@daily": write cron\'s five fields, minute, hour, day of the month, month and '
        "day of the week, such as 0 2 * * * for two o'clock every night",
        {"spec.schedule": "0 0 * * *"},
    ),
    _row(
        "zone-in-hours",
        standby(SCHEDULER),
        {"spec.schedule": "0 2 * * *", "spec.timeZone": "+01:00"},
        "spec.timeZone",
        'timeZone is "+01:00": write a name such as Europe/Berlin or UTC',
        {"spec.timeZone": "Europe/Berlin"},
    ),
    _row(
        "schedule-and-schedules",
        concurrent(SCHEDULER),
        {**_DAILY, "spec.schedules": _TWO},
        "spec.schedules",
        "schedule is 0 2 * * * and there are schedules too: write one of the two",
        {"spec.schedule": ABSENT},
    ),
    _row(
        "schedules-in-standby",
        standby(SCHEDULER),
        {"spec.timeZone": "UTC", "spec.schedules": _TWO},
        "spec.schedules",
        "mode is Standby, where one schedule holds for whoever acts: write schedule instead of "
        "schedules, or mode: Concurrent",
        {"spec.mode": "Concurrent"},
    ),
    _row(
        "too-few-schedules",
        concurrent(SCHEDULER),
        {"spec.timeZone": "UTC", "spec.schedules": _TWO, "spec.replicas": 3},
        "spec.schedules",
        "schedules has 2 entries for 3 members: write one for each",
        {"spec.replicas": 2},
    ),
    _row(
        "stagger-in-standby",
        standby(SCHEDULER),
        {**_DAILY, "spec.stagger": "30m"},
        "spec.stagger",
        "stagger is 30m, which shifts the schedule of further Concurrent members: write mode: "
        "Concurrent and schedule, or remove it",
        {"spec.mode": "Concurrent"},
    ),
    _row(
        "stagger-without-a-schedule",
        concurrent(SCHEDULER),
        {"spec.stagger": "30m"},
        "spec.stagger",
        "stagger is 30m, which shifts the schedule of further Concurrent members: write mode: "
        "Concurrent and schedule, or remove it",
        _DAILY,
    ),
    _row(
        "no-stagger-at-all",
        concurrent(SCHEDULER),
        {**_DAILY, "spec.stagger": "0s"},
        "spec.stagger",
        'stagger is "0s": write a time from 1m to 12h with its unit, such as 1m',
        {"spec.stagger": "10m"},
    ),
]

_TITLES: Final = [
    _row(
        "concurrent-without-a-title",
        concurrent(TABLE),
        {"spec.titleTemplate": ABSENT},
        "spec.titleTemplate",
        "mode is Concurrent and there is no titleTemplate, which is what keeps two watchers from "
        "starting the same workflow twice: write the one that DPE is configured with",
        {"spec.titleTemplate": TITLES[TABLE]},
    ),
    _row(
        "title-check-turned-off",
        concurrent(TABLE),
        {"spec.titleTemplate": " !0 %tableid% %entryid%"},
        "spec.titleTemplate",
        "titleTemplate is  !0 %tableid% %entryid%: a leading !0 turns DPE's check for an equal "
        "title off, so every change would start two workflows: remove it",
        {"spec.titleTemplate": "%tableid% %entryid%"},
    ),
    _row(
        "title-always-new",
        concurrent(FOLDER),
        {"spec.titleTemplate": "%filename%-%GUID%"},
        "spec.titleTemplate",
        "titleTemplate is %filename%-%GUID%: %guid% and %id% make every title different, so every "
        "change would start two workflows: remove them",
        {"spec.titleTemplate": "%filename%"},
    ),
    _row(
        "title-counted",
        concurrent(TABLE),
        {"spec.titleTemplate": "%tableid%-%entryid%-%id%"},
        "spec.titleTemplate",
        "titleTemplate is %tableid%-%entryid%-%id%: %guid% and %id% make every title different, so "
        "every change would start two workflows: remove them",
        {"spec.titleTemplate": "%tableid%-%entryid%"},
    ),
    _row(
        "title-of-no-table",
        concurrent(TABLE),
        {"spec.titleTemplate": "%entryid%"},
        "spec.titleTemplate",
        "titleTemplate is %entryid%: without %tableid% and %entryid% workflows of different "
        "entries get one title and hold each other up: write it into it",
        {"spec.titleTemplate": "%tableid%/%entryid%"},
    ),
    _row(
        "title-of-no-file",
        concurrent(FOLDER),
        {"spec.titleTemplate": "ingest"},
        "spec.titleTemplate",
        "titleTemplate is ingest: without %filename% workflows of different files get one title "
        "and hold each other up: write it into it",
        {"spec.titleTemplate": "ingest %filename%"},
    ),
]

_BOTH: Final = "write exactly one of claimName (an existing claim) and size (a claim that is made)"
_LINK: Final = (
    ", and in Standby mode it becomes a link in the folder above it: write it without a slash at "
    "the end, without . and .., and with a folder above it, such as /var/lib/dpe/memory"
)
_MEMORIES: Final = [
    _row(
        "memory-of-two-claims",
        standby(TABLE),
        _memory(claimName="memory", size="1Gi"),
        "spec.memory",
        _BOTH,
        {"spec.memory.size": ABSENT},
    ),
    _row(
        "memory-of-no-claim",
        standby(TABLE),
        _memory(),
        "spec.memory",
        _BOTH,
        {"spec.memory.size": "1Gi"},
    ),
    _row(
        "memory-class-of-nothing",
        standby(TABLE),
        _memory(claimName="memory", storageClassName="fast"),
        "spec.memory.storageClassName",
        "storageClassName is fast and nothing is made from it: write size, or remove it",
        {"spec.memory.storageClassName": ABSENT},
    ),
    _row(
        "one-memory-for-two-members",
        concurrent(FOLDER),
        _memory(claimName="memory"),
        "spec.memory.claimName",
        "mode is Concurrent and memory.claimName is memory, which two members would overwrite for "
        "each other: write memory.size, and each gets a claim of its own",
        _memory(size="1Gi"),
    ),
    _row(
        "loss-of-memory-in-concurrent",
        concurrent(FOLDER),
        _memory(size="1Gi", onLoss="Stop"),
        "spec.memory.onLoss",
        "mode is Concurrent, where nobody takes over a memory: remove memory.onLoss",
        {"spec.memory.onLoss": ABSENT},
    ),
    _row(
        "windows-folder-on-linux",
        standby(FOLDER),
        _memory(mountPath="C:\\DPE\\Memory", size="1Gi"),
        "spec.memory.mountPath",
        "memory.mountPath is C:\\DPE\\Memory and os is linux: write a path of that system, such as "
        "/var/lib/dpe/memory on linux or C:\\DPE\\Memory on windows",
        {"spec.memory.mountPath": _FOLDER},
    ),
    _row(
        "linux-folder-on-windows",
        concurrent(FOLDER),
        {"spec.os": "windows", **_memory(size="1Gi")},
        "spec.memory.mountPath",
        f"memory.mountPath is {_FOLDER} and os is windows: write a path of that system, such as "
        "/var/lib/dpe/memory on linux or C:\\DPE\\Memory on windows",
        {"spec.memory.mountPath": "C:\\DPE\\Memory"},
    ),
    *(
        _row(
            f"memory-that-cannot-be-a-link-{number}",
            standby(TABLE),
            _memory(mountPath=path, size="1Gi"),
            "spec.memory.mountPath",
            f"memory.mountPath is {path}{_LINK}",
            {"spec.memory.mountPath": _FOLDER},
        )
        for number, path in enumerate(
            ("/memory", "/data/memory/", "/data/../memory", "/data//memory", "/data/."), start=1
        )
    ),
]

_NAMES: Final = [
    _row(
        "workflow-name-too-long",
        standby(WORKER),
        {"metadata.name": "w" * 47},
        "",
        f"metadata.name is {'w' * 47} (47 characters): write at most 46 lower-case letters, digits "
        "and dashes, beginning with a letter, because names of Deployments, claims and Leases are "
        "made from it",
        {"metadata.name": "w" * 46},
    ),
    _row(
        "workflow-cluster-changed",
        concurrent(SCHEDULER),
        {"spec.clusterRef.name": "television"},
        "spec.clusterRef",
        "clusterRef cannot be changed from radio to television: delete this resource and create it "
        "anew for the other DpeCluster",
        {"spec.clusterRef.name": "radio"},
        update=True,
    ),
]

WORKFLOW_ROWS: Final = [
    *_MODES,
    *_NUMBERS,
    *_ENVIRONMENT,
    *_TIMES,
    *_TITLES,
    *_MEMORIES,
    *_NAMES,
]
