# SPDX-License-Identifier: Apache-2.0
"""`spec.workflow` of a DpeCluster: the workflow components of a site, each a resource of its own.

Four lists, one a kind, because what is right for a worker is wrong for a watcher. Names are unique
over all of them, because status and events tell components apart by name.
"""

from __future__ import annotations

from itertools import combinations
from typing import Annotated, ClassVar, Final

from pydantic import Field

from dpe_operator.api.common import ApiModel, DnsLabel, Rule, ShortText, list_map
from dpe_operator.api.constants import MAX_WORKFLOW_PART
from dpe_operator.api.server_rules import no_env, reserved_env
from dpe_operator.api.workflow import (
    FolderWatcherTemplate,
    SchedulerTemplate,
    TableWatcherTemplate,
    WorkerTemplate,
)

PartName = Annotated[DnsLabel, Field(max_length=MAX_WORKFLOW_PART)]
_MOST: Final = 10
_LISTS: Final = ("workers", "schedulers", "tableWatchers", "folderWatchers")
_ENV: Final = "self.clients.serviceRootEnv"


class WorkerEntry(WorkerTemplate):
    """Workflow workers of this site."""

    name: PartName
    """Name, unique in the workflow system of the site, at most 15 characters. The WorkflowWorker
    made of it is called `<cluster>-<name>`."""


class SchedulerEntry(SchedulerTemplate):
    """Workflow schedulers of this site."""

    name: PartName
    """Name, unique in the workflow system of the site, at most 15 characters. The
    WorkflowScheduler made of it is called `<cluster>-<name>`."""


class TableWatcherEntry(TableWatcherTemplate):
    """Workflow table watchers of this site."""

    name: PartName
    """Name, unique in the workflow system of the site, at most 15 characters. The
    WorkflowTableWatcher made of it is called `<cluster>-<name>`."""


class FolderWatcherEntry(FolderWatcherTemplate):
    """Workflow folder watchers of this site."""

    name: PartName
    """Name, unique in the workflow system of the site, at most 15 characters. The
    WorkflowFolderWatcher made of it is called `<cluster>-<name>`."""


WorkflowEntry = WorkerEntry | SchedulerEntry | TableWatcherEntry | FolderWatcherEntry


def _apart(first: str, second: str) -> Rule:
    same = f"self.{second}.exists(b, b.name == a.name)"
    return Rule(
        f"!has(self.{first}) || !has(self.{second}) || !self.{first}.exists(a, {same})",
        f"{first} and {second} both have %s: names are unique in the whole workflow system, where"
        " status and events tell components apart by them: write another name",
        values=(f"self.{first}.filter(a, {same})[0].name",),
        field=f".{second}",
    )


class SiteWorkflow(ApiModel):
    """The components of DPE's workflow system that belong to this site."""

    cel_rules: ClassVar[tuple[Rule, ...]] = tuple(
        _apart(first, second) for first, second in combinations(_LISTS, 2)
    )

    workers: list[WorkerEntry] = Field(
        default=[], max_length=_MOST, json_schema_extra=list_map("name")
    )
    """Workers, which carry out the activities of workflows, at most 10 entries."""
    schedulers: list[SchedulerEntry] = Field(
        default=[], max_length=_MOST, json_schema_extra=list_map("name")
    )
    """Schedulers, which start workflows at declared times, at most 10 entries."""
    table_watchers: list[TableWatcherEntry] = Field(
        default=[], max_length=_MOST, json_schema_extra=list_map("name")
    )
    """Table watchers, which start workflows when database rows change, at most 10 entries."""
    folder_watchers: list[FolderWatcherEntry] = Field(
        default=[], max_length=_MOST, json_schema_extra=list_map("name")
    )
    """Folder watchers, which start workflows when files change, at most 10 entries."""


class WorkflowPartStatus(ApiModel):
    """What the site's status says of one workflow component."""

    name: ShortText
    """Its name in `spec.workflow`."""
    kind: ShortText | None = None
    """Its kind, such as WorkflowWorker."""
    mode: ShortText | None = None
    """The mode that is in force."""
    replicas: int | None = Field(default=None, ge=0)
    """How many pods exist."""
    ready_replicas: int | None = Field(default=None, ge=0)
    """How many of them are ready."""
    holder: ShortText | None = None
    """Standby: the pod that acts."""


def _no_part(name: str, condition: str) -> str:
    """CEL: the workflow system has no such list, or `condition` (of an entry `p`) holds for all."""
    where = f"self.workflow.{name}"
    return f"(!has(self.workflow) || !has({where}) || {where}.all(p, {condition}))"


NFS_PARTS: Final = " && ".join(_no_part(name, "p.os != 'windows'") for name in _LISTS)


def _reserved(name: str) -> Rule:
    wrong = f"has(p.env) && p.env.exists(e, e.name == {_ENV})"
    return reserved_env(
        _no_part(name, no_env("p", _ENV)),
        _ENV,
        where=f"of workflow.{name} %s",
        values=(f"self.workflow.{name}.filter(p, {wrong})[0].name",),
    )


WORKFLOW_RULES: Final = tuple(_reserved(name) for name in _LISTS)
"""Rules of the DpeCluster about its workflow components."""
