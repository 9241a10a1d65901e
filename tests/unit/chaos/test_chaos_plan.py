# SPDX-License-Identifier: Apache-2.0
"""A plan of faults comes from its seed alone, and strikes everything often enough."""

from tests.chaos.plan import KINDS, Layout, Plan, draw

LAYOUT = Layout(
    ["a", "b", "c"], memory=["b"], clock=["c"], servers=["s"], balancers=["h"], farms=["f"]
)
# of 10,000 faults in a long run, each kind is to be seen so often
OFTEN = 200


def plan(seed: str = "7", seconds: float = 60.0, **more: object) -> Plan:
    return draw(seed, seconds=seconds, rate=2.2, layout=LAYOUT, **more)  # type: ignore[arg-type]


def test_the_same_seed_gives_the_same_plan() -> None:
    assert plan() == plan()
    assert str(plan()) != str(plan("8"))


def test_a_long_plan_has_every_kind_often_and_two_faults_a_second() -> None:
    long = plan(seconds=10_000 / 2.2)
    assert 9_500 < len(long.faults) < 10_500
    assert set(long.by_kind()) == set(KINDS)
    assert min(long.by_kind().values()) >= OFTEN
    together = sum(
        one.at == other.at for one, other in zip(long.faults, long.faults[1:], strict=False)
    )
    assert together > 1_000, "pairs"


def test_a_fault_strikes_only_what_has_what_it_takes() -> None:
    found = plan(seconds=1_000).faults
    assert {one.component for one in found if one.kind == "memory volume hung"} == {"b"}
    assert {one.component for one in found if one.kind == "clock jumped"} == {"c"}
    assert {one.component for one in found if one.kind == "API server away"} == {""}
    assert {one.component for one in found if one.kind == "server frozen"} == {"s"}
    assert {one.component for one in found if one.kind == "HAProxy killed"} == {"h"}
    assert {one.component for one in found if one.kind == "processor killed"} == {"f"}
    assert {one.component for one in found if one.kind == "guard killed"} == {"a", "b", "c", "h"}
    assert {one.role for one in found if one.kind == "pod frozen"} == {"acting", "other"}
    nothing = draw("7", seconds=1_000, rate=2.2, layout=Layout(["a"]))
    without = {
        "memory volume hung",
        "clock jumped",
        "server killed",
        "agent frozen",
        "processor frozen",
    }
    assert not without & set(nothing.by_kind())


def test_only_some_kinds() -> None:
    assert set(plan(only=["guard killed"]).by_kind()) == {"guard killed"}
