# SPDX-License-Identifier: Apache-2.0
"""The checker, by planted violations: each must be found, and told apart from DPE's own limits."""

import dataclasses
import json

import pytest

from dpe_operator.prober.measure import Served
from dpe_simulator.checker import (
    LIMIT,
    TOPOLOGY,
    UNKNOWN,
    EntrySeen,
    Evidence,
    Expectation,
    JobSeen,
    WorkflowSeen,
    check,
)

NOW = 1000.0


def workflow(number: int, title: str, **changes: object) -> WorkflowSeen:
    good = WorkflowSeen(number, "copy", title, True, "finished", f"r-{number}", 100.0, 110.0)
    return dataclasses.replace(good, **changes)  # type: ignore[arg-type]


def job(number: int, **changes: object) -> JobSeen:
    good = JobSeen(number, 1, "audio", "finished", 1, None)
    return dataclasses.replace(good, **changes)  # type: ignore[arg-type]


def request(at: float, member: str, *, request_id: str | None = "r", **detail: object) -> EntrySeen:
    detail = {"status": 200, "path": "/ping", "attempt": "1", **detail}
    return EntrySeen(f"server-{member}", at, at + 0.01, "request", member, request_id, None, detail)


def claimed(number: int, at: float, taken_from: str | None = None) -> EntrySeen:
    return EntrySeen(
        "server-a", at, None, "job-claimed", "a", None, f"job:{number}", {"takenFrom": taken_from}
    )


def finished(number: int, at: float) -> EntrySeen:
    return EntrySeen("server-a", at, None, "job-finished", "a", None, f"job:{number}")


def executed(number: int, by: str, at: float, until: float) -> EntrySeen:
    return EntrySeen(by, at, until, "job-executed", subject=f"job:{number}")


GOOD = Evidence(
    workflows=[workflow(1, "one")],
    jobs=[job(1)],
    entries=[
        request(1, "a"), claimed(1, 101), executed(1, "p-1", 101, 102), finished(1, 102),
        request(50, "b"), request(51, "b"),
    ],
    now=NOW,
    accepted=[("copy", "one")],
    client_served=[Served(1, 1.1, "a"), Served(50, 50.1, "b")],
)  # fmt: skip
ONE_SWITCH = Expectation(switches=1)


def judged(evidence: Evidence, expectation: Expectation = ONE_SWITCH) -> list[tuple[str, str]]:
    return [(finding.kind, finding.rule) for finding in check(evidence, expectation)]


def also(*entries: EntrySeen, **changes: object) -> Evidence:
    return dataclasses.replace(GOOD, entries=[*GOOD.entries, *entries], **changes)  # type: ignore[arg-type]


def test_a_clean_run_has_no_findings() -> None:
    assert judged(GOOD) == []


def test_a_request_to_the_old_member_is_a_fault() -> None:
    findings = check(also(request(50.5, "a")), ONE_SWITCH)
    assert [(one.kind, one.rule) for one in findings] == [(TOPOLOGY, "old-member")]
    assert "3 changes of the active member instead of 1" in findings[0].text
    assert "b to a at 50.5" in findings[0].text


def test_what_only_the_client_saw_counts_too() -> None:
    served = [Served(1, 1.1, "a"), Served(50, 50.1, "b"), Served(51, 51.1, "a")]
    assert judged(dataclasses.replace(GOOD, client_served=served)) == [(TOPOLOGY, "old-member")]


def test_a_switch_that_was_not_meant_is_a_fault() -> None:
    assert judged(GOOD, Expectation(switches=0)) == [(TOPOLOGY, "old-member")] * 2


def test_without_a_number_of_switches_it_cannot_be_known() -> None:
    assert judged(GOOD, Expectation()) == [(UNKNOWN, "member-changes")] * 2


@pytest.mark.parametrize("harmless", [
    request(50.5, "a", request_id=None),  # sent to the member itself, not through the balancer
    request(50.5, "a", status=503),  # a server that could not answer served nobody
])  # fmt: skip
def test_requests_that_say_nothing_about_the_balancer_are_left_out(harmless: EntrySeen) -> None:
    assert judged(also(harmless)) == []


def test_an_accepted_workflow_that_is_gone_is_a_fault() -> None:
    evidence = dataclasses.replace(GOOD, accepted=[("copy", "one"), ("copy", "two")])
    assert judged(evidence) == [(TOPOLOGY, "workflow-lost")]


def test_a_job_that_nobody_took_is_lost() -> None:
    evidence = dataclasses.replace(
        GOOD,
        workflows=[workflow(1, "one", state="running", ended=None)],
        jobs=[job(1), job(2, state="scheduled", attempt=0)],
    )
    assert judged(evidence) == [(TOPOLOGY, "job-lost")]


def test_a_job_whose_lease_ran_out_long_ago_is_lost() -> None:
    evidence = dataclasses.replace(
        GOOD,
        workflows=[workflow(1, "one", state="running", ended=None)],
        jobs=[job(1, state="running", lease_until=NOW - 61)],
    )
    assert judged(evidence) == [(TOPOLOGY, "job-lost")]


def test_a_job_that_is_being_worked_on_is_not_lost() -> None:
    evidence = dataclasses.replace(
        GOOD,
        workflows=[workflow(1, "one", state="running", ended=None)],
        jobs=[job(1, state="running", lease_until=NOW + 20)],
    )
    assert judged(evidence) == []


def test_a_workflow_that_stays_open_without_open_jobs_is_a_fault() -> None:
    evidence = dataclasses.replace(
        GOOD, workflows=[workflow(1, "one", state="running", ended=None)]
    )
    assert judged(evidence) == [(TOPOLOGY, "workflow-stuck")]


def test_two_open_instances_of_one_title_break_the_title_rule() -> None:
    double = [workflow(1, "one"), workflow(2, "one", created=105.0, ended=115.0)]
    assert judged(dataclasses.replace(GOOD, workflows=double)) == [(TOPOLOGY, "title-rule")]


def test_titles_that_turn_the_rule_off_may_overlap() -> None:
    double = [
        workflow(1, "!0one", checked=False),
        workflow(2, "!0one", checked=False, created=105.0, ended=115.0),
    ]
    evidence = dataclasses.replace(GOOD, workflows=double, accepted=[])
    assert judged(evidence) == []


def test_one_title_again_by_another_request_is_allowed() -> None:
    again = [workflow(1, "one"), workflow(2, "one", created=120.0, ended=130.0)]
    assert judged(dataclasses.replace(GOOD, workflows=again)) == []


def test_a_request_repeated_after_its_workflow_ended_is_a_limit_of_dpe() -> None:
    again = [workflow(1, "one"), workflow(2, "one", request_id="r-1", created=120.0, ended=130.0)]
    retry = request(60, "b", request_id="r-1", path="/workflow/instances", attempt="2")
    assert judged(also(retry, workflows=again)) == [(LIMIT, "repeated-request")]


def test_a_request_sent_once_that_made_two_workflows_is_a_fault() -> None:
    again = [workflow(1, "one"), workflow(2, "one", request_id="r-1", created=120.0, ended=130.0)]
    once = request(60, "b", request_id="r-1", path="/workflow/instances")
    assert judged(also(once, workflows=again)) == [(TOPOLOGY, "workflow-doubled")]


def test_the_workflow_of_a_request_that_was_sent_again_says_so_itself() -> None:
    """A server that is killed takes the lines of its last requests with it, but no workflow."""
    again = [workflow(1, "one"), workflow(2, "one", request_id="r-1", created=120.0, ended=130.0)]
    for attempt, found in (
        ("2", (LIMIT, "repeated-request")),
        ("1", (TOPOLOGY, "workflow-doubled")),
    ):
        detail = {"title": "one", "requestId": "r-1", "attempt": attempt}
        made = EntrySeen("server-b", 120, None, "workflow-created", "b", None, "workflow:2", detail)
        assert judged(also(made, workflows=again)) == [found]


def test_a_job_that_ended_twice_is_a_fault() -> None:
    assert judged(also(finished(1, 103))) == [(TOPOLOGY, "job-ended-twice")]


def test_a_job_executed_twice_without_reason_is_a_fault() -> None:
    findings = check(also(executed(1, "p-2", 101.5, 102.5)), ONE_SWITCH)
    assert [(one.kind, one.rule) for one in findings] == [(TOPOLOGY, "job-doubled")]
    assert "at the same time by p-1, p-2" in findings[0].text


def test_a_job_executed_again_after_its_lease_ran_out_is_a_limit_of_dpe() -> None:
    evidence = also(claimed(1, 140, taken_from="p-1"), executed(1, "p-2", 140, 141))
    findings = check(evidence, ONE_SWITCH)
    assert [(one.kind, one.rule) for one in findings] == [(LIMIT, "job-repeated")]
    assert "the lease of p-1 ran out" in findings[0].text


def test_one_lease_that_ran_out_does_not_excuse_three_executions() -> None:
    evidence = also(
        claimed(1, 140, taken_from="p-1"),
        executed(1, "p-2", 140, 141),
        executed(1, "p-3", 142, 143),
    )
    assert judged(evidence) == [(TOPOLOGY, "job-doubled")]


def test_a_ledger_with_holes_says_so() -> None:
    hole = EntrySeen("server-a", 60, None, "dropped", "a", detail={"entries": 12})
    findings = check(also(hole), ONE_SWITCH)
    assert [(one.kind, one.rule) for one in findings] == [(UNKNOWN, "ledger-incomplete")]
    assert "drop 12 entries" in json.dumps([one.text for one in findings])


def test_a_request_repeated_after_another_one_of_the_same_title_is_the_same_limit() -> None:
    """Met under chaos: sent, answer lost, sent again to a server that stood still; meanwhile the
    watcher's successor had sent its own."""
    again = [
        workflow(1, "one"),
        workflow(2, "one", created=120.0, ended=130.0),
        workflow(3, "one", request_id="r-1", created=140.0, ended=150.0),
    ]
    retry = request(60, "b", request_id="r-1", path="/workflow/instances", attempt="2")
    assert judged(also(retry, workflows=again)) == [(LIMIT, "repeated-request")]
    once = dataclasses.replace(GOOD, workflows=again)
    assert judged(once) == [(TOPOLOGY, "workflow-doubled")]
