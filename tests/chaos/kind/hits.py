# SPDX-License-Identifier: Apache-2.0
"""Faults that were carried out on the cluster: whom they struck, and when. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tests.chaos.faults import Struck
from tests.chaos.frontend import SERVERS
from tests.chaos.plan import Fault

from dpe_operator.api.addresses import member_name

NODE_LOST = {"node cut off", "node frozen", "node power cut"}
# To each pod of a machine, in the words of the judge.
_BY_NODE = {
    "node cut off": "API connection cut", "node frozen": "pod frozen",
    "node power cut": "guard killed", "node drained": "pod deleted",
}  # fmt: skip
_BY_DETAIL = {
    ("process stopped", "all"): "pod frozen",
    ("process stopped", "command"): "command frozen",
    ("process stopped", "elector"): "elector frozen",
    ("process killed", "elector"): "elector killed",
    ("process killed", "guard"): "guard killed",
}
_OTHERS = {"process killed": "command killed", "ServiceAccount deleted": "token invalid"}


@dataclass
class Hit:
    """A fault that was carried out, and whom it struck; times are boot times.

    pod: the one that was struck; empty: a machine, a Lease, the site.
    node: the machine that was lost or drained.
    pods: what ran there, or was struck, with the parts that they belong to.
    ended: the fault was over; settled: the site was whole again.
    """

    fault: Fault
    pod: str = ""
    node: str = ""
    pods: Mapping[str, str] = field(default_factory=dict)
    begun: float = 0.0
    ended: float = float("inf")
    settled: float = float("inf")
    problem: str = ""

    def touches(self, part: str) -> bool:
        """Whether it struck a pod of this part, or the part as a whole."""
        return (self.fault.component == part and not self.node) or part in self.pods.values()

    def strikes_server(self, member: str) -> bool:
        """Whether it struck a pod of this server: the operator calls them NAME-member-MEMBER-..."""
        name = f"{member_name('', member)}-"
        return any(part == SERVERS and name in pod for pod, part in self.pods.items())

    def around(self, at: float, *, before: float = 0.0) -> bool:
        """Whether it, or the time in which the site got over it, was at `at`, or shortly before."""
        return self.begun - 0.1 <= at and at - before <= self.settled

    def __str__(self) -> str:
        where = self.node or self.pod or self.fault.component
        detail = f" ({self.fault.detail})" if self.fault.detail else ""
        return f"{self.fault.kind}{detail} {where} {self.begun:.2f}-{self.ended:.2f}".replace(
            "  ", " "
        )


def strikes(hits: Iterable[Hit]) -> list[Struck]:
    """The faults in the judge's words: one for each pod that was struck."""
    found = []
    for hit in hits:
        fault = hit.fault
        kind = _BY_DETAIL.get((fault.kind, fault.detail), _OTHERS.get(fault.kind, fault.kind))
        if hit.node:
            kind = _BY_NODE[fault.kind]
        pods = hit.pods or {hit.pod: fault.component}
        for pod, part in pods.items():
            own = replace(fault, kind=kind, component=part)
            found.append(Struck(own, pod, hit.begun, hit.ended, hit.problem))
    return found
