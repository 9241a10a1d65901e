# SPDX-License-Identifier: Apache-2.0
"""When a routed balancer that reaches no member gives way to one that does."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_balancer.blind import (
    BLIND_SECONDS,
    FRESH_SECONDS,
    PAUSE_SECONDS,
    Sight,
    is_blind,
    may_be_blind,
    may_give_way,
)
from dpe_balancer.drain import Drain, Place
from dpe_balancer.model import Moment, Record, Role, Seen, Site, Watch

NOW = 1000.0
SITE = Site(("a", "b"), "me", tcp=True, drain_seconds=30)
HERE = Drain(Place.HERE, NOW, given_at=NOW - PAUSE_SECONDS)
LONG = Sight(NOW - BLIND_SECONDS, NOW)
DOWN = Moment(
    NOW, "t1", Role(holder=True, epoch=4), Record(4, "a", routed_to="me"),
    Seen({"a": "DOWN", "b": "DOWN"}, {}, "a"),
    watch=Watch(down={"a": NOW - BLIND_SECONDS, "b": NOW - 300}),
)  # fmt: skip


def gives_way(moment: Moment, drain: Drain, sight: Sight) -> bool:
    return is_blind(SITE, moment, sight) and may_give_way(SITE, moment, drain)


def test_who_reaches_no_member_gives_way_to_who_does() -> None:
    assert gives_way(DOWN, HERE, LONG)


@pytest.mark.parametrize(
    ("moment", "drain", "sight"),
    [
        pytest.param(DOWN, HERE, Sight(), id="the other one says nothing: a shared database"),
        pytest.param(DOWN, HERE, Sight(NOW - 4.9, NOW), id="it has seen one for too short"),
        pytest.param(DOWN, HERE, Sight(NOW - 9, NOW - 2.1), id="it has fallen silent"),
        pytest.param(DOWN, HERE, Sight(NOW - 9, NOW - 0.1), id="it may have lost them too since"),
        pytest.param(
            replace(DOWN, watch=Watch(down={"a": NOW - 4.9, "b": NOW - 300})), HERE, LONG,
            id="one was up until now",
        ),
        pytest.param(
            replace(DOWN, watch=Watch(up={"a": 0.0}, down={"b": 0.0})), HERE, LONG, id="one is up",
        ),
        pytest.param(
            replace(DOWN, watch=Watch(down={"b": 0.0})), HERE, LONG, id="one was not checked yet",
        ),
        pytest.param(replace(DOWN, role=Role()), HERE, LONG, id="nobody could take the Lease"),
        pytest.param(
            replace(DOWN, record=Record(4, "a", routed_to="other")), HERE, LONG,
            id="clients are sent elsewhere",
        ),
        pytest.param(replace(DOWN, record=None), HERE, LONG, id="nothing is known yet"),
        pytest.param(
            DOWN, replace(HERE, given_at=NOW - 29.9), LONG, id="clients were sent here just now",
        ),
        pytest.param(
            DOWN, replace(HERE, place=Place.UNSURE), LONG, id="it may not be routed any more",
        ),
    ],
)  # fmt: skip
def test_otherwise_it_stays(moment: Moment, drain: Drain, sight: Sight) -> None:
    assert not gives_way(moment, drain, sight)


@pytest.mark.parametrize(
    ("down", "sight", "waits"),
    [
        ({"a": NOW - 0.1, "b": NOW - 0.1}, Sight(), True),  # who was not asked yet may tell
        ({"a": NOW - 2.1, "b": NOW - 2.1}, Sight(), False),  # nobody sees more
        ({"a": NOW - 60, "b": NOW - 60}, Sight(NOW, NOW), True),
        ({"a": NOW - 60, "b": NOW - 60}, Sight(NOW - 9, NOW - 2.1), False),
        ({"a": NOW - 0.1}, Sight(NOW, NOW), False),
    ],
)
def test_who_begins_with_no_member_waits_for_what_the_other_one_says(
    down: dict[str, float], sight: Sight, waits: bool
) -> None:
    assert may_be_blind(SITE, replace(DOWN, watch=Watch(down=down)), sight) == waits


@given(st.lists(st.floats(0, 3 * FRESH_SECONDS), max_size=30), st.floats(0, 3 * FRESH_SECONDS))
def test_what_the_other_one_says_lasts_since_its_last_pause(
    pauses: list[float], later: float
) -> None:
    now, sight, heard = NOW, Sight(), []
    for pause in pauses:
        now += pause
        sight = sight.again(now)
        heard.append(now)
    begin = len(heard) - 1
    while begin > 0 and heard[begin] - heard[begin - 1] <= FRESH_SECONDS:
        begin -= 1
    assert sight == (Sight(heard[begin], heard[-1]) if heard else Sight())
    assert sight.is_fresh(now + later) == bool(heard and now + later - heard[-1] <= FRESH_SECONDS)
