# SPDX-License-Identifier: Apache-2.0
"""What the cluster says at one moment: who acts, which pod is where, and what is missing. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.e2e.kubectl import Object, condition
from tests.e2e.workflow import seconds_of

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
_PREFIX = "dpe.dev/"
# Kubernetes waits this long before it tries for the next time, and longer each time.
CRASHED = "CrashLoopBackOff"
# Who acts renews the Lease every 0.5 to 2 s.
_RENEWED_SECONDS = 5.0
# Without these no pod is made anew. They end when the API server is away, and renew every 2 s.
_CONTROLLERS, _CONTROLLED_SECONDS = ("kube-controller-manager", "kube-scheduler"), 8.0


@dataclass(frozen=True)
class Part:
    """Something of which several pods are there.

    name: of the pods' owner, as a plan and the ledger call it. labels: of its pods.
    pods: how many there are when all is well. lease: the Lease by which one of them acts.
    account: of its pods, where that is its own.
    """

    name: str
    labels: Mapping[str, str]
    pods: int
    lease: str = ""
    account: str = ""
    singleton: bool = False


@dataclass(frozen=True)
class Snapshot:
    """What two questions to the API server have told at `now` (seconds since 1970)."""

    parts: Sequence[Part]
    pods: Sequence[Object] = field(default_factory=tuple)
    nodes: Sequence[Object] = field(default_factory=tuple)
    leases: Mapping[str, Object] = field(default_factory=dict)
    record: Object = field(default_factory=dict)
    cluster: Object = field(default_factory=dict)
    now: float = 0.0
    system_leases: Mapping[str, Object] = field(default_factory=dict)
    system_pods: Sequence[Object] = field(default_factory=tuple)

    # --- who and where

    def of(self, part: Part) -> list[Object]:
        """Its pods that are not on their way out."""
        return [pod for pod in self.all_of(part) if "deletionTimestamp" not in pod["metadata"]]

    def all_of(self, part: Part) -> list[Object]:
        """All its pods."""
        wanted = part.labels.items()
        return [pod for pod in self.pods if wanted <= pod["metadata"].get("labels", {}).items()]

    def part(self, name: str) -> Part:
        """The part of that name."""
        return next(one for one in self.parts if one.name == name)

    def acting(self, name: str) -> Object | None:
        """The pod that acts for a part: active server, routed balancer, holder; None: nobody.

        Of processors all act: the first one.
        """
        part, pods = self.part(name), self.of(self.part(name))
        if part.lease:
            holder = str(
                self.leases.get(part.lease, {}).get("spec", {}).get("holderIdentity") or ""
            )
            return next((pod for pod in pods if holder.startswith(pod["metadata"]["uid"])), None)
        active = self.active_member
        members = [pod for pod in pods if pod["metadata"]["labels"].get(_PREFIX + "member")]
        if members:
            return next((pod for pod in members if member_of(pod) == active), None)
        return pods[0] if pods else None

    def target(self, name: str, role: str) -> Object | None:
        """The pod that a fault of this role strikes; where nobody acts, any."""
        pods = sorted(self.of(self.part(name)), key=_name)
        acting = self.acting(name)
        others = [pod for pod in pods if acting is None or _name(pod) != _name(acting)]
        if role == "other":
            return others[0] if others else acting
        return acting or (pods[0] if pods else None)

    @property
    def active_member(self) -> str:
        """The recorded active member."""
        notes = self.record.get("metadata", {}).get("annotations") or {}
        return str(notes.get(_PREFIX + "active-member", ""))

    def on_node(self, node: str) -> dict[str, str]:
        """Names of the pods on a node, with the part that they belong to."""
        return {
            _name(pod): part.name
            for part in self.parts
            for pod in self.all_of(part)
            if pod["spec"].get("nodeName") == node
        }

    def workers(self) -> list[str]:
        """Nodes that run a site's pods."""
        return [_name(one) for one in self.nodes if CONTROL_PLANE not in one["metadata"]["labels"]]

    # --- whether all is well

    def missing(self) -> list[str]:
        """What is not as before the first fault, in words; empty: the site is whole."""
        found = [f"node {_name(one)} is not Ready" for one in self.nodes if not is_ready(one)]
        found += [
            f"node {_name(one)} takes no pods"
            for one in self.nodes
            if one["spec"].get("unschedulable")
        ]
        for part in self.parts:
            found += self._missing_of(part)
        for name in _CONTROLLERS:
            if (age := self._since_renewal(self.system_leases, name)) > _CONTROLLED_SECONDS:
                found.append(f"{name} has not worked for {age:.0f} s")
        return [*found, *self._missing_servers()]

    def _missing_of(self, part: Part) -> Iterable[str]:
        ready = [pod for pod in self.of(part) if is_ready(pod)]
        if len(ready) < part.pods:
            yield f"{len(ready)} of {part.pods} pods of {part.name} are ready"
        if len(self.all_of(part)) > part.pods:
            yield f"a pod of {part.name} is on its way out"
        if part.lease and (acting := self.acting(part.name)) not in ready:
            who = _name(acting) if acting else "nobody"
            yield f"Lease {part.lease}: {who} holds it"
        elif (
            part.lease and (age := self._since_renewal(self.leases, part.lease)) > _RENEWED_SECONDS
        ):
            # a container that was started anew has the same pod, and not the Lease of before
            yield f"Lease {part.lease} was renewed {age:.0f} s ago"

    def _since_renewal(self, leases: Mapping[str, Object], lease: str) -> float:
        renewed = leases.get(lease, {}).get("spec", {}).get("renewTime")
        return self.now - seconds_of(str(renewed)) if renewed else 0.0

    def _missing_servers(self) -> Iterable[str]:
        members = self.cluster.get("status", {}).get("members", [])
        for one in members:
            if one.get("state") != "Up":
                yield f"member {one.get('name')} is {one.get('state')}"
        if self.cluster.get("status", {}).get("active") != self.active_member:
            yield "status and record name different active members"
        generation = self.cluster.get("metadata", {}).get("generation")
        if self.cluster.get("status", {}).get("observedGeneration") != generation:
            yield "the operator has not seen the last change"
        endpoints = self.record.get("endpoints") or []
        routed = endpoints[0].get("targetRef", {}).get("name") if endpoints else ""
        if routed not in {_name(pod) for pod in self.pods if is_ready(pod)}:
            yield f"clients are sent to {routed or 'nobody'}"


def waiting(pods: Iterable[Object]) -> list[Object]:
    """Those of the pods whose next start Kubernetes has put off."""
    return [pod for pod in pods if any(CRASHED in reason for reason in _reasons(pod))]


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


def member_of(pod: Object) -> str:
    """Which member of the pair of servers the pod is."""
    return str(pod["metadata"]["labels"].get(_PREFIX + "member", ""))


def is_ready(item: Object) -> bool:
    """Whether a pod or node has condition Ready."""
    return bool(condition(item, "Ready").get("status") == "True")


def _reasons(pod: Object) -> Iterable[str]:
    for one in pod.get("status", {}).get("containerStatuses", []):
        yield str(one.get("state", {}).get("waiting", {}).get("reason", ""))
