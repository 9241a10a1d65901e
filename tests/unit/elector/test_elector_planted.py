# SPDX-License-Identifier: Apache-2.0
"""The model of the electors is of no use if it stays green whatever the election does.

Each test here breaks one rule, plays examples that need it, and demands that what it leads to is
found: two commands that act, epochs that do not rise, or nobody who acts in the end. The same
examples with the rule in force must stay clean. Seeds are counted up, nothing is drawn anew, so a
test finds the same thing on every run.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import pytest
from tests.unit.elector import elector_model
from tests.unit.elector.elector_faults import FAST, SAFE, SLOWEST_DEATH, VOUCHED, Fault, play
from tests.unit.elector.elector_model import Node
from tests.unit.elector.elector_world import World, overlaps

from dpe_elector import election, lease
from dpe_elector.election import Call, Rules, State
from dpe_elector.lease import JsonObject, LeaseView
from dpe_elector.steps import Action, Observation, Write
from dpe_elector.timings import Timings

MOST_EXAMPLES = 60
# of the intact election: enough to see that it is the broken rule that is found
CONTROLS = 6

Break = Callable[[pytest.MonkeyPatch], None]
Example = Callable[[int], World]
Look = Callable[[World], bool]


def two_act(world: World) -> bool:
    """Whether two commands acted at once."""
    return bool(overlaps(world.spells))


def epochs_fall(world: World) -> bool:
    """Whether a start had no epoch above all earlier ones."""
    epochs = [epoch for _, _, epoch in world.starts]
    return epochs != sorted(set(epochs))


def nobody_acts(world: World) -> bool:
    """Whether no command acts in the end, though nothing is wrong any more."""
    return not any(spell.end == world.now for spell in world.spells)


def _everywhere(at: float, what: str, seconds: float = 30.0) -> list[Fault]:
    """The same for every node, so that it strikes the holder, whichever that is."""
    return [Fault(at, what, node, seconds) for node in range(3)]


# --- the rules, broken


def _permit_from_the_end(patch: pytest.MonkeyPatch) -> None:
    intact = election._wrote

    def wrote(rules: Rules, state: State, seen: LeaseView, now: float) -> State:
        learned = intact(rules, state, seen, now)
        if state.call in (Call.TAKE, Call.RENEW):
            return replace(learned, until=now + rules.timings.renew_deadline)
        return learned

    patch.setattr(election, "_wrote", wrote)


def _waits_its_own_duration(patch: pytest.MonkeyPatch) -> None:
    intact = election._remember

    def remember(rules: Rules, state: State, seen: LeaseView, now: float) -> State:
        return replace(intact(rules, state, seen, now), longest=0.0)

    patch.setattr(election, "_remember", remember)


def _takes_what_was_cleared(patch: pytest.MonkeyPatch) -> None:
    intact = election._free_at

    def free_at(rules: Rules, state: State) -> float:
        assert state.seen is not None
        return intact(rules, state) if state.seen.holder else float("-inf")

    patch.setattr(election, "_free_at", free_at)


def _goes_on_after_another_name(patch: pytest.MonkeyPatch) -> None:
    intact = election._found

    def found(rules: Rules, state: State, seen: LeaseView | None, now: float) -> State:
        learned = intact(rules, state, seen, now)
        if state.epoch and seen is not None:
            learned = replace(learned, epoch=state.epoch, until=state.until, next_at=now)
            return replace(learned, releasing=state.releasing)
        return learned

    patch.setattr(election, "_found", found)


def _permit_has_no_end(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(elector_model, "why_ended", lambda permit, now, offset: None)


def _writes_any_version(patch: pytest.MonkeyPatch) -> None:
    def put(world: World, written: JsonObject) -> JsonObject | None:
        return world._store(written)

    patch.setattr(World, "put", put)


def _releases_before_the_end(patch: pytest.MonkeyPatch) -> None:
    """A stopping pod gives the Lease back while its command is still coming to its end."""
    intact = election._learn

    def learn(rules: Rules, state: State, observation: Observation, now: float) -> State:
        learned = intact(rules, state, observation, now)
        return replace(learned, releasing=learned.epoch > 0) if learned.stopping else learned

    patch.setattr(election, "_learn", learn)


def _takes_after_a_short_silence(patch: pytest.MonkeyPatch) -> None:
    """Two retry periods without a renewal count as the end of the holder."""
    intact = election._free_at

    def free_at(rules: Rules, state: State) -> float:
        return min(intact(rules, state), state.since + 2 * rules.timings.retry_period)

    patch.setattr(election, "_free_at", free_at)


def _does_not_see_renewals(patch: pytest.MonkeyPatch) -> None:
    """The silence is counted from the first sight of a holder, not from its last renewal."""
    intact = election._remember

    def remember(rules: Rules, state: State, seen: LeaseView, now: float) -> State:
        learned = intact(rules, state, seen, now)
        known = state.seen is not None and state.seen.holder == seen.holder
        return replace(learned, since=state.since) if known else learned

    patch.setattr(election, "_remember", remember)


def _permit_as_long_as_the_lease(patch: pytest.MonkeyPatch) -> None:
    """No time is left in which a command can be killed."""
    intact = election._wrote

    def wrote(rules: Rules, state: State, seen: LeaseView, now: float) -> State:
        learned = intact(rules, state, seen, now)
        if state.call in (Call.TAKE, Call.RENEW):
            return replace(learned, until=state.called_at + rules.timings.duration)
        return learned

    patch.setattr(election, "_wrote", wrote)


def _keeps_the_epoch(patch: pytest.MonkeyPatch) -> None:
    intact = election._stand_by

    def stand_by(rules: Rules, state: State, now: float) -> tuple[State, Action]:
        learned, action = intact(rules, state, now)
        if isinstance(action, Write) and action.fresh and action.base.epoch:
            action = replace(action, epoch=action.base.epoch)
            learned = replace(learned, attempt=action.epoch)
        return learned, action

    patch.setattr(election, "_stand_by", stand_by)


def _keeps_the_lease_without_a_command(patch: pytest.MonkeyPatch) -> None:
    intact = election._command_ended

    def command_ended(rules: Rules, state: State, now: float) -> State:
        return replace(intact(rules, state, now), releasing=False)

    patch.setattr(election, "_command_ended", command_ended)


# --- examples that need them, by seed


def _schedule(
    faults: Callable[[int], list[Fault]],
    timings: Sequence[Timings] = (SAFE, SAFE, SAFE),
    rates: Sequence[float] = (1.0, 1.0, 1.0),
) -> Example:
    return lambda seed: play(seed, timings, rates, faults(seed))


def _cut(seed: int) -> list[Fault]:
    return [Fault(20.0 + seed / 7, "cut the network", seed % 3, 60.0)]


def _cut_and_dies_slowly(seed: int) -> list[Fault]:
    return [*_everywhere(1.0, "kill slowly", 40.0), *_cut(seed)]


def _ends(seed: int) -> list[Fault]:
    return _everywhere(20.0 + seed / 7, "end the command")


def _stop_slowly(seed: int) -> list[Fault]:
    return [
        *_everywhere(1.0, "kill slowly", 40.0),
        Fault(20.0 + seed / 7, "stop the pod", seed % 3, 1.0),
    ]


def _release_with_loss(seed: int) -> list[Fault]:
    """The holder gives the Lease back again and again, and answers to it get lost."""
    faults = []
    for turn in range(6):
        at = 15.0 + 15 * turn + seed / 7
        faults += _everywhere(at, "lose packets", 10.0)
        faults += _everywhere(at + 1, "end the command")
    return faults


def _with_holder(seed: int, timings: Timings) -> tuple[World, Node]:
    """Two pods, one of which has held the Lease for a while."""
    world = World(seed)
    world.create(VOUCHED)
    nodes = [Node(world, name, timings=timings) for name in "ab"]
    world.run_until(20 + seed / 7)
    return world, next(node for node in nodes if node.guard.permit is not None)


def _late_answer(seed: int) -> World:
    """The holder's elector sleeps over a slow answer, and then nobody is reached any more."""
    world, holder = _with_holder(seed, SAFE)
    elector = holder.guard.elector
    assert elector is not None
    holder.network.delay = 1.0
    while elector.state.call is not Call.RENEW:
        world.run_until(world.now + 0.01)
    holder.freeze_elector(7.6)
    world.run_until(world.now + 4)
    holder.network.cut = True
    return _to_the_end(world)


def _believes_a_dump(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lease, "_is_of", lambda record, metadata: True)


def _restored(seed: int) -> World:
    """A command has ended in each pod, so there are dumps of a Lease that was given back; then one
    of the pods is cut off, perhaps the one that acts, and the Lease is restored from a dump, before
    the others, which are started anew, have ever seen it."""
    faults = [Fault(10.0 + node, "end the command", node, 1.0) for node in range(3)]
    faults.append(Fault(60.0, "cut the network", seed % 3, 30.0))
    faults.append(Fault(60.1, "restore the Lease", 0, 0.5))
    faults += [Fault(60.1, "kill the container", (seed + other) % 3, 1.0) for other in (1, 2)]
    return play(seed, [SAFE] * 3, [1.0] * 3, faults)


def _believes_its_attempt_for_ever(patch: pytest.MonkeyPatch) -> None:
    def own_attempt(rules: Rules, state: State) -> bool:
        attempt = (rules.identity, state.attempt)
        return state.seen is not None and state.attempt > 0 and state.seen.written_by == attempt

    patch.setattr(election, "_own_attempt", own_attempt)


def _attempt_put_back(*, is_seen: bool) -> Example:
    """The answer to a take-over is lost. Another pod holds the Lease since then, whether the first
    one sees it or not, and is cut off when the Lease is restored as that take-over left it."""

    def example(seed: int) -> World:
        world = World(seed)
        world.create(VOUCHED)
        first, other = (Node(world, name, timings=SAFE) for name in "ab")
        other.able, first.network.delay = False, 1.0
        elector = first.guard.elector
        assert elector is not None
        while elector.state.call is not Call.TAKE:
            world.run_until(world.now + 0.01)
        first.network.cut = True
        world.run_until(world.now + 1)
        attempt, other.able = world.lease, True
        assert attempt is not None and attempt["spec"]["holderIdentity"] == elector.rules.identity
        world.run_until(world.now + 30 + seed / 7)
        first.network.cut, first.network.delay = not is_seen, 0.02
        world.run_until(world.now + 5)
        first.network.cut, other.network.cut = False, True
        world.restore(attempt)
        return _to_the_end(world)

    return example


def _believes_any_epoch(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lease, "_BY_HAND", float("inf"))


def _slow_death(seconds: float) -> Example:
    """A killed command acts on for longer than the timings provide for."""

    def example(seed: int) -> World:
        world, holder = _with_holder(seed, FAST)
        holder.dying = seconds
        holder.network.cut = True
        return _to_the_end(world)

    return example


def _to_the_end(world: World) -> World:
    world.run_until(world.now + 40)
    world.finish()
    return world


@dataclass(frozen=True)
class Planted:
    """A broken rule, examples in which it is needed, and what they must show."""

    name: str
    breaks: Break
    example: Example
    look: Look = two_act

    def __str__(self) -> str:
        return self.name


PLANTED = [
    Planted("a permit counted from the end of the renewal", _permit_from_the_end, _late_answer),
    Planted(
        "a candidate that does not wait for the holder's duration",
        _waits_its_own_duration,
        _schedule(_cut, timings=(SAFE, FAST, FAST)),
    ),
    Planted(
        "a candidate that takes what was cleared by hand",
        _takes_what_was_cleared,
        _schedule(lambda seed: [Fault(20.0 + seed / 7, "clear the holder", 0, 1.0)]),
    ),
    Planted(
        "a holder that goes on after another name",
        _goes_on_after_another_name,
        _schedule(_release_with_loss),
    ),
    Planted("a guard that ignores the end of the permit", _permit_has_no_end, _schedule(_cut)),
    Planted(
        "a write that is not bound to the version seen",
        _writes_any_version,
        _schedule(_ends),
    ),
    Planted(
        "a Lease given back before the command ended",
        _releases_before_the_end,
        _schedule(_stop_slowly),
    ),
    Planted(
        "a candidate that takes after a short silence",
        _takes_after_a_short_silence,
        _schedule(_cut),
    ),
    Planted(
        "a candidate that does not see renewals",
        _does_not_see_renewals,
        _schedule(lambda seed: []),
    ),
    Planted(
        "a permit as long as the Lease",
        _permit_as_long_as_the_lease,
        _schedule(_cut_and_dies_slowly),
    ),
    Planted(
        "a start that does not raise the epoch", _keeps_the_epoch, _schedule(_ends), epochs_fall
    ),
    Planted("a candidate that believes a dump", _believes_a_dump, _restored),
    *(
        Planted(
            f"a candidate that believes its attempt for ever, {name}",
            _believes_its_attempt_for_ever,
            _attempt_put_back(is_seen=is_seen),
        )
        for name, is_seen in (("with another holder seen", True), ("unseen", False))
    ),
    Planted(
        "an elector that believes any epoch",
        _believes_any_epoch,
        _schedule(lambda seed: [Fault(20.0, "use up the epochs", 0, 1.0), *_ends(seed + 14)]),
        nobody_acts,
    ),
    Planted(
        "a holder that keeps the Lease without a command",
        _keeps_the_lease_without_a_command,
        _schedule(_ends),
        nobody_acts,
    ),
]
# What lies outside the bound: the rules alone cannot save it.
OUTSIDE = [
    ("timings without a margin", _schedule(_cut, timings=[Timings(4, 10.0, 2.0)] * 3)),
    ("a clock that is slow by a half", _schedule(_cut, rates=(0.5, 1.0, 1.0))),
    ("a command that takes too long to die", _slow_death(6.0)),
]


def _finds(example: Example, examples: int, look: Look = two_act) -> bool:
    return any(look(example(seed)) for seed in range(examples))


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_the_model_finds(planted: Planted, monkeypatch: pytest.MonkeyPatch) -> None:
    planted.breaks(monkeypatch)
    assert _finds(planted.example, MOST_EXAMPLES, planted.look)


@pytest.mark.parametrize("planted", PLANTED, ids=str)
def test_with_the_rule_in_force_it_finds_nothing(planted: Planted) -> None:
    assert not _finds(planted.example, CONTROLS, planted.look)


@pytest.mark.parametrize(("name", "example"), OUTSIDE, ids=[name for name, _ in OUTSIDE])
def test_the_model_finds_what_lies_outside_the_bound(name: str, example: Example) -> None:
    assert _finds(example, MOST_EXAMPLES), name


def test_a_death_as_slow_as_the_timings_allow_is_covered() -> None:
    assert not _finds(_slow_death(SLOWEST_DEATH), CONTROLS)
