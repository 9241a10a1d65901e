# SPDX-License-Identifier: Apache-2.0
"""The databases behind DPE: which Secrets lead to them, and who is given them.

DPE's own words: DpeCoreDb holds workflows and jobs, content databases hold entries. Vendor, driver
and form of a connection string are not public, so all of it is taken as it stands in a Secret.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from dpe_operator.api.common import (
    SET_LIST,
    ApiModel,
    DataKey,
    DnsLabel,
    EnvName,
    LocalRef,
    Rule,
    ShortText,
    list_map,
    stored,
)
from dpe_operator.api.constants import MAX_PART
from dpe_operator.api.pods import MountPath

Engine = Literal["SQLServer", "PostgreSQL", "Oracle", "MySQL", "Other"]
Receiver = Literal["Servers", "Processors", "Workflow"]
CORE_NAME: Final = "core"
CONTENT_PREFIX: Final = "content-"

_CORE_RULES: Final = (
    Rule(
        "self.mode != 'Shared' || has(self.secretRef)",
        "mode is Shared and there is no secretRef: name the Secret that leads both servers to the "
        "one core database, or write mode: Independent with members",
        field=".secretRef",
    ),
    Rule(
        "self.mode != 'Shared' || !has(self.members) || self.members.size() == 0",
        "mode is Shared, so members are not used: remove members, or write mode: Independent",
        field=".members",
    ),
    Rule(
        "self.mode != 'Independent' || !has(self.secretRef)",
        "mode is Independent, so secretRef %s is not used: write it in members, one for each "
        "server, or mode: Shared",
        values=("self.secretRef.name",),
        field=".secretRef",
    ),
    Rule(
        "self.mode != 'Independent' || (has(self.members) && self.members.size() > 0)",
        "mode is Independent and there are no members: name the Secret of each server",
        field=".members",
    ),
    Rule(
        "!has(self.members) || self.members.size() < 2"
        " || self.members[0].secretRef.name != self.members[1].secretRef.name",
        "both members have Secret %s, which makes one core database of two: write two Secrets, or "
        "mode: Shared",
        values=("self.members[0].secretRef.name",),
        field=".members",
    ),
    Rule(
        "self.mode != 'Independent' || !has(self.deliverTo)"
        " || self.deliverTo.all(r, r == 'Servers')",
        "mode is Independent, so there is no one core database for other components: write "
        "deliverTo: [Servers], or mode: Shared",
        field=".deliverTo",
    ),
)
_CORE: Final = "self.databases.core"
_NOT_INDEPENDENT: Final = (
    f"!has(self.databases) || !has({_CORE}) || {_CORE}.mode != 'Independent' || "
    f"!has({_CORE}.members)"
)


_IN_CLUSTER: Final = "s.name == m.name && !has(s.external)"

# Of a DpeCluster, which sees servers and databases at once.
SITE_RULES: Final = (
    Rule(
        f"{_NOT_INDEPENDENT} || {_CORE}.members.all(m, "
        f"self.server.members.exists(s, {_IN_CLUSTER}))",
        "databases.core.members names %s, which is no server in the cluster: write the name of an "
        "entry of server.members that has no external",
        values=(
            f"{_CORE}.members.filter(m, !self.server.members.exists(s, {_IN_CLUSTER}))[0].name",
        ),
        field=".databases.core.members",
    ),
    Rule(
        # counted: with a wrong name among them the rule above says so, and this one is silent
        f"{_NOT_INDEPENDENT} || {_CORE}.members.size() >= "
        "self.server.members.filter(s, !has(s.external)).size()",
        "server %s has no core database: write the Secret of its own into databases.core.members, "
        "or mode: Shared",
        values=(
            "self.server.members.filter(s, !has(s.external) && "
            f"!{_CORE}.members.exists(m, m.name == s.name))[0].name",
        ),
        field=".databases.core.members",
    ),
)


class DatabaseEnv(ApiModel):
    """One variable that is filled from the Secret."""

    name: EnvName
    """Name of the variable."""
    key: DataKey
    """Entry of the Secret with its value."""


class DatabaseDelivery(ApiModel):
    """How the Secret of a database reaches the components. Without `env` and `mountPath` it
    reaches none and is only checked."""

    env: list[DatabaseEnv] = Field(default=[], max_length=20, json_schema_extra=list_map("name"))
    """Entries of the Secret as environment variables. A component's own variable of that name
    wins. Running pods keep the values they were started with."""
    mount_path: MountPath | None = None
    """Folder in which every entry of the Secret is a file, such as `/etc/dpe/core`, read-only. A
    component's own volume at that path wins. Default: no files."""
    connection_key: DataKey | None = None
    """The entry with the connection string, or with the hosts, which is looked at for keywords of
    a fail-over. Default: looked for under the usual names, such as `uri` or `host`."""
    required_keys: list[DataKey] = Field(default=[], max_length=20, json_schema_extra=SET_LIST)
    """Further entries that must be in the Secret, such as `password`."""


class CoreMember(ApiModel):
    """The core database of one server."""

    name: Annotated[DnsLabel, Field(max_length=MAX_PART)]
    """Name of the member in `server.members`."""
    secret_ref: LocalRef
    """Secret that leads to its core database."""


class CoreDatabase(DatabaseDelivery):
    """DpeCoreDb, in which DPE keeps workflows and jobs."""

    cel_rules: ClassVar[tuple[Rule, ...]] = _CORE_RULES

    mode: Literal["Shared", "Independent"] = Field(default="Shared", json_schema_extra=stored())
    """`Shared`: both servers use one, on a fail-over cluster. `Independent`: one for each server,
    so what the other one has written is not seen after a fail-over."""
    engine: Engine
    """Make of the database; decides how its connection string is read. `Other`: not at all."""
    secret_ref: LocalRef | None = None
    """With mode Shared: the Secret that leads to it."""
    members: list[CoreMember] = Field(default=[], max_length=2, json_schema_extra=list_map("name"))
    """With mode Independent: the Secret of each server that runs in the cluster."""
    deliver_to: list[Receiver] = Field(
        default=["Servers"], max_length=3, json_schema_extra=SET_LIST
    )
    """Which components are given it; servers outside the cluster are given nothing. Default:
    Servers."""


class ContentDatabase(DatabaseDelivery):
    """A content database."""

    name: Annotated[DnsLabel, Field(max_length=MAX_PART)]
    """What it is called in conditions."""
    engine: Engine
    """Make of the database; decides how its connection string is read. `Other`: not at all."""
    secret_ref: LocalRef
    """Secret that leads to it."""
    deliver_to: list[Receiver] = Field(
        default=["Servers", "Workflow"], max_length=3, json_schema_extra=SET_LIST
    )
    """Which components are given it. Default: Servers and Workflow."""


class Databases(ApiModel):
    """The databases of a site, as Secrets. The operator never reads them: it hands them to the
    components, and to a small Job that looks whether they can follow a fail-over."""

    core: CoreDatabase | None = None
    content: list[ContentDatabase] = Field(
        default=[], max_length=20, json_schema_extra=list_map("name")
    )
    """Content databases, in which DPE keeps entries; at most 20."""


class DeliveredDatabase(ApiModel):
    """A database as the servers of a pair are given it."""

    cel_rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.secretRef) != (has(self.members) && self.members.size() > 0)",
            "database %s must have exactly one source: write secretRef, or members with a Secret "
            "for each server",
            values=("self.name",),
        ),
    )

    name: Annotated[DnsLabel, Field(max_length=MAX_PART + len(CONTENT_PREFIX))]
    """`core`, or `content-` and the name of a content database."""
    secret_ref: LocalRef | None = None
    """The Secret of both servers."""
    members: list[CoreMember] = Field(default=[], max_length=2, json_schema_extra=list_map("name"))
    """The Secrets of single servers."""
    env: list[DatabaseEnv] = Field(default=[], max_length=20, json_schema_extra=list_map("name"))
    """Entries of the Secret as environment variables."""
    mount_path: MountPath | None = None
    """Folder in which every entry of the Secret is a file."""


class ReferenceStatus(ApiModel):
    """What the check has seen of one reference."""

    name: ShortText
    """`core`, `core/` and a server's name, or `content/` and the name of a content database."""
    found: bool
    """Whether the Secret is there and holds anything."""
    missing: list[ShortText] = Field(default=[], max_length=8, json_schema_extra=SET_LIST)
    """Entries that were asked for and are not in it, the first few of them."""
    finding: ShortText
    """What its connection string tells about fail-over, in one word."""


class DatabasesStatus(ApiModel):
    """What the latest check of the databases' Secrets has seen."""

    references_hash: ShortText
    """Digest of the references that were looked at."""
    checked_at: ShortText
    """When."""
    job: ShortText
    """By which Job."""
    likeness: ShortText | None = None
    """With independent core databases: `Same`, `Different` or `Unknown`."""
    references: list[ReferenceStatus] = Field(
        default=[], max_length=22, json_schema_extra=list_map("name")
    )
    """What was seen of each."""
