# SPDX-License-Identifier: Apache-2.0
"""Singletons and farms: from the ledger to a run's figures, and from runs to the page; no cluster."""

from __future__ import annotations

import json
import re
import subprocess
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.support.bench_parts import part

from dpe_simulator.findings import LIMIT, TOPOLOGY, EntrySeen, Evidence, Finding

ROOT = Path(__file__).resolve().parents[3]
WATCHER = "safe-table-watcher"


def act(
    process: str, epoch: int | None, at: float, until: float | None = None, kind: str = "acting"
):
    detail = {"component": WATCHER}
    return EntrySeen(
        process, at, until, kind, detail=detail, role="table-watcher", epoch=epoch
    )  # fmt: skip


def overlap(*entries: EntrySeen, begun: float = 110.0, seen_until: float = 130.0) -> dict[str, Any]:
    found: dict[str, Any] = part("single_figures").overlap_figures(
        entries, WATCHER, begun=begun, seen_until=seen_until
    )
    return found


OLD = [act("old", 1, 100.0, kind="start"), act("old", 1, 100.0, 105.0)]
NEW = [act("new", 2, 110.0, kind="start"), act("new", 2, 110.0, 129.0)]


# overlap


def test_who_stopped_before_the_other_began_overlaps_by_nothing() -> None:
    assert overlap(*OLD, *NEW) == {"overlap_ms": 0.0, "overlap_is_over": True, "late_acts": 0}


def test_what_the_old_one_proves_after_the_new_ones_start_is_the_overlap() -> None:
    seen = overlap(*OLD, *NEW, act("old", 1, 109.9, 110.25), act("old", 1, 110.25, 110.4))
    assert seen == {"overlap_ms": 400.0, "overlap_is_over": True, "late_acts": 2}


def test_without_an_epoch_it_is_the_process_that_tells_them_apart() -> None:
    old, new = act("old", None, 100.0, 112.0), act("new", None, 110.0, 129.0, kind="start")
    assert overlap(old, new)["overlap_ms"] == 2000.0


def test_one_that_stood_still_counts_from_its_first_act_afterwards() -> None:
    thawed = [act("old", 1, 121.0, 121.0), act("old", 1, 121.0, 121.06)]
    seen = overlap(*OLD, *NEW, *thawed)
    assert (seen["overlap_ms"], seen["late_acts"]) == (60.0, 2)
    one = overlap(*OLD, *NEW, thawed[0])
    assert (one["overlap_ms"], one["late_acts"]) == (0.0, 1), "a single sign is still told"


def test_a_request_that_was_sent_late_is_an_act_too() -> None:
    by = {
        "role": "table-watcher", "component": WATCHER, "process": "old", "epoch": 1, "sentAt": 110.5,
    }  # fmt: skip
    effect = EntrySeen("server", 110.6, None, "workflow-created", detail={"by": by})
    seen = overlap(*OLD, *NEW, act("old", 1, 110.1, 110.2), effect)
    assert (seen["overlap_ms"], seen["late_acts"]) == (400.0, 2)


def test_an_old_one_that_still_acts_when_the_run_ends_is_told() -> None:
    assert overlap(*OLD, *NEW, act("old", 1, 105.0, 129.9))["overlap_is_over"] is False


def test_other_components_and_later_starts_do_not_count() -> None:
    other = EntrySeen("x", 111.0, 112.0, "acting", detail={"component": "y"}, role="table-watcher")
    again = act("third", 3, 118.0, 119.0)
    assert overlap(*OLD, *NEW, other, again)["late_acts"] == 0


# jobs of a lost processor


def job(kind: str, at: float, number: int, **detail: Any) -> EntrySeen:
    return EntrySeen("server", at, None, kind, subject=f"job:{number}", detail=detail)


def jobs(*entries: EntrySeen) -> dict[str, Any]:
    found: dict[str, Any] = part("single_figures").job_figures(
        entries, processor="lost", struck=50.0
    )
    return found


def test_jobs_of_a_lost_processor_count_until_the_last_has_ended() -> None:
    seen = jobs(
        job("job-claimed", 40, 1, processor="lost"), job("job-finished", 45, 1),
        job("job-claimed", 48, 2, processor="lost"), job("job-claimed", 49, 3, processor="lost"),
        job("job-claimed", 49, 4, processor="other"), job("job-finished", 52, 4),
        job("job-claimed", 80, 2, processor="other"), job("job-finished", 85, 2),
        job("job-claimed", 81, 3, processor="third"), job("job-finished", 86.5, 3),
    )  # fmt: skip
    assert seen == {"jobs_with_it": 2, "jobs_ms": 36500.0, "jobs_are_over": True}


def test_a_job_that_nobody_finished_leaves_the_figure_open() -> None:
    seen = jobs(
        job("job-claimed", 48, 2, processor="lost"), job("job-claimed", 49, 3, processor="lost"),
        job("job-finished", 85, 2),
    )  # fmt: skip
    assert seen == {"jobs_with_it": 2, "jobs_ms": None, "jobs_are_over": False}


# what the checker said


def test_findings_are_counted_by_what_they_cost() -> None:
    findings = [
        Finding(TOPOLOGY, "change-lost", ""), Finding(TOPOLOGY, "change-doubled", ""),
        Finding(TOPOLOGY, "change-doubled", ""), Finding(TOPOLOGY, "two-acting", ""),
        Finding(LIMIT, "change-repeated", ""), Finding("unknown", "member-changes", ""),
    ]  # fmt: skip
    assert part("single_figures").verdict(findings) == {
        "lost": 1, "doubled": 2, "other_faults": {"two-acting": 1},
        "limits": {"change-repeated": 1}, "incomplete": {},
    }  # fmt: skip


@pytest.mark.parametrize("rule", ["ledger-incomplete", "changes-not-read"])
def test_where_evidence_is_incomplete_what_was_found_counts_and_no_0_is_claimed(rule: str) -> None:
    gap = Finding("unknown", rule, "")
    verdict = part("single_figures").verdict
    seen = verdict([gap, Finding("unknown", "member-changes", "")])
    assert (seen["lost"], seen["doubled"], seen["incomplete"]) == (None, None, {rule: 1})
    seen = verdict([gap, gap, Finding(TOPOLOGY, "change-lost", "")])
    assert (seen["lost"], seen["doubled"], seen["incomplete"]) == (1, None, {rule: 2})


def test_what_the_checker_cannot_know_is_known_here() -> None:
    code = "".join(path.read_text() for path in ROOT.glob("hack/simulator/dpe_simulator/*.py"))
    rules = set(re.findall(r'Finding\(\s*UNKNOWN,\s*"([a-z-]+)"', code))
    assert rules == part("single_figures").INCOMPLETE | {"member-changes"}


# the log of the old one, which alone tells what it does while its node is cut off

POD = {"metadata": {"name": "safe-0", "namespace": "n", "uid": "u"}, "spec": {"nodeName": "w"}}


def log(monkeypatch: pytest.MonkeyPatch, problem: Exception | None, *, removed: bool) -> Any:
    def on_node(_pod: Any) -> list[tuple[float, str]]:
        if problem is not None:
            raise problem
        return []

    monkeypatch.setattr(part("single_runs"), "log_on_node", on_node)
    return part("single_runs")._log(POD, removed=removed)


GONE = subprocess.CalledProcessError(1, "docker", stderr="cat: x/*.log: No such file or directory")
TROUBLE = [
    subprocess.CalledProcessError(125, "docker", stderr="Cannot connect to the Docker daemon"),
    subprocess.TimeoutExpired("docker", 20),
    OSError("no docker"),
]


def test_a_log_may_be_missing_where_the_pod_was_removed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert log(monkeypatch, GONE, removed=True) == []


@pytest.mark.parametrize("removed", [False, True])
@pytest.mark.parametrize("problem", TROUBLE, ids=lambda one: type(one).__name__)
def test_a_run_whose_log_cannot_be_read_is_none(
    monkeypatch: pytest.MonkeyPatch, problem: Exception, removed: bool
) -> None:
    with pytest.raises(type(problem)):
        log(monkeypatch, problem, removed=removed)


def test_nor_is_one_whose_log_is_gone_though_its_pod_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        log(monkeypatch, GONE, removed=False)
    with pytest.raises(RuntimeError, match="safe-0 is empty"):
        log(monkeypatch, None, removed=False)


def test_nor_is_one_of_which_nobody_knows_what_the_old_one_did() -> None:
    known, start = part("single_runs")._require_known, part("ledger").Start
    evidence = Evidence([], [], OLD, 130.0)
    known(evidence, start(0.0, "old"))
    with pytest.raises(RuntimeError, match="nothing that safe-0/7 did"):
        known(evidence, start(0.0, "safe-0/7"))


def test_every_fault_of_the_topology_that_the_checker_knows_has_its_place() -> None:
    code = "".join(path.read_text() for path in ROOT.glob("hack/simulator/dpe_simulator/*.py"))
    rules = set(re.findall(r'Finding\(\s*TOPOLOGY,\s*"([a-z-]+)"', code))
    figures = part("single_figures")
    besides = {"two-acting", "epoch-backwards", "stale-memory", "memory-lost", "old-member"}
    assert rules == figures.LOST | figures.DOUBLED | besides


# the moment of things


def test_the_release_is_the_first_write_without_a_holder_after_the_fault() -> None:
    lines = [
        "|2026-01-31T12:00:00.000000Z", "uid-a_1|2026-01-31T12:00:05.000000Z",
        "|2026-01-31T12:00:09.250000Z", "uid-b_1|2026-01-31T12:00:09.500000Z",
    ]  # fmt: skip
    watch = part("lease_watch")
    struck = watch.seconds_of("2026-01-31T12:00:07Z")
    assert watch.released_after(lines, struck) == struck + 2.25
    assert watch.released_after(lines[:2], struck) is None


def process(proc: Path, number: int, container: str, *words: str) -> None:
    folder = proc / str(number)
    folder.mkdir(parents=True)
    (folder / "cgroup").write_text(f"0::/docker/node/kubelet/cri-containerd-{container}.scope\n")
    (folder / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in words))


def test_only_the_command_itself_is_killed(tmp_path: Path) -> None:
    python = "/usr/bin/python3"
    process(tmp_path, 11, "mine", python, "-m", "dpe_elector", "--", "dpe-simulator", "worker")
    process(tmp_path, 12, "mine", python, "-IBu", "/usr/local/bin/dpe-simulator", "worker")
    process(tmp_path, 13, "mine", "candidate", "ns", "x", "--", "dpe-simulator", "worker")
    process(tmp_path, 14, "other", python, "/usr/local/bin/dpe-simulator", "worker")
    (tmp_path / "self").mkdir()
    (tmp_path / "15").mkdir()  # ended meanwhile
    pod = {"status": {"containerStatuses": [{"containerID": "containerd://mine"}]}}
    assert part("exact").command_processes(pod, "dpe-simulator", proc=tmp_path) == [12]


# plan and page


def test_the_plan_has_each_scenario_with_the_subjects_that_can_do_it() -> None:
    cases = part("cases")
    plan = {item.key: item.runs for item in cases.plan()}
    names = [name for name, one in cases.SCENARIOS.items() if one.about != "servers"]
    there = {name: [key[1] for key in plan if key[0] == name] for name in names}
    assert there == {
        "singleton-crash": ["dpe-operator", "deployment", "client-go"],
        "singleton-delete": ["dpe-operator", "deployment", "client-go"],
        "singleton-node-cut": ["dpe-operator", "deployment", "client-go"],
        "singleton-node-cut-fast": ["dpe-operator"],
        "singleton-frozen": ["dpe-operator", "client-go"],
        "farm-node-cut": ["dpe-operator", "deployment"],
    }
    assert plan["singleton-delete", "dpe-operator"] == 30
    assert plan["singleton-node-cut", "client-go"] == 3
    assert not {key for key in plan if key[0].startswith("server-")} & {
        (key[0], "client-go") for key in plan
    }


def test_each_of_them_has_its_fault_and_its_subject() -> None:
    cases, kinds = part("cases"), part("single_subjects").KINDS
    singles = {name for name, one in cases.SCENARIOS.items() if one.about == "singletons"}
    assert set(part("single_runs").FAULTS) == singles
    wanted = {
        (item.scenario.about, item.subject.name)
        for item in cases.plan()
        if item.scenario.about != "servers"
    }
    assert set(kinds) == wanted
    assert all(kind.about == about for (about, _), kind in kinds.items())


def run(scenario: str, subject: str, **figures: Any) -> dict[str, Any]:
    farm = {"jobs_with_it": 2, "jobs_ms": 41000.0, "jobs_are_over": True}
    single = {"overlap_ms": 0.0, "overlap_is_over": True, "late_acts": 0,
              "counted_from": "fault", "memory": "read"}  # fmt: skip
    return {
        "scenario": scenario, "subject": subject, "commit": "c1", "machine": {"cpus": 2},
        "versions": {"Kubernetes": "v1"}, "took_seconds": 50.0, "lost": 0, "doubled": 0,
        "other_faults": {}, "limits": {},
        "figures": {"gap_ms": 600.0, "gap_is_over": True,
                    **(farm if scenario.startswith("farm") else single), **figures},
    }  # fmt: skip


RUNS = [
    run("singleton-delete", "dpe-operator"),
    run("singleton-delete", "dpe-operator", gap_ms=800.0) | {"limits": {"change-repeated": 1}},
    run("singleton-node-cut", "deployment", gap_ms=340000.0, overlap_ms=6000.0, late_acts=60,
        overlap_is_over=False) | {"doubled": 1, "other_faults": {"stale-memory": 2}},
    run("farm-node-cut", "dpe-operator", gap_ms=82000.0, jobs_ms=39000.0),
    run("farm-node-cut", "dpe-operator", gap_ms=85000.0, jobs_ms=None, jobs_are_over=False),
]  # fmt: skip


def test_the_page_has_a_table_for_each_scenario() -> None:
    found = part("single_figures").published(RUNS, command="make bench-failover")
    page = part("single_page").markdown(found)
    assert "| dpe-operator | 2 | 600 | max | 800 | 0 | 0 | 0/0 | 0 | change-repeated 1 |" in page
    assert (
        "| deployment | 1 | 340000 | max | 340000 | >6000 | 60 | 0/1 | stale-memory 2 | 0 |" in page
    )
    assert "| dpe-operator | 2 | 82000 | max | 85000 | 39000 | >39000 | 0/0 | 0 | 0 |" in page
    assert "raw/singletons.jsonl" in page and "failover.jsonl" not in page


def test_medians_that_are_bounds_are_marked_on_this_page_too() -> None:
    never = {"jobs_ms": None, "jobs_are_over": False}
    runs = [
        run("singleton-crash", "deployment", gap_ms=120000.0, gap_is_over=False),
        *(run("farm-node-cut", "deployment", **figures) for figures in ({}, never, never)),
        run("farm-node-cut", "dpe-operator"),
        # it had no job any more when it was lost: that says nothing about the time
        run("farm-node-cut", "dpe-operator", jobs_with_it=0, jobs_ms=None),
    ]
    page = part("single_page").markdown(
        part("single_figures").published(runs, command="make bench-failover")
    )
    assert "| deployment | 1 | >120000 | max | >120000 |" in page
    assert "| deployment | 3 | 600 | max | 600 | >41000 | >41000 |" in page
    assert "| dpe-operator | 2 | 600 | max | 600 | 41000 | 41000 |" in page


def test_a_farms_jobs_that_never_ended_leave_no_figure() -> None:
    (found,) = part("single_figures").published([RUNS[4]], command="")["results"]
    assert (found["jobs_ms"], found["jobs_not_over"]) == (None, 1)
    assert "| >85000 |" not in part("single_page").markdown(
        {
            "command": "",
            "commits": [],
            "machines": [],
            "versions": [],
            "results": [found],
            "runs_not_taken": [],
        }
    )


def test_runs_of_both_kinds_count_and_lie_in_files_of_their_own(tmp_path: Path) -> None:
    raw, servers = part("raw"), tmp_path / "failover.jsonl"
    raw.append(servers, {"scenario": "server-crash", "subject": "deployment", "commit": "c1"})
    for one in RUNS:
        raw.append(raw.file_of(part("cases").SCENARIOS[one["scenario"]].about, servers), one)
    assert len(raw.read(servers)) == 1 and len(raw.read(tmp_path / "singletons.jsonl")) == len(RUNS)
    counted = raw.counted(raw.all_of(servers), commit="c1")
    assert counted["singleton-delete", "dpe-operator"] == 2
    assert counted["server-crash", "deployment"] == 1


def test_the_report_writes_the_page_beside_that_of_the_servers(tmp_path: Path) -> None:
    raw = part("raw")
    for one in RUNS:
        raw.append(tmp_path / "singletons.jsonl", one)
    written = part("report").write(tmp_path / "failover.jsonl", tmp_path)
    assert {path.name for path in written} == {
        "failover.json", "failover.md", "singletons.json", "singletons.md",
    }  # fmt: skip
    found = json.loads((tmp_path / "singletons.json").read_text())
    assert len(found["results"]) == 3


@pytest.mark.parametrize("one", RUNS)
def test_what_the_bench_prints_of_a_run_names_its_figures(one: dict[str, Any]) -> None:
    text = part("single_page").line(one)
    assert f"gap {one['figures']['gap_ms']:.0f} ms" in text and one["subject"] in text


def test_a_loss_that_was_found_is_published_also_where_another_run_is_incomplete() -> None:
    def published(*lost: int | None) -> Any:
        runs = [run("singleton-crash", "deployment") | {"lost": value} for value in lost]
        return part("single_figures").published(runs, command="")["results"][0]["lost"]

    assert (published(0, None), published(2, None), published(2, 1)) == (None, 2, 3)


def test_an_unknown_count_is_told_as_such() -> None:
    one = run("singleton-crash", "deployment") | {"lost": None, "doubled": None}
    assert "lost -, doubled -" in part("single_page").line(one)


def test_a_pod_whose_command_was_killed_is_replaced_after_the_evidence_was_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its container is started again, and may be the one that acts by then."""
    runs, replaced = part("single_runs"), []
    monkeypatch.setattr(runs.exact, "command_processes", lambda *_: [1])
    monkeypatch.setattr(runs.exact, "kill", lambda _: 7.0)
    subject = SimpleNamespace(replace=replaced.append)
    hit = runs.Hit(subject, {"metadata": {"name": "w"}}, ExitStack(), ExitStack())
    assert runs.crash(hit) == 7.0
    hit.repair.close()
    assert replaced == []
    hit.later.close()
    assert replaced == [hit.pod]
