# SPDX-License-Identifier: Apache-2.0
"""The kinds of the API: names, models, columns. CRDs, RBAC, informers and docs are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from dpe_operator.api import workflow
from dpe_operator.api.cluster import DpeCluster, DpeClusterSpec, DpeClusterStatus
from dpe_operator.api.common import ApiModel
from dpe_operator.api.constants import (
    GROUP,
    KIND_CLUSTER,
    KIND_FARM,
    KIND_FOLDER_WATCHER,
    KIND_PAR_STORE,
    KIND_SCHEDULER,
    KIND_SERVER,
    KIND_TABLE_WATCHER,
    KIND_WORKER,
)
from dpe_operator.api.par_store import ParStore, ParStoreSpec, ParStoreStatus
from dpe_operator.api.processor_farm import ProcessorFarm, ProcessorFarmSpec, ProcessorFarmStatus
from dpe_operator.api.server import DpeServer, DpeServerSpec, DpeServerStatus


@dataclass(frozen=True)
class Column:
    """One column of `kubectl get`; `wide` ones are shown with `-o wide` only."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Kind:
    """One kind of resource: how it is called, and the models of its parts."""

    kind: str
    plural: str
    short_name: str
    model: type[ApiModel]
    spec: type[ApiModel]
    status: type[ApiModel]
    columns: tuple[Column, ...]
    scale: bool = False

    @property
    def singular(self) -> str:
        """Lower-case name of one."""
        return self.kind.lower()

    @property
    def crd_name(self) -> str:
        """Name of the CustomResourceDefinition."""
        return f"{self.plural}.{GROUP}"


_READY: Final = Column(
    "Ready",
    '.status.conditions[?(@.type=="Ready")].status',
    "Whether all of it works and is redundant.",
)
_MESSAGE: Final = Column(
    "Message", '.status.conditions[?(@.type=="Ready")].message', "What is missing, in words."
)
_AGE: Final = Column("Age", ".metadata.creationTimestamp", "Time since creation.", type="date")
_PAIR: Final = (
    Column("Active", ".status.active", "The server that serves clients."),
    Column("Standby", ".status.standby", "The server that would take over."),
)
_SINCE: Final = Column(
    "Since", ".status.activeSince", "Since when it does.", type="date", wide=True
)
_SWITCHES: Final = Column(
    "Switches", ".status.switchCount", "How often the active server changed.", "integer", wide=True
)
_URL: Final = Column("URL", ".status.serviceRoot", "The address of all clients.", wide=True)

_MODE: Final = Column("Mode", ".spec.mode", "Standby: one acts. Concurrent: all act.")
_HOLDER: Final = Column("Holder", ".status.holder", "In Standby mode: the pod that acts.")
_CLUSTER: Final = Column("Cluster", ".spec.clusterRef.name", "The site it works for.", wide=True)


def _workflow_kind(kind: str, short_name: str, model: type[ApiModel], spec: type[ApiModel]) -> Kind:
    return Kind(
        kind=kind,
        plural=f"{kind.lower()}s",
        short_name=short_name,
        model=model,
        spec=spec,
        status=workflow.WorkflowStatus,
        columns=(_READY, _MODE, _HOLDER, _CLUSTER, _MESSAGE, _AGE),
    )


_PAR_STORE: Final = Kind(
    kind=KIND_PAR_STORE,
    plural="parstores",
    short_name="dpepar",
    model=ParStore,
    spec=ParStoreSpec,
    status=ParStoreStatus,
    columns=(
        _READY,
        Column("Last Sync", ".status.lastRun.finishedAt", "Time since the last run.", "date"),
        Column("Copy Age", ".status.lastSuccess.finishedAt", "Age of the copy.", "date"),
        Column("Result", ".status.lastRun.result", "How the last run ended."),
        Column("Next Run", ".status.nextRun", "When the next run is due.", wide=True),
        _CLUSTER,
        _MESSAGE,
        _AGE,
    ),
)


KINDS: Final = (
    Kind(
        kind=KIND_CLUSTER,
        plural="dpeclusters",
        short_name="dpe",
        model=DpeCluster,
        spec=DpeClusterSpec,
        status=DpeClusterStatus,
        columns=(_READY, *_PAIR, _SINCE, _SWITCHES, _URL, _MESSAGE, _AGE),
    ),
    Kind(
        kind=KIND_SERVER,
        plural="dpeservers",
        short_name="dpeserver",
        model=DpeServer,
        spec=DpeServerSpec,
        status=DpeServerStatus,
        columns=(_READY, *_PAIR, _SINCE, _SWITCHES, _URL, _MESSAGE, _AGE),
    ),
    Kind(
        kind=KIND_FARM,
        plural="processorfarms",
        short_name="dpefarm",
        model=ProcessorFarm,
        spec=ProcessorFarmSpec,
        status=ProcessorFarmStatus,
        columns=(
            _READY,
            Column("Type", ".spec.type", "What the processors do."),
            Column("Wanted", ".spec.replicas", "How many processors are wanted.", "integer"),
            Column("Running", ".status.readyReplicas", "How many are ready.", "integer"),
            Column("Cluster", ".spec.clusterRef.name", "The site they work for.", wide=True),
            _MESSAGE,
            _AGE,
        ),
        scale=True,
    ),
    _PAR_STORE,
    _workflow_kind(KIND_WORKER, "dpeworker", workflow.WorkflowWorker, workflow.WorkflowWorkerSpec),
    _workflow_kind(
        KIND_SCHEDULER, "dpesched", workflow.WorkflowScheduler, workflow.WorkflowSchedulerSpec
    ),
    _workflow_kind(
        KIND_TABLE_WATCHER,
        "dpetable",
        workflow.WorkflowTableWatcher,
        workflow.WorkflowTableWatcherSpec,
    ),
    _workflow_kind(
        KIND_FOLDER_WATCHER,
        "dpefolder",
        workflow.WorkflowFolderWatcher,
        workflow.WorkflowFolderWatcherSpec,
    ),
)


def kind_named(name: str) -> Kind:
    """Return the kind called `name` (such as DpeCluster); raises KeyError for others."""
    for kind in KINDS:
        if kind.kind == name:
            return kind
    raise KeyError(f"{name} is no kind of {GROUP}: {', '.join(kind.kind for kind in KINDS)}")
