# SPDX-License-Identifier: Apache-2.0
"""Bad input about health checks, the balancer and times, refused by the API server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tests.support.bad_input_row import ABSENT, CLUSTER, SERVER, BadInput, changed

_PATH_CURE = (
    "begin with a slash, such as /DpeWebApplication/status, and use only letters, digits and . _ ~ "
    "% / ? & = : @ , ; + -"
)
_BODY_CURE = "write 1 to 128 letters, digits and . _ : / = < > @ + , ; - with single spaces between"
_HEALTH = [
    BadInput(
        "health-path-without-slash",
        CLUSTER,
        {"spec.server.health.path": "status"},
        "spec.server.health.path",
        f'path is "status": {_PATH_CURE}',
        {"spec.server.health.path": "/status?deep=1"},
    ),
    BadInput(
        "health-path-with-space",
        CLUSTER,
        {"spec.server.health.path": "/a b"},
        "spec.server.health.path",
        f'path is "/a b": {_PATH_CURE}',
        {"spec.server.health.path": "/a%20b"},
    ),
    BadInput(
        "health-status-not-a-status",
        CLUSTER,
        {"spec.server.health.status": "ok"},
        "spec.server.health.status",
        'status is "ok": write a status as 200 or a range as 200-399, from 100 to 599',
        {"spec.server.health.status": 200},
    ),
    BadInput(
        "health-status-too-high",
        CLUSTER,
        {"spec.server.health.status": 600},
        "spec.server.health.status",
        "spec.server.health.status in body should be less than or equal to 599",
        {"spec.server.health.status": 401},
    ),
    BadInput(
        "health-status-backwards",
        CLUSTER,
        {"spec.server.health.status": "399-200"},
        "spec.server.health.status",
        "status is 399-200, a range from high to low: write the lower status first, such as "
        "200-399",
        {"spec.server.health.status": "200-399"},
    ),
    BadInput(
        "health-body-empty",
        CLUSTER,
        {"spec.server.health.bodyContains": ""},
        "spec.server.health.bodyContains",
        f'bodyContains is "": {_BODY_CURE}',
        {"spec.server.health.bodyContains": ABSENT},
    ),
    BadInput(
        "health-body-with-quote",
        CLUSTER,
        {"spec.server.health.bodyContains": '"ok"'},
        "spec.server.health.bodyContains",
        f'bodyContains is ""ok"": {_BODY_CURE}',
        {"spec.server.health.bodyContains": "all is well"},
    ),
    BadInput(
        "base-path-with-slash-at-the-end",
        CLUSTER,
        {"spec.server.basePath": "/DpeWebApplication/"},
        "spec.server.basePath",
        'basePath is "/DpeWebApplication/": begin with a slash and end without one, such as '
        "/DpeWebApplication",
        {"spec.server.basePath": "/DpeWebApplication"},
    ),
    BadInput(
        "health-tls-over-http",
        CLUSTER,
        {
            "spec.server.health.scheme": "HTTP",
            "spec.server.health.tls": {"verify": "None"},
            "spec.server.loadBalancer": {"tls": {"mode": "None"}},
        },
        "spec.server.health.tls",
        "scheme is HTTP, so tls has nothing to check: write scheme: HTTPS, or remove tls",
        {"spec.server.health.tls": ABSENT},
    ),
    BadInput(
        "authority-that-is-not-used",
        CLUSTER,
        {"spec.server.health.tls": {"verify": "None", "caSecretRef": {"name": "studio-ca"}}},
        "spec.server.health.tls.caSecretRef",
        "verify is None, so the certificates of caSecretRef studio-ca are never used: write "
        "verify: Required, or remove caSecretRef",
        {"spec.server.health.tls.verify": "Required"},
    ),
]

_CERTIFICATE: Final = {"name": "dpe-tls"}


def _class_message(old: str, new: str) -> str:
    return (
        f"loadBalancerClass cannot be changed from {old} to {new} while type is LoadBalancer: write"
        " type: ClusterIP without loadBalancerClass first, and what you want once the Service has"
        " that type (its address goes meanwhile, and may be another one afterwards)"
    )


def _other_class(name: str, old: str, new: str) -> BadInput:
    """A site that exists already; (none): the class is not written."""
    path = "spec.server.loadBalancer.service"
    before, after = (
        {"type": "LoadBalancer", **({"loadBalancerClass": named} if named != "(none)" else {})}
        for named in (old, new)
    )
    return BadInput(
        name,
        changed(CLUSTER, {path: before}),
        {path: after},
        f"{path}.loadBalancerClass",
        _class_message(old, new),
        {path: {"type": "ClusterIP"}},
        update=True,
    )


_BALANCER = [
    BadInput(
        "terminate-without-certificate",
        CLUSTER,
        {"spec.server.loadBalancer": {"tls": {"mode": "Terminate"}}},
        "spec.server.loadBalancer.tls.certificateSecretRef",
        "mode is Terminate and there is no certificateSecretRef: name the Secret (type "
        "kubernetes.io/tls) with the certificate that clients are to see, or write mode: "
        "Passthrough",
        {"spec.server.loadBalancer.tls.certificateSecretRef": _CERTIFICATE},
    ),
    BadInput(
        "certificate-without-terminate",
        CLUSTER,
        {"spec.server.loadBalancer": {"tls": {"certificateSecretRef": _CERTIFICATE}}},
        "spec.server.loadBalancer.tls.certificateSecretRef",
        "mode is Passthrough, so the balancer never uses certificateSecretRef dpe-tls: write mode: "
        "Terminate, or remove it",
        {"spec.server.loadBalancer.tls.mode": "Terminate"},
    ),
    BadInput(
        "passthrough-to-plain-members",
        CLUSTER,
        {"spec.server.health.scheme": "HTTP"},
        "spec.server.health",
        "health.scheme is HTTP and loadBalancer.tls.mode is Passthrough, which needs members that "
        "speak TLS: write health.scheme: HTTPS, or tls.mode: Terminate (balancer ends TLS) or None "
        "(plain HTTP)",
        {
            "spec.server.loadBalancer": {
                "tls": {"mode": "Terminate", "certificateSecretRef": _CERTIFICATE}
            }
        },
    ),
    BadInput(
        "plain-balancer-to-tls-members",
        CLUSTER,
        {"spec.server.loadBalancer": {"tls": {"mode": "None"}}},
        "spec.server.health",
        "health.scheme is HTTPS and loadBalancer.tls.mode is None, which is plain HTTP from client "
        "to member: write health.scheme: HTTP, or tls.mode: Passthrough or Terminate",
        {"spec.server.health.scheme": "HTTP"},
    ),
    BadInput(
        "node-port-on-cluster-ip",
        CLUSTER,
        {"spec.server.loadBalancer": {"service": {"nodePort": 30443}}},
        "spec.server.loadBalancer.service.nodePort",
        "nodePort is 30443 and type is ClusterIP, which has none: write type: NodePort or "
        "LoadBalancer, or remove nodePort",
        {"spec.server.loadBalancer.service.type": "NodePort"},
    ),
    BadInput(
        "load-balancer-class-on-node-port",
        CLUSTER,
        {
            "spec.server.loadBalancer": {
                "service": {"type": "NodePort", "loadBalancerClass": "metallb.io/metallb"}
            }
        },
        "spec.server.loadBalancer.service.loadBalancerClass",
        "loadBalancerClass is metallb.io/metallb and type is NodePort: write type: LoadBalancer, "
        "or remove loadBalancerClass",
        {"spec.server.loadBalancer.service.type": "LoadBalancer"},
    ),
    _other_class("load-balancer-class-changed", "metallb.io/metallb", "cilium.io/bgp"),
    _other_class("load-balancer-class-added", "(none)", "metallb.io/metallb"),
    _other_class("load-balancer-class-taken-away", "metallb.io/metallb", "(none)"),
    BadInput(
        "load-balancer-class-of-a-pair-changed",
        changed(
            SERVER,
            {"spec.loadBalancer.service": {"type": "LoadBalancer", "loadBalancerClass": "a"}},
        ),
        {"spec.loadBalancer.service.loadBalancerClass": "b"},
        "spec.loadBalancer.service.loadBalancerClass",
        _class_message("a", "b"),
        {"spec.loadBalancer.service": {"type": "ClusterIP"}},
        update=True,
    ),
    BadInput(
        "own-balancer-without-address",
        CLUSTER,
        {"spec.server.loadBalancer": {"type": "External"}},
        "spec.server.loadBalancer.externalAddress",
        "type is External and there is no externalAddress: write the host of your own balancer, "
        "such as externalAddress: {host: dpe.studio.example}, or write type: HAProxy",
        {"spec.server.loadBalancer.externalAddress": {"host": "dpe.studio.example"}},
    ),
    BadInput(
        "address-of-own-balancer-with-haproxy",
        CLUSTER,
        {"spec.server.loadBalancer": {"externalAddress": {"host": "dpe.studio.example"}}},
        "spec.server.loadBalancer.externalAddress",
        "type is HAProxy, so externalAddress dpe.studio.example is not used: write type: External, "
        "or remove externalAddress",
        {"spec.server.loadBalancer.type": "External"},
    ),
    BadInput(
        "own-balancer-and-terminate",
        CLUSTER,
        {
            "spec.server.loadBalancer": {
                "type": "External",
                "externalAddress": {"host": "dpe.studio.example"},
                "tls": {"mode": "Terminate", "certificateSecretRef": _CERTIFICATE},
            }
        },
        "spec.server.loadBalancer.tls",
        "type is External, so your own balancer ends TLS: remove tls.mode Terminate and "
        "certificateSecretRef, or write type: HAProxy",
        {"spec.server.loadBalancer.tls": ABSENT},
    ),
    BadInput(
        "cpu-limit-of-balancer",
        CLUSTER,
        {"spec.server.loadBalancer": {"resources": {"limits": {"cpu": "1", "memory": "64Mi"}}}},
        "spec.server.loadBalancer.resources",
        "resources.limits.cpu is 1: a balancer that is slowed down looks dead to its partner. "
        "Remove it; requests.cpu may be set",
        {"spec.server.loadBalancer.resources.limits.cpu": ABSENT},
    ),
]

_FAILBACK = [
    BadInput(
        "quiet-period-that-is-not-used",
        CLUSTER,
        {"spec.server.loadBalancer": {"failback": {"quietPeriod": "5m"}}},
        "spec.server.loadBalancer.failback.quietPeriod",
        "policy is Never, so quietPeriod 5m is not used: write policy: Automatic, or remove "
        "quietPeriod",
        {"spec.server.loadBalancer.failback.policy": "Automatic"},
    ),
    BadInput(
        "quiet-period-too-short",
        CLUSTER,
        {"spec.server.loadBalancer": {"failback": {"policy": "Automatic", "quietPeriod": "1s"}}},
        "spec.server.loadBalancer.failback.quietPeriod",
        'quietPeriod is "1s": write a time from 10s to 24h with its unit, such as 10m',
        {"spec.server.loadBalancer.failback.quietPeriod": "10s"},
    ),
    BadInput(
        "failback-policy-nobody-knows",
        CLUSTER,
        {"spec.server.loadBalancer": {"failback": {"policy": "Sometimes"}}},
        "spec.server.loadBalancer.failback.policy",
        'Unsupported value: "Sometimes": supported values: "Never", "Automatic"',
        {"spec.server.loadBalancer.failback.policy": "Automatic"},
    ),
    BadInput(
        "no-switch-is-flapping",
        CLUSTER,
        {"spec.server.loadBalancer": {"flapLimit": {"switches": 0}}},
        "spec.server.loadBalancer.flapLimit.switches",
        "spec.server.loadBalancer.flapLimit.switches in body should be greater than or equal to 1",
        {"spec.server.loadBalancer.flapLimit.switches": 1},
    ),
]

_TIMINGS = [
    BadInput(
        "fast-interval-is-slow",
        CLUSTER,
        {"spec.server.loadBalancer": {"timings": {"fastInterval": "2s"}}},
        "spec.server.loadBalancer.timings.fastInterval",
        "fastInterval is 2s, longer than checkInterval (250ms): after a failed check the balancer "
        "must look sooner, so shorten fastInterval or lengthen checkInterval",
        {"spec.server.loadBalancer.timings.checkInterval": "3s"},
    ),
    BadInput(
        "connecting-outlasts-the-check",
        CLUSTER,
        {"spec.server.health.timeout": "200ms"},
        "spec.server.health",
        "loadBalancer.timings.connectTimeout is 250ms, longer than health.timeout (200ms), so "
        "checks would give up before it: shorten connectTimeout or lengthen health.timeout",
        {"spec.server.loadBalancer": {"timings": {"connectTimeout": "100ms"}}},
    ),
    BadInput(
        "back-off-starts-above-its-end",
        CLUSTER,
        {"spec.clients": {"initialBackoff": "5s"}},
        "spec.clients.initialBackoff",
        "initialBackoff is 5s, longer than maxBackoff (2s): shorten initialBackoff or lengthen "
        "maxBackoff",
        {"spec.clients.maxBackoff": "5s"},
    ),
    BadInput(
        "connect-outlasts-request",
        CLUSTER,
        {"spec.clients": {"connectTimeout": "10s"}},
        "spec.clients.connectTimeout",
        "connectTimeout is 10s, longer than requestTimeout (5s): shorten connectTimeout or "
        "lengthen requestTimeout",
        {"spec.clients.requestTimeout": "15s"},
    ),
    BadInput(
        "request-outlasts-budget",
        CLUSTER,
        {"spec.clients": {"requestTimeout": "1m"}},
        "spec.clients.requestTimeout",
        "requestTimeout is 1m, longer than totalBudget (20s): shorten requestTimeout or lengthen "
        "totalBudget",
        {"spec.clients.totalBudget": "5m"},
    ),
    BadInput(
        "no-attempts",
        CLUSTER,
        {"spec.clients": {"attempts": 0}},
        "spec.clients.attempts",
        "spec.clients.attempts in body should be greater than or equal to 1",
        {"spec.clients.attempts": 1},
    ),
    BadInput(
        "fall-of-zero",
        CLUSTER,
        {"spec.server.loadBalancer": {"timings": {"fall": 0}}},
        "spec.server.loadBalancer.timings.fall",
        "spec.server.loadBalancer.timings.fall in body should be greater than or equal to 1",
        {"spec.server.loadBalancer.timings.fall": 3},
    ),
]

# path, range, the default that is named as example, and a value that is no good
_DURATIONS = [
    ("server.health.timeout", "50ms", "10s", "800ms", "1m"),
    ("server.health.startupTimeout", "10s", "2h", "10m", "5"),
    ("server.loadBalancer.timings.checkInterval", "100ms", "1m", "250ms", "two seconds"),
    ("server.loadBalancer.timings.fastInterval", "20ms", "1m", "25ms", "1ms"),
    ("server.loadBalancer.timings.connectTimeout", "10ms", "10s", "250ms", "-1s"),
    ("server.loadBalancer.timings.clientTimeout", "1s", "24h", "1h", "25h"),
    ("server.loadBalancer.timings.serverTimeout", "1s", "24h", "1h", "1d"),
    ("server.loadBalancer.flapLimit.period", "1m", "24h", "10m", "10s"),
    ("clients.initialBackoff", "1ms", "1m", "250ms", "0s"),
    ("clients.maxBackoff", "1ms", "10m", "2s", "1h"),
    ("clients.connectTimeout", "10ms", "1m", "500ms", "0.5s"),
    ("clients.requestTimeout", "100ms", "1h", "5s", "5 s"),
    ("clients.totalBudget", "1s", "24h", "20s", "100000h"),
]


def _duration_rows() -> Iterator[BadInput]:
    for path, shortest, longest, example, bad in _DURATIONS:
        name = path.rsplit(".", 1)[-1]
        yield BadInput(
            f"no-time-{path}",
            CLUSTER,
            {f"spec.{path}": bad},
            f"spec.{path}",
            f'{name} is "{bad}": write a time from {shortest} to {longest} with its unit, such as '
            f"{example}",
            {f"spec.{path}": example},
        )


_HOST: Final = BadInput(
    "host-with-an-empty-label",
    CLUSTER,
    {"spec.server.members.1.external": {"host": "dpe2..studio.example"}},
    "spec.server.members[1].external.host",
    r"should match '^[a-zA-Z0-9]((\.?[-a-zA-Z0-9])*\.?[a-zA-Z0-9])?$'",
    {"spec.server.members.1.external.host": "dpe2.studio.example"},
)
BALANCER_ROWS: Final = [*_HEALTH, *_BALANCER, *_FAILBACK, *_TIMINGS, *_duration_rows(), _HOST]
