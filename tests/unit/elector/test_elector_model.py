# SPDX-License-Identifier: Apache-2.0
"""The election under everything that goes wrong: never two commands at once, epochs never fall.

Each example is a handful of faults at random times on two or three pods, see elector_faults.py; how
they are played out, see elector_model.py. That the model finds what it looks for is shown in
test_elector_planted.py.
"""

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from tests.unit.elector.elector_faults import (
    DELETIONS,
    EDITS,
    FAST,
    FAULTS,
    FAULTS_END,
    SAFE,
    VOUCHED,
    Fault,
    play,
)
from tests.unit.elector.elector_long_run import FAMILIES, play_example
from tests.unit.elector.elector_model import Node
from tests.unit.elector.elector_world import World, overlaps

from dpe_elector.timings import Timings


def schedules(names: list[str]) -> st.SearchStrategy[list[Fault]]:
    return st.lists(
        st.builds(
            Fault,
            at=st.floats(0, FAULTS_END),
            what=st.sampled_from(names),
            node=st.integers(0, 2),
            seconds=st.floats(0.05, 40),
        ),
        min_size=1,
        max_size=14,
    )


def nobody_overlaps(world: World) -> None:
    assert overlaps(world.spells) == []


def epochs_rise(world: World) -> None:
    epochs = [epoch for _, _, epoch in world.starts]
    assert epochs == sorted(set(epochs)), world.starts


def somebody_acts_in_the_end(world: World) -> None:
    assert any(spell.end == world.now for spell in world.spells), world.spells[-3:]


seeds = st.integers(0, 2**32)
drifting = st.lists(st.floats(0.99, 1.01), min_size=3, max_size=3)
either = st.sampled_from([SAFE, FAST])
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(few, max_examples=2000)


def mixed_timings(
    seed: int, timings: list[Timings], rates: list[float], faults: list[Fault]
) -> None:
    """Everything but a deleted Lease: never two, epochs rise, and somebody acts in the end."""
    world = play(seed, timings, rates, faults)
    event(f"starts: {min(len(world.starts), 8)}")
    nobody_overlaps(world)
    epochs_rise(world)
    somebody_acts_in_the_end(world)


def deleted_lease(seed: int, timings: Timings, rates: list[float], faults: list[Fault]) -> None:
    """A deleted Lease takes its epoch with it, and its record of a longer duration."""
    world = play(seed, [timings] * 3, rates, faults)
    nobody_overlaps(world)
    somebody_acts_in_the_end(world)


def single_runs(
    seed: int,
    timings: list[Timings],
    rates: list[float],
    faults: list[Fault],
    once: list[float | None],
) -> None:
    """Single runs, among themselves or with pods that stay: each container starts at most once."""
    world = play(seed, timings, rates, faults, once=once)
    event(f"starts: {min(len(world.starts), 8)}")
    nobody_overlaps(world)
    epochs_rise(world)
    single = [name for name, patience in zip("abc", once, strict=True) if patience is not None]
    started = [who for _, who, _ in world.starts if who[0] in single]
    assert len(started) == len(set(started)), world.starts


# with the Lease deleted, nothing says any more that a holder's duration is longer than one's own
WITH_ONE_PROFILE = [what for what in FAULTS if what != "restart with other timings"]
with_mixed_timings = given(
    seeds, st.lists(either, min_size=2, max_size=3), drifting, schedules([*FAULTS, *EDITS])
)
with_a_deleted_lease = given(
    seeds, either, drifting, schedules([*WITH_ONE_PROFILE, *EDITS, *DELETIONS, *DELETIONS])
)
with_single_runs = given(
    seeds,
    st.lists(either, min_size=2, max_size=3),
    drifting,
    schedules([*FAULTS, *EDITS]),
    st.lists(st.none() | st.floats(0.1, 60), min_size=3, max_size=3).filter(any),
)
test_never_two_with_mixed_timings = few(with_mixed_timings(mixed_timings))
test_never_two_with_the_lease_deleted = few(with_a_deleted_lease(deleted_lease))
test_never_two_with_single_runs = few(with_single_runs(single_runs))


@pytest.mark.level2
@pytest.mark.timeout(1800)
@many
@with_mixed_timings
def test_thousands_with_mixed_timings(
    seed: int, timings: list[Timings], rates: list[float], faults: list[Fault]
) -> None:
    mixed_timings(seed, timings, rates, faults)


@pytest.mark.level2
@pytest.mark.timeout(1800)
@many
@with_single_runs
def test_thousands_with_single_runs(
    seed: int,
    timings: list[Timings],
    rates: list[float],
    faults: list[Fault],
    once: list[float | None],
) -> None:
    single_runs(seed, timings, rates, faults, once)


@pytest.mark.level2
@pytest.mark.timeout(1800)
@many
@with_a_deleted_lease
def test_thousands_with_the_lease_deleted(
    seed: int, timings: Timings, rates: list[float], faults: list[Fault]
) -> None:
    deleted_lease(seed, timings, rates, faults)


@pytest.mark.parametrize("timings", [SAFE, FAST])
def test_without_faults_one_runs_for_ever(timings: Timings) -> None:
    world = play(1, [timings] * 3, [0.99, 1.0, 1.01], [])
    assert [epoch for _, _, epoch in world.starts] == [1]
    assert world.spells[0].end - world.spells[0].start > FAULTS_END


def _held(seed: int, until: float) -> tuple[World, Node, Node]:
    """Two pods with Safe timings: who holds the Lease at `until`, and the other."""
    world = World(seed)
    world.deaf = 0.0
    world.create(VOUCHED)
    nodes = [Node(world, name, timings=SAFE) for name in "ab"]
    world.run_until(until)
    nodes.sort(key=lambda node: node.guard.phase.value != "running")
    return world, nodes[0], nodes[1]


@pytest.mark.parametrize(
    ("what", "limit"),
    [("kill the container", 17.0), ("cut the network", 17.0), ("end the command", 0.3)],
)
def test_take_over_times(what: str, limit: float) -> None:
    """From the fault to the start on another pod, with Safe timings."""
    for seed in range(8):
        world, holder, _ = _held(seed, 30 + seed / 7)
        struck = world.now
        FAULTS[what](world, holder, 100.0)
        world.run_until(struck + 40)
        started, who, epoch = world.starts[1]
        assert started - struck <= limit, (seed, what)
        assert not who.startswith(holder.name)
        assert epoch == 2


@pytest.mark.parametrize(
    ("what", "starts"), [("freeze the guard", 1), ("freeze the guard and the elector", 2)]
)
def test_a_thawed_guard_reads_the_renewals_it_slept_over(what: str, starts: int) -> None:
    """With the elector awake the newest permit is good; with both asleep the Lease is lost."""
    world, holder, _ = _held(3, 30.0)
    FAULTS[what](world, holder, 40.0)
    world.run_until(80)
    assert len(world.starts) == starts


def test_what_is_killed_at_a_thaw_does_not_count_as_acting() -> None:
    """Neither does the time up to the guard's first scheduling: see Outside of the bound."""
    faults = [Fault(0.0, "kill slowly", 0, 1.0), Fault(18.0, "freeze the node", 0, 15.0)]
    for seed in range(20):
        nobody_overlaps(play(seed, [SAFE] * 2, [1.0] * 2, faults, once=[None, 16.0, None]))


def test_who_misses_the_command_takes_nothing() -> None:
    world, holder, other = _held(4, 30.0)
    FAULTS["lose the command"](world, holder, 60.0)
    FAULTS["kill the container"](world, holder, 0.0)
    FAULTS["cut the network"](world, other, 30.0)
    world.run_until(59)
    assert len(world.starts) == 1
    world.run_until(80)
    assert [who[0] for _, who, _ in world.starts[1:]] == [other.name]


def test_single_runs_come_one_after_the_other() -> None:
    world = play(5, [SAFE] * 3, [1.0] * 3, [], once=[20.0] * 3)
    assert len(world.starts) > 5
    assert len({who for _, who, _ in world.starts}) == len(world.starts)
    nobody_overlaps(world)
    epochs_rise(world)


def test_an_example_of_a_long_run_can_be_played_again() -> None:
    for number in range(len(FAMILIES)):
        one = play_example("1", number)
        assert one == play_example("1", number)
        assert (one.family, one.broken) == (FAMILIES[number], ())
        assert one.steps > len(one.faults)
