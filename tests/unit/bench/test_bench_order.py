# SPDX-License-Identifier: Apache-2.0
"""How long runs take, how long they rest, and what is told about it; no cluster."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.bench_parts import part


def item(runs: int, scenario: str = "server-crash", subject: str = "dpe-operator") -> Any:
    (found,) = part("cases").plan([scenario], [subject], runs)
    return found


def taken(one: Any, took: float, **changes: Any) -> dict[str, Any]:
    return {
        "scenario": one.scenario.name, "subject": one.subject.name, "level": one.scenario.level,
        "about": one.scenario.about, "load_seconds": one.load_seconds, "took_seconds": took,
        "spent": {"set up": 0.0}, **changes,
    }  # fmt: skip


def left(*counts: tuple[Any, int], runs: list[dict[str, Any]]) -> float:
    """The estimate, less one guessed set-up."""
    found: float = part("order").seconds_left(counts, runs)
    return found - 90


def test_the_time_left_is_the_median_of_the_latest_runs_of_the_same_kind() -> None:
    one = item(4)
    latest = [taken(one, seconds) for seconds in (20.0, 21.0, 22.0, 90.0, 23.0)]
    assert left((one, 2), runs=[taken(one, 500.0)] * 9 + latest) == 44


def test_runs_with_another_length_say_nothing_about_the_next_one() -> None:
    one = item(4)
    longer = taken(one, 500.0, load_seconds=one.load_seconds + 8)
    older = taken(one, 500.0)
    del older["load_seconds"]
    assert left((one, 1), runs=[taken(one, 30.0), *[longer, older] * 5]) == 30


def test_a_scenario_without_runs_learns_from_others_of_its_level() -> None:
    one, other, node = item(1), item(1, "server-hang"), item(1, "drain")
    runs = [taken(other, other.load_seconds + 25.0), taken(node, 500.0)]
    assert left((one, 1), runs=runs) == one.load_seconds + 25


def test_runs_whose_clients_are_ended_early_say_nothing_about_others() -> None:
    one, ended_early = item(1), item(1, "rolling-update")
    runs = [taken(ended_early, 60.0), taken(item(1, "server-hang"), 12 + 25.0)]
    assert left((one, 1), runs=runs) == one.load_seconds + 25


@pytest.mark.parametrize("subject", ["dpe-operator", "deployment", "haproxy-default"])
def test_clients_outlast_what_is_done_to_every_subject(subject: str) -> None:
    cases = part("cases")
    # the longest that each may take, without being given up
    takes = {"drain": 120, "rolling-update": 180 if subject.startswith("dpe") else 380}
    takes |= {"database-freeze": cases.DATABASE_FROZEN_SECONDS, "packet-loss": cases.LOSS_SECONDS}
    back = cases.API_STARTS_WITHIN_SECONDS
    takes |= {"api-outage": cases.API_DOWN_SECONDS + back}
    takes |= {"api-outage-and-balancer-node-cut": cases.API_DOWN_WITH_NODE_SECONDS + back}
    for one in cases.plan(subjects=[subject]):
        if one.scenario.about == "servers":
            struck = cases.UNDISTURBED_SECONDS + 2.5
            over = struck + takes.get(one.scenario.name, 0)
            assert one.load_seconds > over + cases.WATCHED_SECONDS, one.key


def test_making_subjects_counts_as_often_as_the_order_of_the_runs_demands() -> None:
    one, other = item(12), item(12, subject="deployment")
    seconds = part("order").seconds_left
    runs = [taken(one, 0.0, spent={"set up": 40.0}), taken(one, 0.0), taken(other, 0.0)]
    # rounds of 5: ours, theirs, ours, theirs, ours, theirs
    assert seconds([(one, 12), (other, 12)], runs) == 6 * 40
    assert seconds([(one, 12)], runs) == 40
    assert seconds([], runs) == 0


def test_laps_add_up_and_leave_the_making_of_the_subject_out() -> None:
    times = iter([100.0, 190.0, 193.0, 200.0, 201.5])
    laps = part("laps").Laps(lambda: next(times))
    for name in ("set up", "settle", "load", "settle"):
        laps.done(name)
    assert laps.seconds == {"set up": 90.0, "settle": 4.5, "load": 7.0}
    assert laps.run_seconds == 11.5
    assert laps.text() == "12 s: set up 90.0, settle 4.5, load 7.0"


@pytest.mark.parametrize("scenario", ["server-crash", "balancer-delete", "drain"])
def test_a_member_is_trusted_again_at_the_fault(scenario: str) -> None:
    from dpe_balancer.switching import STEADY_SECONDS  # noqa: PLC0415

    undisturbed = part("cases").UNDISTURBED_SECONDS
    for whole in (0.0, 3.0, 60.0):
        rest = part("subjects").seconds_of_rest(scenario, whole=whole, taken_over=0.0)
        assert rest >= 0 and whole + rest + undisturbed > STEADY_SECONDS
        assert rest <= STEADY_SECONDS, "nothing waits for the pause between take-overs"


def test_nothing_waits_for_servers_that_the_run_before_has_left_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    subjects, clock, naps = part("subjects"), [100.0], []
    monkeypatch.setattr(subjects.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(subjects.time, "sleep", naps.append)
    cluster = SimpleNamespace(within=lambda name: SimpleNamespace(namespace=name))
    ours, theirs = (
        subjects.Subject(part("cases").SUBJECTS[name], cluster, {}, Path("unused"))
        for name in ("dpe-operator", "deployment")
    )
    theirs.rest("server-crash")
    assert naps == [], "a baseline remembers nothing"
    subject = ours
    for scenario in ("server-crash", "balancer-kill", "planned-switch", "server-crash"):
        clock[0] += 20
        subject._found_whole()
        clock[0] += 1
        subject.rest(scenario)
    assert naps == [7, 7, 0, 0], "a second of the 8 has passed; later all of them"


@pytest.mark.parametrize("scenario", ["balancer-node-cut", "balancer-and-server-node-cut"])
def test_a_lease_may_be_broken_early_again_at_the_fault(scenario: str) -> None:
    from dpe_elector.timings import EARLY_PAUSE  # noqa: PLC0415

    undisturbed = part("cases").UNDISTURBED_SECONDS
    for since in (0.0, 20.0, 300.0):
        rest = part("subjects").seconds_of_rest(scenario, whole=since, taken_over=since)
        assert since + rest + undisturbed > EARLY_PAUSE
    assert part("subjects").seconds_of_rest(scenario, whole=60.0, taken_over=300.0) == 0


def test_a_pod_whose_process_was_replaced_inside_it_is_kept() -> None:
    same = part("subjects").same_container_runs

    def pod(name: str, state: str = "running") -> dict[str, Any]:
        return {"status": {"containerStatuses": [{"containerID": name, "state": {state: {}}}]}}

    assert same(pod("one"), pod("one"))
    assert not same(pod("one"), pod("two"))
    assert not same(pod("one"), pod("one", "waiting")), "its restart is held back"


class Cluster:
    """As much of kubectl as a pair of servers needs to be asked about its state."""

    namespace = "bench"

    def __init__(self) -> None:
        self.sets: dict[str, list[dict[str, Any]]] = {
            "dpe.dev/member=a": [made("a1")],
            "dpe.dev/member=b": [made("b1")],
            "app.kubernetes.io/component=balancer": [made("x1"), made("x2")],
        }
        self.notes = {
            "dpe.dev/epoch": "1", "dpe.dev/member-states": '{"a":"UP","b":"UP"}',
            "dpe.dev/active-member": "a", "dpe.dev/switch-count": "4",
        }  # fmt: skip
        self.deleted: list[tuple[str, ...]] = []
        self.failures = 0

    def within(self, _namespace: str) -> Cluster:
        return self

    def list(self, _kind: str, labels: dict[str, str]) -> list[dict[str, Any]]:
        return [
            pod
            for label, pods in self.sets.items()
            if labels.get(label.partition("=")[0]) == label.partition("=")[2]
            for pod in pods
        ]

    def find(self, kind: str, name: str) -> dict[str, Any] | None:
        if kind == "pod":
            pods = [pod for pods in self.sets.values() for pod in pods]
            return next((pod for pod in pods if pod["metadata"]["name"] == name), None)
        return self.get(kind, name)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        from tests.e2e.kubectl import KubectlError  # noqa: PLC0415

        if self.failures:
            self.failures -= 1
            raise KubectlError("connection refused")
        members = [{"name": one, "state": "Up"} for one in ("a", "b")]
        return {
            "metadata": {"annotations": self.notes},
            "status": {"active": "a", "members": members},
        }

    def wait_ready(self, *_: Any, **__: Any) -> None:
        pass

    def delete(self, _kind: str, name: str, *more: str, timeout: float) -> None:
        self.deleted.append((name, *more))


def made(name: str, ready: bool = True) -> dict[str, Any]:
    state = {"containerID": name, "ready": ready, "state": {"running": {}}}
    return {
        "metadata": {"name": name, "uid": name},
        "status": {"phase": "Running", "containerStatuses": [state]},
    }


@pytest.fixture
def pair(tmp_path: Any) -> Any:
    case = part("cases").SUBJECTS["dpe-operator"]
    return part("subjects").subject_of(case, Cluster(), {"dpe-simulator": "image"}, tmp_path)


def test_a_pair_is_settled_without_a_pause_and_a_new_balancer_begins_a_new_one(pair: Any) -> None:
    pair.settle()
    since = pair._taken_over
    pair.settle()
    assert pair._taken_over == since and pair._whole > since
    pair.cluster.sets["app.kubernetes.io/component=balancer"][1] = made("x3")
    pair.settle()
    assert pair._taken_over > since, "a standby that is new has seen the holder for a moment only"


def test_a_pair_with_a_pod_that_is_not_ready_or_a_member_that_is_down_is_not_settled(
    pair: Any,
) -> None:
    pair.cluster.sets["dpe.dev/member=b"] = [made("b2", ready=False)]
    assert not pair._members_ready()
    pair.cluster.sets["dpe.dev/member=b"] = []
    assert not pair._members_ready()
    pair.cluster.notes["dpe.dev/member-states"] = '{"a":"UP","b":"DOWN"}'
    assert not pair._both_recorded_up()


def test_recorded_switches_are_read_again_when_the_api_server_is_not_ready_yet(pair: Any) -> None:
    pair.cluster.failures = 1
    assert pair.switch_count() == 4
    baseline = part("subjects").subject_of(
        part("cases").SUBJECTS["deployment"], Cluster(), {}, pair.folder
    )
    assert baseline.switch_count() is None


def test_a_pod_that_was_hit_is_replaced_at_once_where_it_does_not_hear_a_signal(pair: Any) -> None:
    pair.replace(made("a1"), at_once=True)
    pair.replace(made("b1"))
    pair.replace(made("gone"))
    pair.replace_restarted(made("x1"))
    assert pair.cluster.deleted == [("a1", "--grace-period=1"), ("b1",)]
    (pod,) = pair.cluster.sets["dpe.dev/member=a"]
    pod["status"]["containerStatuses"][0]["containerID"] = "started anew"
    pair.replace_restarted(made("a1"))
    assert pair.cluster.deleted[2:] == [("a1",)]
