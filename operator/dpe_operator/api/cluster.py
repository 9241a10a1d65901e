# SPDX-License-Identifier: Apache-2.0
"""DpeCluster: a whole DPE site in one resource, made of the other kinds."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from pydantic import Field

from dpe_operator.api import server_rules as rules
from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.common import (
    ApiModel,
    Metadata,
    Placement,
    Rule,
    ShortText,
    list_map,
    one_at_a_path,
    stored,
)
from dpe_operator.api.constants import MAX_NAME
from dpe_operator.api.databases import SITE_RULES, Databases, DatabasesStatus
from dpe_operator.api.par_store import ParStoreTemplate
from dpe_operator.api.pods import ImagePullSecret, Volume
from dpe_operator.api.processor_farm import FarmTemplate
from dpe_operator.api.server import PairStatus, ServerSpec
from dpe_operator.api.site_workflow import (
    NFS_PARTS,
    WORKFLOW_RULES,
    SiteWorkflow,
    WorkflowPartStatus,
)

_ENV: Final = "self.clients.serviceRootEnv"
_FARM_SETS_IT: Final = f"has(p.env) && p.env.exists(e, e.name == {_ENV})"

_RULES: Final = (
    rules.reserved_env(
        rules.no_env_in_pair("self.server", _ENV),
        _ENV,
        where="of the servers",
        cure=rules.RENAME,
    ),
    rules.reserved_env(
        f"!has(self.processors) || !self.processors.exists(p, {_FARM_SETS_IT})",
        _ENV,
        where="of processors %s",
        values=(f"self.processors.filter(p, {_FARM_SETS_IT})[0].type",),
    ),
    Rule(
        "!has(self.sharedVolumes) || !self.sharedVolumes.exists(v, has(v.nfs)) || ("
        "self.server.os != 'windows'"
        " && (!has(self.processors) || !self.processors.exists(p, p.os == 'windows'))"
        f" && {NFS_PARTS})",
        "shared volume %s is nfs, which Windows nodes cannot mount: write claimName with a claim "
        "of an SMB driver",
        values=("self.sharedVolumes.filter(v, has(v.nfs))[0].name",),
        field=".sharedVolumes",
    ),
    one_at_a_path("sharedVolumes"),
    *SITE_RULES,
    *WORKFLOW_RULES,
)


class DpeClusterSpec(ApiModel):
    """A DPE site: a redundant pair of servers behind one address, farms of processors, and the
    components of the workflow system."""

    cel_rules: ClassVar[tuple[Rule, ...]] = _RULES

    server: ServerSpec
    databases: Databases | None = None
    par_files: ParStoreTemplate | None = None
    processors: list[FarmTemplate] = Field(
        default=[], max_length=20, json_schema_extra=list_map("type")
    )
    """Farms of job processors, one for each type, at most 20. Each becomes a ProcessorFarm called
    `<name>-<type>`."""
    workflow: SiteWorkflow | None = None
    shared_volumes: list[Volume] = Field(
        default=[], max_length=10, json_schema_extra=list_map("name")
    )
    """Folders mounted into every server, processor and workflow component of the site, such as
    DPE's TempFolder, which all of them must see as one. At most 10; a pod's own volume of the same
    name wins."""
    clients: ClientProfile = Field(default=ClientProfile(), json_schema_extra=stored())
    placement: Placement = Field(default="Required", json_schema_extra=stored())
    """How hard pods of one kind are kept apart. `Required`: never two on one node, a pod rather
    waits (Pending). `Preferred`: apart when possible; for clusters with fewer nodes than pods, at
    the price that one node may take both. Zones are always kept apart when possible."""
    image_pull_secrets: list[ImagePullSecret] = Field(
        default=[], max_length=10, json_schema_extra=list_map("name")
    )
    """Log-ins for image registries, used by every pod of the site."""


class FarmStatus(ApiModel):
    """What the site's status says of one farm."""

    type: ShortText
    """Type of the farm."""
    replicas: int | None = Field(default=None, ge=0)
    """How many processor pods exist."""
    ready_replicas: int | None = Field(default=None, ge=0)
    """How many of them are ready."""


class ParFilesStatus(ApiModel):
    """What the site's status says of its PAR files."""

    result: ShortText | None = None
    """How the last copy ended."""
    last_success: ShortText | None = None
    """When the last copy that succeeded ended."""
    next_run: ShortText | None = None
    """When the next copy is due."""


class DpeClusterStatus(PairStatus):
    """What the operator reports about the whole site."""

    farms: list[FarmStatus] = Field(default=[], max_length=20, json_schema_extra=list_map("type"))
    """The farms of this site."""
    workflow: list[WorkflowPartStatus] = Field(
        default=[], max_length=40, json_schema_extra=list_map("name")
    )
    """The components of its workflow system."""
    databases: DatabasesStatus | None = None
    par_files: ParFilesStatus | None = None


class DpeCluster(ApiModel):
    """A whole DPE site: a redundant pair of servers behind one address, and farms of
    processors."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        rules.short_name(MAX_NAME, "names of Services and farms are made from it"),
    )

    metadata: Metadata
    spec: DpeClusterSpec
    """What is wanted."""
    status: dict[str, Any] = Field(default={})
    """What is; written by the operator."""
