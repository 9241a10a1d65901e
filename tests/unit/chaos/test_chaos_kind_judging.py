# SPDX-License-Identifier: Apache-2.0
"""What the judge says about written histories of a cluster; what is planted in them must be found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tests.chaos.frontend import BALANCER, SERVERS
from tests.chaos.history import Version
from tests.chaos.judge import Verdict
from tests.chaos.kind.hits import Hit, strikes
from tests.chaos.kind.judging import (
    Apart,
    Asked,
    Seen,
    excuse,
    gave_up,
    judge_acting,
    judge_clients,
    judge_findings,
    judge_round,
    unseen,
)
from tests.chaos.kind.needless import judge_needless
from tests.chaos.moves import Recorded, Said
from tests.chaos.plan import Fault

from dpe_simulator.findings import LIMIT, TOPOLOGY, EntrySeen, Evidence, Finding, Request

NEWS = "news-table-watcher"
# Pods of the two servers, as they are called.
A, B = "radio-member-a-5f7c9d-x2x2x", "radio-member-b-6b8d4c-z9z9z"
OFFSET = 1000.0  # what the boot time is ahead of the ledger's clock


def hit(kind: str, begun: float, ended: float, **more: Any) -> Hit:
    """A fault; the site is whole again 5 s after its end."""
    component, detail = more.pop("component", ""), more.pop("detail", "")
    fault = Fault(1, 0.0, kind, component, "acting", ended - begun, detail, 0)
    if (pod := more.get("pod", "")) and "pods" not in more:
        more["pods"] = {pod: component}
    return Hit(fault, begun=begun, ended=ended, settled=ended + 5, **more)


def acted(pod: str, epoch: int, begun: float, until: float) -> EntrySeen:
    return EntrySeen(
        f"{pod}/7/x{epoch}", begun, until, "acting", detail={"component": NEWS},
        role="table-watcher", epoch=epoch,
    )  # fmt: skip


def judged(entries: Sequence[EntrySeen], *hits: Hit) -> Verdict:
    verdict = Verdict()
    judge_acting(entries, hits, verdict, offset=OFFSET, thaw_bound=0.1)
    return verdict


# --- two that act


def test_one_after_the_other_is_fine() -> None:
    assert judged([acted("n-1", 1, 0, 10), acted("n-2", 2, 10.5, 20)]).violations == []


def test_a_pod_on_a_cut_off_node_that_acts_on_is_found() -> None:
    cut = hit(
        "node cut off", 1005, 1025, component=NEWS, node="w1", pods={"n-1": NEWS, "b": BALANCER}
    )
    found = judged([acted("n-1", 1, 0, 12.5), acted("n-2", 2, 12, 20)], cut)
    assert found.overlap_ms == 500
    assert "two-acting" in found.violations[0]
    assert "API connection cut" in found.violations[0], "with the fault around it"


def test_after_the_thaw_of_a_node_the_bound_counts() -> None:
    frozen = hit("node frozen", 1005, 1025, component=NEWS, node="w1", pods={"n-1": NEWS})
    entries = [acted("n-1", 1, 0, 5), acted("n-2", 2, 12, 40)]
    early = judged([*entries, acted("n-1", 1, 25.01, 25.05)], frozen)
    assert (early.violations, early.explained_by_rule()) == ([], {"after-thaw": 1})
    late = judged([*entries, acted("n-1", 1, 25.01, 25.5)], frozen)
    assert len(late.violations) == 1
    elsewhere = hit("node frozen", 1005, 1025, component=NEWS, node="w2", pods={"n-9": NEWS})
    assert len(judged([*entries, acted("n-1", 1, 25.01, 25.05)], elsewhere).violations) == 1


def test_what_a_fault_was_to_each_pod() -> None:
    lost = hit("node power cut", 1, 2, component=NEWS, node="w", pods={"n-1": NEWS, "s": SERVERS})
    stopped = hit("process stopped", 3, 4, component=NEWS, pod="n-2", detail="all")
    account = hit(
        "ServiceAccount deleted", 5, 6, component=BALANCER, pods={"x": BALANCER, "y": BALANCER}
    )
    lease = hit("Lease deleted", 7, 8, component=NEWS)
    found = [
        (one.fault.kind, one.fault.component, one.pod)
        for one in strikes([lost, stopped, account, lease])
    ]
    assert found == [
        ("guard killed", NEWS, "n-1"), ("guard killed", SERVERS, "s"), ("pod frozen", NEWS, "n-2"),
        ("token invalid", BALANCER, "x"), ("token invalid", BALANCER, "y"),
        ("Lease deleted", NEWS, ""),
    ]  # fmt: skip


# --- lost and doubled


def findings(*found: Finding, hits: Sequence[Hit] = (), failed: Any = None) -> Verdict:
    verdict = Verdict()
    judge_findings(found, hits, verdict, failed=failed or {}, offset=OFFSET, thaw_bound=0.1)
    return verdict


def test_lost_and_doubled_are_counted_and_limits_explained() -> None:
    verdict = findings(
        Finding(TOPOLOGY, "change-lost", f"table-watcher {NEWS}: gone"),
        Finding(TOPOLOGY, "change-doubled", f"table-watcher {NEWS}: twice"),
        Finding(LIMIT, "trigger-missed", "nobody acted"),
    )
    assert (verdict.lost, verdict.doubled, len(verdict.violations)) == (1, 1, 2)
    assert verdict.explained_by_rule() == {"trigger-missed": 1}


def test_what_the_pods_of_a_thawed_machine_double_is_explained() -> None:
    requests = (Request("s-2/7", "s", 20.0), Request("s-1/7", "s", 25.05))
    twice = Finding(TOPOLOGY, "trigger-doubled", "scheduler s: twice", requests)
    for pod, doubled in (("s-1", 0), ("s-9", 1)):
        frozen = hit("node frozen", 1005, 1025, component="s", node="w1", pods={pod: "s"})
        assert findings(twice, hits=[frozen]).doubled == doubled


NO_ANSWER = Finding(
    TOPOLOGY, "trigger-lost", "scheduler s: trigger 2:00 of p got no answer: refused"
)


def test_a_trigger_without_an_answer_is_lost_unless_two_faults_lie_on_the_way() -> None:
    server = hit("process killed", 90, 91, component=SERVERS, pod="a")
    balancer = hit("node cut off", 92, 110, component=BALANCER, node="w", pods={"h": BALANCER})
    failed = {"s": [100.0]}
    assert findings(NO_ANSWER, hits=[server], failed=failed).lost == 1
    both = findings(NO_ANSWER, hits=[server, balancer], failed=failed)
    assert (both.violations, both.explained_by_rule()) == ([], {"no-answer": 1})
    long_ago = hit("process killed", 10, 11, component=SERVERS, pod="a")
    assert findings(NO_ANSWER, hits=[long_ago, balancer], failed=failed).lost == 1


def test_one_lost_machine_is_no_excuse_even_with_balancer_and_server_on_it() -> None:
    both = hit(
        "node cut off", 92, 110, component=SERVERS, node="w", pods={"h": BALANCER, "a": SERVERS}
    )
    assert excuse(100.0, [both]) == ""


def test_a_database_that_outlasts_the_clients_is_an_excuse() -> None:
    assert excuse(100.0, [hit("database frozen", 90, 105)])
    assert not excuse(100.0, [hit("database frozen", 97, 99)])


def test_without_the_api_server_servers_fail_over_all_the_same() -> None:
    away = hit("API server away", 80, 120)
    assert not excuse(100.0, [away, hit("process killed", 95, 95, component=SERVERS, pod="a")])
    assert excuse(100.0, [away, hit("process killed", 95, 95, component=BALANCER, pod="h")])


def test_who_gave_up_and_when() -> None:
    entry = EntrySeen(
        "s/1/x", 3.0, None, "start-failed", detail={"component": "s"}, role="scheduler"
    )
    assert gave_up([entry, acted("n", 1, 0, 1)], offset=OFFSET) == {"s": [1003.0]}


# --- clients

RECORDED = [Recorded(-100.0, "a", 3), Recorded(60.0, "b", 4)]


def asked(
    *members: str, begin: float, node: str = "w1", every: float = 1.0
) -> dict[str, list[Asked]]:
    """One request each second; a member `-`: nobody answered."""
    return {
        node: [
            Asked(
                begin + n * every, begin + n * every + 0.01, one != "-", "" if one == "-" else one
            )
            for n, one in enumerate(members)
        ]
    }


def clients(seen: dict[str, list[Asked]], *hits: Hit) -> tuple[Verdict, Apart]:
    verdict = Verdict()
    return verdict, judge_clients(seen, Said([*RECORDED]), hits, verdict, offset=OFFSET)


def test_a_recorded_switch_is_fine_and_a_request_to_the_former_server_is_found() -> None:
    fine, _ = clients(asked("a", "a", "b", "b", begin=57))
    assert fine.violations == []
    former, _ = clients(asked("a", "b", "a", "b", begin=100, every=30))
    assert "old-member" in former.violations[0]


def test_a_client_on_a_cut_off_node_is_counted_apart() -> None:
    cut = hit("node cut off", 1050, 1080, component=SERVERS, node="w1", pods={"a": SERVERS})
    there = asked(*"aaaaaaaaaa-", begin=62)
    elsewhere = asked(*"bbbbbbbbbb", begin=62, node="w2")
    verdict, apart = clients(there | elsewhere, cut)
    assert verdict.violations == []
    assert (apart.requests, apart.unanswered, apart.to_another_server) == (11, 1, 10)
    not_cut, _ = clients(there | elsewhere)
    assert any("old-member" in text for text in not_cut.violations)


def test_a_client_that_gives_up_because_of_one_fault_is_found() -> None:
    killed = hit("pod deleted", 1010, 1011, component=BALANCER, pod="h")
    verdict, _ = clients(asked("a", "-", "-", "a", begin=12), killed)
    assert len(verdict.violations) == 1
    assert "gave up 2 requests" in verdict.violations[0]
    assert "pod deleted" in verdict.violations[0]
    server = hit("process stopped", 1008, 1012, component=SERVERS, pod=A, detail="all")
    both, _ = clients(asked("a", "-", "-", "a", begin=12), killed, server)
    assert (both.violations, both.explained_by_rule()) == ([], {"client-no-answer": 2})


# --- needless switches


def needless(*hits: Hit) -> list[str]:
    verdict = Verdict()
    told = [(1059.0, "h: Server dpe-a/a is DOWN")]
    judge_needless(RECORDED, hits, verdict, offset=OFFSET, told=told)
    return verdict.violations


def on_node(kind: str, begun: float, ended: float, *pods: str) -> Hit:
    """A fault of a machine with these pods on it; `h` and what begins with it are balancers."""
    parts = {pod: BALANCER if pod.startswith("h") else SERVERS for pod in pods}
    return hit(kind, begun, ended, component=NEWS, node="w", pods=parts)


def test_a_switch_has_a_reason() -> None:
    for kind in ("pod deleted", "process killed", "process stopped"):
        assert needless(hit(kind, 1055, 1056, component=SERVERS, pod=A)) == []
    for kind in ("node cut off", "node frozen", "node power cut", "node drained"):
        assert needless(on_node(kind, 1050, 1058, A, "h")) == []
    for kind in ("planned switch", "rolling update"):
        assert needless(hit(kind, 1055, 1060, component=SERVERS)) == []
        assert needless(hit(kind, 1055, 1060, component=NEWS))


def test_a_fault_of_the_other_server_is_none() -> None:
    for kind in ("pod deleted", "process killed", "process stopped"):
        assert needless(hit(kind, 1055, 1056, component=SERVERS, pod=B))
    for kind in ("node cut off", "node frozen", "node power cut", "node drained"):
        assert needless(on_node(kind, 1050, 1058, B, "h"))
    both = (
        hit("process killed", 1050, 1050, component=SERVERS, pod=B),
        on_node("node frozen", 1050, 1058, A),
    )
    assert needless(*both) == [], "the active one was struck too"


def test_who_was_struck_may_still_be_active_when_its_fault_is_over() -> None:
    """It was recorded late: by a balancer that took over, or when the API server was back."""
    away = hit("API server away", 1015, 1045)
    killed = hit("process killed", 1018, 1018, component=SERVERS, pod=A)
    killed.settled = 1050
    assert needless(killed, away) == []
    assert needless(hit("process killed", 1018, 1018, component=SERVERS, pod=A)), "long ago"


def test_of_two_that_are_out_one_after_the_other_the_first_that_is_back_serves() -> None:
    """Only when both go DOWN within 5 s it is an outage of the database, which moves nobody."""
    frozen = hit("database frozen", 1045, 1058)
    assert needless(frozen, hit("pod deleted", 1042, 1042, component=SERVERS, pod=B)) == []
    assert needless(frozen, on_node("node frozen", 1042, 1058, B)) == []
    assert needless(frozen, hit("packets lost", 1042, 1058, component=SERVERS, pod=B))
    assert needless(frozen, hit("pod deleted", 1042, 1042, component=BALANCER, pod="h"))


def test_what_a_cut_off_balancer_decided_with_the_server_beside_it_is_recorded_when_it_is_back() -> (
    None
):
    """Where another balancer could take its place meanwhile, that one has the say."""
    for kind in ("node cut off", "node power cut"):
        cut = on_node(kind, 1050, 1058, B, "h-1")
        assert needless(cut), "another balancer took its place"
        for other in (
            hit("process stopped", 1048, 1062, component=BALANCER, pod="h-2", detail="all"),
            hit("Lease deleted", 1048, 1048, component=BALANCER),
            hit("API server away", 1040, 1070),
        ):
            assert needless(cut, other) == []
            assert needless(on_node(kind, 1050, 1058, B), other), "no balancer beside it"
            assert needless(on_node(kind, 1050, 1058, "h-1"), other), "no server beside it"
            lasts = on_node(kind, 1050, 1075, B, "h-1")
            assert needless(lasts, other), "who is cut off records nothing"
        assert needless(cut, hit("pod deleted", 1048, 1048, component=NEWS, pod="n-1"))


def test_lost_packets_a_database_or_a_balancer_are_none() -> None:
    for one in (
        hit("packets lost", 1050, 1065, component=SERVERS, pod=A),
        hit("database frozen", 1050, 1065),
        hit("pod deleted", 1058, 1058, component=BALANCER, pod="h"),
    ):
        found = needless(one)
        assert len(found) == 1, one
        assert "needless-switch" in found[0]
        assert "is DOWN" in found[0], "with the balancers' own words"


# --- all of a round


def seen(**more: Any) -> Seen:
    """A round in which one member took over from the other and nothing was wrong."""
    evidence = Evidence(
        [], [], [acted("n-1", 1, 0, 10), acted("n-2", 2, 11, 20)], 100.0, changes=[]
    )
    whole = Seen(
        0.0, OFFSET, [hit("process killed", 1055, 1055, component=SERVERS, pod=A)], 0, evidence,
        [], {}, asked(*"aaabbb", begin=57), RECORDED, {"h": [(59.0, "Server dpe-a/a is DOWN")]}, [],
    )  # fmt: skip
    return replace(whole, **more)


def test_a_round_without_anything_wrong() -> None:
    verdict, apart = judge_round(seen(), thaw_bound=0.1)
    assert (verdict.violations, verdict.unknown) == ([], [])
    assert apart == Apart()


def test_what_is_planted_in_a_round_is_found() -> None:
    both = Evidence([], [], [acted("n-1", 1, 0, 12), acted("n-2", 2, 11, 20)], 100.0, changes=[])
    held = Version(NEWS, "u", 1, "1-x", 4, 15.0, released=False)
    early = [held, replace(held, version=2, holder="2-x", epoch=5)]
    times = {(NEWS, 0): 10.0, (NEWS, 1): 13.0}
    planted = {
        "two-acting": seen(evidence=both),
        "lease-epoch": seen(versions=[held, replace(early[1], epoch=4)]),
        "lease-early": seen(versions=[replace(held, version=0), *early], lease_asked=times),
        "old-member": seen(clients=asked(*"ababab", begin=57)),
        "needless-switch": seen(hits=[hit("database frozen", 1050, 1070)]),
        "client-no-answer": seen(clients=asked(*"aa-bbb", begin=57)),
        "not-whole": seen(missing=["['node w1 is not Ready'], 300 s after node cut off w1 1-2"]),
    }
    for rule, one in planted.items():
        verdict, _ = judge_round(one, thaw_bound=0.1)
        assert rule in {text.partition(":")[0] for text in verdict.violations}, rule


def test_of_a_round_that_failed_what_was_missing_is_judged_once_more_too() -> None:
    cut = hit("node cut off", 1050, 1060, component=NEWS, node="w1", pods={"n-1": NEWS})
    verdict, apart = judge_round(unseen(0.0, OFFSET, [cut], ["x, 300 s after y"]), thaw_bound=0.1)
    assert verdict == Verdict(violations=["not-whole: x, 300 s after y"])
    assert apart == Apart()
