# SPDX-License-Identifier: Apache-2.0
"""How the judge of a chaos run tells a broken promise from what lies outside of it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.chaos.acting import Acting, acting_by_ledger, merge, overlaps
from tests.chaos.faults import Struck
from tests.chaos.frontend import BALANCER, SERVERS
from tests.chaos.history import Version, asked, version_of
from tests.chaos.judge import Verdict, judge_findings, judge_history, judge_overlaps
from tests.chaos.plan import Fault

from dpe_simulator.checker import LIMIT, TOPOLOGY, UNKNOWN, Finding
from dpe_simulator.findings import EntrySeen, Request


def acted(pod: str, start: float, end: float, *, component: str = "news") -> Acting:
    return Acting(component, pod, f"{pod}/1", start, end)


def struck(kind: str, pod: str, begun: float, ended: float, component: str = "news") -> Struck:
    fault = Fault(1, begun, kind, component, "acting", ended - begun, "", 0)
    return Struck(fault, pod, begun, ended)


def judged(acting: list[Acting], *faults: Struck) -> Verdict:
    verdict = Verdict()
    judge_overlaps(acting, faults, verdict, thaw_bound=0.1)
    return verdict


def test_stretches_are_put_together() -> None:
    assert merge([(3, 4), (0, 1), (1.2, 2)], gap=0.25) == [(0, 2), (3, 4)]


def test_one_after_the_other_is_no_overlap() -> None:
    assert overlaps([acted("a", 0, 10), acted("b", 10, 20), acted("a", 20, 30)]) == []
    assert overlaps([acted("a", 0, 10), acted("b", 5, 20, component="other")]) == []


def test_two_that_act_are_a_violation_with_the_faults_around_it() -> None:
    verdict = judged([acted("a", 0, 10), acted("b", 9.5, 20)], struck("pod deleted", "a", 8, 9))
    assert verdict.overlap_ms == 500
    assert "two-acting" in verdict.violations[0]
    assert "pod deleted" in verdict.violations[0]


def test_after_a_thaw_the_bound_counts() -> None:
    acting = [acted("a", 0, 5), acted("b", 9, 30), acted("a", 15.01, 15.05)]
    frozen = struck("pod frozen", "a", 5, 15)
    verdict = judged(acting, frozen)
    assert (verdict.violations, verdict.explained_by_rule()) == ([], {"after-thaw": 1})
    assert 39 < verdict.thaw_ms[0] < 41
    late = judged([*acting[:2], acted("a", 15.01, 15.4)], frozen)
    assert len(late.violations) == 1
    of_another = judged(acting, struck("pod frozen", "c", 5, 15))
    assert len(of_another.violations) == 1


def test_what_a_pod_did_across_its_freeze_is_no_act_of_the_time_between() -> None:
    """A job of 30 ms that was begun before and ended after the thaw is told as one of six seconds."""
    acting = [acted("a", 0, 15.03), acted("b", 9, 30)]
    verdict = judged(acting, struck("pod frozen", "a", 5, 15))
    assert (verdict.violations, verdict.explained_by_rule()) == ([], {"after-thaw": 1})
    assert 79 < verdict.thaw_ms[0] < 81
    assert judged(acting, struck("pod frozen", "c", 5, 15)).violations
    assert judged(acting, struck("command frozen", "a", 5, 15)).violations


def test_a_guard_that_somebody_stopped_is_outside_of_the_promise() -> None:
    acting = [acted("a", 0, 12), acted("b", 9, 30)]
    stopped, cut = struck("guard frozen", "a", 4, 12), struck("API connection cut", "a", 3, 8)
    for other in (cut, struck("Lease deleted", "", 6, 7), struck("API server away", "", 6, 7)):
        verdict = judged(acting, stopped, other)
        assert (verdict.violations, verdict.explained_by_rule()) == ([], {"guard-stopped": 1})
    assert len(judged(acting, struck("guard frozen", "a", 4, 8), cut).violations) == 1
    assert len(judged(acting, stopped).violations) == 1, "stopped alone it goes on renewing"
    for other in (
        struck("API connection cut", "b", 3, 8),
        struck("API connection cut", "a", 1, 3),
        struck("Lease deleted", "", 6, 7, component="other"),
    ):
        assert len(judged(acting, stopped, other).violations) == 1


def test_a_longer_overlap_that_is_excused_hides_none_of_the_same_two() -> None:
    """A take-over while the other one acted, and a thaw of that one later: each is judged alone."""
    acting = [acted("a", 0, 10), acted("b", 9.95, 30), acted("a", 20.0, 20.09)]
    frozen = struck("pod frozen", "a", 10.5, 20)
    verdict = judged(acting, frozen)
    assert [text.partition(":")[0] for text in verdict.violations] == ["two-acting"]
    assert 49 < verdict.overlap_ms < 51
    assert [round(ms) for ms in verdict.thaw_ms] == [90]
    stopped, cut = struck("guard frozen", "a", 12, 16), struck("API connection cut", "a", 11, 14)
    verdict = judged([*acting[:2], acted("a", 13, 15)], stopped, cut)
    assert (len(verdict.violations), verdict.explained_by_rule()) == (1, {"guard-stopped": 1})


def test_what_is_judged_alike_and_close_together_counts_as_one() -> None:
    """On a machine that is far too busy acts of 3 ms lie apart: they are no violation each."""
    acts = [acted("a", 10 + n * 0.4, 10.003 + n * 0.4) for n in range(5)]
    verdict = judged([acted("b", 9, 30), *acts])
    assert len(verdict.violations) == 1
    assert 14.9 < verdict.overlap_ms < 15.1, "what lies between them is nobody's"
    assert "10.000 to 11.603" in verdict.violations[0]
    assert len(judged([acted("b", 9, 30), acts[0], acted("a", 20, 20)]).violations) == 2
    twice = [struck("pod frozen", "a", 5, 9.9), struck("pod frozen", "a", 10.0, 10.4)]
    verdict = judged([acted("b", 9, 30), acted("a", 9.91, 9.92), acted("a", 10.41, 10.42)], *twice)
    assert [round(ms) for ms in verdict.thaw_ms] == [10, 10], "two thaws are two"


def test_a_command_acts_from_its_first_sign_of_life_to_its_last() -> None:
    """Signs are moments: nothing of a start may come after the first of its successor."""

    def sign(process: str, at: float) -> EntrySeen:
        detail = {"component": "news"}
        return EntrySeen(
            process, at, None, "alive", member=process[0], detail=detail,
            role="table-watcher", epoch=1 if process == "a/1" else 2,
        )  # fmt: skip

    entries = [sign("a/1", 0), sign("a/1", 10), sign("b/1", 9), sign("b/1", 12)]
    first, second = acting_by_ledger(entries, offset=1000)
    assert (first.pod, first.start, first.end) == ("a", 1000, 1010)
    assert [overlap.seconds for overlap in overlaps([first, second])] == [1]


def test_a_single_late_request_is_found() -> None:
    verdict = judged([acted("a", 0, 5), acted("b", 9, 30), acted("a", 10, 10)])
    assert "two-acting" in verdict.violations[0]
    assert judged([acted("a", 0, 5), acted("b", 9, 30), acted("a", 8, 8)]).violations == []


def test_findings_are_sorted() -> None:
    verdict = Verdict()
    found = [
        Finding(LIMIT, "trigger-missed", "why"), Finding(UNKNOWN, "ledger-incomplete", "x"),
        Finding(TOPOLOGY, "change-lost", "table-watcher news: gone"),
        Finding(TOPOLOGY, "trigger-doubled", "scheduler s: twice"),
        Finding(TOPOLOGY, "epoch-backwards", "worker w: began at 1"),
        Finding(TOPOLOGY, "epoch-backwards", "worker v: began at 1"),
    ]  # fmt: skip
    reset = [struck("Lease deleted", "", 0, 1, component="w")]
    judge_findings(found, reset, verdict, offset=0, thaw_bound=0.1)
    assert (verdict.lost, verdict.doubled, len(verdict.violations)) == (1, 1, 3)
    assert verdict.explained_by_rule() == {"epoch-anew": 1, "trigger-missed": 1}
    assert len(verdict.unknown) == 1


def test_epochs_begin_anew_only_after_their_lease_was_tampered_with() -> None:
    def began(at: float | None) -> Verdict:
        verdict = Verdict()
        found = [Finding(TOPOLOGY, "epoch-backwards", "worker w: began at 1", at=at)]
        edited = [struck("Lease edited", "", 1050, 1051, component="w")]
        judge_findings(found, edited, verdict, offset=1000, thaw_bound=0.1)
        return verdict

    for at in (50.4, 180.0, None):
        assert began(at).explained_by_rule() == {"epoch-anew": 1}
    assert len(began(49.9).violations) == 1


def test_a_memory_that_was_not_read_is_explained_where_its_writer_should_have_acted_no_more() -> (
    None
):
    """Seed 71: its guard was stopped and its API connection cut, and it went on writing."""
    found = [
        Finding(TOPOLOGY, "stale-memory", "table-watcher news: x", (Request("a/1", "a", 7.0),))
    ]
    stopped, cut = (
        struck("guard frozen", "a", 1004, 1009),
        struck("API connection cut", "a", 1003, 1008),
    )
    for faults, violations in (([stopped, cut], 0), ([stopped], 1), ([cut], 1)):
        verdict = Verdict()
        judge_findings(found, faults, verdict, offset=1000, thaw_bound=0.1)
        assert len(verdict.violations) == violations


@pytest.mark.parametrize("rule", ["trigger-doubled", "change-doubled"])
def test_what_was_doubled_is_explained_where_a_thawed_pod_has_sent_it(rule: str) -> None:
    def by(member: str, sent: float) -> Verdict:
        requests = (Request("b/1", "b", 12.0), Request(f"{member}/1", member, sent))
        verdict, frozen = Verdict(), struck("pod frozen", "a", 1005, 1015)
        found = [Finding(TOPOLOGY, rule, "scheduler s: twice", requests)]
        judge_findings(found, [frozen], verdict, offset=1000, thaw_bound=0.1)
        assert verdict.doubled == len(verdict.violations)
        return verdict

    assert by("a", 15.02).explained_by_rule() == {"after-thaw": 1}
    assert by("a", 15.02).doubled == 0
    for member, sent in (("a", 15.2), ("a", 14.0), ("c", 15.02)):
        assert by(member, sent).doubled == 1


def test_a_request_that_nobody_answered_is_explained_by_two_faults_only() -> None:
    lost = Finding(TOPOLOGY, "trigger-lost", "scheduler s: trigger 2:00 of p got no answer: closed")
    killed = struck("server killed", "a", 90, 90, component=SERVERS)
    both = [killed, struck("server frozen", "b", 91, 96, component=SERVERS)]
    verdict = Verdict()
    judge_findings([lost], both, verdict, failed={"s": [100.0]}, offset=0, thaw_bound=0.1)
    assert (verdict.violations, verdict.explained_by_rule()) == ([], {"no-answer": 1})
    judge_findings([lost], [killed], verdict, failed={"s": [100.0]}, offset=0, thaw_bound=0.1)
    assert verdict.lost == 1


HELD = Version("news", "u", 10, "uid-a_1", 4, 4.0, released=False)
RENEWED = replace(HELD, version=20)
TAKEN = replace(HELD, version=30, holder="uid-b_1", epoch=5)


def history(*versions: Version, times: tuple[float, ...] = ()) -> Verdict:
    """times: when the API server was asked for each version from the second one on."""
    name = versions[0].name
    before = [one.version for one in versions]
    verdict = Verdict()
    asked = {(name, one): at for one, at in zip(before, times, strict=False)}
    judge_history(versions, asked, verdict)
    return verdict


def rules(verdict: Verdict) -> list[str]:
    return [text.partition(":")[0] for text in verdict.violations]


def test_a_lease_is_taken_after_its_duration_with_a_higher_epoch() -> None:
    verdict = history(HELD, RENEWED, TAKEN, times=(100.0, 104.1))
    assert (rules(verdict), verdict.take_overs, verdict.timed) == ([], 1, 1)
    early = history(HELD, RENEWED, TAKEN, times=(100.0, 103.9))
    assert rules(early) == ["lease-early"], "a tenth of a second is enough"
    assert rules(history(HELD, RENEWED, replace(TAKEN, epoch=4))) == ["lease-epoch"]
    released = replace(HELD, version=20, holder="", released=True)
    assert rules(history(HELD, released, TAKEN, times=(100.0, 100.2))) == []


def test_what_was_edited_made_anew_or_not_seen_is_not_timed() -> None:
    edited = replace(RENEWED, holder="a-stranger", by_elector=False)
    assert rules(history(HELD, edited, TAKEN, times=(100.0, 100.5))) == []
    named = replace(TAKEN, by_elector=False, epoch=4)
    verdict = history(HELD, RENEWED, named, times=(100.0, 100.5))
    assert (rules(verdict), verdict.take_overs) == ([], 0), "somebody named the other pod"
    assert history(HELD, replace(TAKEN, uid="another"), times=(100.0,)).take_overs == 0
    # the audit log lacks one of the two
    for times in ((100.0,), (None, 100.5)):
        verdict = history(HELD, RENEWED, TAKEN, times=times)  # type: ignore[arg-type]
        assert (rules(verdict), verdict.timed) == ([], 0)


def test_a_holder_that_somebody_put_back_after_it_gave_the_lease_back_took_nothing() -> None:
    def version(number: int, holder: str, state: str) -> Version:
        record = {"identity": "uid-a_1", "epoch": 4, "state": state}
        annotations = {"dpe.dev/elector-record": json.dumps(record)}
        metadata = {"name": "news", "uid": "u", "resourceVersion": str(number)}
        spec = {"holderIdentity": holder, "leaseTransitions": 4, "leaseDurationSeconds": 4}
        lease = {"metadata": {**metadata, "annotations": annotations}, "spec": spec}
        return version_of(lease, gone=False)

    given_back = version(10, "uid-a_1", "held"), version(20, "", "released")
    edited, taken = version(30, "uid-a_1", "released"), version(30, "uid-a_1", "held")
    assert (given_back[0].by_elector, edited.by_elector) == (True, False)
    assert rules(history(*given_back, edited)) == []
    assert rules(history(*given_back, taken)) == ["lease-epoch"]


def test_a_holder_that_an_edit_put_back_after_another_edit_took_nothing() -> None:
    """Seed 82: a stranger was named, and by the next edit the pod that had been the holder."""
    held = replace(HELD, renewed="10:00:00")
    stranger = replace(held, version=20, holder="a-stranger", by_elector=False)
    back = replace(held, version=30)
    verdict = history(held, stranger, back)
    assert (rules(verdict), verdict.take_overs, verdict.unknown) == ([], 0, [])
    by_an_elector = replace(back, renewed="10:00:07")
    assert rules(history(held, stranger, by_an_elector)) == ["lease-epoch"]
    raised = replace(by_an_elector, epoch=5)
    assert rules(history(held, stranger, raised)) == []
    assert history(held, stranger, raised).take_overs == 1


def test_who_put_a_holder_back_is_unknown_without_the_time_of_renewal() -> None:
    verdict = history(HELD, replace(HELD, version=20, holder="x", by_elector=False), RENEWED)
    assert (rules(verdict), verdict.take_overs) == ([], 0)
    assert "news: whether uid-a_1 took it from x with epoch 4 once more" in verdict.unknown[0]


def test_a_version_that_is_told_twice_is_one() -> None:
    verdict = Verdict()
    asked = {("news", 10): 100.0, ("news", 20): 103.0}
    judge_history([HELD, RENEWED, RENEWED, TAKEN], asked, verdict)
    assert rules(verdict) == ["lease-early"]


def test_the_lease_of_a_balancer_is_broken_early_by_the_rules_of_that() -> None:
    first = replace(HELD, name=BALANCER, duration=6.0)
    own = (first, replace(first, version=15), replace(RENEWED, name=BALANCER, duration=6.0))
    taken = replace(TAKEN, name=BALANCER)
    before = replace(first, version=5, holder="uid-b_0", epoch=3)
    good = history(before, *own, taken, times=(60.0, 61.0, 100.0, 101.6))
    assert (rules(good), good.early) == ([], 1)
    impatient = history(before, *own, taken, times=(60.0, 61.0, 100.0, 101.3))
    assert rules(impatient) == ["lease-early"], "not even three renewals were left out"
    again = history(before, *own, taken, times=(80.0, 81.0, 100.0, 101.6))
    assert rules(again) == ["lease-early"], "held for 21.6 s only"


def test_times_come_from_the_audit_log() -> None:
    line = {
        "verb": "update", "requestReceivedTimestamp": "1970-01-01T00:01:40.500000Z",
        "objectRef": {"resource": "leases", "namespace": "n", "name": "news", "resourceVersion": "7"},
        "responseStatus": {"code": 200},
    }  # fmt: skip
    refused = line | {"responseStatus": {"code": 409}, "requestReceivedTimestamp": "x"}
    patched = line | {"verb": "patch"}
    lines = [json.dumps(one, separators=(",", ":")) for one in (line, refused, patched)]
    assert asked([*lines, lines[0][:40]], "n") == {("news", 7): 100.5}
    assert asked(lines, "other") == {}
