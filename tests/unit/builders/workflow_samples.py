# SPDX-License-Identifier: Apache-2.0
"""Workflow components as users write them, and everything the builders make of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from tests.unit.builders.builder_samples import cluster_objects, owner

from dpe_operator.api import constants
from dpe_operator.api.addresses import effective_placement
from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.cluster import DpeClusterSpec
from dpe_operator.api.kinds import kind_named
from dpe_operator.api.pods import Volume
from dpe_operator.api.workflow import WorkflowTemplate
from dpe_operator.builders import workflow
from dpe_operator.builders.context import ComponentContext, Manifest
from dpe_operator.planning.workflow_schedules import declared_schedules

ELECTOR_IMAGE: Final = "localhost/dpe/dpe-elector:0123456789ab"
ELECTOR: Final = "/dpe-elector/packages/dpe_elector"
MEMORY: Final = "/dpe-elector/packages/dpe_memory"
WORKER, SCHEDULER = constants.KIND_WORKER, constants.KIND_SCHEDULER
TABLE, FOLDER = constants.KIND_TABLE_WATCHER, constants.KIND_FOLDER_WATCHER
LONG: Final = "w23456789-123456789-123456789-123456789-12345x"  # 46 characters
TITLE: Final = {TABLE: "%tableid%-%entryid%-%event%", FOLDER: "%filename%-%event%"}


def workflow_spec(kind: str, mode: str, **changes: Any) -> Any:
    """The smallest component of a kind in a mode, with top-level fields replaced."""
    spec: dict[str, Any] = {
        "clusterRef": {"name": "radio"},
        "mode": mode,
        "image": f"registry.example.com/dpe-{workflow.component_of(kind)}:2.15",
    }
    if mode == "Standby":
        spec["command"] = ["/opt/dpe/run", "--quiet"]
    elif kind in TITLE:
        spec["titleTemplate"] = TITLE[kind]
    return kind_named(kind).spec.model_validate(spec | changes)


def workflow_context(
    kind: str,
    spec: WorkflowTemplate,
    *,
    name: str = "news",
    namespace: str = "dpe",
    shared_volumes: tuple[Volume, ...] = (),
) -> ComponentContext:
    """The context of a component of a cluster without further settings."""
    return ComponentContext(
        owner=owner(kind, name=name, namespace=namespace),
        placement=effective_placement(spec.placement),
        service_root="https://radio-balancer.dpe.svc/DpeWebApplication",
        clients=ClientProfile(),
        shared_volumes=shared_volumes,
    )


def deployments(kind: str, spec: WorkflowTemplate, *, name: str = "news") -> list[Manifest]:
    """The Deployments of a component."""
    return workflow.workflow_deployments(
        workflow_context(kind, spec, name=name),
        kind,
        spec,
        schedules=declared_schedules(spec),
        elector_image=ELECTOR_IMAGE,
    )


def candidates(kind: str, **changes: Any) -> Manifest:
    """The Deployment of the smallest Standby component, with fields replaced."""
    [found] = deployments(kind, workflow_spec(kind, "Standby", **changes))
    return found


def members(kind: str, **changes: Any) -> list[Manifest]:
    """The Deployments of the smallest Concurrent component, with fields replaced."""
    return deployments(kind, workflow_spec(kind, "Concurrent", **changes))


def flags(command: list[str], program: str) -> dict[str, str]:
    """The flags of one program in a command line, up to its two dashes."""
    rest = command[command.index(program) + 1 :]
    rest = rest[: rest.index("--")]
    return dict(zip(rest[::2], rest[1::2], strict=True))


def workflow_objects(kind: str, mode: str, *, name: str = "news", **changes: Any) -> list[Manifest]:
    """Everything that the builders make of a component."""
    spec = workflow_spec(kind, mode, **changes)
    context = workflow_context(kind, spec, name=name)
    found = [
        *workflow.workflow_rights(context, kind, spec),
        *workflow.workflow_claims(context, kind, spec),
        *deployments(kind, spec, name=name),
        workflow.workflow_pdb(context, kind, spec),
    ]
    if mode == "Standby":
        initial, _ = workflow.workflow_lease(context, kind, first=True)
        found.append(initial)
    return [manifest for manifest in found if manifest is not None]


_BERLIN: Final = {"schedule": "0 2 * * *", "timeZone": "Europe/Berlin"}
_FULL: Final[dict[str, Any]] = {
    "args": ["--station", "Größe $(DPE_SERVICE_ROOT)"],
    "env": [{"name": "TITLE", "value": "$(DPE_TITLE_TEMPLATE)"}],
    "envFrom": [{"secretRef": {"name": "news-db"}}],
    "memory": {"mountPath": "/var/lib/dpe/memory", "claimName": "memory", "onLoss": "StartEmpty"},
    "titleTemplate": "%tableid%-%entryid% $(NOT_REPLACED)",
    "timings": {"profile": "Fast"},
    "probePort": 18081,
    "replicas": 3,
    "placement": "Preferred",
    "terminationGracePeriodSeconds": 120,
    "serviceAccountName": "dpe-runtime",
    "resources": {"requests": {"cpu": 1, "memory": "2Gi"}},
    "volumes": [{"name": "par", "mountPath": "/data/par", "claimName": "par-master"}],
    "tolerations": [{"key": "dpe", "operator": "Exists"}],
    "podLabels": {"team": "news"},
    "podAnnotations": {"logs.example/parser": "saf"},
    "podTemplate": {
        "spec": {
            "priorityClassName": "studio",
            "containers": [{"name": "shipper", "image": "registry.example.com/shipper:1"}],
        }
    },
}

_IMAGE: Final = "registry.example.com/dpe-workflow:2.15"
_SITE: Final[dict[str, Any]] = {
    "server": {
        "image": "registry.example.com/dpe-server:2.15",
        "health": {"path": "/status"},
        "members": [{"name": "a"}, {"name": "b"}],
    },
    "workflow": {
        "workers": [{"name": "default", "mode": "Concurrent", "image": _IMAGE, "replicas": 2}],
        "schedulers": [
            {"name": "hard-delete", "mode": "Concurrent", "image": _IMAGE, **_BERLIN}
            | {"stagger": "30m"}
        ],
        "tableWatchers": [
            {"name": "news-entries", "mode": "Standby", "image": _IMAGE, "command": ["/run"]}
            | {"memory": {"mountPath": "/var/lib/dpe/memory", "claimName": "watcher-memory"}}
        ],
        "folderWatchers": [
            {"name": "ingest", "mode": "Concurrent", "image": _IMAGE}
            | {"titleTemplate": TITLE[FOLDER]}
        ],
    },
}

WORKFLOW_CASES: Final[dict[str, Callable[[], list[Manifest]]]] = {
    "cluster-workflow": lambda: cluster_objects(DpeClusterSpec.model_validate(_SITE)),
    "worker-standby": lambda: workflow_objects(WORKER, "Standby"),
    "worker-concurrent": lambda: workflow_objects(WORKER, "Concurrent", replicas=4),
    "worker-single": lambda: workflow_objects(
        WORKER, "Concurrent", replicas=1, allowSingleReplica=True
    ),
    "worker-stopped": lambda: workflow_objects(
        WORKER, "Concurrent", replicas=0, allowSingleReplica=True
    ),
    "scheduler-standby": lambda: workflow_objects(SCHEDULER, "Standby", **_BERLIN),
    "scheduler-concurrent": lambda: workflow_objects(SCHEDULER, "Concurrent", **_BERLIN),
    "scheduler-own-times": lambda: workflow_objects(
        SCHEDULER,
        "Concurrent",
        replicas=3,
        schedules=[{"schedule": f"{minute} */2 * * 1-5"} for minute in (0, 20, 40)],
        timeZone="UTC",
    ),
    "scheduler-times-in-dpe": lambda: workflow_objects(SCHEDULER, "Concurrent"),
    "table-watcher-standby": lambda: workflow_objects(
        TABLE,
        "Standby",
        memory={"mountPath": "/var/lib/dpe/memory", "size": "1Gi", "storageClassName": "nfs"},
        titleTemplate=TITLE[TABLE],
    ),
    "table-watcher-full": lambda: workflow_objects(TABLE, "Standby", **_FULL),
    "table-watcher-concurrent": lambda: workflow_objects(
        TABLE, "Concurrent", memory={"mountPath": "/var/lib/dpe/memory", "size": "1Gi"}
    ),
    "folder-watcher-standby": lambda: workflow_objects(FOLDER, "Standby"),
    "folder-watcher-windows": lambda: workflow_objects(
        FOLDER,
        "Concurrent",
        os="windows",
        memory={"mountPath": "C:\\ProgramData\\DPE\\Memory", "size": "1Gi"},
    ),
    "folder-watcher-long-names": lambda: workflow_objects(
        FOLDER,
        "Standby",
        name=LONG,
        replicas=10,
        memory={"mountPath": "/var/lib/dpe/memory", "size": "1Gi"},
    ),
    "folder-watcher-long-members": lambda: workflow_objects(
        FOLDER,
        "Concurrent",
        name=LONG,
        replicas=10,
        memory={"mountPath": "/var/lib/dpe/memory", "size": "1Gi"},
    )[-3:],
}
