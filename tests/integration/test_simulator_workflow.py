# SPDX-License-Identifier: Apache-2.0
"""Worker, scheduler, table watcher and folder watcher of the simulator, over a real PostgreSQL."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.postgres import Postgres, running_postgres
from tests.support.simulated_site import Site
from tests.support.simulator import Simulated, eventually, frozen

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with running_postgres() as cluster:
        yield cluster


@pytest.fixture
def site(postgres: Postgres, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(postgres, tmp_path, request.node.name[:60])
    made.add("--lease", "1500ms")
    yield made
    made.close()


def create(site: Site, title: str, *, activities: int, jobs: int, seconds: float = 0.0) -> int:
    body = {
        "type": "copy", "title": title, "activities": [{"seconds": seconds}] * activities,
        "jobs": [{"type": "audio", "seconds": seconds}] * jobs,
    }  # fmt: skip
    status, text = site.ask("POST", "/workflow/instances", body)
    assert status == 201, text
    return int(json.loads(text)["instance"]["id"])


def finished(site: Site, number: int) -> bool:
    return bool(site.workflow(number)["state"] == "finished")


def claim_activity(site: Site) -> dict[str, Any] | None:
    body = {"processor": "w", "type": "workflow-activity"}
    found: dict[str, Any] | None = json.loads(
        site.ask("POST", "/workflow/activities/claim", body)[1]
    )["job"]
    return found


# workers


def test_jobs_wait_for_the_activities_of_their_workflow(site: Site) -> None:
    number = create(site, "news", activities=2, jobs=2)
    for _ in range(2):
        assert site.claim() is None
        activity = claim_activity(site)
        assert activity is not None
        assert claim_activity(site) is None  # one after the other
        assert site.end_job(activity) == 200
    jobs = [site.claim(), site.claim()]
    assert [site.end_job(job or {}) for job in jobs] == [200, 200]
    assert finished(site, number)
    seen = site.workflow(number)
    assert (len(seen["activities"]), len(seen["jobs"])) == (2, 2)


def test_an_activity_that_keeps_failing_fails_its_workflow_with_all_that_waits(site: Site) -> None:
    number = create(site, "news", activities=1, jobs=2)
    for _ in range(3):
        assert site.end_job(claim_activity(site) or {}, "fail") == 200
    assert site.workflow(number)["state"] == "failed"
    assert site.claim() is None


def test_tables_of_an_earlier_version_are_brought_up_to_date(site: Site) -> None:
    number = create(site, "old", activities=0, jobs=1)
    with psycopg.connect(site.dsn) as session:
        session.execute("ALTER TABLE dpe_jobs DROP COLUMN stage")
    site.add()  # a server of today makes what is missing when it starts
    assert site.ask("GET", "/ping", server=1)[0] == 200
    assert site.end_job(site.claim(server=1) or {}, server=1) == 200
    assert finished(site, number)


def test_two_workers_share_the_work_and_a_killed_ones_goes_to_the_other(site: Site) -> None:
    numbers = [create(site, f"n-{i}", activities=1, jobs=1, seconds=0.3) for i in range(12)]
    options = ("worker", "--quota", "1", "--poll", "300ms", "--name", "default")
    processor = ("processor", "--type", "audio", "--quota", "8")
    url = ("--url", f"http://127.0.0.1:{site.servers[0].port}/DpeWebApplication")
    with (
        site.component("first", *options) as first,
        site.component("second", *options) as second,
        Simulated(site.folder, "audio", processor[0], *url, *processor[1:]) as audio,
    ):
        query = "SELECT DISTINCT claimed_by FROM dpe_jobs WHERE type = 'workflow-activity'"
        eventually(lambda: len(site.rows(f"{query} AND claimed_by IS NOT NULL")) == 2, seconds=20)
        first.end(signal.SIGKILL)
        eventually(lambda: all(finished(site, one) for one in numbers), seconds=40)
        assert second.end()[0] == 0, second.said
        assert audio.end()[0] == 0
    authors = [line["by"] for line in site.lines("job-claimed") if line["by"]]
    assert {(one["role"], one["component"]) for one in authors} == {("worker", "default")}
    assert all(one["sentAt"] > 0 for one in authors)


def test_a_worker_in_the_middle_of_a_long_activity_ends_at_once_when_told(site: Site) -> None:
    create(site, "long", activities=1, jobs=0, seconds=60.0)
    with site.component("only", "worker", "--grace", "200ms") as only:
        eventually(lambda: bool(site.lines("job-claimed")), what="the activity's start")
        assert only.end(within=10)[0] == 0
    assert site.lines("stop")[0]["unfinished"] == 1


# schedulers


def clocked(*more: str, start: str, rate: int = 600) -> tuple[str, ...]:
    clock = ("--clock-start", start, "--clock-rate", str(rate))
    return ("scheduler", "--time-zone", "Europe/Berlin", *clock, *more)


def test_a_concurrent_pair_fires_at_its_two_times(site: Site) -> None:
    anchor = str(time.time() + 5)  # both have started by then
    common = clocked(
        "--name",
        "hard-delete",
        "--activities",
        "0",
        "--clock-anchor",
        anchor,
        start="2026-06-01T01:59",
    )
    with (
        site.component("one", *common, DPE_SCHEDULE="0 2 * * *", DPE_WORKFLOW_MEMBER="1") as one,
        site.component("two", *common, DPE_SCHEDULE="30 2 * * *", DPE_WORKFLOW_MEMBER="2") as two,
    ):
        eventually(lambda: len(site.titles()) == 2, seconds=20, what="both triggers")
        assert [one.end()[0], two.end()[0]] == [0, 0]
    assert site.titles() == [
        "hard-delete 2026-06-01T02:00+0200", "hard-delete 2026-06-01T02:30+0200",
    ]  # fmt: skip
    made = [line["by"] for line in site.lines("workflow-created")]
    assert [(one["member"], one["epoch"]) for one in made] == [("1", None), ("2", None)]
    starts = site.lines("start")
    assert {line["schedule"] for line in starts[1:]} == {"0 2 * * *", "30 2 * * *"}
    assert starts[1]["clock"]["rate"] == 600


def test_one_of_a_concurrent_pair_is_lost_and_the_other_fires_at_its_own_time(site: Site) -> None:
    common = clocked(
        "--name", "hard-delete", "--activities", "0", start="2026-06-01T01:30", rate=300
    )
    with (
        site.component("one", *common, DPE_SCHEDULE="0 2 * * *", DPE_WORKFLOW_MEMBER="1") as one,
        site.component("two", *common, DPE_SCHEDULE="30 2 * * *", DPE_WORKFLOW_MEMBER="2") as two,
    ):
        eventually(lambda: "next trigger" in one.said and "next trigger" in two.said)
        one.end(signal.SIGKILL)
        eventually(lambda: len(site.titles()) == 1, seconds=20, what="the other one's trigger")
        assert two.end()[0] == 0
    assert site.titles() == ["hard-delete 2026-06-01T02:30+0200"]


def test_a_trigger_that_passed_before_the_start_is_not_caught_up(site: Site) -> None:
    common = clocked("--schedule", "0 2 * * *", start="2026-06-01T02:00:30", rate=60)
    with site.component("late", *common, DPE_ELECTOR_EPOCH="7") as late:
        eventually(lambda: "next trigger: 2026-06-02T02:00+0200" in late.said)
        time.sleep(0.5)
        assert late.end()[0] == 0
    assert site.titles() == []
    assert [line["epoch"] for line in site.lines("stop")] == [7]


def test_a_scheduler_that_was_frozen_over_a_trigger_has_missed_it(site: Site) -> None:
    common = clocked("--schedule", "0 2 * * *", start="2026-06-01T01:58", rate=60)
    with site.component("frozen", *common) as scheduler:
        eventually(lambda: "next trigger" in scheduler.said)
        with frozen(scheduler.process):
            time.sleep(6)
        eventually(lambda: bool(site.lines("trigger-missed")), what="a word about it")
    assert site.titles() == []


# watchers


def entries(site: Site, *options: str) -> dict[str, Any]:
    command = ("entries", "--content-dsn", site.dsn, "--json", "-", *options)
    with Simulated(site.folder, "entries", *command) as helper:
        status, output = helper.wait()
    assert status == 0, helper.said
    found: dict[str, Any] = json.loads(output)
    return found


def table_watcher(site: Site, name: str, *options: str, **environment: str) -> Simulated:
    memory = site.folder / "memory"
    memory.mkdir(exist_ok=True)
    common = ("--content-dsn", site.dsn, "--interval", "100ms", "--memory", str(memory))
    more = ("--name", "news", "--activities", "0", *options)
    return site.component(name, "table-watcher", *common, *more, **environment)


def test_each_change_of_an_entry_starts_one_workflow_also_over_a_restart(site: Site) -> None:
    first = entries(site, "--add", "3")["added"]
    with table_watcher(site, "first", DPE_ELECTOR_EPOCH="1") as watcher:
        eventually(lambda: len(site.titles()) == 3, what="the created ones")
        assert entries(site, "--update", "1")["updated"] == first[:1]
        eventually(lambda: len(site.titles()) == 4, what="the updated one")
        assert watcher.end()[0] == 0, watcher.said
    gone = entries(site, "--delete", "1", "--add", "1")
    with table_watcher(site, "second", DPE_ELECTOR_EPOCH="2") as watcher:
        eventually(lambda: len(site.titles()) == 6, what="what happened meanwhile")
        time.sleep(0.5)
        assert watcher.end()[0] == 0, watcher.said
    assert sorted(site.titles()) == sorted(
        [f"1-{number}-Created" for number in [*first, *gone["added"]]]
        + [f"1-{first[0]}-Updated", f"1-{gone['deleted'][0]}-Deleted"]
    )
    starts = [line for line in site.lines("start") if line.get("memory")]
    assert [(one["epoch"], one["memory"]["found"]) for one in starts] == [
        (1, "absent"),
        (2, "read"),
    ]
    assert (starts[1]["memory"]["generation"], starts[1]["memory"]["epoch"]) == (4, 1)
    written = site.lines("memory-written")
    assert [line["generation"] for line in written] == [1, 2, 3, 4, 5, 6]
    assert written[-1]["epoch"] == 2
    by = site.lines("workflow-created")[0]["by"]
    assert (by["epoch"], by["generation"], by["change"]["event"]) == (1, 0, "Created")


@pytest.mark.parametrize(
    ("order", "workflows"),
    [((), 2), (("--memory-first",), 0)],
    ids=["effect-first-repeats", "memory-first-loses"],
)
def test_a_watcher_killed_in_the_gap_repeats_or_loses(
    site: Site, order: tuple[str, ...], workflows: int
) -> None:
    with table_watcher(site, "first", *order, "--gap", "30s") as watcher:
        entries(site, "--add", "1")
        if order:
            eventually(lambda: bool(site.lines("memory-written")), what="the memory")
        else:
            eventually(lambda: len(site.titles()) == 1, what="the workflow")
        watcher.end(signal.SIGKILL)
    with table_watcher(site, "second", *order) as watcher:
        eventually(lambda: "memory: " in watcher.said)
        if workflows:
            eventually(lambda: len(site.titles()) == workflows, what="the repeated workflow")
        time.sleep(0.5)
        assert watcher.end()[0] == 0
    assert len(site.titles()) == workflows


def test_a_torn_memory_is_told_and_everything_looks_new(site: Site) -> None:
    entries(site, "--add", "1")
    with table_watcher(site, "first", "--memory-in-place") as watcher:
        eventually(lambda: len(site.lines("memory-written")) == 1, what="the memory")
        watcher.end()
    file = site.folder / "memory" / "memory.json"
    file.write_text(file.read_text()[:40])
    with table_watcher(site, "second") as watcher:
        eventually(lambda: len(site.titles()) == 2, what="the repeated workflow")
        watcher.end()
    found = [line["memory"]["found"] for line in site.lines("start") if line.get("memory")]
    assert found == ["absent", "torn"]


def test_what_is_there_at_the_first_start_can_be_remembered_only(site: Site) -> None:
    entries(site, "--add", "3")
    with table_watcher(site, "first", "--first-start", "remember") as watcher:
        eventually(lambda: len(site.lines("memory-written")) == 1, what="the memory")
        number = entries(site, "--add", "1")["added"][0]
        eventually(lambda: site.titles() == [f"1-{number}-Created"], what="the new one")
        watcher.end()


def test_equal_titles_keep_two_watchers_from_starting_an_overlapping_workflow_twice(
    site: Site,
) -> None:
    titled = ("--title", "%tablealias%-%entryid%-%event%", "--activities", "1")
    with (
        table_watcher(site, "one", *titled, "--memory", str(site.folder), DPE_WORKFLOW_MEMBER="1"),
        table_watcher(site, "two", *titled, DPE_WORKFLOW_MEMBER="2"),
    ):
        numbers = entries(site, "--add", "5")["added"]
        eventually(lambda: len(site.lines("workflow-refused")) == 5, what="the second one's tries")
    # Nobody works on them, so each is open all the time.
    assert sorted(site.titles()) == sorted(f"entries-{number}-Created" for number in numbers)
    refused = site.lines("workflow-refused")
    assert {line["by"]["change"]["subject"] for line in refused} == {str(n) for n in numbers}


def test_a_change_is_tried_again_when_the_server_was_away(site: Site) -> None:
    short = {"DPE_RETRY_TOTAL_BUDGET": "300ms", "DPE_RETRY_INITIAL_BACKOFF": "50ms"}
    with table_watcher(site, "only", **short) as watcher:
        eventually(lambda: "memory: " in watcher.said)
        with frozen(site.servers[0].process):
            number = entries(site, "--add", "1")["added"][0]
            eventually(lambda: "request-timeout" in watcher.said, seconds=20)
            time.sleep(1.0)
        eventually(lambda: f"1-{number}-Created" in site.titles(), what="the workflow")
        assert watcher.end()[0] == 0


def test_a_folder_watcher_starts_workflows_for_files_that_its_patterns_match(
    site: Site, tmp_path: Path
) -> None:
    folder, memory = tmp_path / "ingest", tmp_path / "folder-memory"
    folder.mkdir()
    memory.mkdir()
    watch = (
        "folder-watcher", "--filter", "*.wav|*.mp3", "--interval", "100ms", "--activities", "0",
        "--memory", str(memory), "--title", "%filter% %filename% %event%",
    )  # fmt: skip

    def files(*options: str) -> dict[str, Any]:
        command = ("files", "--folder", str(folder), "--content-dsn", site.dsn, "--json", "-")
        with Simulated(site.folder, "files", *command, *options) as helper:
            status, output = helper.wait()
        assert status == 0, helper.said
        found: dict[str, Any] = json.loads(output)
        return found

    with site.component("watcher", *watch, DPE_WATCH_FOLDER=str(folder)) as watcher:
        first = files("--add", "1")["added"][0]
        files("--add", "1", "--suffix", ".txt")
        second = files("--add", "1", "--suffix", ".mp3")["added"][0]
        eventually(lambda: len(site.titles()) == 2, what="two files of three")
        files("--update", "1")
        eventually(lambda: len(site.titles()) == 3, what="the updated one")
        files("--delete", "1")
        eventually(lambda: len(site.titles()) == 4, what="the deleted one")
        assert watcher.end()[0] == 0, watcher.said
    assert sorted(site.titles()) == [
        f"*.mp3 {second} Created", f"*.wav {first} Created", f"*.wav {first} Deleted",
        f"*.wav {first} Updated",
    ]  # fmt: skip
    noted = site.rows("SELECT subject, event FROM dpe_changes ORDER BY id")
    assert [event for subject, event in noted if subject == first] == [
        "Created",
        "Updated",
        "Deleted",
    ]


def test_a_component_proves_its_life_to_the_ledger_and_to_its_log(site: Site) -> None:
    with site.component(
        "only", *clocked("--schedule", "0 2 * * *", start="2026-06-01T03:00"), "--records", "-",
        DPE_ELECTOR_EPOCH="3",
    ) as only:  # fmt: skip
        eventually(lambda: len(site.lines("acting")) >= 5, what="proofs of life")
        status, output = only.end()
    assert status == 0
    said = [json.loads(line) for line in output.splitlines()]
    assert {line["epoch"] for line in said} == {3}
    kinds = [line["kind"] for line in said]
    assert (kinds[0], kinds[-1]) == ("start", "stop")
    spans = [(line["at"], line["until"]) for line in said if line["kind"] == "acting"]
    assert all(0 <= until - at < 0.4 for at, until in spans)


def test_a_component_without_any_server_ends_soon_when_told(tmp_path: Path) -> None:
    options = ("--url", "http://127.0.0.1:1", "--schedule", "0 2 * * *")
    with Simulated(tmp_path, "alone", "scheduler", *options) as alone:
        eventually(lambda: "next trigger" in alone.said)
        begun = time.monotonic()
        assert alone.end()[0] == 0
        assert time.monotonic() - begun < 5


# the checker on what really happened


def check(site: Site, *options: str, settle: str = "0s") -> tuple[int, dict[str, Any]]:
    command = ("check", "--dsn", site.dsn, "--content-dsn", site.dsn, "--switches", "0")
    with Simulated(
        site.folder, "check", *command, "--settle", settle, "--json", "-", *options
    ) as checker:
        status, output = checker.wait()
    found: dict[str, Any] = json.loads(output)
    return status, found


def rules(verdict: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["kind"], one["rule"]) for one in verdict["findings"]]


def test_a_killed_watchers_take_over_is_judged_and_measured(site: Site) -> None:
    with table_watcher(site, "first", DPE_ELECTOR_EPOCH="1") as first:
        entries(site, "--add", "3", "--rounds", "2", "--every", "200ms")
        eventually(lambda: len(site.titles()) == 6, what="the created ones")
        time.sleep(0.3)
        first.end(signal.SIGKILL)
    entries(site, "--update", "2", "--delete", "1")
    with table_watcher(site, "second", DPE_ELECTOR_EPOCH="2") as second:
        eventually(lambda: len(site.titles()) == 9, what="what happened meanwhile")
        time.sleep(0.3)
        assert second.end()[0] == 0
    status, verdict = check(site)
    assert (status, rules(verdict)) == (0, [])
    assert verdict["seen"]["changes"] == 9
    [component] = verdict["components"]
    assert (component["name"], component["mode"], component["epochs"]) == (
        "news",
        "Standby",
        [1, 2],
    )
    assert component["effects"] == {"workflow-created": 9}
    assert component["longestOverlapMilliseconds"] == 0
    [take_over] = component["takeOvers"]
    assert take_over["clean"] is False
    assert 0 < take_over["gapMilliseconds"] < take_over["firstEffectMilliseconds"] < 20_000
    assert sum(component["workflows"]["1"].values()) == 2


def test_a_crash_in_the_gap_is_told_from_a_memory_that_was_taken_away(site: Site) -> None:
    with table_watcher(site, "first", "--gap", "30s", DPE_ELECTOR_EPOCH="1") as first:
        number = str(entries(site, "--add", "1")["added"][0])
        eventually(lambda: len(site.titles()) == 1, what="the workflow")
        first.end(signal.SIGKILL)
    with table_watcher(site, "second", DPE_ELECTOR_EPOCH="2") as second:
        eventually(lambda: bool(site.lines("memory-written")), what="the memory")
        second.end()
    status, verdict = check(site)
    assert (status, rules(verdict)) == (0, [("limit", "change-repeated")])
    assert verdict["components"][0]["workflows"] == {number: {"Created": 2}}
    (site.folder / "memory" / "memory.json").unlink()
    with table_watcher(site, "third", DPE_ELECTOR_EPOCH="3") as third:
        eventually(lambda: len(site.titles()) == 3, what="the flood")
        third.end()
    status, verdict = check(site)
    assert status == 1
    assert rules(verdict) == [
        ("topology", "memory-lost"), ("limit", "change-repeated"), ("topology", "change-doubled"),
    ]  # fmt: skip


def test_two_that_act_are_found_also_by_what_only_a_log_has_kept(site: Site) -> None:
    common = clocked(
        "--schedule", "0 2 * * *", "--name", "nightly", start="2026-06-01T03:00", rate=1
    )
    log = site.folder / "first.records"
    with site.component("first", *common, "--records", str(log), DPE_ELECTOR_EPOCH="1") as first:
        eventually(lambda: len(site.lines("acting")) >= 3, what="proofs of life")
        with site.component("second", *common, DPE_ELECTOR_EPOCH="2") as second:
            eventually(lambda: len(site.lines("start")) == 3, what="the second one")
            time.sleep(1.0)
            first.end(signal.SIGKILL)
            time.sleep(0.5)
            second.end()
    with psycopg.connect(site.dsn) as session:  # as if its node had been cut off
        session.execute(
            "DELETE FROM dpe_ledger WHERE epoch = 1 AND coalesce(until, at) >="
            " (SELECT min(at) FROM dpe_ledger WHERE epoch = 2)"
        )
    assert rules(check(site)[1]) == []
    log.write_text("12:00:00 some other line\n" + log.read_text() + '{"process": "torn')
    status, verdict = check(site, "--component-records", str(log))
    assert (status, rules(verdict)) == (1, [("topology", "two-acting")])
    assert verdict["components"][0]["longestOverlapMilliseconds"] > 500


def test_two_concurrent_watchers_with_a_title_start_an_overlapping_workflow_once(
    site: Site,
) -> None:
    titled = ("--title", "%tableid%-%entryid%-%event%", "--activity-seconds", "2s")
    own = site.folder / "own"
    own.mkdir()
    with (
        site.component("worker", "worker", "--quota", "10", "--poll", "200ms") as worker,
        table_watcher(site, "one", *titled, "--activities", "1", "--memory", str(own),
                      DPE_WORKFLOW_MEMBER="1"),
        table_watcher(site, "two", *titled, "--activities", "1", DPE_WORKFLOW_MEMBER="2"),
    ):  # fmt: skip
        entries(site, "--add", "5")
        eventually(lambda: len(site.lines("workflow-refused")) == 5, what="the other one's tries")
        eventually(lambda: len(site.lines("workflow-finished")) == 5, seconds=20)
        time.sleep(0.5)
        assert worker.end()[0] == 0
    status, verdict = check(site)
    assert (status, rules(verdict)) == (0, [])
    watcher = next(one for one in verdict["components"] if one["role"] == "table-watcher")
    assert (watcher["mode"], watcher["members"]) == ("Concurrent", ["1", "2"])
    assert [sum(found.values()) for found in watcher["workflows"].values()] == [1] * 5


def test_a_check_that_begins_later_still_knows_what_each_component_does(site: Site) -> None:
    with table_watcher(site, "first", DPE_ELECTOR_EPOCH="1") as first:
        entries(site, "--add", "1")
        eventually(lambda: len(site.titles()) == 1, what="the first one")
        since = str(time.time())
        entries(site, "--add", "1")
        eventually(lambda: len(site.titles()) == 2, what="the second one")
        first.process.send_signal(signal.SIGSTOP)
        entries(site, "--add", "1")
        time.sleep(0.2)
        first.end(signal.SIGKILL)
    assert rules(check(site, "--since", since)[1]) == [("topology", "change-lost")]
    assert rules(check(site, "--since", since, settle="60s")[1]) == []
    status, text = check(site, "--since", since, "--component", "other")
    assert (status, text["components"]) == (0, [])


def test_a_watcher_whose_volume_hangs_ends_all_the_same(site: Site, tmp_path: Path) -> None:
    folder = tmp_path / "hung"
    folder.mkdir()
    (tmp_path / "sitecustomize.py").write_text(
        "import pathlib, time\n"
        "look = pathlib.Path.iterdir\n"
        "pathlib.Path.iterdir = lambda self: time.sleep(600) if self.name == 'hung' else look(self)\n"
    )
    root = Path(__file__).resolve().parents[2]
    path = f"{tmp_path}:{root / 'hack/simulator'}:{root / 'operator'}"
    watch = ("folder-watcher", "--folder", str(folder))
    with site.component("watcher", *watch, PYTHONPATH=path) as watcher:
        eventually(lambda: bool(site.lines("acting")), what="its start")
        assert watcher.end(within=10)[0] == 0, watcher.said
