# SPDX-License-Identifier: Apache-2.0
"""What goes wrong on the cluster, in which order: drawn from a seed, so that it can be repeated. Pure.

Unlike on processes nothing has a time of its own: a moment begins when the site has got over the
one before, and how long that takes is up to the machine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tests.chaos.plan import Fault

# What a fault may strike, see Layout.
SERVER, BALANCER, SINGLETON, FARM, OPERATOR = "server", "balancer", "singleton", "farm", "operator"
_PODS = (SERVER, BALANCER, SINGLETON, FARM, OPERATOR)
_OF_SITE = (SERVER, BALANCER, SINGLETON, FARM)
# Who is struck: more often the one that acts.
_ROLES = ("acting", "acting", "other")
_BOTH = {"ServiceAccount deleted", "Lease deleted", "rolling update", "planned switch"}
# Of the moments, how many see two faults; the second one begins up to so many seconds later.
_PAIRS, _APART_SECONDS = 0.3, 6.0


@dataclass(frozen=True)
class Kind:
    """A kind of fault.

    count: how often it is in a deck, from which faults are drawn as cards are: so that each kind
    comes, and none comes much more often than it should.
    where: what it strikes; empty: the whole site.
    shortest, longest: seconds that it lasts; 0: it does not last.
    details: variants, one of which is drawn.
    node: it takes a whole machine away. asks: it cannot be done without the API server.
    """

    count: int
    where: Sequence[str] = ()
    shortest: float = 0.0
    longest: float = 0.0
    details: Sequence[str] = ("",)
    node: bool = False
    asks: bool = False


KINDS = {
    "pod deleted": Kind(5, _PODS, details=("", "", "at once"), asks=True),
    "process killed": Kind(4, _PODS, details=("all", "command", "elector", "guard")),
    "process stopped": Kind(3, _PODS, 2, 15, ("all", "all", "command", "elector")),
    "node cut off": Kind(2, _OF_SITE, 8, 25, node=True),
    "node frozen": Kind(2, _OF_SITE, 8, 25, node=True),
    "node power cut": Kind(1, _OF_SITE, 1, 10, node=True, asks=True),
    "node drained": Kind(1, _OF_SITE, node=True, asks=True),
    "Lease deleted": Kind(1, (BALANCER, SINGLETON), asks=True),
    "ServiceAccount deleted": Kind(1, (BALANCER, SINGLETON), asks=True),
    "planned switch": Kind(1, (SERVER,), asks=True),
    "rolling update": Kind(1, (SERVER, SINGLETON, FARM), asks=True),
    "database frozen": Kind(1, (), 3, 20),
    "API server away": Kind(1, (), 30, 60),
    "packets lost": Kind(1, (SERVER, BALANCER), 10, 20),
}


@dataclass(frozen=True)
class Layout:
    """Names of what there is to strike: each name stands for two or more pods."""

    servers: str
    balancers: str
    singletons: Sequence[str]
    farms: Sequence[str]
    operator: str

    def names(self, where: str) -> Sequence[str]:
        """Of one sort."""
        return {
            SERVER: (self.servers,), BALANCER: (self.balancers,), SINGLETON: self.singletons,
            FARM: self.farms, OPERATOR: (self.operator,),
        }[where]  # fmt: skip


@dataclass(frozen=True)
class Moment:
    """One fault, or two that overlap; `Fault.at` counts from the beginning of the moment."""

    number: int
    faults: Sequence[Fault]

    def __str__(self) -> str:
        return "\n".join(f"{self.number:4} {fault}" for fault in self.faults)


def draw(seed: str, layout: Layout, *, only: Sequence[str] = ()) -> Iterator[Moment]:
    """Draw moments without an end; the same arguments give the same ones.

    Args:
        seed: any text.
        layout: what there is to strike.
        only: kinds to draw from; empty: all.
    """
    dice = random.Random(f"kind|{seed}")
    kinds, targets = _Deck(dice, _cards(only)), _Targets(dice, layout)
    number, moment = 0, 0
    while True:
        moment += 1
        names = [kinds.take()]
        if dice.random() < _PAIRS and (second := kinds.take_fitting(names[0])):
            names.append(second)
        faults = []
        for place, name in enumerate(names):
            number += 1
            fault = targets.fault(name, number)
            later = round(dice.uniform(0, _APART_SECONDS), 2) if place else 0.0
            faults.append(replace(fault, at=later))
        yield Moment(moment, tuple(faults))


def may_meet(first: str, second: str) -> bool:
    """Whether two kinds may overlap.

    Never two machines at once: of three that would leave one, which no site of this size survives.
    Nothing that needs the API server while that is away.
    """
    one, other = KINDS[first], KINDS[second]
    if one.node and other.node:
        return False
    away = "API server away"
    return not ((first == away and other.asks) or (second == away and one.asks) or first == second)


def _cards(only: Sequence[str]) -> list[str]:
    return [
        name for name, kind in KINDS.items() if name in (only or KINDS) for _ in range(kind.count)
    ]


class _Deck:
    """Cards are drawn until none is left, then all are shuffled anew."""

    def __init__(self, dice: random.Random, cards: Sequence[str]) -> None:
        self._dice, self._all = dice, cards
        self._left: list[str] = []

    def take(self) -> str:
        """The next card."""
        self._fill()
        return self._left.pop()

    def take_fitting(self, first: str) -> str:
        """The next card that may meet another one; empty: there is none in this deck."""
        self._fill()
        for place in range(len(self._left) - 1, -1, -1):
            if may_meet(first, self._left[place]):
                return self._left.pop(place)
        return ""

    def _fill(self) -> None:
        if not self._left:
            self._left = self._dice.sample(self._all, len(self._all))


class _Targets:
    """Each kind goes through all that it can strike before it strikes the same again."""

    def __init__(self, dice: random.Random, layout: Layout) -> None:
        self._dice, self._layout = dice, layout
        self._decks: dict[str, _Deck] = {}

    def fault(self, name: str, number: int) -> Fault:
        """A fault of this kind."""
        kind, dice = KINDS[name], self._dice
        component, role = "", "all"
        if kind.where:
            deck = self._decks.setdefault(name, _Deck(dice, self._cards(name)))
            component, _, role = deck.take().partition("|")
        seconds = round(dice.uniform(kind.shortest, kind.longest), 2)
        detail = dice.choice(kind.details)
        return Fault(number, 0.0, name, component, role, seconds, detail, dice.getrandbits(32))

    def _cards(self, name: str) -> list[str]:
        roles = ("all",) if name in _BOTH else _ROLES
        return [
            f"{one}|{role}"
            for where in KINDS[name].where
            for one in self._layout.names(where)
            for role in roles
        ]
