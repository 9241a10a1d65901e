# SPDX-License-Identifier: Apache-2.0
"""What goes wrong in the model of the electors, and how one example is played."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.unit.elector.elector_model import Node
from tests.unit.elector.elector_world import INT32, World

from dpe_elector.timings import KILL_SECONDS, PROFILES, Timings

SAFE, FAST = PROFILES["Safe"], PROFILES["Fast"]
FAULTS_END = 120.0
# longest wait for a Lease, and a container that restarts twice on the way
CALM = 60.0
# the longest that a killed command acts on: the guard's longest tick is part of KILL_SECONDS
SLOWEST_DEATH = KILL_SECONDS - 0.2
VOUCHED = {"state": "released", "epoch": 0}


@dataclass(frozen=True)
class Fault:
    """`what` happens at `at` (true seconds) to node number `node`, for `seconds` where it lasts."""

    at: float
    what: str
    node: int
    seconds: float


def _calm_network(node: Node) -> None:
    node.network.cut, node.network.loss, node.network.delay = False, 0.0, 0.02


def _cut(world: World, node: Node, seconds: float) -> None:
    node.network.cut = True
    world.after(seconds, lambda: _calm_network(node))


def _lossy(world: World, node: Node, seconds: float) -> None:
    node.network.loss = world.random.uniform(0.05, 0.7)
    world.after(seconds, lambda: _calm_network(node))


def _slow(world: World, node: Node, seconds: float) -> None:
    node.network.delay = world.random.uniform(0.1, 6.0)
    world.after(seconds, lambda: _calm_network(node))


def _outage(world: World, node: Node, seconds: float) -> None:
    world.up = False

    def back() -> None:
        world.up = True

    world.after(seconds, back)


def _crash_elector(world: World, node: Node, seconds: float) -> None:
    node.guard.elector_died()


def _freeze_both(world: World, node: Node, seconds: float) -> None:
    node.freeze_guard(seconds)
    node.freeze_elector(seconds)


def _other_timings(world: World, node: Node, seconds: float) -> None:
    """The container comes back in place with the other profile, its command is long dead."""
    node.timings = FAST if node.timings == SAFE else SAFE
    node.container_died()


def _die_slowly(world: World, node: Node, seconds: float) -> None:
    """From now on a killed command acts on for a while."""
    node.dying = min(seconds / 40, 1.0) * SLOWEST_DEATH


def _lose_command(world: World, node: Node, seconds: float) -> None:
    """The program cannot be started for a while: a volume is missing, say."""
    node.able = False

    def back() -> None:
        node.able = True

    world.after(seconds, back)


def _hang(world: World, node: Node, seconds: float) -> None:
    if not node.guard.gone:
        node.hung_until = max(node.hung_until, world.now + seconds)


def _set_clock(world: World, node: Node, seconds: float) -> None:
    """The wall clock jumps, by less than a second or by hours, either way."""
    node.lead += world.random.choice((-1, 1)) * world.random.choice((0.02, 1.0, 500.0)) * seconds


def _delete(world: World, node: Node, seconds: float) -> None:
    world.delete()

    def again() -> None:
        if world.lease is None:
            world.create()

    world.after(seconds / 10, again)


def _restore(world: World, node: Node, seconds: float) -> None:
    """From a dump of any time; more often of one at which it had been given back."""
    given_back = [dump for dump in world.dumps if not dump["spec"].get("holderIdentity")]
    dumps = given_back if given_back and world.random.random() < 0.5 else world.dumps
    if not dumps:
        return
    dump = world.random.choice(dumps)
    world.delete()

    def again() -> None:
        if world.lease is None:
            world.restore(dump)

    world.after(seconds / 10, again)


FAULTS: dict[str, Callable[[World, Node, float], None]] = {
    "freeze the node": lambda world, node, seconds: node.freeze(seconds),
    "freeze the guard": lambda world, node, seconds: node.freeze_guard(seconds),
    "freeze the elector": lambda world, node, seconds: node.freeze_elector(seconds),
    "freeze the guard and the elector": _freeze_both,
    "kill the elector": _crash_elector,
    "kill the container": lambda world, node, seconds: node.container_died(),
    "restart with other timings": _other_timings,
    "kill slowly": _die_slowly,
    "lose the command": _lose_command,
    "end the command": lambda world, node, seconds: node.guard.command_exits(),
    "stop the pod": lambda world, node, seconds: node.guard.terminate(),
    "cut the network": _cut,
    "lose packets": _lossy,
    "slow the network": _slow,
    "stop the API server": _outage,
    "set the clock": _set_clock,
    "hang in a volume": _hang,
}
EDITS: dict[str, Callable[[World, Node, float], None]] = {
    "clear the holder": lambda world, node, seconds: world.edit(holderIdentity=""),
    "name a stranger": lambda world, node, seconds: world.edit(holderIdentity="stranger"),
    "name a candidate": lambda world, node, seconds: world.edit(holderIdentity=node.guard.identity),
    "use up the epochs": lambda world, node, seconds: world.edit(leaseTransitions=INT32),
    "shorten the duration": lambda world, node, seconds: world.edit(leaseDurationSeconds=1),
    "touch": lambda world, node, seconds: world.edit(renewTime="2020-01-01T00:00:00.000000Z"),
}
DELETIONS = {"delete the Lease": _delete, "restore the Lease": _restore}


def play(
    seed: int,
    timings: Sequence[Timings],
    rates: Sequence[float],
    faults: Sequence[Fault],
    *,
    once: Sequence[float | None] = (None, None, None),
) -> World:
    """Run one example to its end.

    `timings`, `rates` of the clocks and `once` (the patience of single runs) are by node; two
    timings make two nodes.
    """
    world = World(seed)
    world.create(VOUCHED)
    nodes = [
        Node(world, name, timings=chosen, rate=rate, once=patience)
        for name, chosen, rate, patience in zip("abc", timings, rates, once, strict=False)
    ]
    everything = {**FAULTS, **EDITS, **DELETIONS}
    for fault in faults:
        node = nodes[fault.node % len(nodes)]

        def strike(fault: Fault = fault, node: Node = node) -> None:
            everything[fault.what](world, node, fault.seconds)

        world.at(fault.at, strike)
    world.run_until(FAULTS_END + 45 + CALM)
    world.finish()
    return world
