# SPDX-License-Identifier: Apache-2.0
"""The order of updates: standby, proof, switch, former active; stop at what is not healthy."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from dpe_operator.planning.rollout import MemberView, Rollout, plan_rollout

WELL = MemberView("a", external=False, exists=True, pending=False, healthy_pod=True, state="Up")
A, B = WELL, replace(WELL, name="b")


def behind(
    a: MemberView, b: MemberView, active: str | None = "a", served_for: float = 3600
) -> Rollout:
    return plan_rollout([a, b], active=active, recorded=True, served_for=served_for)


def alone(a: MemberView, b: MemberView) -> Rollout:
    return plan_rollout([a, b], active=None, recorded=False)


def old(member: MemberView) -> MemberView:
    return replace(member, pending=True)


def test_nothing_pending_is_nothing_to_do() -> None:
    assert behind(A, B) == Rollout()


def test_the_standby_goes_first() -> None:
    rollout = behind(old(A), old(B))
    assert rollout.hold == {"a"} and rollout.switch_to is None
    assert "updating b while a serves" in rollout.message


def test_the_active_waits_until_the_standby_is_proven() -> None:
    for sick in (
        replace(B, healthy_pod=False),
        replace(B, state="Down"),
        replace(B, state="Unknown"),
    ):
        rollout = behind(old(A), sick)
        assert rollout.hold == {"a"} and rollout.switch_to is None and not rollout.stopped


def test_a_standby_that_cannot_come_up_stops_the_rollout() -> None:
    broken = replace(B, healthy_pod=False, hard=True, troubles="no such image")
    rollout = behind(old(A), broken)
    assert rollout.hold == {"a"} and rollout.stopped
    assert "no such image" in rollout.message and "set it back" in rollout.message


def test_set_back_rolls_the_standby_back_at_once() -> None:
    broken = replace(old(B), healthy_pod=False, hard=True)
    assert behind(A, broken).hold == frozenset()


def test_a_proven_standby_is_switched_to_before_the_active_is_touched() -> None:
    rollout = behind(old(A), B)
    assert rollout.hold == {"a"} and rollout.switch_to == "b"


def test_after_the_switch_the_former_active_is_updated() -> None:
    assert behind(old(A), B, active="b").hold == frozenset()


def test_who_has_just_been_switched_to_serves_for_a_while_before_the_other_one_goes() -> None:
    """A version that does not bear its clients shows it then, and clients can still go back."""
    for served_for in (0.7, 9.9, -0.5):  # the clocks of two machines may differ
        waiting = behind(old(A), B, "b", served_for)
        assert waiting.hold == {"a"} and waiting.switch_to is None
        assert "b has to serve for 10 s first" in waiting.message
    for served_for in (10, -3600):
        assert behind(old(A), B, "b", served_for).hold == frozenset()
    assert behind(old(replace(A, state="Down")), B, "b", 1).hold == frozenset(), "no use anyway"


def test_a_standby_that_is_up_stays_while_the_active_one_is_not() -> None:
    for state in ("Down", "Unknown"):
        sick = replace(B, state=state)
        waiting = behind(old(A), sick, "b")
        assert waiting.hold == {"a"} and f"b, which serves, is {state.lower()}" in waiting.message
        assert behind(old(replace(A, state="Down")), sick, "b").hold == frozenset()


def test_a_new_version_that_failed_as_soon_as_it_served_stops_the_rollout() -> None:
    """The balancer has gone back to a; switching to b again would fail again, and again."""
    failed = replace(B, failed_at="2026-11-28T07:00:00Z")
    rollout = behind(old(A), failed)
    assert rollout.hold == {"a"} and rollout.switch_to is None and rollout.stopped
    assert "b went down while it served, at 2026-11-28T07:00:00Z" in rollout.message
    assert "set it back" in rollout.message
    assert behind(A, old(failed)).hold == frozenset(), "the corrected spec is tried at once"


def test_an_external_standby_takes_over_too() -> None:
    outside = replace(B, external=True)
    assert behind(old(A), outside).switch_to == "b"
    assert behind(old(A), replace(outside, state="Down")).hold == {"a"}


def test_an_active_that_serves_nobody_is_updated_at_once() -> None:
    dead = replace(old(A), state="Down", healthy_pod=False)
    assert behind(dead, replace(B, state="Down")).hold == frozenset()


def test_without_a_record_one_after_the_other() -> None:
    assert alone(old(A), old(B)).hold == {"a"}
    assert alone(old(A), B).hold == frozenset()
    waiting = alone(old(A), replace(B, healthy_pod=False))
    assert waiting.hold == {"a"} and "b is not ready" in waiting.message


def test_without_a_record_the_sick_ones_first() -> None:
    sick = replace(old(A), healthy_pod=False)
    assert alone(sick, old(B)).hold == {"b"}
    assert alone(sick, replace(old(B), healthy_pod=False)).hold == frozenset()


members = st.builds(
    MemberView,
    name=st.just("a"),
    external=st.booleans(),
    exists=st.just(True),
    pending=st.booleans(),
    healthy_pod=st.booleans(),
    state=st.sampled_from(["Up", "Down", "Unknown"]),
    hard=st.booleans(),
)


@given(a=members, b=members, active=st.sampled_from(["a", "b", None]))
def test_never_both_healthy_members_at_once(
    a: MemberView, b: MemberView, active: str | None
) -> None:
    """Whatever is observed: of two members that serve well, one at most is touched."""
    pair = [
        replace(a, pending=a.pending and not a.external),
        replace(b, name="b", pending=b.pending and not b.external),
    ]
    rollout = plan_rollout(pair, active=active, recorded=True)
    touched = [m for m in pair if m.pending and m.name not in rollout.hold and m.healthy_pod]
    assert len(touched) <= 1


@given(a=members, b=members)
def test_the_serving_member_is_never_touched(a: MemberView, b: MemberView) -> None:
    serving = replace(a, pending=True, external=False, state="Up")
    rollout = plan_rollout([serving, replace(b, name="b")], active="a", recorded=True)
    assert "a" in rollout.hold
