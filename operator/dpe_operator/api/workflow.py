# SPDX-License-Identifier: Apache-2.0
"""WorkflowWorker, WorkflowScheduler, WorkflowTableWatcher, WorkflowFolderWatcher.

Four kinds with one shape: a program of DPE's workflow system that runs several times, either with
one acting (Standby) or with all acting (Concurrent). What differs is what two acting ones would do
to each other: workers share the work, schedulers fire twice, watchers start a workflow twice.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, StringConstraints

from dpe_operator.api import workflow_rules as rules
from dpe_operator.api.common import (
    ATOMIC_LIST,
    ApiModel,
    Condition,
    Duration,
    ImageName,
    LocalRef,
    Metadata,
    ObjectName,
    Rule,
    ShortText,
    between,
    cure_marks,
    list_map,
    stored,
)
from dpe_operator.api.constants import DEFAULT_REPLICAS
from dpe_operator.api.pods import MountPath, PodSettings, Quantity

Mode = Literal["Standby", "Concurrent"]
CronText = Annotated[str, StringConstraints(pattern=rules.CRON_PATTERN, max_length=100)]
TimeZone = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z][-+_A-Za-z0-9]*(/[-+_A-Za-z0-9]+)*$", max_length=64),
    Field(json_schema_extra=cure_marks("write a name such as Europe/Berlin or UTC")),
]
_FIVE_FIELDS: Final = cure_marks(
    "write cron's five fields, minute, hour, day of the month, month and day of the week, such as "
    "0 2 * * * for two o'clock every night"
)


class ElectionTimings(ApiModel):
    """How soon another candidate takes over, and how long the API server may be away."""

    profile: Literal["Safe", "Fast"] = Field(default="Safe", json_schema_extra=stored())
    """`Safe`: a lost node costs up to 17 s, and the API server may be away for 10 s before the
    active one stops. `Fast`: 7 s and 4 s. A pod that is deleted or drained hands over within a
    second of its end in both."""


class WorkflowTemplate(PodSettings):
    """One component of DPE's workflow system."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.TEMPLATE

    mode: Mode
    """`Standby`: all pods run, one acts; another takes over when it is lost. `Concurrent`: all
    act. Standby needs `command` and Linux nodes, Concurrent needs a component that stands being
    there twice; there is no default, because both have consequences. When it is changed, all pods
    of the old mode are stopped first; a watcher's memory is not carried over."""
    image: ImageName
    """Container image of the component."""
    replicas: int | None = Field(default=None, ge=0, le=1000)
    """Standby: how many candidates, of which one acts. Concurrent: how many members, all of which
    act. At most 10, workers in Concurrent mode at most 1000. Default: 2."""
    timings: ElectionTimings | None = None
    """Standby only: how soon a lost one is replaced. Default: profile Safe."""
    probe_port: int | None = Field(default=None, ge=1024, le=65535)
    """Standby only: TCP port on which the elector in each pod answers probes and shows metrics.
    Write another one if the program itself listens on it. Default: 8081."""

    def wanted_replicas(self) -> int:
        """How many candidates or members to run; the default where nobody has said a number."""
        return DEFAULT_REPLICAS if self.replicas is None else self.replicas


class WorkerTemplate(WorkflowTemplate):
    """Workflow workers, which carry out the activities of workflows."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.WORKER

    allow_single_replica: bool = Field(default=False, json_schema_extra=stored())
    """Concurrent only: accepts fewer than two workers (0 stops them). One fault then stops all
    workflows until Kubernetes has a new pod running."""


class OwnSchedule(ApiModel):
    """The schedule of one Concurrent member."""

    schedule: CronText
    """Times in cron's five fields: minute, hour, day of the month, month, day of the week."""


class SchedulerTemplate(WorkflowTemplate):
    """Workflow schedulers, which start workflows at declared times."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.SCHEDULER

    schedule: Annotated[CronText, Field(json_schema_extra=_FIVE_FIELDS)] | None = None
    """Times in cron's five fields, such as `0 2 * * *`; given to the component as DPE_SCHEDULE.
    In Concurrent mode the times of the first member, the others follow by `stagger`. Leave it out
    if DPE keeps its schedules itself: nothing can be checked then."""
    schedules: list[OwnSchedule] = Field(default=[], max_length=10, json_schema_extra=ATOMIC_LIST)
    """Concurrent only: one schedule for each member, where fixed daily times with a stagger are
    not enough. All must differ, or two members would start the same workflow twice."""
    stagger: Annotated[Duration, Field(json_schema_extra=between("1m", "12h"))] | None = None
    """Concurrent only: how much later each further member fires. Only for a `schedule` of a fixed
    minute and hour. Longer than the workflow takes to be started, and short enough to be of use.
    Default: 30m."""
    time_zone: TimeZone | None = None
    """Zone of the times, such as Europe/Berlin or UTC; given as DPE_TIME_ZONE. Required with a
    schedule, because nobody should have to guess."""


class WatcherMemory(ApiModel):
    """Where a watcher keeps the files that say what it has seen."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.MEMORY

    mount_path: MountPath
    """The folder in which DPE keeps its memory files, such as `/var/lib/dpe/memory`; given as
    DPE_MEMORY_PATH. In Standby mode it is a link, and the folder above it an empty one: what the
    image has there cannot be seen."""
    claim_name: ObjectName | None = None
    """Standby only: an existing claim that all nodes can mount at once (ReadWriteMany)."""
    size: Quantity | None = None
    """Size of a claim that the operator makes, such as 1Gi: one for all candidates in Standby mode
    (ReadWriteMany), one for each member in Concurrent mode. It outlives the watcher and is found
    again: delete it by hand when the memory is no longer needed. May grow, never shrink."""
    storage_class_name: ObjectName | None = None
    """Storage class of that claim. Default: the cluster's default class."""
    on_loss: Literal["Stop", "StartEmpty"] | None = None
    """Standby only: what to do when a memory that was there is gone. `Stop`: nobody watches until
    you have restored it or accepted the loss, because an empty memory may start a workflow for
    everything there is. `StartEmpty`: go on. Default: Stop."""


class WatcherTemplate(WorkflowTemplate):
    """What both kinds of watchers have."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.WATCHER

    title_template: Annotated[str, StringConstraints(min_length=1, max_length=256)] | None = None
    """Title of the workflows it starts, as configured in DPE; given as DPE_TITLE_TEMPLATE. DPE
    starts no second workflow of the same type and title while one is scheduled or running, which
    is the only guard against doubles. Required in Concurrent mode."""
    memory: WatcherMemory | None = None
    """Where it keeps what it has seen. Without it the memory is lost with the pod."""


class TableWatcherTemplate(WatcherTemplate):
    """Workflow table watchers, which start workflows when rows of a database change."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.TABLE_WATCHER


class FolderWatcherTemplate(WatcherTemplate):
    """Workflow folder watchers, which start workflows when files appear or change."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.FOLDER_WATCHER


class WorkflowMemberStatus(ApiModel):
    """One Concurrent member."""

    name: ShortText
    """Number of the member, from 1."""
    ready: bool = False
    """Whether its pod is ready."""
    schedule: ShortText | None = None
    """Its schedule, where one is declared."""
    claim: ShortText | None = None
    """The claim with its memory."""


class MemoryStatus(ApiModel):
    """The memory that the active watcher was started with."""

    epoch: int | None = Field(default=None, ge=0)
    """The epoch it was prepared for."""
    from_epoch: int | None = Field(default=None, ge=0, alias="from")
    """The epoch it was copied from; 0: from nothing."""
    files: int | None = Field(default=None, ge=0)
    """How many files were copied."""
    bytes: int | None = Field(default=None, ge=0)
    """How many bytes they have."""
    at: ShortText | None = None
    """When that was done."""


class WorkflowStatus(ApiModel):
    """What the operator reports about a component of the workflow system."""

    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation this status speaks of."""
    conditions: list[Condition] = Field(
        default=[], max_length=32, json_schema_extra=list_map("type")
    )
    """Statements about it: Accepted, Ready, Progressing, Degraded and others."""
    mode: ShortText | None = None
    """The mode that is in force."""
    replicas: int | None = Field(default=None, ge=0)
    """How many pods exist."""
    ready_replicas: int | None = Field(default=None, ge=0)
    """How many of them are ready."""
    holder: ShortText | None = None
    """Standby: the pod that acts."""
    epoch: int | None = Field(default=None, ge=0)
    """Standby: number of the present holding, one higher with every start."""
    since: ShortText | None = None
    """Standby: since when it acts."""
    members: list[WorkflowMemberStatus] = Field(
        default=[], max_length=10, json_schema_extra=list_map("name")
    )
    """Concurrent schedulers and watchers: the members."""
    memory: MemoryStatus | None = None
    """Standby watchers: the memory that was carried over."""
    outdated: list[ShortText] = Field(
        default=[], max_length=16, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Workloads that would be restarted to catch up with this operator's version. They wait for
    another reason or for the annotation `dpe.dev/approve-upgrade: "true"`."""


class ClusterPart(ApiModel):
    """What makes a template a resource of its own."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.PART

    cluster_ref: LocalRef
    """The DpeCluster it works for, in the same namespace; may belong to another team. Its
    balancer's URL, client profile, shared volumes and image log-ins are taken from it. Cannot be
    changed."""


class WorkflowWorkerSpec(WorkerTemplate, ClusterPart):
    """Workflow workers that talk to the balancer of a DpeCluster."""


class WorkflowSchedulerSpec(SchedulerTemplate, ClusterPart):
    """Workflow schedulers that talk to the balancer of a DpeCluster."""


class WorkflowTableWatcherSpec(TableWatcherTemplate, ClusterPart):
    """Table watchers that talk to the balancer of a DpeCluster."""


class WorkflowFolderWatcherSpec(FolderWatcherTemplate, ClusterPart):
    """Folder watchers that talk to the balancer of a DpeCluster."""


class WorkflowWorker(ApiModel):
    """Workers of DPE's workflow system: one active, or several that share the work."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.NAME

    metadata: Metadata
    spec: WorkflowWorkerSpec
    """What is wanted."""
    status: dict[str, Any] = Field(default={})
    """What is; written by the operator."""


class WorkflowScheduler(ApiModel):
    """Schedulers of DPE's workflow system: one active, or several at different times."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.NAME

    metadata: Metadata
    spec: WorkflowSchedulerSpec
    """What is wanted."""
    status: dict[str, Any] = Field(default={})
    """What is; written by the operator."""


class WorkflowTableWatcher(ApiModel):
    """Watchers of database tables: one active with its memory, or several kept apart by titles."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.NAME

    metadata: Metadata
    spec: WorkflowTableWatcherSpec
    """What is wanted."""
    status: dict[str, Any] = Field(default={})
    """What is; written by the operator."""


class WorkflowFolderWatcher(ApiModel):
    """Watchers of folders: one active with its memory, or several kept apart by titles."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.NAME

    metadata: Metadata
    spec: WorkflowFolderWatcherSpec
    """What is wanted."""
    status: dict[str, Any] = Field(default={})
    """What is; written by the operator."""
