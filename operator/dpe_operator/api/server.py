# SPDX-License-Identifier: Apache-2.0
"""DpeServer: the pair of DPE Servers and the balancer that keeps one of them active."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BeforeValidator, Field, StringConstraints, WithJsonSchema

from dpe_operator.api import server_rules as rules
from dpe_operator.api.balancer import LoadBalancer
from dpe_operator.api.clients import ClientProfile
from dpe_operator.api.common import (
    ApiModel,
    Condition,
    DnsLabel,
    Duration,
    HostName,
    ImageName,
    LocalRef,
    Metadata,
    Port,
    Rule,
    SecretKeyRef,
    ShortText,
    between,
    cure_marks,
    list_map,
    stored,
)
from dpe_operator.api.databases import DeliveredDatabase
from dpe_operator.api.pods import (
    EnvFrom,
    EnvVar,
    ImagePullSecret,
    LabelValue,
    PodSettings,
    Volume,
    as_text,
    int_or_text,
)

MAX_OUTDATED: Final = 64
# The longest host name, a colon, five digits.
_MAX_ADDRESS: Final = 253 + 1 + 5
_STATUS_PATTERN: Final = r"^[1-5][0-9][0-9](-[1-5][0-9][0-9])?$"
HttpStatus = Annotated[
    str,
    BeforeValidator(as_text),
    StringConstraints(pattern=_STATUS_PATTERN, max_length=7),
    WithJsonSchema(int_or_text(_STATUS_PATTERN, 7, minimum=100, maximum=599)),
]
# What may stand in haproxy.cfg unquoted or in quotes without being read as syntax.
UrlPath = Annotated[
    str, StringConstraints(pattern=r"^/[A-Za-z0-9._~%/?&=:@,;+-]*$", max_length=512)
]
BodyText = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9._:/=<>@+,;-]( ?[A-Za-z0-9._:/=<>@+,;-])*$")
]
HostHeader = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-zA-Z0-9]([-a-zA-Z0-9.]*[a-zA-Z0-9])?(:[0-9]{1,5})?$", max_length=259
    ),
]


class HealthTls(ApiModel):
    """How the balancer checks a member's certificate, in health checks and (TLS mode Terminate)
    in the connections it makes for clients."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.HEALTH_TLS

    verify: Literal["Required", "None"] = Field(default="Required", json_schema_extra=stored())
    """`Required`: a member with a certificate that is expired, from a stranger, or for another
    name counts as down. `None`: any certificate will do; for a trial, or where the network
    between balancer and members is trusted."""
    ca_secret_ref: SecretKeyRef | None = None
    """The certificate authority that signed the members' certificates, PEM text in a Secret.
    Default: the public authorities that the balancer's image knows, so a station's own authority
    must be named here."""
    server_name: HostName | None = None
    """Name sent to the members in the TLS handshake (SNI) and expected in their certificates.
    Write the one both certificates carry, usually the name that clients use. Default:
    `hostHeader` without its port; without that each member's own host name. With an external
    member given by its address one of the two must be written (unless `verify` is None):
    certificates are checked by DNS name, never by an address in them. A spec of an older release
    without one goes on, and then any certificate of the authority will do."""


class Health(ApiModel):
    """How the balancer sees that a DPE Server works: it asks for this URL several times a second.

    Ask for a page that does what clients need, database included. This also keeps the standby
    warm: IIS puts an idle application to sleep, and a sleeping standby is a slow one.
    """

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.HEALTH

    scheme: Literal["HTTPS", "HTTP"] = Field(default="HTTPS", json_schema_extra=stored())
    """How the members are spoken to. DPE speaks HTTPS only."""
    path: UrlPath = Field(
        json_schema_extra=cure_marks(
            "begin with a slash, such as /DpeWebApplication/status, and use only letters, digits"
            " and . _ ~ % / ? & = : @ , ; + -"
        )
    )
    """Path of the health page, beginning with a slash, with the query if it needs one. No public
    page names DPE's; open yours in a browser on the server first."""
    status: HttpStatus = Field(
        default="200",
        json_schema_extra=stored("write a status as 200 or a range as 200-399, from 100 to 599"),
    )
    """HTTP status of a healthy server, a number or a range such as `200-299`. With Windows
    authentication on the page a healthy server may answer 401."""
    body_contains: BodyText | None = Field(
        default=None,
        max_length=128,
        min_length=1,
        json_schema_extra=cure_marks(
            "write 1 to 128 letters, digits and . _ : / = < > @ + , ; - with single spaces between"
        ),
    )
    """A word that only a healthy server's page contains; a page without it counts as down. IIS
    answers 200 with an error text more often than one thinks. Default: the status alone
    decides."""
    host_header: HostHeader | None = None
    """Host header of the checks, for a web site bound to a name. Default: the member's host
    name."""
    timeout: Duration = Field(default=Duration("800ms"), json_schema_extra=between("50ms", "10s"))
    """How long a check may take; an answer that comes later counts as none. A server that hangs
    is noticed after `timings.fall` checks of this length, so a longer time is a slower fail-over,
    and a time shorter than the page needs under load is a false one. The TLS handshake of a
    check has `timings.connectTimeout`."""
    startup_timeout: Duration = Field(
        default=Duration("10m"), json_schema_extra=between("10s", "2h")
    )
    """How long an in-cluster member may take until its health page first answers; then its
    container is restarted. Give a first start of IIS on a busy Windows node its time."""
    tls: HealthTls | None = None
    """How certificates of the members are checked, with scheme HTTPS. Default: `verify: Required`
    against the public authorities."""

    @property
    def tls_or_default(self) -> HealthTls:
        """The TLS settings, the default ones when none are written."""
        return self.tls or HealthTls()


class ExternalMember(ApiModel):
    """A DPE Server that runs outside the cluster, usually on a Windows machine."""

    host: HostName
    """Complete host name (no search domains) or IPv4 address, as the cluster resolves it. A name
    is looked up again and again, so the machine may move."""
    port: Port | None = None
    """TCP port. Default: `port` of the servers."""


class Member(ApiModel):
    """One of the two servers."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.MEMBER

    name: Annotated[DnsLabel, Field(max_length=20)]
    """Name of the member within the pair, such as `a` and `b`: shown in status, events and
    metrics, written into `dpe.dev/switch-to`. At most 20 letters, digits and dashes."""
    external: ExternalMember | None = None
    """Makes it a server outside the cluster: the operator only puts the balancer before it. All
    other settings of this member are then refused."""
    image: ImageName | None = None
    """Another image than the pair's, to try a version on one member."""
    env: list[EnvVar] = Field(default=[], max_length=100, json_schema_extra=list_map("name"))
    """Environment variables of this member; they win over the pair's of the same name."""
    env_from: list[EnvFrom] = Field(
        default=[], max_length=20, json_schema_extra={"x-kubernetes-list-type": "atomic"}
    )
    """Secrets and ConfigMaps of this member as variables, for example its own core database."""
    host_name: DnsLabel | None = None
    """Host name inside the pod. It never changes, because DPE keys licences and local parameter
    (PAR) files by computer name; Windows cuts it at 15 characters. Default:
    `<name>-member-<member>`."""
    node_selector: dict[str, LabelValue] = Field(default={}, max_length=20)
    """Node labels for this member, added to the pair's: for one fixed machine each."""
    volumes: list[Volume] = Field(default=[], max_length=20, json_schema_extra=list_map("name"))
    """Folders of this member, such as its licence Secret; they win over the pair's of the same
    name."""

    @property
    def is_external(self) -> bool:
        """Whether this server runs outside the cluster."""
        return self.external is not None


class ServerSpec(PodSettings):
    """The pair of DPE Servers: two members, one active and one hot standby, behind a redundant
    fail-over balancer with one address for all clients."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.SERVER

    image: ImageName | None = None
    """Container image of the in-cluster members. Needed unless both members are external or name
    their own."""
    port: Port = Field(default=443, json_schema_extra=stored())
    """Port that clients use on the balancer's address, and that external members listen on unless
    they name another. 443 is DPE's."""
    container_port: Port | None = None
    """Port the program listens on inside an in-cluster member's pod. Default: `port`. Programs
    that do not run as root often cannot listen below 1024."""
    base_path: Annotated[
        str, StringConstraints(pattern=r"^(/[A-Za-z0-9._~-]+)*$", max_length=256)
    ] = Field(
        default="",
        json_schema_extra=cure_marks(
            "begin with a slash and end without one, such as /DpeWebApplication"
        ),
    )
    """Path under which DPE is found, part of the URL that components are given, such as
    `/DpeWebApplication`. It begins with a slash and ends without one. Default: none."""
    health: Health
    members: Annotated[list[Member], Field(json_schema_extra=list_map("name"))] = Field(
        json_schema_extra=list_map("name") | {"maxItems": 8}
    )
    """The two servers, exactly two. Both in the cluster, both outside, or one of each."""
    load_balancer: LoadBalancer = Field(default=LoadBalancer(), json_schema_extra=stored())

    @property
    def pod_port(self) -> int:
        """Port of the program inside an in-cluster member's pod."""
        return self.container_port or self.port

    @property
    def in_cluster_members(self) -> list[Member]:
        """The members the operator runs itself."""
        return [member for member in self.members if not member.is_external]


class DpeServerSpec(ServerSpec):
    """A pair of DPE Servers with its balancer. A DpeCluster makes one by itself; write a DpeServer
    only to run a pair without one."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.DPE_SERVER

    cluster_ref: LocalRef | None = None
    """The DpeCluster whose shared settings (`sharedVolumes`, `clients`, `placement`,
    `imagePullSecrets`) this pair takes over where it has none of its own. Cannot be changed.
    Absent on the pair that a DpeCluster makes."""
    shared_volumes: list[Volume] = Field(
        default=[], max_length=20, json_schema_extra=list_map("name")
    )
    """Folders mounted into every pod of the site."""
    databases: list[DeliveredDatabase] = Field(
        default=[], max_length=21, json_schema_extra=list_map("name")
    )
    """Databases whose Secrets the members are given. A DpeCluster fills it in from its own
    `databases`, and checks them; here nothing is checked."""
    clients: ClientProfile | None = None
    """How clients find the balancer and bridge a fail-over. Default: the DpeCluster's, else the
    defaults of each field."""
    image_pull_secrets: list[ImagePullSecret] = Field(
        default=[], max_length=10, json_schema_extra=list_map("name")
    )
    """Log-ins for image registries."""


class MemberStatus(ApiModel):
    """What is known of one member."""

    name: ShortText
    """Name of the member."""
    state: Literal["Up", "Down", "Unknown"] = "Unknown"
    """What the balancer's health check says. Unknown: nobody has told yet."""
    address: Annotated[str, StringConstraints(max_length=_MAX_ADDRESS)] | None = None
    """Host name or address and port the balancer uses for it."""


class SwitchStatus(ApiModel):
    """One change of the active member."""

    from_: ShortText | None = Field(default=None, alias="from")
    """The member that was active before."""
    to: ShortText | None = None
    """The member that took over."""
    cause: ShortText | None = None
    """MemberDown (health check), Requested (annotation or rollout), Terminating (its pod was
    being stopped), Failback (the first member was well for the quiet period) or Adopted (the
    recorded member is no longer part of the pair)."""
    at: Annotated[str | None, Field(json_schema_extra={"format": "date-time"}, max_length=40)] = (
        None
    )
    """When the balancer sent the first request to the new member."""
    gap: ShortText | None = None
    """How long nobody was answered, as the balancer saw it, such as `310ms`: last answer of the old
    member to the first of the new one, to about 0.1 s. With tls.mode Passthrough it sees no answers
    and takes the old member's last good health check and the first connection to the new one.
    Absent when nobody asked at that time."""


class PairStatus(ApiModel):
    """What a pair and its balancer report; part of the status of DpeServer and DpeCluster."""

    observed_generation: int | None = Field(default=None, ge=0)
    """The metadata.generation this status speaks of."""
    conditions: list[Condition] = Field(
        default=[], max_length=32, json_schema_extra=list_map("type")
    )
    """Statements about the resource: Accepted, Ready, Progressing, Degraded and one for each
    part."""
    active: ShortText | None = None
    """The member that serves clients now."""
    active_since: Annotated[
        str | None, Field(json_schema_extra={"format": "date-time"}, max_length=40)
    ] = None
    """Since when it does."""
    standby: ShortText | None = None
    """The member that would take over."""
    service_root: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """The URL every client and component uses."""
    members: list[MemberStatus] = Field(
        default=[], max_length=8, json_schema_extra=list_map("name")
    )
    """The two servers."""
    last_switch: SwitchStatus | None = None
    """The latest change of the active member."""
    switch_count: int | None = Field(default=None, ge=0)
    """How often the active member has changed."""
    routed_balancer: ShortText | None = None
    """The balancer pod that clients are sent to."""
    outdated: list[ShortText] = Field(
        default=[], max_length=MAX_OUTDATED, json_schema_extra={"x-kubernetes-list-type": "set"}
    )
    """Workloads that would be restarted to catch up with this operator's version. They wait for
    another reason or for the annotation `dpe.dev/approve-upgrade: "true"`. Where there are more
    than 64 the last entry says how many more."""


class DpeServerStatus(PairStatus):
    """What the operator reports about the pair."""


class DpeServer(ApiModel):
    """A pair of DPE Servers, one active and one hot standby, behind a redundant fail-over
    balancer."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.PAIR_NAME

    metadata: Metadata
    spec: DpeServerSpec
    """What is wanted."""
    status: dict[str, Any] = Field(default={})
    """What is; written by the operator."""
