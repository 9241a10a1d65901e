# SPDX-License-Identifier: Apache-2.0
"""ParStore: DigaSystem's parameter (PAR) files on a master and a redundant location.

A nightly run copies the master to the redundant location. It refuses rather than destroys: an
empty master, too many deletions, or a redundant location that belongs to something else end it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from dpe_operator.api import par_rules as rules
from dpe_operator.api.common import (
    ATOMIC_LIST,
    SET_LIST,
    ApiModel,
    Condition,
    DataKey,
    DnsLabel,
    Duration,
    EnvName,
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
from dpe_operator.api.constants import MAX_PART
from dpe_operator.api.databases import Receiver
from dpe_operator.api.pods import (
    LabelValue,
    MountPath,
    NfsSource,
    Quantity,
    Resources,
    Toleration,
    as_text,
    int_or_text,
)
from dpe_operator.api.workflow import TimeZone

ParSubPath = Annotated[str, StringConstraints(pattern=rules.SUB_PATH_PATTERN, max_length=256)]
_SUB_PATH_CURE = "write the path of a folder inside the volume, no part of it beginning with a dot"
ParCron = Annotated[str, StringConstraints(pattern=rules.CRON_PATTERN, max_length=100)]
DeletionLimit = Annotated[
    str,
    BeforeValidator(as_text),
    StringConstraints(pattern=rules.DELETIONS_PATTERN, max_length=9),
    WithJsonSchema(int_or_text(rules.DELETIONS_PATTERN, 9, minimum=0, maximum=999_999_999)),
]
_ANY_TEXT = r"^[^\x00]*$"
RegistryData = Annotated[
    str,
    BeforeValidator(as_text),
    StringConstraints(pattern=_ANY_TEXT, max_length=1024),
    WithJsonSchema(int_or_text(_ANY_TEXT, 1024)),
]
RegistryText = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$", max_length=512)]


class ParLocation(ApiModel):
    """Where files lie; exactly one of claimName, size and nfs."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.SOURCE

    claim_name: ObjectName | None = None
    """An existing PersistentVolumeClaim that all nodes can mount at once (ReadWriteMany)."""
    size: Quantity | None = None
    """Size of a claim that the operator makes, such as 2Gi, with access mode ReadWriteMany. It
    outlives this resource, and one of the same name finds it again: delete it by hand when the
    files are no longer needed."""
    storage_class_name: ObjectName | None = None
    """Storage class of that claim. Default: the cluster's default class."""
    nfs: NfsSource | None = None
    """A folder of an NFS server. Not possible on Windows nodes and in namespaces with the
    Pod Security level `restricted`: use a claim."""
    mount_path: MountPath | None = None
    """In a DpeCluster: folder in the pods, such as `/par/master`; on Windows nodes that is on drive
    C:, and `D:\\par` can be written too. Default: `/par/master`, `/par/redundant-NAME`."""


class ParMaster(ParLocation):
    """The location that is edited: by DigaSystem's administration and DPE's web administration."""

    sub_path: Annotated[ParSubPath, Field(json_schema_extra=cure_marks(_SUB_PATH_CURE))] | None = (
        None
    )
    """Folder inside the volume that holds the PAR files. Default: the root of the volume."""


class ParRedundant(ParLocation):
    """A location that the master is copied to, best on other storage than the master."""

    name: Annotated[DnsLabel, Field(max_length=MAX_PART)]
    """What it is called, such as nightly: at most 20 lower-case letters, digits and dashes."""
    sub_path: ParSubPath = Field(default="current", json_schema_extra=stored(cure=_SUB_PATH_CURE))
    """Folder inside the volume that holds the copy and that DPE is given. Beside it lie the copy's
    own files (`.dpe-par`): its identity, what it replaced, what is not finished yet."""


class ParHistory(ApiModel):
    """What is kept of files that a copy has replaced or deleted."""

    runs: int = Field(default=14, ge=1, le=1000)
    """Of how many runs. It lies in `.dpe-par/history` on the redundant volume."""


class ParSync(ApiModel):
    """The copy from the master to the redundant location: when, and what it may do."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.SYNC

    schedule: ParCron
    """Times in cron's five fields: minute, hour, day of the month, month, day of the week; such as
    `0 3 * * *`. One run on demand: annotation `dpe.dev/sync-now` with any new text."""
    time_zone: TimeZone | None = None
    """Zone of the times, such as Europe/Berlin. Required, because nobody should have to guess."""
    starting_deadline_seconds: int | None = Field(default=None, ge=60, le=86400)
    """How late a run may start when its time was missed, because the control plane was away or the
    run before was not done. Default: 3600."""
    max_run_time: Annotated[Duration, Field(json_schema_extra=between("1m", "24h"))] = Duration(
        "1h"
    )
    """After this time a run is ended; the next one goes on where it stopped."""
    suspend: bool = Field(default=False, json_schema_extra=stored())
    """Stops the schedule. Runs on demand still work."""
    max_deletions: DeletionLimit = Field(
        default="10%",
        json_schema_extra=cure_marks(
            "write a number of files such as 25, or a part of them up to 100%"
        ),
    )
    """How many files one run may delete on the redundant side: a number, or a part of them such as
    10%. A run that would delete more is refused and deletes nothing: a master that lost its files
    must not empty the copy. Default: 10%."""
    on_divergence: Literal["Keep", "Overwrite", "Stop"] = Field(
        default="Keep", json_schema_extra=stored()
    )
    """What happens to a file that was edited on the redundant side, which is what DPE does while
    the master is away. `Keep`: it stays as it is and is reported. `Overwrite`: it is kept in the
    history and replaced. `Stop`: the run is refused."""
    compare: Literal["Checksum", "SizeAndTime"] = Field(
        default="Checksum", json_schema_extra=stored()
    )
    """How files are told apart. `SizeAndTime` reads less, and misses a change that leaves the size
    and happens within two seconds."""
    quiet_period: Annotated[Duration, Field(json_schema_extra=between("0s", "1h"))] = Duration(
        "60s"
    )
    """A file that was changed in the master within this time is left for the next run, because its
    writer may not be done."""
    exclude: list[
        Annotated[str, StringConstraints(pattern=rules.EXCLUDE_PATTERN, max_length=256)]
    ] = Field(default=[], max_length=50, json_schema_extra=ATOMIC_LIST)
    """Files that are not copied, as patterns of rsync, such as `*.tmp` or `/cache/`. At most 50."""
    history: ParHistory = Field(default=ParHistory())
    """What is kept of replaced and deleted files."""
    resources: Resources | None = None
    """CPU and memory of the run's container; no CPU limit, or its lock could be lost."""
    node_selector: dict[str, LabelValue] = Field(default={}, max_length=20)
    """Run only on nodes with these labels. They are Linux nodes in any case."""
    tolerations: list[Toleration] = Field(default=[], max_length=20, json_schema_extra=ATOMIC_LIST)
    """Taints of nodes to put up with."""
    pod_template: dict[str, Any] | None = Field(
        default=None, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )
    """A patch laid over the pod template of the run, merged like `kubectl patch` does; its
    container is called `par-sync`. For example the user and group that own the files:
    `{spec: {securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 1000}}}`."""


class RegistryValue(ApiModel):
    """One value of a registry key."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.REGISTRY_VALUE

    name: Annotated[str, StringConstraints(pattern=rules.REGISTRY_NAME_PATTERN, max_length=255)]
    """Name of the value; empty for the key's default value."""
    type: Literal["REG_SZ", "REG_EXPAND_SZ", "REG_MULTI_SZ", "REG_DWORD"] = Field(
        default="REG_SZ", json_schema_extra=stored()
    )
    """Type of the value."""
    value: RegistryData | None = None
    """What it holds: a text, for REG_DWORD a number such as 1 or 0x1f. Backslashes and quotes are
    written as they are meant."""
    values: (
        Annotated[
            list[RegistryText],
            Field(min_length=1, max_length=32, json_schema_extra=ATOMIC_LIST),
        ]
        | None
    ) = None
    """REG_MULTI_SZ only: the texts, none of them empty."""
    env: EnvName | None = None
    """In a DpeCluster: also give it to the pods, as this environment variable; REG_MULTI_SZ one
    text a line. Default: not given."""
    file: DataKey | None = None
    """Also put it into the ConfigMap as an entry of this name, which is a file where the ConfigMap
    is mounted; REG_MULTI_SZ one text a line. Default: only in the registry file."""


class RegistryKey(ApiModel):
    """One key of the Windows registry with its values."""

    path: Annotated[
        str,
        StringConstraints(pattern=rules.REGISTRY_KEY_PATTERN, max_length=255),
        Field(
            json_schema_extra=cure_marks(
                "write it in full, such as HKEY_LOCAL_MACHINE\\SOFTWARE\\Vendor\\Product"
            )
        ),
    ]
    """The key in full, beginning with HKEY_LOCAL_MACHINE or another root."""
    values: Annotated[
        list[RegistryValue],
        Field(min_length=1, max_length=20, json_schema_extra=list_map("name")),
    ]
    """Its values, at most 20."""


class Registry(ApiModel):
    """How DigaSystem is told its PAR locations: keys and values of the Windows registry.

    Which ones is written in the manuals of your DigaSystem, not here. They are declared and handed
    over; whether DPE uses them cannot be seen.
    """

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.REGISTRY

    keys: Annotated[
        list[RegistryKey], Field(min_length=1, max_length=8, json_schema_extra=list_map("path"))
    ]
    """The keys, at most 8."""
    mount_path: MountPath | None = None
    """In a DpeCluster: folder in the pods in which the registry file `par.reg` lies, for
    `reg import` at the start of the container. Default: it is not mounted."""


class ParStoreTemplate(ApiModel):
    """PAR files: the master, where it is copied to, and how DPE finds both."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.STORE

    master: ParMaster
    """The location that is edited and that the copy is made from."""
    redundant: list[ParRedundant] = Field(
        default=[], max_length=1, json_schema_extra=list_map("name")
    )
    """The location with the copy; one. None where the master itself is on a distributed file
    system that survives the loss of a machine."""
    sync: ParSync | None = None
    """The copy. Required with a redundant location."""
    registry: Registry | None = None
    """Keys and values of the Windows registry. Default: none are made."""
    deliver_to: list[Receiver] | None = Field(
        default=None, max_length=3, json_schema_extra=SET_LIST
    )
    """In a DpeCluster: which components have the locations mounted. Default: all of Servers,
    Processors and Workflow."""
    read_only_for: list[Receiver] | None = Field(
        default=None, max_length=3, json_schema_extra=SET_LIST
    )
    """In a DpeCluster: which of them may only read. Default: none."""


class ParStoreSpec(ParStoreTemplate):
    """PAR files of a DpeCluster, in a resource of their own.

    It makes claims, copy and registry file. What is mounted into the pods is said in `parFiles` of
    the DpeCluster, which owns them.
    """

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.STANDALONE

    cluster_ref: LocalRef
    """The DpeCluster whose PAR files these are, in the same namespace; may belong to another team.
    Its image log-ins are taken from it. Cannot be changed."""


class FileNames(ApiModel):
    """A number of files and some of their names."""

    count: int = Field(default=0, ge=0)
    """How many."""
    names: list[ShortText] = Field(default=[], max_length=20, json_schema_extra=ATOMIC_LIST)
    """The first of them."""


class ParRunStatus(ApiModel):
    """How one run of the copy ended, in its own words."""

    started_at: ShortText | None = None
    """When it started."""
    finished_at: ShortText | None = None
    """When it ended."""
    result: ShortText | None = None
    """Succeeded, Refused (a person has to look) or Failed (trying again may help)."""
    reason: ShortText | None = None
    """The cause in one word."""
    message: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """The cause in a sentence, with what to do."""
    job: ShortText | None = None
    """The Job that ran it."""
    files: int | None = Field(default=None, ge=0)
    """How many files the master has."""
    bytes: int | None = Field(default=None, ge=0)
    """How many bytes they have."""
    copied: int | None = Field(default=None, ge=0)
    """How many files were copied."""
    deleted: int | None = Field(default=None, ge=0)
    """How many files were deleted on the redundant side; they are in the history."""
    deferred: int | None = Field(default=None, ge=0)
    """How many files were being changed and are left for the next run."""
    divergent: FileNames | None = None
    """Files that were edited on the redundant side and are still there."""
    overwritten: FileNames | None = None
    """Files that were edited on the redundant side and replaced; they are in the history."""
    skipped: FileNames | None = None
    """Links, special files, and names that the redundant side cannot tell apart: not copied."""
    verified: bool | None = None
    """Whether what was copied has been compared once more."""
    warnings: list[ShortText] = Field(default=[], max_length=5, json_schema_extra=ATOMIC_LIST)
    """What else was seen."""


class ParSuccessStatus(ApiModel):
    """The last run that succeeded."""

    finished_at: ShortText | None = None
    """When it ended: the age of the copy."""
    files: int | None = Field(default=None, ge=0)
    """How many files the copy has since then."""
    bytes: int | None = Field(default=None, ge=0)
    """How many bytes they have."""


class ParOnDemandStatus(ApiModel):
    """The run that was asked for by annotation."""

    text: ShortText | None = None
    """The text it was asked for with; the same text asks only once."""
    job: ShortText | None = None
    """The Job made for it."""


class ParStoreStatus(ApiModel):
    """What the operator reports about PAR files."""

    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation this status speaks of."""
    conditions: list[Condition] = Field(
        default=[], max_length=32, json_schema_extra=list_map("type")
    )
    """Statements about it: Accepted, Ready, Synced, CopyFresh, Divergent and others."""
    last_run: ParRunStatus | None = None
    """The last run."""
    last_success: ParSuccessStatus | None = None
    """The last run that succeeded."""
    next_run: ShortText | None = None
    """When the next run is due by the schedule."""
    on_demand: ParOnDemandStatus | None = None
    """The last run that was asked for by annotation."""
    running: ShortText | None = None
    """The Job that runs now."""


class ParStore(ApiModel):
    """DigaSystem's parameter (PAR) files on a master and a redundant location, copied by
    schedule."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.NAME

    metadata: Metadata
    spec: ParStoreSpec
    """What is wanted."""
    status: dict[str, Any] = Field(default={})
    """What is; written by the operator."""
