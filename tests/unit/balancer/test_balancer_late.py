# SPDX-License-Identifier: Apache-2.0
"""When a server that is late with its checks is kept UP: it is the only one, and answers clients."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_balancer.late import ANSWERED_SECONDS, is_kept
from dpe_balancer.model import Choice, Late, MemberState, Moment, Pending, Role, Seen, Site
from dpe_balancer.watch import Meter

NOW = 1000.0
HTTP = Site(("a", "b"), "me", tcp=False, drain_seconds=30)
TCP = replace(HTTP, tcp=True)
ON_B = Choice("b", "t0", 3)
MOVED_TO_B = Choice("a", "t0", 2, pending=Pending("b", "t1", NOW - 0.3, 7))
METER = Meter(answered={"b": NOW - 0.1}, checked={"b": NOW - 0.6})


def moment(late: dict[str, Late], a: MemberState = "DOWN", b: MemberState = "UP") -> Moment:
    return Moment(NOW, "t2", Role(), None, Seen({"a": a, "b": b}, {}, "b", late=late))


LATE = moment({"b": "handshake"})


@pytest.mark.parametrize("site", [HTTP, TCP])
@pytest.mark.parametrize("how", ["handshake", "answer"])
@pytest.mark.parametrize("a", ["DOWN", "UNKNOWN"])
def test_the_only_server_is_kept(site: Site, how: Late, a: MemberState) -> None:
    assert is_kept(site, ON_B, moment({"b": how}, a), METER)


@pytest.mark.parametrize(
    ("choice", "now", "meter"),
    [
        pytest.param(ON_B, moment({}), METER, id="it is not late"),
        pytest.param(ON_B, moment({"b": "handshake"}, "UP"), METER, id="the other one is up"),
        pytest.param(Choice("a"), moment({"b": "handshake"}), METER, id="another one serves"),
        pytest.param(Choice(), LATE, METER, id="none was chosen yet"),
        pytest.param(ON_B, LATE, Meter(), id="nothing is known of it yet"),
        pytest.param(
            ON_B, LATE, replace(METER, checked={"b": NOW - HTTP.late_seconds - 0.01}),
            id="it has been late for too long",
        ),
        pytest.param(
            ON_B, LATE, replace(METER, answered={"b": NOW - ANSWERED_SECONDS - 0.01}),
            id="it answers nobody",
        ),
        pytest.param(
            MOVED_TO_B, moment({"b": "answer"}), METER,
            id="both may wait for the same database",
        ),
    ],
)  # fmt: skip
def test_any_other_is_left_to_its_checks(choice: Choice, now: Moment, meter: Meter) -> None:
    assert not is_kept(HTTP, choice, now, meter)


def test_who_stands_in_is_kept_if_it_is_seen_to_answer() -> None:
    assert is_kept(HTTP, MOVED_TO_B, LATE, METER)
    # in TCP mode nobody sees answers: both may stand still
    assert not is_kept(TCP, MOVED_TO_B, LATE, METER)


@given(st.floats(NOW - 60, NOW), st.floats(0, 5), st.booleans())
def test_never_for_longer_than_the_limit(checked: float, limit: float, tcp: bool) -> None:
    site = replace(TCP if tcp else HTTP, late_seconds=limit)
    kept = is_kept(site, ON_B, LATE, replace(METER, checked={"b": checked}))
    assert kept == (NOW - checked < limit)
