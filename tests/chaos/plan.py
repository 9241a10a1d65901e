# SPDX-License-Identifier: Apache-2.0
"""What goes wrong, when and where: drawn from a seed, so that a run can be repeated. Pure."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

POD, LEASE, MEMORY, CLOCK, SITE = "pod", "Lease", "memory", "clock", "site"
SERVER, BALANCER, PROCESSOR = "server", "balancer", "processor"


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    where: what it strikes; a pod, the Lease of a component, a component with memory, one with a
    clock of its own, a DPE Server, a balancer, a processor of a farm, or the whole site.
    weight: how often it is drawn, beside the others.
    shortest, longest: seconds that it lasts; 0: it does not last.
    details: variants, one of which is drawn.
    acting: strikes only the pod that acts, as the other one has nothing that it could strike.
    """

    where: str
    weight: int
    shortest: float = 0.0
    longest: float = 0.0
    details: tuple[str, ...] = ("",)
    acting: bool = False


KINDS = {
    "pod deleted": Kind(POD, 7),
    "command killed": Kind(POD, 8, acting=True),
    "elector killed": Kind(POD, 6),
    "guard killed": Kind(POD, 7),
    "command frozen": Kind(POD, 6, 0.3, 6, acting=True),
    "elector frozen": Kind(POD, 6, 0.3, 7),
    "guard frozen": Kind(POD, 5, 0.3, 7),
    "pod frozen": Kind(POD, 8, 0.3, 9),
    "API connection cut": Kind(POD, 8, 0.5, 9),
    "token invalid": Kind(POD, 5, 0.5, 8),
    "crash loop": Kind(LEASE, 4, 0.5, 6),
    "Lease deleted": Kind(LEASE, 5, 0.1, 2),
    "Lease restored": Kind(LEASE, 5, 0.1, 2),
    "Lease edited": Kind(
        LEASE, 5, details=("clear", "stranger", "other candidate", "shorten", "touch", "lower")
    ),
    "memory volume hung": Kind(MEMORY, 5, 0.5, 6),
    "clock jumped": Kind(CLOCK, 5, 0.5, 6, ("+0.4", "+2", "+3600", "-2", "-3600")),
    "server killed": Kind(SERVER, 4),
    "server frozen": Kind(SERVER, 4, 0.3, 6),
    "processor killed": Kind(PROCESSOR, 8),
    "processor frozen": Kind(PROCESSOR, 7, 0.3, 6),
    "HAProxy killed": Kind(BALANCER, 4),
    "agent frozen": Kind(BALANCER, 4, 0.3, 6),
    "API server frozen": Kind(SITE, 6, 0.3, 4),
    "API server away": Kind(SITE, 4, 0.1, 3),
}
# Who is struck: more often the one that acts.
_ROLES = ("acting", "acting", "other")
# Of the moments at which something is struck, how many see two faults.
_PAIRS = 0.3


@dataclass(frozen=True)
class Layout:
    """Names of the components, of those that have a memory, or a clock of their own, of the pair
    of servers, of the pair of balancers and of the farm."""

    components: Sequence[str]
    memory: Sequence[str] = ()
    clock: Sequence[str] = ()
    servers: Sequence[str] = ()
    balancers: Sequence[str] = ()
    farms: Sequence[str] = ()


@dataclass(frozen=True)
class Fault:
    """`kind` at `at` (seconds from the start of the round) to `component`, for `seconds`.

    role: of its pods the one that acts or the other one; who that is shows when it is struck.
    order: a seed of its own, for what is left to chance when it is carried out.
    """

    number: int
    at: float
    kind: str
    component: str
    role: str
    seconds: float
    detail: str
    order: int

    def __str__(self) -> str:
        where = f" {self.component}/{self.role}" if self.component else ""
        lasts = f" for {self.seconds:.2f} s" if self.seconds else ""
        return f"{self.at:8.2f} {self.kind}{where} {self.detail}".rstrip() + lasts


@dataclass(frozen=True)
class Plan:
    """All faults of one round, in their order."""

    seed: str
    seconds: float
    faults: Sequence[Fault] = field(default_factory=tuple)

    def by_kind(self) -> dict[str, int]:
        """How many of each kind."""
        return dict(sorted(Counter(fault.kind for fault in self.faults).items()))

    def __str__(self) -> str:
        return "\n".join([f"seed {self.seed}: {len(self.faults)} faults", *map(str, self.faults)])


def draw(
    seed: str, *, seconds: float, rate: float, layout: Layout, only: Sequence[str] = ()
) -> Plan:
    """Draw a plan: the same arguments give the same plan.

    Args:
        seed: any text.
        seconds: length of the round.
        rate: faults in a second, on average.
        layout: what there is to strike.
        only: kinds to draw from; empty: all for which there is something to strike.
    """
    dice = random.Random(f"{seed}|{seconds:g}|{rate:g}")
    names = [name for name in (only or KINDS) if _targets(KINDS[name], layout)]
    weights = [KINDS[name].weight for name in names]
    faults: list[Fault] = []
    at = 0.0
    while True:
        at += dice.uniform(0.3, 1.7) * (1 + _PAIRS) / rate
        if at >= seconds:
            return Plan(seed, seconds, tuple(faults))
        for _ in range(2 if dice.random() < _PAIRS else 1):
            faults.append(_fault(dice, len(faults), at, dice.choices(names, weights)[0], layout))


def _fault(dice: random.Random, number: int, at: float, name: str, layout: Layout) -> Fault:
    kind = KINDS[name]
    component = dice.choice(_targets(kind, layout))
    role = dice.choice(_ROLES)
    if kind.where in (LEASE, SITE, PROCESSOR):
        role = "all"
    elif kind.acting:
        role = "acting"
    seconds = round(dice.uniform(kind.shortest, kind.longest), 3)
    detail = dice.choice(kind.details)
    return Fault(number, round(at, 3), name, component, role, seconds, detail, dice.getrandbits(32))


def _targets(kind: Kind, layout: Layout) -> Sequence[str]:
    if kind.where == SITE:
        return ("",)
    special = {
        MEMORY: layout.memory, CLOCK: layout.clock, SERVER: layout.servers,
        BALANCER: layout.balancers, PROCESSOR: layout.farms,
    }  # fmt: skip
    return special.get(kind.where, [*layout.components, *layout.balancers])
