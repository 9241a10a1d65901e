# SPDX-License-Identifier: Apache-2.0
"""The figures of the client: gaps, failures, members, switches."""

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dpe_operator.prober.measure import (
    Record,
    Served,
    gap_until,
    longest_gap,
    member_changes,
    overlap_seconds,
    percentile,
    summarize,
    table,
)


def ok(done: float, member: str, *, kind: str = "keepAlive", attempts: int = 1) -> Record:
    return Record(kind, done - 0.01, done - 0.01, done, True, attempts, member)


def test_the_longest_gap_is_between_two_successes() -> None:
    assert longest_gap([1.0, 1.1, 3.5, 3.6]) == pytest.approx((2.4, 1.1))


def test_successes_need_not_come_in_order() -> None:
    assert longest_gap([3.5, 1.0, 3.6, 1.1]) == pytest.approx((2.4, 1.1))


@pytest.mark.parametrize("times", [[], [4.0]])
def test_without_two_successes_there_is_no_gap(times: list[float]) -> None:
    assert longest_gap(times) == (0.0, 0.0)


def test_percentiles() -> None:
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50, 99, 100]
    assert percentile([7.0], 0.5) == 7.0
    assert percentile([], 0.5) is None


def test_one_switch_is_one_change() -> None:
    served = [Served(0, 0.1, "a"), Served(1, 1.1, "a"), Served(2, 2.1, "b"), Served(3, 3.1, "b")]
    changes = member_changes(served)
    assert [(one.at, one.before, one.after) for one in changes] == [(2.1, "a", "b")]


def test_a_slow_request_from_before_the_switch_is_no_return() -> None:
    served = [Served(0, 0.1, "a"), Served(1, 5.0, "a"), Served(2, 2.1, "b"), Served(3, 3.1, "b")]
    assert len(member_changes(served)) == 1


def test_requests_under_way_together_at_the_switch_are_no_return() -> None:
    served = [Served(0, 0.1, "a"), Served(1.9, 2.2, "a"), Served(2.0, 2.1, "b"), Served(3, 4, "b")]
    assert len(member_changes(served)) == 1


def test_a_request_to_the_former_member_shows_as_two_more_changes() -> None:
    served = [Served(0, 0.1, "a"), Served(2, 2.1, "b"), Served(2.5, 2.6, "a"), Served(3, 3.1, "b")]
    assert len(member_changes(served)) == 3


def test_clocks_that_differ_need_a_tolerance() -> None:
    served = [Served(0, 0.1, "a"), Served(2, 2.1, "b"), Served(2.11, 2.12, "a"), Served(3, 3, "b")]
    assert len(member_changes(served)) == 3
    assert len(member_changes(served, tolerance=0.05)) == 1


def test_the_summary_counts_what_needed_a_retry_apart_from_what_was_lost() -> None:
    records = [
        ok(0.5, "a"), ok(1.0, "a"), ok(3.0, "b", attempts=3),
        Record("keepAlive", 1.0, 4.0, 4.5, False, 8),
        ok(0.9, "a", kind="fresh"), ok(1.1, "b", kind="fresh"),
    ]  # fmt: skip
    seen = summarize(records, seconds=5.0, until=2.05)
    assert (seen["requests"], seen["succeeded"]) == (6, 5)
    assert (seen["failedWithoutRetry"], seen["failedAfterRetries"], seen["retries"]) == (2, 1, 9)
    kept, fresh = seen["classes"]["keepAlive"], seen["classes"]["fresh"]
    assert (kept["longestGapMilliseconds"], kept["longestGapAtSecond"]) == (2000.0, 1.0)
    assert fresh["longestGapMilliseconds"] == pytest.approx(200.0)
    assert "slow" not in seen["classes"]
    assert seen["members"] == {"a": 3, "b": 2}


def test_members_are_counted_second_by_second() -> None:
    seen = summarize([ok(0.5, "a"), ok(0.6, "a"), ok(2.5, "b"), ok(3.2, "b")], seconds=3.0)
    assert seen["membersOverTime"] == [
        {"second": 0, "a": 2}, {"second": 1}, {"second": 2, "b": 1}, {"second": 3, "b": 1},
    ]  # fmt: skip


def test_latency_counts_from_when_a_request_was_due() -> None:
    waited = Record("keepAlive", due=1.0, sent=3.0, done=3.1, ok=True, attempts=1, member="a")
    assert summarize([waited], seconds=4)["classes"]["keepAlive"]["maxMilliseconds"] == 2100.0


def test_the_table_names_what_a_person_asks_for() -> None:
    records = [ok(0.5, "a"), ok(1.5, "b", kind="fresh")]
    seen = summarize(records, seconds=2.0)
    error = {"at": "12:00", "kind": "refused", "text": "no"}
    text = table({**seen, "errorKinds": {"refused": 4}, "errors": [error]})
    for part in ("kept connections", "new connections", "a: 1, b: 1", "from a to b", "refused: 4"):
        assert part in text
    assert "longest gap  1500 ms" in text
    undisturbed = table(summarize(records, seconds=2.0, undisturbed=1.0))
    assert re.search(r"^longest gap  \d+ ms.*; \d+ ms in the first 1 s$", undisturbed, re.M)


def test_a_run_without_any_answer_can_be_laid_out() -> None:
    seen = summarize([Record("fresh", 0, 0, 1, False, 1)], seconds=1.0)
    assert "nobody" in table(seen)
    assert seen["switches"] == []


def test_a_kind_of_connection_without_a_success_has_no_latency() -> None:
    seen = summarize([ok(0.5, "a"), Record("fresh", 0, 0, 1, False, 1)], seconds=1.0)
    fresh = seen["classes"]["fresh"]
    latencies = [fresh[f"{name}Milliseconds"] for name in ("p50", "p99", "max")]
    assert latencies == [None, None, None]
    kept, new = table(seen).splitlines()[1:3]
    assert re.search(r"kept connections .*  10 ms +10 ms +10 ms$", kept)
    assert re.search(r"new connections .* 1000 ms +- +- +-$", new)


def test_an_outage_that_lasts_to_the_end_is_a_gap_that_is_not_over() -> None:
    assert gap_until([1.0, 1.1, 2.0], 12.0) == pytest.approx((10.0, 2.0, False))
    assert gap_until([], 12.0) == (12.0, 0.0, False)
    assert gap_until([], 0.3) == (0.3, 0.0, False), "however short: there was no success at all"
    seen = summarize([ok(0.5, "a"), Record("keepAlive", 1, 1, 30, False, 8)], seconds=30, until=20)
    assert (seen["gapMilliseconds"], seen["gapIsOver"]) == (19500.0, False)


def test_the_pause_between_two_requests_at_the_end_is_no_outage() -> None:
    assert gap_until([1.0, 1.1, 1.2], 1.9) == pytest.approx((0.1, 1.0, True))


def test_an_outage_before_the_first_success_is_a_gap() -> None:
    answers = [3.2 + i / 10 for i in range(18)]
    assert gap_until(answers, 5.0) == pytest.approx((3.2, 0.0, True))
    seen = summarize([ok(at, "a") for at in answers], seconds=5.1, until=5.0)
    assert (seen["gapMilliseconds"], seen["gapIsOver"]) == (3200.0, True)


def test_the_time_until_the_first_connections_are_open_is_no_gap() -> None:
    assert gap_until([0.9, 1.0, 1.2, 1.9], 2.0) == pytest.approx((0.7, 1.2, True))
    assert gap_until([0.6], 0.5) == (0.0, 0.0, True)


def test_a_straggler_after_the_end_makes_no_gap_of_a_server_that_answered_all_the_time() -> None:
    answers = [i / 15 for i in range(1, 30)]
    seen = summarize(
        [*(ok(at, "a", kind="fresh") for at in answers), ok(4.3, "a", kind="fresh", attempts=2)],
        seconds=4.3, until=2.0,
    )  # fmt: skip
    assert seen["gapMilliseconds"] == pytest.approx(66.7, abs=0.1)
    assert seen["gapIsOver"]


def test_an_outage_at_the_end_is_over_with_the_first_success_after_it() -> None:
    assert gap_until([1.0, 1.1, 2.4, 2.5, 6.0], 2.2) == pytest.approx((1.3, 1.1, True))
    assert gap_until([2.4, 6.0], 2.2) == pytest.approx((2.4, 0.0, True))


def test_the_gap_of_a_client_is_the_larger_of_kept_and_new_connections_and_never_of_slow_ones() -> (
    None
):
    records = [ok(0.1, "a"), ok(0.3, "a"), ok(0.1, "a", kind="fresh"), ok(0.8, "a", kind="fresh")]
    slow = [ok(0.1, "a", kind="slow"), ok(1.0, "a", kind="slow")]
    assert summarize(records + slow, seconds=1.0)["gapMilliseconds"] == 700.0


def test_the_undisturbed_part_is_told_apart() -> None:
    records = [ok(0.1, "a"), ok(0.3, "a"), ok(0.9, "a"), ok(3.0, "b", attempts=2), ok(3.9, "b")]
    seen = summarize(records, seconds=4.0, undisturbed=1.0)
    assert seen["undisturbed"] == {
        "seconds": 1.0, "requests": 3, "failedWithoutRetry": 0, "failedAfterRetries": 0,
        "gapMilliseconds": 600.0,
    }  # fmt: skip
    assert seen["gapMilliseconds"] == 2100.0


def test_a_part_in_which_nobody_answered_is_one_gap() -> None:
    records = [Record("keepAlive", i / 10, 3.1, 3.2 + i / 10, True, 5, "a") for i in range(10)]
    seen = summarize(records, seconds=5.0, undisturbed=2.0)
    assert (seen["undisturbed"]["requests"], seen["undisturbed"]["gapMilliseconds"]) == (0, 2000.0)


def test_a_kind_of_connection_that_hung_for_the_whole_part_counts_in_it() -> None:
    records = [ok(i / 10, "a", kind="fresh") for i in range(1, 50)]
    hung = Record("keepAlive", 0.0, 2.5, 2.6, True, 2, "a")
    seen = summarize([*records, hung], seconds=5.0, undisturbed=2.0)
    assert seen["undisturbed"]["gapMilliseconds"] == 2000.0


def test_without_a_request_that_was_due_nobody_knows_a_gap() -> None:
    seen = summarize([ok(1.0, "a", kind="slow")], seconds=2.0, undisturbed=1.5)
    assert (seen["gapMilliseconds"], seen["undisturbed"]["gapMilliseconds"]) == (None, None)
    assert re.search(r"^longest gap  -; - in the first 1.5 s$", table(seen), re.M)


def test_a_run_that_is_ended_within_the_undisturbed_part_has_no_gap_after_its_end() -> None:
    records = [ok(i / 10, "a") for i in range(1, 50)]
    seen = summarize(records, seconds=5.0, until=4.95, undisturbed=10.0)["undisturbed"]
    assert (seen["seconds"], seen["gapMilliseconds"]) == (4.95, 100.0)


def stretch(member: str, begin: float, end: float, *, rate: int = 10) -> list[Served]:
    """Answers of a member, `rate` a second."""
    return [
        Served(begin + i / rate, begin + i / rate + 0.1 / rate, member)
        for i in range(int((end - begin) * rate))
    ]


def test_members_that_answer_one_after_the_other_do_not_overlap() -> None:
    assert overlap_seconds(stretch("a", 0, 10) + stretch("b", 10, 20)) == 0
    there_and_back = stretch("a", 0, 10) + stretch("b", 10, 20) + stretch("a", 20, 30)
    assert overlap_seconds(there_and_back) == 0


def test_a_former_member_that_goes_on_answering_overlaps() -> None:
    assert overlap_seconds(stretch("a", 0, 15) + stretch("b", 10, 20)) == pytest.approx(
        4.9, abs=0.2
    )


def test_answers_that_were_under_way_at_a_switch_do_not_overlap() -> None:
    late = [Served(9.0, 12.0, "a"), Served(9.9, 10.5, "a")]
    assert overlap_seconds(stretch("a", 0, 10) + late + stretch("b", 10, 20)) == 0


@pytest.mark.parametrize("away", [0.3, 0.993, 1.4])
def test_a_clean_switch_there_and_back_does_not_overlap_however_soon(away: float) -> None:
    served = [
        *stretch("a", 0, 5, rate=100),
        *stretch("b", 5, 5 + away, rate=100),
        *stretch("a", 5 + away, 10, rate=100),
    ]
    assert overlap_seconds(served) == 0
    assert len(member_changes(served)) == 2


def test_a_switch_in_which_both_answered_for_a_moment_overlaps_for_that_moment_only() -> None:
    back = [*stretch("a", 0, 5, rate=100), *stretch("b", 5, 6, rate=100), Served(5.95, 5.951, "a")]
    served = [*back, *stretch("a", 6, 10, rate=100)]
    assert overlap_seconds(served) == pytest.approx(0.04, abs=0.01)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("latency", [0.005, 0.4])
def test_members_that_share_the_work_overlap_all_the_time(share: float, latency: float) -> None:
    draw = random.Random(1)
    served = [
        Served(i / 100, i / 100 + latency * draw.uniform(0.9, 1.1), "ab"[draw.random() < share])
        for i in range(1000)
    ]
    assert overlap_seconds(served) == pytest.approx(10, abs=1.5)


def test_one_connection_that_stays_with_the_former_member_overlaps() -> None:
    slow = [Served(5.1 + i, 6 + i, "a") for i in range(5)]
    served = [*stretch("a", 0, 5, rate=100), *stretch("b", 5, 11, rate=100), *slow]
    assert overlap_seconds(served) == pytest.approx(5, abs=0.2)


@given(st.lists(st.floats(1.5, 50.0), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_clean_switches_never_overlap_however_many(lengths: list[float], order: object) -> None:
    served, at = [], 0.0
    for number, length in enumerate(lengths):
        served += stretch("ab"[number % 2], at, at + length)
        at += length
    order.shuffle(served)  # type: ignore[attr-defined]
    assert overlap_seconds(served) == 0
    assert len(member_changes(served)) == len(lengths) - 1
