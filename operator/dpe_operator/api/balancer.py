# SPDX-License-Identifier: Apache-2.0
"""The balancer before a pair of DPE Servers: its settings as the user writes them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from dpe_operator.api import server_rules as rules
from dpe_operator.api.common import (
    ATOMIC_LIST,
    ApiModel,
    Duration,
    HostName,
    LocalRef,
    LongText,
    Placement,
    Port,
    Rule,
    between,
    stored,
)
from dpe_operator.api.pods import LabelValue, Resources, Toleration


class BalancerTls(ApiModel):
    """Who ends the clients' TLS connections."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.BALANCER_TLS

    mode: Literal["Passthrough", "Terminate", "None"] = Field(
        default="Passthrough", json_schema_extra=stored()
    )
    """`Passthrough`: the members do; the balancer needs no certificate, and a planned switch cuts
    open connections once (a retry succeeds). `Terminate`: the balancer does, with the certificate
    of `certificateSecretRef`, and speaks to the members as `health.scheme` says; a planned switch
    fails no request. `None`: plain HTTP from client to member, for trials."""
    certificate_secret_ref: LocalRef | None = None
    """Secret of type kubernetes.io/tls (tls.crt, tls.key) with the certificate for the name that
    clients use. With mode Terminate only. A renewed certificate is loaded without a restart."""


class BalancerService(ApiModel):
    """How clients reach the balancer."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.BALANCER_SERVICE

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", json_schema_extra=stored()
    )
    """`ClusterIP`: from inside the cluster only. `NodePort`: on a port of every node, for a
    station that puts its own virtual IP before the nodes. `LoadBalancer`: on an address of its
    own, where the cluster can give one (a cloud, MetalLB)."""
    node_port: int | None = Field(default=None, ge=1, le=65535)
    """The node port, with type NodePort or LoadBalancer. Default: Kubernetes chooses one from
    30000-32767."""
    annotations: dict[str, LongText] = Field(default={}, max_length=50)
    """Annotations of the Service, where load-balancer controllers take their settings from."""
    load_balancer_class: (
        Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9][-a-zA-Z0-9./_]*$", max_length=253)]
        | None
    ) = None
    """Which load-balancer controller is meant, with type LoadBalancer. Default: the cluster's. To
    change it, write `type: ClusterIP` in between, which takes the address away meanwhile."""


class Failback(ApiModel):
    """What happens when a member that had failed is back."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.FAILBACK

    policy: Literal["Never", "Automatic"] = Field(default="Never", json_schema_extra=stored())
    """`Never`: it becomes the standby and the other one stays active, so one fault makes one
    switch. Bring it back at a quiet time with the annotation `dpe.dev/switch-to`. `Automatic`: the
    first listed member is active again once it has been up for `quietPeriod` without a break. Not
    after a switch that somebody asked for (annotation, or an update by the operator), and not
    while the pair flaps."""
    quiet_period: Duration = Field(default=Duration("10m"), json_schema_extra=between("10s", "24h"))
    """With policy Automatic: how long the first member must be up, and the last switch be past.
    With tls.mode Passthrough going back cuts open connections once, so do not make it too short."""

    @property
    def quiet_seconds(self) -> float | None:
        """The quiet period in seconds; None: never back by itself."""
        return None if self.policy == "Never" else self.quiet_period.seconds


class FlapLimit(ApiModel):
    """When a pair counts as flapping, which means that both members are half dead. Then fail-back
    waits, and a member takes over only once it has been up for 10 s without a break, or the
    active one has been down for as long."""

    switches: int = Field(default=3, ge=1, le=20)
    """More unplanned switches than this within `period` are flapping."""
    period: Duration = Field(default=Duration("10m"), json_schema_extra=between("1m", "24h"))
    """Time in which they are counted."""


class Timings(ApiModel):
    """How fast the balancer notices and reacts. The defaults are measured ones: change them only
    with `health.timeout` and your servers' behaviour under load in view."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.TIMINGS

    check_interval: Duration = Field(
        default=Duration("250ms"), json_schema_extra=between("100ms", "1m")
    )
    """Pause between two health checks of a member whose state is settled. A check's connection
    with its TLS handshake may take as long as this at most, and not longer than `connectTimeout`.
    """
    fast_interval: Duration = Field(
        default=Duration("25ms"), json_schema_extra=between("20ms", "1m")
    )
    """Pause between two health checks of a member whose last check went wrong. Not
    longer than `checkInterval`."""
    fall: int = Field(default=3, ge=1, le=10)
    """How many checks in a row must fail until a member counts as down. 1 fails over on a single
    lost packet."""
    rise: int = Field(default=2, ge=1, le=10)
    """How many checks in a row must succeed until a member counts as up again."""
    connect_timeout: Duration = Field(
        default=Duration("250ms"), json_schema_extra=between("10ms", "10s")
    )
    """How long the balancer waits for a connection to a member, in checks its TLS handshake
    included. Not longer than `health.timeout`."""
    client_timeout: Duration = Field(default=Duration("1h"), json_schema_extra=between("1s", "24h"))
    """An idle client connection is closed after this time."""
    server_timeout: Duration = Field(default=Duration("1h"), json_schema_extra=between("1s", "24h"))
    """How long a member may take for an answer. Longer than your longest request (uploads,
    exports); a server that hangs is found by the health check, not by this."""


class ExternalAddress(ApiModel):
    """The address of a balancer that the site runs itself."""

    host: HostName
    """Host name or IPv4 address that clients use."""
    port: Port | None = None
    """TCP port. Default: 443 for https, 80 for http."""
    scheme: Literal["https", "http"] = Field(default="https", json_schema_extra=stored())
    """How clients speak to it."""


class LoadBalancer(ApiModel):
    """The balancer that gives all clients one address and keeps exactly one member active."""

    cel_rules: ClassVar[tuple[Rule, ...]] = rules.LOAD_BALANCER

    type: Literal["HAProxy", "External"] = Field(default="HAProxy", json_schema_extra=stored())
    """`HAProxy`: the operator runs two HAProxy pods on two nodes, one routed and one ready.
    `External`: the site has a fail-over balancer already; every component is given
    `externalAddress`, and the other settings here have no effect."""
    tls: BalancerTls = Field(default=BalancerTls(), json_schema_extra=stored())
    service: BalancerService = Field(default=BalancerService(), json_schema_extra=stored())
    failback: Failback = Field(default=Failback(), json_schema_extra=stored())
    flap_limit: FlapLimit = FlapLimit()
    timings: Timings = Timings()
    external_address: ExternalAddress | None = None
    """The site's own balancer, with type External only."""
    placement: Placement | None = None
    """How hard the two balancer pods are kept apart, see `placement` of the site. Default: the
    site's choice."""
    resources: Resources | None = None
    """CPU and memory of a balancer pod. A CPU limit is refused: a balancer that is slowed down
    for a tenth of a second looks dead to its partner."""
    node_selector: dict[str, LabelValue] = Field(default={}, max_length=20)
    """Run the balancers only on nodes with these labels. They are Linux pods."""
    tolerations: list[Toleration] = Field(default=[], max_length=20, json_schema_extra=ATOMIC_LIST)
    """Taints of nodes that the balancers put up with."""
    pod_template: dict[str, Any] | None = Field(
        default=None, json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}
    )
    """A patch laid over the balancers' pod template, see `podTemplate` of the servers. The
    container is called `balancer`."""
