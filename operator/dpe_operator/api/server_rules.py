# SPDX-License-Identifier: Apache-2.0
"""CEL rules of the pair and its balancer: what the API server refuses, and the sentence it says.

Kept beside the models rather than inside them because the sentences are long. Every rule has a
passing and a refused sample in `tests/support/bad_input.py`, run against a real API server.
"""

from __future__ import annotations

from typing import Final

from dpe_operator.api.common import Rule, duration_at_most, one_at_a_path
from dpe_operator.api.constants import DEFAULT_SERVICE_ROOT_ENV, MAX_NAME

HEALTH_TLS: Final = (
    Rule(
        "self.verify == 'Required' || !has(self.caSecretRef)",
        "verify is None, so the certificates of caSecretRef %s are never used: write verify: "
        "Required, or remove caSecretRef",
        values=("self.caSecretRef.name",),
        field=".caSecretRef",
    ),
)

HEALTH: Final = (
    Rule(
        "self.scheme == 'HTTPS' || !has(self.tls)",
        "scheme is HTTP, so tls has nothing to check: write scheme: HTTPS, or remove tls",
        field=".tls",
    ),
    Rule(
        "type(self.status) != string || self.status.size() != 7"
        " || self.status.substring(0, 3) <= self.status.substring(4)",
        "status is %s, a range from high to low: write the lower status first, such as 200-399",
        values=("self.status",),
        field=".status",
    ),
)

_IN_CLUSTER_ONLY = ("image", "env", "envFrom", "hostName", "nodeSelector", "volumes")

MEMBER: Final = (
    Rule(
        "!has(self.external) || !("
        + " || ".join(f"has(self.{name})" for name in _IN_CLUSTER_ONLY)
        + ")",
        "member %s is external (%s) and has settings of a pod:"
        + "%s" * len(_IN_CLUSTER_ONLY)
        + ". Remove these, or remove external to run it in the cluster",
        values=(
            "self.name",
            "self.external.host",
            *(f"has(self.{name}) ? ' {name}' : ''" for name in _IN_CLUSTER_ONLY),
        ),
    ),
    one_at_a_path("volumes"),
)

BALANCER_TLS: Final = (
    Rule(
        "self.mode != 'Terminate' || has(self.certificateSecretRef)",
        "mode is Terminate and there is no certificateSecretRef: name the Secret (type "
        "kubernetes.io/tls) with the certificate that clients are to see, or write mode: "
        "Passthrough",
        field=".certificateSecretRef",
    ),
    Rule(
        "self.mode == 'Terminate' || !has(self.certificateSecretRef)",
        "mode is %s, so the balancer never uses certificateSecretRef %s: write mode: Terminate, or "
        "remove it",
        values=("self.mode", "self.certificateSecretRef.name"),
        field=".certificateSecretRef",
    ),
)

_OLD_CLASS = "(has(oldSelf.loadBalancerClass) ? oldSelf.loadBalancerClass : '(none)')"
_NEW_CLASS = "(has(self.loadBalancerClass) ? self.loadBalancerClass : '(none)')"

BALANCER_SERVICE: Final = (
    Rule(
        "!has(self.nodePort) || self.type != 'ClusterIP'",
        "nodePort is %s and type is ClusterIP, which has none: write type: NodePort or "
        "LoadBalancer, or remove nodePort",
        values=("self.nodePort",),
        field=".nodePort",
    ),
    Rule(
        "!has(self.loadBalancerClass) || self.type == 'LoadBalancer'",
        "loadBalancerClass is %s and type is %s: write type: LoadBalancer, or remove "
        "loadBalancerClass",
        values=("self.loadBalancerClass", "self.type"),
        field=".loadBalancerClass",
    ),
    Rule(
        # Kubernetes' own rule for the Service that is made of it, which would be refused for ever
        "self.type != 'LoadBalancer' || oldSelf.type != 'LoadBalancer'"
        f" || {_OLD_CLASS} == {_NEW_CLASS}",
        "loadBalancerClass cannot be changed from %s to %s while type is LoadBalancer: write type: "
        "ClusterIP without loadBalancerClass first, and what you want once the Service has that "
        "type (its address goes meanwhile, and may be another one afterwards)",
        values=(_OLD_CLASS, _NEW_CLASS),
        field=".loadBalancerClass",
    ),
)

FAILBACK: Final = (
    Rule(
        "self.policy == 'Automatic' || !has(self.quietPeriod)",
        "policy is %s, so quietPeriod %s is not used: write policy: Automatic, or remove "
        "quietPeriod",
        values=("self.policy", "self.quietPeriod"),
        field=".quietPeriod",
    ),
)

_CHECK = "(has(self.checkInterval) ? self.checkInterval : '250ms')"
_FAST = "(has(self.fastInterval) ? self.fastInterval : '25ms')"

TIMINGS: Final = (
    Rule(
        duration_at_most(_FAST, _CHECK),
        "fastInterval is %s, longer than checkInterval (%s): after a failed check the balancer "
        "must look sooner, so shorten fastInterval or lengthen checkInterval",
        values=(_FAST, _CHECK),
        field=".fastInterval",
    ),
)

LOAD_BALANCER: Final = (
    Rule(
        "self.type != 'External' || has(self.externalAddress)",
        "type is External and there is no externalAddress: write the host of your own balancer, "
        "such as externalAddress: {host: dpe.studio.example}, or write type: HAProxy",
        field=".externalAddress",
    ),
    Rule(
        "self.type == 'External' || !has(self.externalAddress)",
        "type is %s, so externalAddress %s is not used: write type: External, or remove "
        "externalAddress",
        values=("self.type", "self.externalAddress.host"),
        field=".externalAddress",
    ),
    Rule(
        "self.type != 'External' || self.tls.mode != 'Terminate'",
        "type is External, so your own balancer ends TLS: remove tls.mode Terminate and "
        "certificateSecretRef, or write type: HAProxy",
        field=".tls",
    ),
    Rule(
        "!has(self.resources) || !has(self.resources.limits) || !('cpu' in self.resources.limits)",
        "resources.limits.cpu is %s: a balancer that is slowed down looks dead to its partner. "
        "Remove it; requests.cpu may be set",
        values=("self.resources.limits['cpu']",),
        field=".resources",
    ),
)

_TWO_EXTERNAL = (
    "self.members.size() == 2 && has(self.members[0].external) && has(self.members[1].external)"
)


def _external_port(index: int) -> str:
    port = f"self.members[{index}].external.port"
    return f"(has({port}) ? {port} : self.port)"


_MEMBERS_RULES: Final = (
    Rule(
        "self.members.size() == 2",
        "members has %s entries: write exactly two servers, which are one active and one hot "
        "standby",
        values=("self.members.size()",),
        field=".members",
    ),
    Rule(
        "has(self.image) || self.members.all(m, has(m.external) || has(m.image))",
        "member %s runs in the cluster and has no image: write image for the pair or the member, "
        "or external.host for a machine outside",
        values=("self.members.filter(m, !has(m.external) && !has(m.image))[0].name",),
        field=".image",
    ),
    Rule(
        f"!({_TWO_EXTERNAL})"
        " || self.members[0].external.host != self.members[1].external.host"
        f" || {_external_port(0)} != {_external_port(1)}",
        "both members are %s:%s: one server twice is no redundancy, write the second one",
        values=("self.members[0].external.host", _external_port(0)),
        field=".members",
    ),
    Rule(
        "self.members.size() != 2 || !has(self.members[0].hostName)"
        " || !has(self.members[1].hostName)"
        " || self.members[0].hostName != self.members[1].hostName",
        "both members have hostName %s: DPE tells computers apart by name, write two",
        values=("self.members[0].hostName",),
        field=".members",
    ),
    Rule(
        "self.os != 'windows' || !self.members.exists(m, has(m.volumes) &&"
        " m.volumes.exists(v, has(v.nfs)))",
        "member %s mounts nfs, which Windows nodes cannot: write claimName with a claim of an SMB "
        "driver",
        values=(
            "self.members.filter(m, has(m.volumes) && m.volumes.exists(v, has(v.nfs)))[0].name",
        ),
        field=".members",
    ),
)

_CONNECT = (
    "(has(self.loadBalancer.timings) && has(self.loadBalancer.timings.connectTimeout)"
    " ? self.loadBalancer.timings.connectTimeout : '250ms')"
)
_TIMEOUT = "(has(self.health.timeout) ? self.health.timeout : '800ms')"

_TLS_RULES: Final = (
    Rule(
        "self.loadBalancer.type == 'External' || self.loadBalancer.tls.mode != 'Passthrough'"
        " || self.health.scheme == 'HTTPS'",
        "health.scheme is HTTP and loadBalancer.tls.mode is Passthrough, which needs members that "
        "speak TLS: write health.scheme: HTTPS, or tls.mode: Terminate (balancer ends TLS) or "
        "None (plain HTTP)",
        field=".health",
    ),
    Rule(
        "self.loadBalancer.type == 'External' || self.loadBalancer.tls.mode != 'None'"
        " || self.health.scheme == 'HTTP'",
        "health.scheme is HTTPS and loadBalancer.tls.mode is None, which is plain HTTP from client "
        "to member: write health.scheme: HTTP, or tls.mode: Passthrough or Terminate",
        field=".health",
    ),
    Rule(
        duration_at_most(_CONNECT, _TIMEOUT),
        "loadBalancer.timings.connectTimeout is %s, longer than health.timeout (%s), so checks "
        "would give up before it: shorten connectTimeout or lengthen health.timeout",
        values=(_CONNECT, _TIMEOUT),
        field=".health",
    ),
)

SERVER: Final = _MEMBERS_RULES + _TLS_RULES


def immutable_ref(name: str) -> Rule:
    """Return the rule that an optional reference never appears, changes or goes away."""
    old = f"(has(oldSelf.{name}) ? oldSelf.{name}.name : '(none)')"
    new = f"(has(self.{name}) ? self.{name}.name : '(none)')"
    return Rule(
        f"{old} == {new}",
        f"{name} cannot be changed from %s to %s: delete this resource and create it anew for the "
        "other DpeCluster",
        values=(old, new),
        field=f".{name}",
    )


RENAME: Final = "remove it, or write another name in clients.serviceRootEnv"


def reserved_env(
    condition: str,
    name: str,
    *,
    where: str,
    values: tuple[str, ...] = (),
    cure: str = "remove it",
) -> Rule:
    """Return the rule that nobody sets the variable of the balancer's URL by hand.

    `condition` is CEL that is true when it is not set, `name` the CEL that gives the variable's
    name, `where` what is said about the place, with `%s` for each of `values`. `RENAME` is a cure
    for the servers only: elsewhere the default name stays reserved whatever is written there.
    """
    return Rule(
        condition,
        f"env {where} sets %s, which the operator sets to the balancer's address so that no "
        f"component talks to a single server: {cure}",
        values=(*values, name),
    )


def _no_env(holder: str, name: str) -> str:
    return f"(!has({holder}.env) || !{holder}.env.exists(e, e.name == {name}))"


def no_env_in_pair(pair: str, name: str) -> str:
    """CEL: neither the pair at path `pair` nor one of its members sets the variable `name`."""
    return f"{_no_env(pair, name)} && {pair}.members.all(m, {_no_env('m', name)})"


def no_env(holder: str, name: str) -> str:
    """CEL: the holder (a pod's settings at a path) does not set the variable `name`."""
    return _no_env(holder, name)


_PAIR_ENV = f"(has(self.clients) ? self.clients.serviceRootEnv : '{DEFAULT_SERVICE_ROOT_ENV}')"

DPE_SERVER: Final = (
    immutable_ref("clusterRef"),
    reserved_env(no_env_in_pair("self", _PAIR_ENV), _PAIR_ENV, where="of the servers", cure=RENAME),
    one_at_a_path("sharedVolumes"),
)


def short_name(longest: int, why: str) -> Rule:
    """Return the rule for `metadata.name`: a DNS label of at most `longest` characters."""
    return Rule(
        f"size(self.metadata.name) <= {longest}"
        " && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
        f"metadata.name is %s (%s characters): write at most {longest} lower-case letters, digits "
        f"and dashes, beginning with a letter, because {why}",
        values=("self.metadata.name", "size(self.metadata.name)"),
    )


PAIR_NAME: Final = (short_name(MAX_NAME, "names of Services are made from it"),)
