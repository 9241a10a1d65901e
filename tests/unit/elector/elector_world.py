# SPDX-License-Identifier: Apache-2.0
"""The world around the model of the electors: true time, network, the API server with its Lease."""

import heapq
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dpe_elector import lease

# the highest leaseTransitions that the API server takes
INT32 = 2**31 - 1


@dataclass
class Network:
    """How calls fare between one node and the API server: delays in seconds, loss as a chance."""

    delay: float = 0.02
    loss: float = 0.0
    cut: bool = False


class Place(Protocol):
    """What the world knows of a pod (see elector_model.Node)."""

    network: Network

    def elector_woken(self) -> None:
        """A watch event came in."""

    def close_spell(self) -> None:
        """The history ends here."""


@dataclass(frozen=True)
class Spell:
    """A stretch of true time in which one command acted."""

    node: str
    epoch: int
    start: float
    end: float


class World:
    """True time, the API server with its one Lease, and the history of who acted when."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.lease: lease.JsonObject | None = None
        self.version = 0
        # all that it ever was since somebody held it first, for who restores it from a dump
        self.dumps: list[lease.JsonObject] = []
        self.up = True
        # chance that a watch event does not arrive
        self.deaf = 0.2
        self.nodes: list[Place] = []
        self.spells: list[Spell] = []
        self.starts: list[tuple[float, str, int]] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0

    def at(self, when: float, run: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._events, (max(when, self.now), self._number, run))

    def after(self, seconds: float, run: Callable[[], None]) -> None:
        self.at(self.now + seconds, run)

    def run_until(self, end: float) -> None:
        while self._events and self._events[0][0] <= end:
            self.now, _, run = heapq.heappop(self._events)
            run()
        self.now = end

    def finish(self) -> None:
        for node in self.nodes:
            node.close_spell()

    # --- the API server

    def create(self, record: dict[str, object] | None = None) -> lease.JsonObject:
        made = lease.empty("ns", "x")
        made["metadata"]["uid"] = f"uid-{self.version}"
        if record is not None:
            made["metadata"]["annotations"] = {lease.RECORD: json.dumps(record)}
        return self._store(made)

    def put(self, written: lease.JsonObject) -> lease.JsonObject | None:
        current = self.lease
        if current is None or (
            current["metadata"]["resourceVersion"] != written["metadata"]["resourceVersion"]
            or current["metadata"]["uid"] != written["metadata"]["uid"]
            or written["spec"]["leaseTransitions"] > INT32
        ):
            return None
        return self._store(written)

    def edit(self, **spec: object) -> None:
        """A human's `kubectl edit`."""
        if self.lease is not None:
            self._store({**self.lease, "spec": {**self.lease["spec"], **spec}})

    def delete(self) -> None:
        self.lease = None
        self._ring()

    def restore(self, dump: lease.JsonObject) -> None:
        """As after a namespace was restored: what it was once, under a new uid."""
        metadata = {**dump["metadata"], "uid": f"uid-{self.version}"}
        self._store({**dump, "metadata": metadata})

    def _store(self, made: lease.JsonObject) -> lease.JsonObject:
        before = self.lease["spec"].get("holderIdentity") if self.lease else None
        self.version += 1
        metadata = {**made["metadata"], "resourceVersion": str(self.version)}
        self.lease = {**made, "metadata": metadata}
        if self.dumps or made["spec"].get("holderIdentity"):
            self.dumps.append(self.lease)
        if made["spec"].get("holderIdentity") != before:
            self._ring()
        return self.lease

    def _ring(self) -> None:
        for node in self.nodes:
            if not node.network.cut and self.random.random() >= self.deaf:
                self.after(self.random.random() * 0.05, node.elector_woken)


def overlaps(spells: list[Spell]) -> list[tuple[Spell, Spell]]:
    """Return the pairs of spells of different containers that share some time."""
    found = []
    ordered = sorted(spells, key=lambda spell: spell.start)
    for index, one in enumerate(ordered):
        for other in ordered[index + 1 :]:
            if other.start >= one.end:
                break
            if other.node != one.node and min(one.end, other.end) > other.start:
                found.append((one, other))
    return found
