# SPDX-License-Identifier: Apache-2.0
"""Breaking a Lease early, under everything that goes wrong: on both signs only, never twice at once.

The model and its faults: early_model.py. Each planted violation must be found by it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.elector.early_model import FAULTS, HOT, Fault, HotWorld, judge, play
from tests.unit.elector.elector_world import World

from dpe_elector import election
from dpe_elector.election import Rules, State
from dpe_elector.lease import JsonObject

FAULTS_END = 150.0
seeds = st.integers(0, 2**32)
drifting = st.lists(st.floats(0.99, 1.01), min_size=2, max_size=3)
few = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
many = settings(few, max_examples=1500)


def schedules(names: list[str], longest: float = 40.0) -> st.SearchStrategy[list[Fault]]:
    fault = st.builds(
        Fault,
        at=st.floats(0, FAULTS_END - longest),
        what=st.sampled_from(names),
        pod=st.integers(0, 2),
        seconds=st.floats(0.05, longest),
    )
    return st.lists(fault, min_size=1, max_size=14)


def whatever_happens(seed: int, rates: list[float], faults: list[Fault]) -> None:
    world = play(seed, faults, rates=rates)
    assert judge(world) == []
    holder = world.lease["spec"]["holderIdentity"] if world.lease else ""
    assert [pod.identity for pod in world.pods if pod.elector.state.acting(pod.boot())] == [holder]


with_everything = given(seeds, drifting, schedules([*FAULTS]))
test_both_signs_or_the_full_time = few(with_everything(whatever_happens))


@pytest.mark.level2
@pytest.mark.timeout(1800)
@many
@with_everything
def test_thousands_of_both_signs(seed: int, rates: list[float], faults: list[Fault]) -> None:
    whatever_happens(seed, rates, faults)


# one sign at a time, and for less than the Lease lasts: no change of the holder at all
ONE_SIGN = [
    ["break the path between the pods", "hang HAProxy"],
    ["stop the API server"],
]


@pytest.mark.parametrize("names", ONE_SIGN, ids=["no answer", "no renewal"])
def test_one_sign_changes_nothing(names: list[str]) -> None:
    @few
    @given(seeds, drifting, schedules(names, longest=3.9 if "stop" in names[0] else 100.0))
    def one_sign(seed: int, rates: list[float], faults: list[Fault]) -> None:
        # outages one after the other, or they would add up
        apart = [Fault(20.0 + 10 * n, f.what, f.pod, f.seconds) for n, f in enumerate(faults)]
        assert len(play(seed, apart, rates=rates).takes) == 1

    one_sign()


def test_a_lost_pod_is_replaced_within_three_seconds() -> None:
    for seed in range(20):
        world = play(seed, [], until=60.0 + seed / 7)
        holder = next(pod for pod in world.pods if pod.name == world.routed)
        struck = world.now
        holder.lose(100.0)
        world.run_until(struck + 20)
        assert world.takes[1].at - struck < 2.5, seed
        assert world.takes[1].silence < HOT.duration / 2


def test_two_pods_do_not_play_ping_pong() -> None:
    """Both are frozen in turn, again and again: within 30 s only the first breaking is early."""
    faults = [Fault(60.0 + 4 * turn, "freeze the pod", turn, 3.5) for turn in range(10)]
    for seed in range(10):
        early = [take for take in play(seed, faults).takes if take.holder and take.silence < 5.9]
        assert all(b.at - a.at > 29 for a, b in itertools.pairwise(early)), early


# --- violations that the model must find


def _silence_alone(patch: pytest.MonkeyPatch) -> None:
    def early_at(rules: Rules, state: State) -> float:
        return max(state.since + rules.timings.silence, state.holder_since + election.EARLY_PAUSE)

    patch.setattr(election, "_early_at", early_at)


def _no_answer_alone(patch: pytest.MonkeyPatch) -> None:
    intact = election._early_at

    def early_at(rules: Rules, state: State) -> float:
        at = intact(rules, state)
        return at if at == float("inf") else state.holder_since + election.EARLY_PAUSE

    patch.setattr(election, "_early_at", early_at)


def _no_pause(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(election, "EARLY_PAUSE", 0.0)


def _any_version(patch: pytest.MonkeyPatch) -> None:
    def put(world: World, written: JsonObject) -> JsonObject | None:
        return world._store(written)

    patch.setattr(World, "put", put)
    patch.setattr(HotWorld, "bound", lambda world, write: True)


def _both_pods(what: str, seconds: float, times: int = 6) -> Callable[[int], list[Fault]]:
    return lambda seed: [
        Fault(45.0 + seed / 7 + 15 * turn, what, pod, seconds)
        for turn in range(times)
        for pod in range(2)
    ]


def _frozen_in_turn(seed: int) -> list[Fault]:
    return [Fault(45.0 + seed / 7 + 6 * n, "freeze the pod", n, 5.0) for n in range(16)]


PLANTED = [
    ("no renewal is enough", _silence_alone, _both_pods("freeze the elector", 3.0)),
    ("no answer is enough", _no_answer_alone, _both_pods("hang HAProxy", 8.0)),
    ("no pause", _no_pause, _frozen_in_turn),
    ("not bound to the version", _any_version, _both_pods("slow the network", 8.0)),
]


@pytest.mark.parametrize(("name", "breaks", "faults"), PLANTED, ids=[row[0] for row in PLANTED])
def test_the_model_finds(
    name: str,
    breaks: Callable[[pytest.MonkeyPatch], None],
    faults: Callable[[int], list[Fault]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert not any(judge(play(seed, faults(seed))) for seed in range(4)), "with the rule in force"
    breaks(monkeypatch)
    assert any(judge(play(seed, faults(seed))) for seed in range(40)), name
