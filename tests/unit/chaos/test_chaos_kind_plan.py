# SPDX-License-Identifier: Apache-2.0
"""On the cluster too a plan comes from its seed alone, and each kind comes often enough."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice

from tests.chaos.kind.plan import KINDS, Layout, Moment, draw, may_meet
from tests.chaos.plan import Fault

LAYOUT = Layout("servers", "radio-balancer", ["news", "worker"], ["audio"], "operator")


def moments(count: int, seed: str = "7", only: Sequence[str] = ()) -> list[Moment]:
    return list(islice(draw(seed, LAYOUT, only=only), count))


def faults(count: int, seed: str = "7") -> list[Fault]:
    return [fault for moment in moments(count, seed) for fault in moment.faults][:count]


def test_the_same_seed_gives_the_same_moments() -> None:
    assert moments(50) == moments(50)
    assert moments(50) != moments(50, "8")
    assert moments(50)[:20] == moments(20), "what was played of it is left out by its number"


def test_three_hundred_faults_have_each_kind_at_least_ten_times() -> None:
    for seed in "abcde":
        kinds = Counter(fault.kind for fault in faults(300, seed))
        assert set(kinds) == set(KINDS)
        assert min(kinds.values()) >= 10, kinds


def test_everything_is_struck_the_acting_one_more_often() -> None:
    many = faults(600)
    for kind in ("pod deleted", "process killed", "process stopped"):
        found = {(fault.component, fault.role) for fault in many if fault.kind == kind}
        names = ["servers", "radio-balancer", "news", "worker", "audio", "operator"]
        assert found == {(name, role) for name in names for role in ("acting", "other")}
    roles = Counter(fault.role for fault in many)
    assert roles["acting"] > roles["other"] > 0
    assert {f.component for f in many if f.kind == "Lease deleted"} == {
        "radio-balancer", "news", "worker",
    }  # fmt: skip


def test_pairs_overlap_and_never_take_two_machines() -> None:
    long = moments(600)
    pairs = [moment.faults for moment in long if len(moment.faults) == 2]
    assert 100 < len(pairs) < 260
    assert {len(moment.faults) for moment in long} == {1, 2}
    for first, second in pairs:
        assert first.at == 0.0 < second.at <= 6.0
        assert may_meet(first.kind, second.kind)
        assert not (KINDS[first.kind].node and KINDS[second.kind].node)


def test_what_needs_the_api_server_is_not_done_without_it() -> None:
    assert not may_meet("API server away", "pod deleted")
    assert not may_meet("node drained", "API server away")
    assert may_meet("API server away", "process killed")
    assert may_meet("node cut off", "API server away")
    assert not may_meet("node cut off", "node frozen")


def test_only_some_kinds() -> None:
    kinds = {f.kind for m in moments(30, only=["node frozen"]) for f in m.faults}
    assert kinds == {"node frozen"}


def test_numbers_go_on_and_are_told() -> None:
    some = moments(30)
    assert [f.number for m in some for f in m.faults] == list(
        range(1, sum(len(m.faults) for m in some) + 1)
    )
    assert some[0].faults[0].kind in str(some[0])
