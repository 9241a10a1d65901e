# SPDX-License-Identifier: Apache-2.0
"""The fail-over record as the balancers write it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from dpe_operator.planning.record import Record, read_record

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LEASE = {"spec": {"holderIdentity": "x", "renewTime": "2026-11-22T11:59:59.500000Z"}}


def slice_(**notes: str) -> dict[str, Any]:
    return {
        "metadata": {
            "annotations": {f"dpe.dev/{k.replace('_', '-')}": v for k, v in notes.items()}
        },
        "endpoints": [{"targetRef": {"name": "radio-balancer-1"}}],
    }


def test_no_slice() -> None:
    assert read_record(None, LEASE, now=NOW) == Record()


def test_everything_written() -> None:
    record = read_record(
        slice_(
            active_member="b",
            switch_count="3",
            member_states='{"a": "DOWN", "b": "UP", "c": "MAINT"}',
            active_since="2026-11-22T11:00:00.5Z",
            last_switch='{"from":"a","to":"b","cause":"MemberDown","at":"2026-11-22T11:00:00.5Z","gapMs":310,"x":1.6}',
            unplanned_switches='["2026-11-22T11:00:00.5Z", "yesterday", 7]',
            switch_request="a@2",
        ),
        LEASE,
        now=NOW,
    )
    assert (record.active, record.count, record.routed) == ("b", 3, "radio-balancer-1")
    assert [record.state(name) for name in "abcd"] == ["Down", "Up", "Unknown", "Unknown"]
    assert record.last_switch == {
        "from": "a", "to": "b", "cause": "MemberDown",
        "at": "2026-11-22T11:00:00.5Z", "gap": "310ms",
    }  # fmt: skip
    assert record.since == "2026-11-22T11:00:00.5Z" and record.gap_ms == 310
    assert record.unplanned == (datetime(2026, 11, 22, 11, 0, 0, 500_000, UTC),)
    assert record.requested == ("a", 2) and record.fresh
    assert record.silent_in == 59.5


def test_states_of_a_silent_holder_are_of_the_past() -> None:
    notes = slice_(active_member="b", member_states='{"b": "UP"}')
    silent = {"spec": {"holderIdentity": "x", "renewTime": "2026-11-22T11:58:00Z"}}
    released = {"spec": {"holderIdentity": "", "renewTime": "2026-11-22T11:59:59Z"}}
    for lease in (None, {}, silent, released):
        record = read_record(notes, lease, now=NOW)
        assert not record.fresh and record.silent_in is None
        assert record.state("b") == "Unknown" and record.active == "b"


def test_no_endpoint_is_nobody_routed() -> None:
    assert not read_record({"metadata": {}, "endpoints": []}, LEASE, now=NOW).fresh


def test_what_cannot_be_read_counts_as_not_said() -> None:
    record = read_record(
        slice_(
            switch_count="many",
            member_states="[1]",
            last_switch="{",
            switch_request="a",
            active_since="long",
            unplanned_switches="{}",
        ),
        LEASE,
        now=NOW,
    )
    assert record.count == 0 and record.states == {}
    assert record.last_switch is None and record.requested is None
    assert record.since is None and record.unplanned == ()
    deep = "[" * 100_000
    found = read_record(
        slice_(member_states=deep, last_switch=deep, unplanned_switches=deep), LEASE, now=NOW
    )
    assert (found.states, found.last_switch, found.unplanned) == ({}, None, ())
    for number in ("-1", "1.0", "²", "9" * 19, "9" * 5000):
        notes = slice_(switch_count=number, switch_request=f"a@{number}")
        found = read_record(notes, LEASE, now=NOW)
        assert (found.count, found.requested) == (0, None)
    for gap in ("-1", "true", "null", '"1s"'):
        found = read_record(slice_(last_switch=f'{{"to": "b", "gapMs": {gap}}}'), LEASE, now=NOW)
        assert (found.gap_ms, found.last_switch) == (None, {"to": "b"})
    for gap in (10**19, 10**400):
        found = read_record(slice_(last_switch=f'{{"to": "b", "gapMs": {gap}}}'), LEASE, now=NOW)
        assert (found.gap_ms, found.last_switch) == (None, {"to": "b"})


@pytest.mark.parametrize(
    "time",
    [
        "2026-11-22 11:00:00Z",  # Python reads these too, the API server does not
        "2026-11-22T11:00Z",
        "20261122T110000Z",
        "2026-W47-7T11:00:00Z",
        "2026-11-22T11:00:00",
        "2026-11-22T11:00:00,5Z",
        "2026-02-30T11:00:00Z",
        f"2026-11-22T11:00:00.{'0' * 40}Z",
    ],
)
def test_a_time_that_no_status_takes_counts_as_not_said(time: str) -> None:
    last = json.dumps({"to": "b", "at": time})
    notes = slice_(active_since=time, last_switch=last, unplanned_switches=json.dumps([time]))
    record = read_record(notes, LEASE, now=NOW)
    assert (record.since, record.last_switch, record.unplanned) == (None, {"to": "b"}, ())


def test_what_is_too_long_for_a_status_is_cut() -> None:
    last = json.dumps(dict.fromkeys(("from", "to", "cause"), "x" * 300))
    found = slice_(active_member="x" * 300, last_switch=last)
    found["endpoints"][0]["targetRef"]["name"] = "x" * 300
    record = read_record(found, LEASE, now=NOW)
    assert record.active == record.routed == "x" * 256
    assert record.last_switch == dict.fromkeys(("from", "to", "cause"), "x" * 256)
